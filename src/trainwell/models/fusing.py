"""Convolutions made fast for a network that only computes: batch norms and activations taken into them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

CLIPS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}
"""Activations that oneDNN computes inside a convolution."""


class FastConv(nn.Module):
    """A convolution and its activation in one operation of oneDNN; only for inference on a CPU.

    Under autocast its numbers are rounded once, not in every call.

    Args:
        base: a convolution with zeros around the image; `pad(x)`, where it has one, pads the image itself.
        activation: one of CLIPS, or None.
    """

    def __init__(self, base: nn.Conv2d, activation: nn.Module | None) -> None:
        super().__init__()
        self.weight, self.bias = base.weight, base.bias
        self.numbers = (list(base.stride), list(base.dilation), base.groups)
        self.pad: Callable[[Tensor], tuple[Tensor, Any]] | None = getattr(base, "pad", None)
        self.padding = base.padding
        self.clip = ("none", []) if activation is None else CLIPS[type(activation)]
        self.low: tuple[Tensor, Tensor | None] | None = None

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight, self.bias
        if torch.is_autocast_enabled("cpu"):
            low = torch.get_autocast_dtype("cpu")
            if self.low is None or self.low[0].dtype != low:
                self.low = (weight.to(low), None if bias is None else bias.to(low))
            (weight, bias), x = self.low, x.to(low)
        padding: Any = self.padding
        if self.pad is not None:
            x, padding = self.pad(x)
        stride, dilation, groups = self.numbers
        name, numbers = self.clip
        # inductor's own operation: torch has no public one that fuses in eager mode
        made: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, weight, bias, list(padding), stride, dilation, groups, name, numbers, ""
        )
        return made


def fold_batch_norms(net: nn.Module, rows: tuple[Tensor, ...]) -> int:
    """Fold every batch norm that is the next to see a convolution's output into it; return how many.

    Args:
        rows: inputs on which the order of the calls is seen.
    """
    count = 0
    for (name, conv), (after, norm) in followers(net, rows, nn.BatchNorm2d):
        _replace(net, name, fuse_conv_bn_eval(conv, norm))
        _replace(net, after, nn.Identity())
        count += 1
    return count


def fuse_activations(net: nn.Module, rows: tuple[Tensor, ...]) -> int:
    """Take every ReLU and ReLU6 that is the next to see a convolution's output into it; return how many convolutions.

    Nothing happens where this build of torch or the machine cannot do it.
    """
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return 0
    taken = {name: (after, activation) for (name, _), (after, activation) in followers(net, rows, *CLIPS)}
    convolutions = [(n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d)]
    for name, conv in convolutions:
        if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            continue
        after, activation = taken.get(name, ("", None))
        _replace(net, name, FastConv(conv, activation))
        if after:
            _replace(net, after, nn.Identity())
    return len(convolutions)


Named = tuple[str, Any]


def followers(net: nn.Module, rows: tuple[Tensor, ...], *kinds: type[nn.Module]) -> list[tuple[Named, Named]]:
    """Return the convolutions whose output goes to a module of a kind next, and that module.

    What is seen is the flow of the tensors in one call, not the order in which modules were written down. A module that
    is called twice, or an output that two modules see, is left alone.
    """
    made: dict[int, tuple[str, nn.Module]] = {}
    seen: list[Tensor] = []  # keeps tensors alive, so that no two of them get the same address
    calls: dict[str, int] = {}
    found: dict[str, list[tuple[str, nn.Module]]] = {}

    def hook(name: str) -> Callable[..., None]:
        def told(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            calls[name] = calls.get(name, 0) + 1
            source = made.get(id(inputs[0])) if inputs else None
            if source is not None:
                found.setdefault(source[0], []).append((name, module))
            if isinstance(module, nn.Identity) or not isinstance(output, Tensor):
                return
            made.pop(id(output), None)  # an activation that works in place
            if isinstance(module, nn.Conv2d):
                made[id(output)] = (name, module)
            seen.append(output)

        return told

    leaves = [(n, m) for n, m in net.named_modules() if not any(m.children())]
    handles = [m.register_forward_hook(hook(n)) for n, m in leaves]
    try:
        with torch.inference_mode():
            net.features(*rows) if hasattr(net, "features") else net(*rows)  # type: ignore[operator]
    finally:
        for handle in handles:
            handle.remove()
    modules = dict(leaves)
    pairs = []
    for name, after in found.items():
        users = [(n, m) for n, m in after if not isinstance(m, nn.Identity)]
        if len(users) == 1 and type(users[0][1]) in kinds and calls[name] == calls[users[0][0]] == 1:
            pairs.append(((name, modules[name]), users[0]))
    return pairs


def _replace(net: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(net.get_submodule(parent), leaf, module)

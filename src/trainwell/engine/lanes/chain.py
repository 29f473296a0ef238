"""Chains of linear layers, activations, norms and dropout, laid out feature by feature.

Activations are (K, features, B): a linear layer is then `baddbmm(bias, weight, h)` and its backward products need no
transpose either; the batch norms of all lanes are one over K * features channels. Measured against the usual layout
in benchmarks/lanes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainwell.engine.lanes.bits import BITS_PER_WORD, DropoutBits
from trainwell.models.layers import Dropout

ELEMENTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid,
    nn.LogSigmoid, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Hardshrink, nn.Softshrink,
    nn.Tanhshrink, nn.Threshold,
)  # fmt: skip
"""Activations without weights and without random numbers."""


def chain_of(model: nn.Module) -> list[nn.Module] | None:
    """Return the modules of a chain in the order of their calls, or None if the model is something else.

    A chain is an `nn.Sequential` (of chains), or a module whose method `chain` returns its modules; no module may
    have hooks.
    """
    if any(_hooks(m) for m in model.modules()):
        return None
    told: Any = getattr(model, "chain", None)
    made: list[nn.Module] | None = _unrolled(model) if told is None else told()
    return made if made and all(map(_is_link, made)) and isinstance(made[0], nn.Linear) else None


def _unrolled(module: nn.Module) -> list[nn.Module]:
    if type(module) is not nn.Sequential:
        return [module]
    return [link for child in module for link in _unrolled(child)]


def _hooks(module: nn.Module) -> bool:
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, name) for name in names)


def _is_link(module: nn.Module) -> bool:
    kind = type(module)
    if kind is nn.BatchNorm1d:
        return module.momentum is not None and bool(module.track_running_stats)
    if kind is nn.LayerNorm:
        return isinstance(module.normalized_shape, tuple) and len(module.normalized_shape) == 1
    if kind is nn.Linear:
        return not parametrize.is_parametrized(module)
    return kind in (nn.GroupNorm, nn.Identity, Dropout, *ELEMENTWISE)


class Pass:
    """One forward pass: what its links need beside the activations.

    Attributes:
        weights, buffers: by name, (K, *shape). The momenta of batch norms are among the weights.
        bits: of the dropout layers, (K, n) int16, from `taken` on; None where nothing is dropped.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], rows: int, bits: DropoutBits | None,
        *, training: bool,
    ) -> None:  # fmt: skip
        self.weights, self.buffers, self.training = weights, buffers, training
        self.dropout = bits if training else None
        self.bits = bits.take(rows) if training and bits is not None else None
        self.taken = 0


Link = Callable[[Tensor, Pass], Tensor]


class ChainNetwork:
    """The forward pass of K chains of one structure.

    Args:
        model: one of them. chain: its modules, as `chain_of` returns them.
    """

    def __init__(self, model: nn.Module, chain: Sequence[nn.Module]) -> None:
        names = {id(m): f"{name}." for name, m in model.named_modules()}
        layers = [id(m) for m in model.modules() if isinstance(m, Dropout)]
        self._links: list[Link] = []
        fresh = False  # whether the activations may be overwritten: nothing needs them but the next link
        for module in chain:
            name = names[id(module)]
            if isinstance(module, nn.Linear):
                self._links.append(_linear(module, name))
            elif isinstance(module, nn.BatchNorm1d):
                self._links.append(_batch_norm(module, name))
            elif isinstance(module, nn.LayerNorm):
                self._links.append(_norm(1, module.eps, module.weight, module.bias, name))
            elif isinstance(module, nn.GroupNorm):
                self._links.append(_norm(module.num_groups, module.eps, module.weight, module.bias, name))
            elif isinstance(module, Dropout):
                self._links.append(_dropout(layers.index(id(module))))
            elif isinstance(module, nn.ReLU):
                self._links.append(_relu_in_place if fresh else _relu)
            elif not isinstance(module, nn.Identity):
                self._links.append(_elementwise(module))
            fresh = isinstance(module, nn.Linear | nn.BatchNorm1d)

    def __call__(
        self,
        weights: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        x: tuple[Tensor, ...],
        bits: DropoutBits | None = None,
        *,
        training: bool,
    ) -> Tensor:
        """Return the outputs (K, B, C) for inputs (K, B, features)."""
        now = Pass(weights, buffers, x[0].shape[1], bits, training=training)
        h = x[0].mT
        for link in self._links:
            h = link(h, now)
        return h.mT


def momenta_of(model: nn.Module) -> dict[str, float]:
    """Return the momentum of every batch norm by the name under which its link looks for it."""
    found = {f"{n}.momentum": m.momentum for n, m in model.named_modules() if type(m) is nn.BatchNorm1d}
    return {n: float(m) for n, m in found.items() if m is not None}


def _linear(module: nn.Linear, name: str) -> Link:
    weight, bias = f"{name}weight", f"{name}bias"

    def with_bias(h: Tensor, now: Pass) -> Tensor:
        return torch.baddbmm(now.weights[bias].unsqueeze(-1), now.weights[weight], h)

    def bare(h: Tensor, now: Pass) -> Tensor:
        return torch.bmm(now.weights[weight], h)

    return bare if module.bias is None else with_bias


def _batch_norm(module: nn.BatchNorm1d, name: str) -> Link:
    eps, affine = module.eps, module.affine

    def channels(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.reshape(-1)

    def link(h: Tensor, now: Pass) -> Tensor:
        flat = h.reshape(1, -1, h.shape[-1])
        scale = now.weights[f"{name}weight"] if affine else None
        shift = now.weights[f"{name}bias"] if affine else None
        mean, var = now.buffers[f"{name}running_mean"], now.buffers[f"{name}running_var"]
        scale, shift = channels(scale), channels(shift)
        if not now.training:
            return F.batch_norm(flat, channels(mean), channels(var), scale, shift, eps=eps).view(h.shape)
        new_mean, new_var = torch.zeros_like(mean), torch.zeros_like(var)
        out = F.batch_norm(flat, channels(new_mean), channels(new_var), scale, shift, True, 1.0, eps)
        momentum = now.weights[f"{name}momentum"]
        mean.lerp_(new_mean, momentum)
        var.lerp_(new_var, momentum)
        now.buffers[f"{name}num_batches_tracked"].add_(1)
        return out.view(h.shape)

    return link


def _norm(groups: int, eps: float, scale: Tensor | None, shift: Tensor | None, name: str) -> Link:
    def link(h: Tensor, now: Pass) -> Tensor:
        grouped = h.unflatten(1, (groups, -1))
        var, mean = torch.var_mean(grouped, 2, correction=0, keepdim=True)
        out = ((grouped - mean) * (var + eps).rsqrt()).view(h.shape)
        if scale is not None:
            out = out * now.weights[f"{name}weight"].unsqueeze(-1)
        return out if shift is None else out + now.weights[f"{name}bias"].unsqueeze(-1)

    return link


def _dropout(layer: int) -> Link:
    def link(h: Tensor, now: Pass) -> Tensor:
        if now.bits is None or now.dropout is None:
            return h
        lanes, features, rows = h.shape
        count, start = features * rows, now.taken
        now.taken += -(-count // BITS_PER_WORD) * BITS_PER_WORD
        bits = now.bits[:, start : start + count].view(lanes, rows, features).mT
        mask = torch.empty_like(h, memory_format=torch.contiguous_format, requires_grad=False)
        torch.ge(bits, now.dropout.thresholds[layer].view(-1, 1, 1), out=mask)
        return h * mask.mul_(now.dropout.scales[layer].view(-1, 1, 1))

    return link


def _relu(h: Tensor, _: Pass) -> Tensor:
    return torch.relu(h)


def _relu_in_place(h: Tensor, _: Pass) -> Tensor:
    return torch.relu_(h)


def _elementwise(module: Any) -> Link:
    return lambda h, _: module(h)

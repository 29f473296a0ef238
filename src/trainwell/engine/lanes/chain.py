"""Chains of linear layers, convolutions, activations, norms and dropout, laid out feature by feature.

Activations are (K, features, B): a linear layer is then `baddbmm(bias, weight, h)` and its backward products need no
transpose either; the batch norms of all lanes are one over K * features channels. Measured against the usual layout
in benchmarks/lanes.py. Forward and backward pass are in links.py, and in images.py until a chain is flattened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainwell.engine.lanes import images, links, planes, tables
from trainwell.engine.lanes.bits import DropoutBits
from trainwell.engine.lanes.block import Block, compiled, why_not
from trainwell.engine.lanes.links import DERIVATIVES, Link, Pass
from trainwell.engine.lanes.own import Own
from trainwell.models.front import Front
from trainwell.models.layers import Dropout
from trainwell.models.numeric import Periodic, PiecewiseLinear
from trainwell.models.pixels import PixelFront
from trainwell.models.real_mlp import FeatureScale, NTKBlock, NTKLinear
from trainwell.models.tabm import MemberLinear, MemberScale

ELEMENTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid,
    nn.LogSigmoid, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Hardshrink, nn.Softshrink,
    nn.Tanhshrink, nn.Threshold,
)  # fmt: skip
"""Activations without weights and without random numbers."""

FrontLink = links.Codes | tables.Bins | tables.Waves

BEGIN = (nn.Linear, Front, nn.Conv2d, PixelFront)
"""What a chain may begin with."""

FRESH = (
    nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, PixelFront,
    NTKBlock,
)  # fmt: skip
"""Links that need nothing of what they gave but, at most, its sign."""


def chain_of(model: nn.Module) -> list[nn.Module] | None:
    """Return the modules of a chain in the order of their calls, or None if the model is something else.

    A chain is an `nn.Sequential` (of chains), or a module whose method `chain` returns its modules; no module may
    have hooks. One of images is flattened once.
    """
    if any(_hooks(m) for m in model.modules()):
        return None
    told: Any = getattr(model, "chain", None)
    made: list[nn.Module] | None = _unrolled(model) if told is None else told()
    if not made or not isinstance(made[0], BEGIN) or not _are_links(made):
        return None
    weights = [id(p) for m in made for p in m.parameters(recurse=type(m) is not NTKBlock)]
    return made if len(set(weights)) == len(weights) else None  # shared weights have more than one gradient


def _unrolled(module: nn.Module) -> list[nn.Module]:
    if type(module) is not nn.Sequential:
        return [module]
    return [link for child in module for link in _unrolled(child)]


def _hooks(module: nn.Module) -> bool:
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, name) for name in names)


def _are_links(modules: Sequence[nn.Module]) -> bool:
    """Tell whether all modules are links, those of images before the one that flattens, the others behind it."""
    flat = isinstance(modules[0], nn.Linear | Front)
    for module in modules:
        if type(module) is nn.Flatten and not flat and (module.start_dim, module.end_dim) == (1, -1):
            flat = True
        elif not (_is_link(module) if flat else _is_image_link(module)):
            return False
    return flat


def _is_link(module: nn.Module) -> bool:
    kind = type(module)
    if kind is nn.BatchNorm1d:
        return module.momentum is not None and bool(module.track_running_stats)
    if kind is nn.LayerNorm:
        return isinstance(module.normalized_shape, tuple) and len(module.normalized_shape) == 1
    if kind is NTKBlock:
        return type(module.activation).__name__ in DERIVATIVES
    if kind in (nn.Linear, MemberScale, MemberLinear, FeatureScale, NTKLinear):
        return not parametrize.is_parametrized(module)
    if kind is Front:
        return module.numbers is None or type(module.numbers) in (PiecewiseLinear, Periodic)
    return kind in (nn.GroupNorm, nn.Identity, Dropout, *ELEMENTWISE)


def _is_image_link(module: nn.Module) -> bool:
    kind = type(module)
    if kind is nn.BatchNorm2d:
        return module.momentum is not None and bool(module.track_running_stats)
    if kind is nn.Conv2d:
        plain = module.padding_mode == "zeros" and isinstance(module.padding, tuple)
        return plain and not parametrize.is_parametrized(module)
    if kind is nn.MaxPool2d:
        return not module.return_indices
    if kind is nn.AdaptiveAvgPool2d:
        return module.output_size in (1, (1, 1))
    return kind in (PixelFront, nn.GroupNorm, nn.Identity, Dropout, *ELEMENTWISE)


class ChainNetwork:
    """The forward pass of K chains of one structure.

    Args:
        model: one of them. chain: its modules, as `chain_of` returns them.
        compute: dtype of the linear layers; None for that of the weights. shape: of a row, where it is known.
    """

    def __init__(
        self, model: nn.Module, chain: Sequence[nn.Module], compute: torch.dtype | None = None,
        shape: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        self._names = {id(m): f"{name}." if name else "" for name, m in model.named_modules()}
        self._layers = [id(m) for m in model.modules() if isinstance(m, Dropout)]
        self._chain, self.compute, self._shape = list(chain), compute, shape
        self._flat = isinstance(self._chain[0], nn.Linear | Front)
        self.why_not_compiled = ""

    def __call__(
        self,
        weights: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        x: tuple[Tensor, ...],
        bits: DropoutBits | None = None,
        *,
        training: bool,
    ) -> Tensor:
        """Return the outputs (K, B, C) for inputs (K, B, features), without a graph for autograd."""
        with torch.no_grad():
            return self.bind(weights, buffers, {}).forward(x, bits, training=training).mT

    def bind(
        self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], grads: Mapping[str, Tensor]
    ) -> Chain:
        """Return the chain over these weights, (K, *shape) by name, whose gradients go where `grads` lie."""
        weights = {name: tensor.detach() for name, tensor in weights.items()}
        dtype = next(iter(weights.values())).dtype
        compute = self.compute if dtype == torch.float32 else None  # autocast leaves other dtypes alone
        made, flat = list[Any](), self._flat
        front = list[FrontLink]()
        fresh = False  # whether the activations may be overwritten: nothing needs them but the next link
        maker = self._maker(next(iter(weights.values())), compute)
        if maker is not None and not isinstance(self._chain[0], PixelFront):
            made.append(planes.Pixels(dtype))
        for at, module in enumerate(self._chain):
            own = Own(self._names[id(module)], weights, buffers, grads, compute)
            if isinstance(module, Front):
                front = self._front(module, weights, buffers, grads)
            elif isinstance(module, nn.Flatten):
                made += [images.Flatten()] if maker is None else []
                flat = True
            elif not isinstance(module, nn.Identity):
                learns = any(not isinstance(link, images.Pixels | planes.Pixels) for link in made)
                first = not learns and not any(part.is_trained for part in front)
                make = self._link if flat or maker is not None else self._image_link
                link = (
                    None
                    if flat or maker is None
                    else maker.link(at, module, own, _of_batch_norm, first=first)
                )
                made.append(link or make(module, own, fresh=fresh, first=first))
                fresh = isinstance(module, FRESH) or (fresh and type(module) is Dropout)
        made = made if maker is None else planes.joined(maker.library, made)
        self.why_not_compiled = self.why_not_compiled or why_not(made)
        return Chain(compiled(made), compute, front)

    def _maker(self, like: Tensor, compute: torch.dtype | None) -> planes.Maker | None:
        """Return what makes the links of images, if they are compiled."""
        if self._flat or compute is not None:
            return None
        found = planes.maker_of(self._chain, self._shape, like, ELEMENTWISE)
        self.why_not_compiled = found if isinstance(found, str) else ""
        return None if isinstance(found, str) else found

    def _front(
        self, front: Front, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor],
        grads: Mapping[str, Tensor],
    ) -> list[FrontLink]:  # fmt: skip
        """Return what embeds the numbers and what embeds the codes, where there is such."""
        found = list[FrontLink]()
        if isinstance(front.numbers, Periodic):
            own = Own(self._names[id(front.numbers)], weights, buffers, grads, None)
            names = "frequency", "phase", "weight", "bias"
            frequency, phase, weight, bias = (own.given(n) for n in names)
            found.append(tables.Waves(frequency, phase, weight, bias, [own.grad(n) for n in names]))
        elif front.numbers is not None:
            own = Own(self._names[id(front.numbers)], weights, buffers, grads, None)
            edges = [own.buffer(name) for name in ("shift", "slope", "low", "high")]
            found.append(tables.Bins(own.given("weight"), own.given("bias"), own.both(), *edges))
        if front.codes is not None:
            own = Own(self._names[id(front.codes)], weights, buffers, grads, None)
            found.append(links.Codes(own.given("weight"), own.both()[0], own.buffer("offsets")))
        return found

    def _image_link(self, module: Any, own: Own, *, fresh: bool, first: bool) -> Link:
        if isinstance(module, PixelFront):
            return images.Pixels(own.buffer("mean"), own.buffer("scale"))
        if isinstance(module, nn.Conv2d):
            weight = own.given("weight")
            bias, compute = own.weight("bias"), own.compute or weight.dtype
            if first and images.is_small(module):
                return images.FirstConvolution(module, weight, bias, own.both(), compute=compute)
            return images.Convolution(
                module, weight, bias, own.both(), needs_input=not first, compute=compute
            )
        if isinstance(module, nn.MaxPool2d):
            return images.MaxPool(module)
        if isinstance(module, nn.AdaptiveAvgPool2d):
            return images.MeanPool()
        if isinstance(module, nn.BatchNorm2d):
            return images.BatchNorm(*_of_batch_norm(module, own))
        if isinstance(module, nn.GroupNorm):
            return _image_norm(module, own)
        return self._link(module, own, fresh=fresh, first=first)

    def _link(self, module: Any, own: Own, *, fresh: bool, first: bool) -> Link:
        if isinstance(module, nn.Linear):
            return _linear(own, needs_input=not first)
        if isinstance(module, MemberScale | MemberLinear):
            return _of_members(module, own, needs_input=not first)
        if isinstance(module, FeatureScale | NTKLinear | NTKBlock):
            return _of_real_mlp(module, own, needs_input=not first)
        if isinstance(module, nn.BatchNorm1d):
            return links.BatchNorm(*_of_batch_norm(module, own))
        if isinstance(module, nn.LayerNorm):
            return _norm(module, own, groups=1)
        if isinstance(module, nn.GroupNorm):
            return _norm(module, own, groups=module.num_groups)
        if isinstance(module, Dropout):
            return links.Dropout(self._layers.index(id(module)), in_place=fresh)
        if isinstance(module, nn.ReLU):
            return links.ReLU(in_place=fresh)  # of what a ReLU has passed on only the sign is needed
        if type(module).__name__ in DERIVATIVES:
            return links.Elementwise(_out_of_place(module), DERIVATIVES[type(module).__name__](module))
        return links.ByAutograd(_out_of_place(module), (), ())


class Chain:
    """The chain of K networks, bound to their weights.

    Args:
        made: its links. compute: dtype of the linear layers; None for that of the weights.
        front: embeds numbers among the features, and the codes that stand beside them.
    """

    def __init__(
        self, made: Sequence[Link], compute: torch.dtype | None,
        front: Sequence[FrontLink] = (),
    ) -> None:  # fmt: skip
        self._links, self._compute, self._front = list(made), compute, list(front)
        self._pass: Any = None
        self.is_compiled = not front and all(isinstance(link, Block) for link in made)

    def forward(
        self, x: tuple[Tensor, ...], bits: DropoutBits | None, *, training: bool, adds: bool = False
    ) -> Tensor:
        """Return the outputs (K, C, B) for inputs (K, B, features); they are overwritten by the next pass.

        Those of a model with members are (K, members, C, B) while it trains.
        """
        now = self._pass = Pass(bits, x[0].shape[1], training=training, adds=adds)
        h = x[0] if x[0].ndim > 3 else x[0].mT
        for part in self._front:
            h = part.forward(h, x[1], now) if isinstance(part, links.Codes) else part.forward(h, now)
        if h.ndim > 3 and not isinstance(self._links[0], images.Pixels | planes.Pixels):
            h = images.channels_last(h)
        if self._compute is None:
            for link in self._links:
                h = link.forward(h, now)
            return h
        h = h.to(self._compute) if h.is_floating_point() else h
        for link in self._links:
            h = link.forward(h, now)
        return h.float()

    def backward(self, g: Tensor) -> None:
        """Write the gradients of the weights from those of the outputs of the last pass, (K, C, B).

        `g` may be overwritten.
        """
        now: Pass = self._pass
        back: Tensor | None = g if self._compute is None else g.to(self._compute)
        for link in reversed(self._links):
            if back is not None:
                back = link.backward(back, now)
        for part in reversed(self._front):
            if back is not None:
                back = part.backward(back, now)


NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def momenta_of(model: nn.Module) -> dict[str, float]:
    """Return the momentum of every batch norm by the name under which its link looks for it."""
    found = {f"{n}.momentum": m.momentum for n, m in model.named_modules() if type(m) in NORMS}
    return {n: float(m) for n, m in found.items() if m is not None}


def _linear(own: Own, *, needs_input: bool) -> Link:
    weight = own.given("weight")
    compute = own.compute or weight.dtype
    return links.Linear(weight, own.weight("bias"), own.both(), needs_input=needs_input, compute=compute)


def _of_members(module: MemberScale | MemberLinear, own: Own, *, needs_input: bool) -> Link:
    weight = own.given("weight")
    compute = own.compute or weight.dtype
    if isinstance(module, MemberScale):
        return tables.MemberScale(weight, own.both()[0], needs_input=needs_input, compute=compute)
    return tables.MemberHeads(weight, own.given("bias"), own.both(), compute)


def _of_real_mlp(module: FeatureScale | NTKLinear | NTKBlock, own: Own, *, needs_input: bool) -> Link:
    if isinstance(module, NTKBlock):
        derive = DERIVATIVES[type(module.activation).__name__](module.activation)
        return tables.Mixed(_out_of_place(module.activation), derive, own.given("share"), own.grad("share"))
    weight = own.given("weight")
    compute = own.compute or weight.dtype
    if isinstance(module, FeatureScale):
        return tables.FeatureScale(weight, own.both()[0], needs_input=needs_input, compute=compute)
    bias, grads = own.given("bias"), own.both()
    return tables.ScaledLinear(module.gain, weight, bias, grads, needs_input=needs_input, compute=compute)


def _of_batch_norm(module: Any, own: Own) -> Any:
    return (
        own.weight("weight"), own.weight("bias"), own.both(), own.buffer("running_mean"), own.buffer("running_var"),
        own.buffer("num_batches_tracked"), own.weight("momentum"), module.eps,
    )  # fmt: skip


def _image_norm(module: nn.GroupNorm, own: Own) -> Link:
    scale, shift = own.weight("weight"), own.weight("bias")

    def call(h: Tensor, *weights: Tensor) -> Tensor:
        out = images.group_norm(h, module.num_groups, module.eps)
        if weights:
            wide = [w.view(len(w), 1, -1, 1, 1) for w in weights]
            out = torch.addcmul(wide[1], out, wide[0])
        return out.to(h.dtype)

    given = [] if scale is None or shift is None else [scale, shift]
    return links.ByAutograd(call, given, own.both()[: len(given)])


def _norm(module: nn.LayerNorm | nn.GroupNorm, own: Own, groups: int) -> Link:
    """Normalise groups of features of every row, in float32 at least."""
    scale, shift = own.weight("weight"), own.weight("bias")

    def call(h: Tensor, *weights: Tensor) -> Tensor:
        exact = h.float() if h.dtype == torch.bfloat16 else h
        grouped = exact.unflatten(1, (groups, -1))
        var, mean = torch.var_mean(grouped, 2, correction=0, keepdim=True)
        out = ((grouped - mean) * (var + module.eps).rsqrt()).view(h.shape)
        given = iter(weights)
        if scale is not None:
            out = out * next(given).unsqueeze(-1)
        if shift is not None:
            out = out + next(given).unsqueeze(-1)
        return out.to(h.dtype)

    pairs = [(w, g) for w, g in zip((scale, shift), own.both(), strict=True) if w is not None]
    return links.ByAutograd(call, [w for w, _ in pairs], [g for _, g in pairs])


def _out_of_place(module: Any) -> Callable[[Tensor], Tensor]:
    """Return the activation as a function that leaves its input as it is."""
    if not getattr(module, "inplace", False):
        return module
    return lambda h: module(h.clone())

"""All trainable numbers of a model in one flat tensor, so that an optimizer is one pass over it.

Every parameter becomes a view of one buffer, and so does every gradient. In a stack of K lanes the buffer is (K, P).
Views begin at multiples of 64 bytes: the matrix kernels then compute the same bits in every process.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from trainwell.values.errors import UsageError

ALIGN_BYTES = 64


@dataclasses.dataclass
class Group:
    """One parameter with what techniques of the site `groups` decide for it.

    Args:
        name: as in `named_parameters`.
        param: the parameter, of shape `shape` (without lane axes).
        depth: index of the module that owns it in the order of the layers, 0 = nearest to the input.
        lr_factor: multiplies the learning rate; 0 freezes.
        decay: whether penalties and weight decay touch it. Off for biases, norms and scalars at first.
    """

    name: str
    param: nn.Parameter
    depth: int = 0
    lr_factor: float = 1.0
    decay: bool = True


@dataclasses.dataclass(frozen=True)
class Slot:
    """Where one tensor lies in the flat buffer."""

    name: str
    offset: int
    shape: tuple[int, ...]
    lr_factor: float
    decay: bool

    @property
    def numel(self) -> int:
        count = 1
        for n in self.shape:
            count *= n
        return count


class Flat:
    """A flat tensor (*lanes, P) with named views (*lanes, *shape).

    Attributes:
        flat: the buffer; padding between the views is zero and stays zero.
        views: the tensors in the order of `slots`.
        decayed: the leading part of `flat` that penalties and weight decay touch, (*lanes, D).
    """

    def __init__(self, flat: Tensor, slots: Sequence[Slot], decayed: int) -> None:
        self.flat, self.slots = flat, tuple(slots)
        self.num_decayed = decayed
        lanes = flat.shape[:-1]
        self.views = [flat[..., s.offset : s.offset + s.numel].view(*lanes, *s.shape) for s in slots]
        self.decayed = flat[..., :decayed]

    def like(self, flat: Tensor | None = None) -> Flat:
        """Return a Flat of the same layout over another buffer (zeros when none is given)."""
        return Flat(torch.zeros_like(self.flat) if flat is None else flat, self.slots, self.num_decayed)

    def named(self) -> dict[str, Tensor]:
        """Return the views by name."""
        return {s.name: v for s, v in zip(self.slots, self.views, strict=True)}

    def lr_spans(self) -> list[tuple[slice, float]]:
        """Return the spans of `flat` with one learning-rate factor each, in order."""
        spans: list[tuple[slice, float]] = []
        for i, s in enumerate(self.slots):
            end = self.slots[i + 1].offset if i + 1 < len(self.slots) else self.flat.shape[-1]
            if spans and spans[-1][1] == s.lr_factor:
                spans[-1] = (slice(spans[-1][0].start, end), s.lr_factor)
            else:
                spans.append((slice(s.offset, end), s.lr_factor))
        return spans


def parameter_groups(model: nn.Module) -> list[Group]:
    """Return one Group per trainable parameter; biases, norm scales and other vectors are not decayed.

    A module may name parameters that are not vectors but must not be decayed in `no_decay = ("name", ...)`, and
    learning-rate factors of its own parameters in `lr_factors = {"name": factor}`.
    """
    groups: list[Group] = []
    owners = {id(p): m for m in model.modules() for p in m.parameters(recurse=False)}
    for depth, (name, param) in enumerate(model.named_parameters()):
        if not param.requires_grad:
            continue
        owner, leaf = owners[id(param)], name.rpartition(".")[2]
        decay = param.ndim > 1 and leaf not in getattr(owner, "no_decay", ())
        groups.append(Group(name, param, depth, getattr(owner, "lr_factors", {}).get(leaf, 1.0), decay))
    return groups


def flatten(groups: Iterable[Group], lanes: tuple[int, ...] = ()) -> tuple[Flat, Flat]:
    """Move the parameters into one buffer and their gradients into another; return both.

    Decayed parameters come first, then by learning-rate factor, so that each is one span. With `lanes` the
    parameters are copied into every lane and the module keeps its own.

    Raises:
        UsageError: there is nothing to train, or parameters of several dtypes or devices.
    """
    groups = list(groups)
    for g in groups:
        g.param.requires_grad_(g.lr_factor != 0)
    kept = sorted((g for g in groups if g.lr_factor != 0), key=lambda g: (not g.decay, g.lr_factor))
    if not kept:
        raise UsageError("the model has no trainable parameter: every requires_grad is False.")
    first = kept[0].param
    for g in kept:
        if (g.param.dtype, g.param.device) != (first.dtype, first.device):
            raise UsageError(
                f"trainable parameters must share one dtype and device: {kept[0].name} is {first.dtype} on "
                f"{first.device}, {g.name} is {g.param.dtype} on {g.param.device}. Cast the model, e.g. model.float()."
            )
    unit = max(1, ALIGN_BYTES // first.element_size())
    slots, offset, decayed = [], 0, 0
    for g in kept:
        slots.append(Slot(g.name, offset, tuple(g.param.shape), g.lr_factor, g.decay))
        offset += -(-g.param.numel() // unit) * unit
        decayed = offset if g.decay else decayed
    params = Flat(torch.zeros(*lanes, offset, dtype=first.dtype, device=first.device), slots, decayed)
    grads = params.like()
    for g, view, grad in zip(kept, params.views, grads.views, strict=True):
        view.copy_(g.param.detach())
        if not lanes:
            g.param.data = view
            g.param.grad = grad
    return params, grads

"""Any module as a network of K lanes, by `torch.func.vmap`: general, and slower than a layout of its own."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainwell.engine.lanes.bits import BITS_PER_WORD, DropoutBits, dropout_layers
from trainwell.engine.lanes.recurrent import LaneGRU, is_replaceable
from trainwell.models.gru import GRUNet
from trainwell.models.layers import Dropout
from trainwell.models.transformer import TransformerNet


class VmappedNetwork:
    """The forward pass of K networks of one structure.

    Args:
        model: one of them; its code is used, its weights are not.
    """

    def __init__(self, model: nn.Module) -> None:
        self._masks = _Masks()
        generators = {id(m.generator): m.generator for m in dropout_layers(model)}
        self._template = _with_lane_layers(copy.deepcopy(model, generators), self._masks)
        self._trims = isinstance(model, GRUNet | TransformerNet)

    def __call__(
        self,
        weights: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        x: tuple[Tensor, ...],
        bits: DropoutBits | None = None,
        *,
        training: bool,
    ) -> Tensor:
        """Return the outputs, (K, B, C), or (K, members, B, C) while a model with members trains.

        Args:
            weights, buffers: by name, (K, *shape); batch norms write their statistics into `buffers`.
            x: inputs, (K, B, ...) each.
        """
        if self._template.training is not training:
            self._template.train(training)
        tensors = dict(weights), dict(buffers)
        if self._trims and x[0].device.type == "cpu":  # as `models.tokens.trimmed` does for one network
            longest = int((x[0] != 0).sum(-1).max()) if x[0].numel() else 1
            x = x[0][..., : max(1, longest)], *x[1:]
        with sdpa_kernel(SDPBackend.MATH):  # the others would be called lane by lane
            if bits is None or not training:
                self._masks.bits = None
                call = torch.func.vmap(self._alone)
                return call(tensors, x)
            drawn = bits.take()
            masked = torch.func.vmap(self._with_masks, in_dims=(0, 0, 0, 1, 1))
            return masked(tensors, x, drawn, bits.thresholds, bits.scales)

    def _alone(self, tensors: Any, x: tuple[Tensor, ...]) -> Tensor:
        return torch.func.functional_call(self._template, tensors, x)

    def _with_masks(
        self, tensors: Any, x: tuple[Tensor, ...], bits: Tensor, thresholds: Tensor, scales: Tensor
    ) -> Tensor:
        self._masks.begin(bits, thresholds, scales)
        return torch.func.functional_call(self._template, tensors, x)


class _Masks:
    """Hands the bits of one lane to its dropout layers, in the order in which they are called."""

    def __init__(self) -> None:
        self.bits: Tensor | None = None
        self._at = 0

    def begin(self, bits: Tensor, thresholds: Tensor, scales: Tensor) -> None:
        self.bits, self._at = bits, 0
        self._thresholds, self._scales = thresholds, scales

    def apply(self, x: Tensor, layer: int) -> Tensor:
        assert self.bits is not None
        start, count = self._at, x.numel()
        self._at += -(-count // BITS_PER_WORD) * BITS_PER_WORD
        kept = self.bits[start : start + count].view(x.shape) >= self._thresholds[layer]
        return x * (kept * self._scales[layer]).to(x.dtype)


class _LaneDropout(nn.Module):
    """Stands in for the dropout layer of the same index."""

    def __init__(self, masks: _Masks, layer: int) -> None:
        super().__init__()
        self._masks, self._layer = masks, layer

    def forward(self, x: Tensor) -> Tensor:
        return self._masks.apply(x, self._layer) if self.training and self._masks.bits is not None else x


def _with_lane_layers(model: nn.Module, masks: _Masks) -> nn.Module:
    """Put layers that can be batched in the place of those that cannot."""
    order = {id(m): i for i, m in enumerate(dropout_layers(model))}
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Dropout):
                parent.add_module(name, _LaneDropout(masks, order[id(child)]))
            elif isinstance(child, nn.GRU) and is_replaceable(child):
                parent.add_module(name, LaneGRU(child))
    return model


@functools.cache
def hush_layout_warning() -> None:
    """Let torch give its one warning of gradients that lie in strides now, unheard: here they are meant to."""
    leaf, grad = torch.zeros(2, 4)[:, :2], torch.zeros(2, 4)[:, :2]
    leaf = leaf.detach().requires_grad_()
    leaf.grad = grad
    with torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        leaf.sum().backward()

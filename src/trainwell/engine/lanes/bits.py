"""The random bits of all dropout layers of a stack: each lane's from its own stream, for several steps at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainwell.models.layers import LEVELS, Dropout

BITS_PER_WORD = 4
"""Masks that one 64-bit word gives; a layer takes whole words, so that its lone run takes the same."""


@dataclasses.dataclass(frozen=True)
class Place:
    """One call of a dropout layer in a forward pass.

    Args:
        layer: index of the layer among the dropout layers of the model.
        features: activations per row of the batch.
    """

    layer: int
    features: int

    def words(self, rows: int) -> int:
        return -(-rows * self.features // BITS_PER_WORD)


def dropout_layers(model: nn.Module) -> list[Dropout]:
    """Return the dropout layers of a model, in the order of `modules()`."""
    return [m for m in model.modules() if isinstance(m, Dropout)]


@torch.no_grad()
def places_of(model: nn.Module, sample: tuple[Tensor, ...]) -> list[Place]:
    """Return the calls of dropout layers in the order of a forward pass."""
    layers, places = dropout_layers(model), list[Place]()
    if not layers:
        return places
    rows, was = sample[0].shape[0], model.training

    def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        places.append(Place(next(i for i, m in enumerate(layers) if m is layer), inputs[0].numel() // rows))

    handles = [m.register_forward_pre_hook(hook) for m in layers]
    try:
        model.eval()
        model(*sample)
    finally:
        model.train(was)
        for handle in handles:
            handle.remove()
    return places


def is_cut(model: nn.Module, tokens: Tensor) -> bool:
    """Tell whether batches of these rows call dropout layers with fewer activations where all rows are short."""
    if tokens.is_floating_point() or tokens.ndim != 2 or bool((tokens[:, -1] != 0).all()):
        return False
    full = torch.ones_like(tokens[:2])
    short = full.clone()
    short[:, 1:] = 0
    return places_of(model, (full,)) != places_of(model, (short,))


class DropoutBits:
    """Random bits for the dropout layers of K lanes.

    Args:
        rates: per lane the rate of every dropout layer; a lane may have none at a layer (0), which then draws nothing.
        generators: per lane the stream of its masks.

    Attributes:
        thresholds, scales: (layers, K): an activation stays where its 16 bits, as a signed number, reach the
            threshold, and is multiplied by the scale.
        spans: per layer the first to the last of the lanes that have a rate there.
    """

    def __init__(
        self,
        places: Sequence[Place],
        rates: Sequence[Sequence[float]],
        generators: Sequence[torch.Generator],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.places, self.rates, self.generators = list(places), [tuple(r) for r in rates], list(generators)
        dropped = (torch.tensor(self.rates, dtype=torch.float64) * LEVELS).round().t()
        self.thresholds = (dropped - LEVELS // 2).short().to(device)
        self.scales = (LEVELS / (LEVELS - dropped)).to(device, dtype)
        self.spans = [_span([bool(r) for r in layer]) for layer in zip(*self.rates, strict=True)]
        self._drawing = [k for k, own in enumerate(self.rates) if any(own)]
        self._words = torch.zeros(len(rates), 0, dtype=torch.int64, device=device)
        self._at = 0

    def draw(self, rows: Sequence[int], lanes: Sequence[int] | None = None) -> None:
        """Draw what the next forward passes need.

        Args:
            rows: the rows of each pass, in order.
            lanes: the lanes that draw; the bits of the others mean nothing. All by default.
        """
        spans, total = list[tuple[int, int, int]](), 0
        for count in rows:
            for place in self.places:
                words = place.words(count)
                spans.append((place.layer, total, words))
                total += words
        if self._words.shape[1] < total:
            self._words = self._words.new_zeros(len(self.rates), total)
        self._at = 0
        for lane in self._drawing:
            if lanes is None or lane in lanes:
                self._draw_lane(lane, spans, total)

    def _draw_lane(self, lane: int, spans: Sequence[tuple[int, int, int]], total: int) -> None:
        rates, row, generator = self.rates[lane], self._words[lane], self.generators[lane]
        if all(rates) and row.is_cpu:  # a GPU draws other numbers at once than one after the other
            row[:total].random_(-(2**63), None, generator=generator)
            return
        for layer, start, words in spans:
            if rates[layer]:
                row[start : start + words].random_(-(2**63), None, generator=generator)

    def rewind(self) -> None:
        """Let the next pass take the bits that were drawn first, once more."""
        self._at = 0

    @property
    def address(self) -> int:
        """Where the bits lie in memory; it changes when more are drawn at once than ever before."""
        return self._words.data_ptr()

    def take(self, rows: int) -> Tensor:
        """Return the bits of the next forward pass, (K, 4 * words) int16."""
        words = sum(place.words(rows) for place in self.places)
        start = self._at
        self._at += words
        return self._words[:, start : start + words].view(torch.int16)


def _span(marks: Sequence[bool]) -> slice:
    """Return from the first to the last that is marked."""
    at = [i for i, mark in enumerate(marks) if mark]
    return slice(at[0], at[-1] + 1) if at else slice(0, 0)

"""The random bits of all dropout layers of a stack: each lane's from its own stream, for several steps at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainwell.models.gru import GRUNet
from trainwell.models.layers import LEVELS, Dropout
from trainwell.models.transformer import TransformerNet

BITS_PER_WORD = 4
"""Masks that one 64-bit word gives; a layer takes whole words, so that its lone run takes the same."""


@dataclasses.dataclass(frozen=True)
class Place:
    """One call of a dropout layer in a forward pass.

    Args:
        layer: index of the layer among the dropout layers of the model.
        features: activations per row of the batch.
        per_token: of these for each token, where a batch of texts is cut to its longest; 0 where it is not.
    """

    layer: int
    features: int
    per_token: int = 0

    def words(self, rows: int, longest: int | None = None) -> int:
        """Return the 64-bit words that the masks of these rows take, of texts with so many tokens at most."""
        features = self.per_token * longest if longest and self.per_token else self.features
        return -(-rows * features // BITS_PER_WORD)


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


def cut_places(model: nn.Module, tokens: Tensor) -> list[Place] | None:
    """Return the calls of dropout layers with what each token takes; None where that cannot be told of this model."""
    if not isinstance(model, GRUNet | TransformerNet):
        return None
    full = torch.ones_like(tokens[:2])
    short = full.clone()
    short[:, 1:] = 0
    made = list[Place]()
    for one, all_ in zip(places_of(model, (short,)), places_of(model, (full,)), strict=True):
        per_token = 0 if one == all_ else one.features
        if per_token and per_token * tokens.shape[1] != all_.features:
            return None
        made.append(dataclasses.replace(all_, per_token=per_token))
    return made


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
        self._everywhere = {k for k in self._drawing if all(self.rates[k])}
        self._pieces: dict[int, list[Tensor]] = {}  # by number of words what each lane draws at once
        self._passes = list[tuple[int, int]]()
        self._at = 0

    def draw(
        self, rows: Sequence[int], lanes: Sequence[int] | None = None,
        longest: Sequence[Sequence[int]] | None = None,
    ) -> None:  # fmt: skip
        """Draw what the next forward passes need.

        Args:
            rows: the rows of each pass, in order.
            lanes: the lanes that draw; the bits of the others mean nothing. All by default.
            longest: for each pass the tokens of the longest text of every lane, where texts are cut to it. A lane draws
                for its own; in the passes all lanes have those of the longest of all.
        """
        spans, total = list[_Span](), 0
        self._passes, self._at = [], 0
        for i, count in enumerate(rows):
            own, begin = None if longest is None else longest[i], total
            for place in self.places:
                words = place.words(count, None if own is None else max(own))
                spans.append(_Span(place, total, words, count, own if place.per_token else None))
                total += words
            self._passes.append((begin, total))
        if self._words.shape[1] < total:
            self._words, self._pieces = self._words.new_zeros(len(self.rates), total), {}
        asked = [k for k in self._drawing if lanes is None or k in lanes]
        if (
            self._words.is_cpu and longest is None
        ):  # a GPU draws other numbers at once than one after the other
            asked = self._draw_at_once(asked, total)
        for lane in asked:
            self._draw_lane(lane, spans)

    def _draw_at_once(self, lanes: Sequence[int], total: int) -> list[int]:
        """Draw all words of the lanes that have a rate at every layer; return the other lanes."""
        if total not in self._pieces:
            self._pieces[total] = list(self._words[:, :total].unbind())
        pieces, generators, everywhere = self._pieces[total], self.generators, self._everywhere
        for lane in lanes:
            if lane in everywhere:
                pieces[lane].random_(-(2**63), None, generator=generators[lane])
        return [lane for lane in lanes if lane not in everywhere]

    def _draw_lane(self, lane: int, spans: Sequence[_Span]) -> None:
        rates, row, generator = self.rates[lane], self._words[lane], self.generators[lane]
        for span in spans:
            if not rates[span.place.layer]:
                continue
            piece, tokens = row[span.start : span.start + span.words], span.longest
            if tokens is None or tokens[lane] == max(tokens):
                piece.random_(-(2**63), None, generator=generator)
                continue
            drawn = piece.new_empty(span.place.words(span.rows, tokens[lane]))
            drawn.random_(-(2**63), None, generator=generator)
            own, all_ = (
                words.view(torch.int16)[: span.rows * length * span.place.per_token].view(
                    span.rows, length, -1
                )
                for words, length in ((drawn, tokens[lane]), (piece, max(tokens)))
            )
            all_[:, : tokens[lane]] = own

    def rewind(self) -> None:
        """Let the next pass take the bits that were drawn first, once more."""
        self._at = 0

    @property
    def address(self) -> int:
        """Where the bits lie in memory; it changes when more are drawn at once than ever before."""
        return self._words.data_ptr()

    def take(self) -> Tensor:
        """Return the bits of the next forward pass, (K, 4 * words) int16."""
        begin, end = self._passes[self._at]
        self._at += 1
        return self._words[:, begin:end].view(torch.int16)


@dataclasses.dataclass(frozen=True)
class _Span:
    """Where the words of one call of a layer lie.

    Args:
        longest: the tokens of the longest text of every lane; None where all draw alike.
    """

    place: Place
    start: int
    words: int
    rows: int
    longest: Sequence[int] | None


def _span(marks: Sequence[bool]) -> slice:
    """Return from the first to the last that is marked."""
    at = [i for i, mark in enumerate(marks) if mark]
    return slice(at[0], at[-1] + 1) if at else slice(0, 0)

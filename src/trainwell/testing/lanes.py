"""Small flat weights, random gradients and stacks of lanes, to apply a technique without a training."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from trainwell.engine.flat import Flat, flatten, parameter_groups
from trainwell.values.technique import Technique

PER_STEP = ("batch", "penalty", "grads", "update", "direction", "after_step", "loss")
"""Methods that are called in a step, or make what is called in a step."""


def network() -> nn.Module:
    """Return a module with every kind of parameter: kernel, matrices, output layer, biases and a norm."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 5), nn.Linear(5, 3)
    )


def flats(
    lanes: tuple[int, ...] = (), dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[Flat, Flat]:
    """Return random weights and gradients of `network()`, different in every lane; padding is zero."""
    params, grads = flatten(parameter_groups(network().to(dtype)), lanes)
    generator = torch.Generator().manual_seed(seed)
    for flat in (params, grads):
        randomize(flat, generator)
    return params, grads


def randomize(flat: Flat, generator: torch.Generator) -> None:
    """Fill the views with normal numbers and leave the padding zero."""
    for view in flat.views:
        view.copy_(torch.randn(view.shape, generator=generator, dtype=view.dtype))


def lane_of(flat: Flat, k: int) -> Flat:
    """Return a copy of lane k as the Flat of one network."""
    return Flat(flat.flat[k].clone(), flat.slots, flat.num_decayed)


def stacked(techniques: Sequence[Technique], dtype: torch.dtype = torch.float64) -> Any:
    """Return an object with the technique's methods and doses of shape (K, 1), as a stack of lanes has it."""
    kind = type(techniques[0])
    assert all(type(t) is kind for t in techniques)
    stack = SimpleNamespace(name=kind.name)
    for field, spec in kind.doses().items():
        values = [getattr(t, field) for t in techniques]
        given = values[0] if spec.options else torch.tensor(values, dtype=dtype).unsqueeze(-1)
        setattr(stack, field, given)
    for method in (*PER_STEP, "init_state", "averaged"):
        if hasattr(kind, method):
            setattr(stack, method, functools.partial(getattr(kind, method), stack))
    return stack


def samples(kind: type[Technique], count: int, *, off: bool = False) -> list[Technique]:
    """Return techniques with doses spread over their ranges; with `off`, the first one is off."""
    made = []
    for i in range(count):
        share = (i + 0.5) / count
        values = {f: _at(s, share) for f, s in kind.doses().items()}
        made.append(kind(**values))
    off_values = {f: s.off for f, s in kind.doses().items() if s.off is not None}
    return [made[0].replace(**off_values), *made[1:]] if off and off_values else made


def _at(spec: Any, share: float) -> Any:
    """Return the value at a share of the range; a choice keeps its default."""
    if spec.options:
        return spec.default
    low, high = spec.low, spec.high
    if spec.log:
        value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        value = low + share * (high - low)
    return round(value) if spec.integer else value

"""A run that was cut out of its stack, or stopped by itself, to go on later as if nothing had happened."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainwell.engine.snapshot import Snapshot, model_tensors, training_tensors
from trainwell.engine.training import State, Training
from trainwell.values.recipe import Recipe

if TYPE_CHECKING:
    from trainwell.engine.lanes.stack import Stack

PAUSE = "paused"
"""What `on_epoch` returns to pause a run: its state is then in `LaneResult.paused`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Paused:
    """All that decides how a run goes on.

    Args:
        engine: `lanes` or `plain`; the run goes on in the same engine.
        state: counters and history. tensors: weights, buffers, states of the techniques, best weights.
        streams: the states of the random streams.
    """

    recipe: Recipe
    seed: int
    engine: str
    state: State
    tensors: Mapping[str, Tensor]
    streams: Mapping[str, Tensor]

    def resumed_state(self) -> State:
        """Return the counters of the run that goes on."""
        state = copy.deepcopy(self.state)
        state.stop_reason = ""
        return state


def cut_out(stack: Stack, k: int) -> Paused:
    """Return the state of lane k, which stands at the end of an epoch."""
    lane = stack.lanes[k]
    tensors = {name: tensor[k].clone() for name, tensor in _slices(stack).items()}
    state = copy.deepcopy(lane.state)
    return Paused(lane.recipe, lane.spec.seed, "lanes", state, tensors, lane.streams.state())


@torch.no_grad()
def put_back(stack: Stack, k: int, paused: Paused) -> None:
    """Put the state into lane k of a stack; its streams and counters are in the lane already."""
    for name, tensor in _slices(stack).items():
        if name in paused.tensors:  # else a technique that is off in this lane
            tensor[k] = paused.tensors[name]


def _slices(stack: Stack) -> dict[str, Tensor]:
    """Return by name what has a slice for every lane."""
    named = {"params": stack.params.flat, "best": stack.best}
    named |= {f"buffer.{n}": t for n, t in stack.buffers.items()}
    named |= {f"best_buffer.{n}": t for n, t in stack.best_buffers.items()}
    named |= {f"fixed.{n}": t for n, t in stack.fixed.items()}
    for technique, state in stack.step.states.items():
        named |= {f"state.{technique}.{n}": t for n, t in state.items() if not n.startswith("_")}
    return named


def pause_training(training: Training, seed: int) -> Paused:
    """Return the state of a plain training at the end of an epoch."""
    live = training_tensors(training.step, training.model)
    tensors = {f"live.{i}": t.detach().clone() for i, t in enumerate(live)}
    with training.best_weights():
        best = model_tensors(training.step, training.model)
        tensors |= {f"best.{i}": t.detach().clone() for i, t in enumerate(best)}
    state = copy.deepcopy(training.state)
    return Paused(training.recipe, seed, "plain", state, tensors, training.streams.state())


@torch.no_grad()
def go_on(training: Training, paused: Paused) -> None:
    """Put the state of a paused plain training into a fresh one of the same recipe and seed."""
    for i, tensor in enumerate(model_tensors(training.step, training.model)):
        tensor.copy_(paused.tensors[f"best.{i}"])
    training.best = Snapshot(model_tensors(training.step, training.model))
    for i, tensor in enumerate(training_tensors(training.step, training.model)):
        tensor.copy_(paused.tensors[f"live.{i}"])
    training.streams.restore(paused.streams)
    training.resume_at(paused.resumed_state(), [], torch.zeros(0), extended=False)

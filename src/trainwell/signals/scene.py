"""What the families are shown: the loop's objects, one sampled step, one validation."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from trainwell.values.signal import Traces


JUDGING_SHARE, JUDGING_S = 0.003, (0.01, 0.25)
"""One evaluation of some rows may take this share of the CPU time so far, at least and at most so many seconds: 256 rows
can take as long as many steps."""

FORWARD = 1 / 3
"""Part of a training step that a forward alone takes."""

ENOUGH = 262_144
"""Numbers of an activation from which its statistics are taken: those of a large network would cost as much as it."""


def thinned(x: Tensor) -> Tensor:
    """Return rows of a tensor, evenly spaced, that hold about ENOUGH numbers; all where it has no more."""
    skip = x.numel() // ENOUGH
    return x[::skip] if skip > 1 and x.dim() > 1 else x


def _call(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


@dataclasses.dataclass
class Batch:
    """One batch that was seen: everything that a forward needs, and its loss calls."""

    forward: Any
    calls: list[Any]
    step: int
    """Steps done when it was seen; of validation: its number within the phase."""

    @property
    def x(self) -> Tensor:
        return self.forward.tensors[0]

    @property
    def y(self) -> Tensor:
        return self.calls[0].target


@dataclasses.dataclass(frozen=True)
class Start:
    """Weights and buffers that a run began with, in the order of the model."""

    params: list[Tensor]
    buffers: list[Tensor]


@dataclasses.dataclass
class Scene:
    """The objects of the loop.

    Args:
        model, optimizer: the user's own; families only read them.
        replica: the copy on which everything is measured, or None where it cannot be made.
        traces: what was recorded so far, with the facts.
        train, val: the first batches of training and of the first validation.
        step: optimizer steps done.
        started: CPU time when the watch began.
        row_s: seconds of a training step per row, the least that was seen; 0 where it is not known.
        began: what the run began with, of a network that is not large.
    """

    model: nn.Module
    optimizer: Optimizer
    replica: Any
    traces: Traces
    train: list[Batch] = dataclasses.field(default_factory=list)
    val: list[Batch] = dataclasses.field(default_factory=list)
    last_val: list[Any] = dataclasses.field(default_factory=list)
    step: int = 0
    evaluate: Callable[[Batch], dict[str, Any]] | None = None
    loss_of: Callable[[Batch], Tensor] | None = None
    train_modes: list[bool] = dataclasses.field(default_factory=list)
    guarded: Callable[..., Any] = _call
    """Calls a function with its arguments so that no error in it reaches the loop."""
    started: float = dataclasses.field(default_factory=time.process_time)
    row_s: float = 0.0
    began: Start | None = None
    is_sound: bool = False
    """At the end: whether the run is solved in training and validation, so that costly questions can be left out."""

    @property
    def facts(self) -> dict[str, Any]:
        return self.traces.facts

    @property
    def judging_s(self) -> float:
        """CPU-seconds that one evaluation of some rows may take by now."""
        return min(JUDGING_S[1], max(JUDGING_S[0], JUDGING_SHARE * (time.process_time() - self.started)))

    def took(self, seconds: float, rows: int) -> None:
        """Note what a training step of so many rows took."""
        if rows > 0 and seconds > 0:
            self.row_s = min(self.row_s or seconds, seconds / rows)


@dataclasses.dataclass
class Look:
    """One sampled step.

    Args:
        scene: the objects of the loop; the copy stands at the weights before the step, its gradients are those
            of the mean loss of the window.
        window: the forwards since the step before.
        before, after: the mean loss of the window with the weights before and after the step.
        recorded: the mean loss that the loop itself computed.
        moved: weights after minus before, per parameter.
        stale: whether gradients were there before the first backward since the last step.
        scale: what the losses of the window were multiplied by, where activations were heard in the loop's own step.
        minimised: the same of every step of which the loop's own gradients are known.
    """

    scene: Scene
    window: list[Any]
    before: Tensor
    after: Tensor
    recorded: Tensor
    moved: list[Tensor]
    stale: Tensor | None = None
    scale: Tensor | float = 1.0
    minimised: Tensor | float = math.nan


@dataclasses.dataclass
class Validation:
    """One validation phase that has ended."""

    scene: Scene
    calls: list[Any]
    rows: list[int]
    training: bool
    counters_moved: bool

"""One training from its first step to its last: epochs, validation, best weights, stopping, checkpoints."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainwell.engine.feed import XY, Feed
from trainwell.engine.guard import Guard
from trainwell.engine.interrupts import Interrupts
from trainwell.engine.losses import Meter, Objective
from trainwell.engine.snapshot import Snapshot, model_tensors
from trainwell.engine.state import Row, State, monitored
from trainwell.engine.step import Step
from trainwell.engine.streams import Streams
from trainwell.values.errors import Interrupted, TrainingError
from trainwell.values.finding import Finding
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task

if TYPE_CHECKING:
    from trainwell.engine.live import Live

__all__ = ["Evaluation", "Observer", "Row", "State", "Training", "Watcher", "monitored"]

Evaluation = Callable[[], Iterator[XY]]

PAUSE_S = 0.5
"""After about this time budget and checkpoints are looked at, however long a step takes."""


class Training:
    """A training in progress.

    Args:
        step: the step, already composed.
        feed: batches of an epoch.
        evaluation: makes the validation batches; `None` when there is no validation part.
        watcher: told of every epoch's row and of checkpoints; see `Watcher`.

    Attributes:
        observer: looks into some of the steps and validations; see `Observer`.
        live: treats the training while it runs; None where it does not.
    """

    live: Live | None = None

    def __init__(
        self,
        model: nn.Module,
        step: Step,
        recipe: Recipe,
        task: Task | None,
        objective: Objective,
        feed: Feed,
        evaluation: Evaluation | None,
        streams: Streams,
        watcher: Watcher,
        columns: Sequence[str] = (),
    ) -> None:
        self.model, self.step, self.recipe, self.task = model, step, recipe, task
        self.objective, self.feed, self.evaluation = objective, feed, evaluation
        self.streams, self.watcher, self.observer = streams, watcher, Observer()
        self.state = State(total_steps=max(1, math.ceil(recipe.epochs * feed.steps_per_epoch)))
        self.best = Snapshot(model_tensors(step, model))
        self.losses: list[Tensor] = []
        self.sizes: list[int] = []
        self.guard = Guard(step, model, streams, columns)
        self._budget_fitted = recipe.seconds is None
        self._clock = 0.0
        self._steps_per_pause, self._wait_s = 8, 0.0

    def run(self) -> State:
        """Train to the end, the budget or a signal; the best weights are then in the model.

        Raises:
            NonFiniteError: a loss, gradient or weight became non-finite.
            Interrupted: SIGINT or SIGTERM came; the state has been handed to the watcher.
        """
        state = self.state
        self._clock = time.perf_counter() - state.seconds
        with Interrupts() as interrupts:
            try:
                while not state.stop_reason:
                    if not self._train_epoch(interrupts):
                        continue
                    if interrupts.signal and not self._epoch_is_done():
                        break
                    self._finish_epoch()
                    if interrupts.signal and not state.stop_reason:
                        break
                    self.watcher.on_pause(self, forced=False)
            finally:
                state.seconds = time.perf_counter() - self._clock
            self.watcher.on_pause(self, forced=True)
        self.observer.on_end(self)
        self.return_best()
        if not state.stop_reason:
            name = {2: "SIGINT", 15: "SIGTERM"}.get(interrupts.signal, str(interrupts.signal))
            raise Interrupted(f"interrupted by {name} after step {state.step}", interrupts.signal)
        if self.evaluation is not None and state.best_epoch == 0:
            raise TrainingError(
                "the validation loss was not finite in any epoch; look at the validation data."
            )
        return state

    def return_best(self) -> None:
        """Put the weights of the best epoch into the model and turn it to evaluation."""
        if self.state.best_epoch:
            self.best.restore()
        self.model.eval()

    @contextlib.contextmanager
    def best_weights(self) -> Iterator[None]:
        """Put the best weights in place of the present ones, for as long as the context lasts."""
        now = Snapshot(model_tensors(self.step, self.model))
        if self.state.best_epoch:
            self.best.restore()
        try:
            yield
        finally:
            now.restore()

    @property
    def epoch_trace(self) -> Tensor:
        """The losses of the steps of the epoch in hand, (steps,)."""
        return torch.stack(self.losses).float()

    def resume_at(self, state: State, losses: list[Tensor], sizes: Tensor, *, extended: bool) -> None:
        """Go on from a saved state; the weights and streams have been put back already.

        Args:
            losses, sizes: those of the steps of the epoch in hand.
            extended: the recipe's budget has changed: the schedule is laid anew over it.
        """
        planned = self.state.total_steps
        if extended:
            state.total_steps, state.stop_reason = planned, ""
        self._budget_fitted = self.recipe.seconds is None or state.total_steps < planned
        self.state, self.step.count = state, state.step
        self.losses, self.sizes = losses, sizes.tolist()

    def _epoch_is_done(self) -> bool:
        state = self.state
        return state.step_in_epoch >= self.feed.steps_per_epoch or state.step >= state.total_steps

    def _rates(self) -> list[float]:
        """Return the learning rates of the steps that are left of this epoch."""
        state = self.state
        count = min(self.feed.steps_per_epoch - state.step_in_epoch, state.total_steps - state.step)
        rates: list[float] = state.rates(self.recipe, self.step.sites, count).tolist()
        return rates

    def _train_epoch(self, interrupts: Interrupts) -> bool:
        """Take the steps that are left of this epoch; say False where a treatment has returned to an earlier state."""
        self.model.train()
        rates = self._rates()
        for block in self._blocks():
            taken = rates[: len(block)]
            if not self._train_block(block[: len(taken)], taken, interrupts):
                return False
            if not self._budget_fitted and self._fit_into_budget():
                rates = self._rates()
            else:
                rates = rates[len(block) :]
            if interrupts.signal or not rates:
                break
            self.watcher.on_pause(self, forced=False)
        return True

    def _blocks(self) -> Iterator[Sequence[XY]]:
        """Yield the batches that are left of this epoch, in blocks between two pauses."""
        blocks = self.feed.blocks(self.state.epoch, self.state.step_in_epoch)
        while True:
            asked = time.perf_counter()
            block = next(blocks, None)
            if block is None:
                return
            self._wait_s = (time.perf_counter() - asked) / max(1, len(block))
            while block:
                steps = max(1, min(self._steps_per_pause, self.observer.steps_to_look()))
                if self.live is not None:
                    steps = min(steps, self.live.steps_to_copy(self.state.step))
                yield block[:steps]
                block = block[steps:]

    def _train_block(self, block: Sequence[XY], rates: Sequence[float], interrupts: Interrupts) -> bool:
        """Take the steps of one block; afterwards look once whether all of them were finite.

        Returns False where a treatment has returned to an earlier state.
        """
        observer, state, start = self.observer, self.state, time.perf_counter()
        looks = observer.steps_to_look() == 0
        take = observer.look if looks else self.step
        if self.live is not None:
            take = self.live.before(self, take)
        self.guard.mark()
        losses = []
        for (x, y), rate in zip(block, rates, strict=True):
            losses.append(take(x, y, rate))
            if interrupts.signal:
                break
        observer.on_steps(block[: len(losses)], losses, rates, start, self._wait_s)
        bad = self.guard.first_bad(losses)
        if self.live is not None and self.live.returned(self, block, losses):
            return False
        if bad is not None:
            error = self.guard.explain(block, rates, bad)
            state.step, state.stop_reason = self.step.count, "non-finite"
            self.return_best()
            raise error
        self.losses += losses
        self.sizes += [len(y) for _, y in block[: len(losses)]]
        state.step += len(losses)
        state.step_in_epoch += len(losses)
        if not looks:
            self._steps_per_pause = max(1, int(PAUSE_S * len(losses) / (time.perf_counter() - start)))
        return True

    def _fit_into_budget(self) -> bool:
        """Shorten the schedule to what fits into the time, once enough steps have been timed; say whether it did."""
        state, seconds = self.state, self.recipe.seconds
        assert seconds is not None
        elapsed = time.perf_counter() - self._clock - self.observer.cost_s
        if elapsed < min(2.0, 0.05 * seconds) or state.step < 5:
            return False
        self._budget_fitted = True
        fits = int(state.step * seconds / elapsed * 0.97)
        if fits < state.total_steps:
            state.total_steps = max(state.step + 1, fits)
            return True
        return False

    def _finish_epoch(self) -> None:
        state = self.state
        start = time.perf_counter()
        with self.step.evaluated_weights():
            val_loss, val_metric = self.evaluate()
            state.epoch, state.step_in_epoch = state.epoch + 1, 0
            row = self._row(val_loss, val_metric, time.perf_counter() - start)
            if state.close_epoch(row, self.recipe, self.task):
                self.best.take()
        state.stop_reason = self._stop_reason()
        self.watcher.on_epoch(self, row)
        self.losses, self.sizes = [], []

    def _row(self, val_loss: float | None, val_metric: float | None, validation_s: float) -> Row:
        state = self.state
        losses = torch.stack(self.losses).double()
        sizes = torch.tensor(self.sizes, dtype=torch.float64, device=losses.device)
        now = time.perf_counter() - self._clock
        row = {
            "epoch": state.epoch,
            "step": state.step,
            "train_loss": float((losses * sizes).sum() / sizes.sum()),
            "val_loss": val_loss,
            "val_metric": val_metric,
            "epoch_s": now - state.seconds,
            "validation_s": validation_s,
        }
        state.seconds = now
        return row

    def _stop_reason(self) -> str:
        state, seconds = self.state, self.recipe.seconds
        if state.step >= state.total_steps:
            return "budget of epochs" if seconds is None or not self._shortened() else "budget of time"
        if seconds is not None and state.seconds >= seconds:
            return "budget of time"
        return state.early_reason(self.recipe, self.task, self.step.sites)

    def _shortened(self) -> bool:
        return self.state.total_steps < math.ceil(self.recipe.epochs * self.feed.steps_per_epoch)

    @torch.no_grad()
    def evaluate(self) -> tuple[float | None, float | None]:
        """Return loss and primary metric on the validation part; (None, None) without one."""
        if self.evaluation is None:
            return None, None
        self.model.eval()
        meter = Meter(self.task, self.step.params.flat.device)
        for x, y in self.evaluation():
            outputs = self.step.forward(*x)
            meter.add(outputs, y, self.objective.mean(outputs, y))
            self.observer.on_validation_batch(x, outputs, y)
        loss, metric = meter.result()
        self.observer.on_validation(loss)
        return loss, metric


class Watcher:
    """Told about the training between its steps. The base does nothing."""

    def on_epoch(self, training: Training, row: Row) -> None:
        """Called after every epoch with its row."""

    def on_pause(self, training: Training, forced: bool) -> None:
        """Called where the state is consistent: after blocks and epochs, and, forced, at the end of `run`."""

    def on_return(self, training: Training, treatment: dict[str, Any]) -> None:
        """Called when a treatment has put the training back to an earlier state."""


class Observer:
    """Looks into some of the steps of a training, and changes nothing in them. The base looks into none.

    Attributes:
        cost_s: seconds that it took so far; the budget of time is planned without them.
        findings: what it found; filled by `on_end`.
        so_far: titles of what it found until `look_back` was called last.
    """

    cost_s: float = 0.0
    findings: Sequence[Finding] = ()
    so_far: Sequence[str] = ()

    def look_back(self) -> None:
        """Called after an epoch where a person watches: bring `so_far` up to date, if that costs little."""

    def steps_to_look(self) -> int:
        """Return how many steps are taken before the next that is looked into; 0 for the one that comes."""
        return sys.maxsize

    def look(self, x: tuple[Tensor, ...], y: Tensor, lr: Any) -> Tensor:
        """Take a step in the place of `Training.step`, and look into it."""
        raise AssertionError("no look was asked for")

    def on_steps(
        self,
        batches: Sequence[XY],
        losses: Sequence[Tensor],
        rates: Sequence[float],
        start: float,
        wait_s: float,
    ) -> None:
        """Called after every block of steps, which began at `start` (`time.perf_counter`).

        Args:
            wait_s: seconds that each of them waited for its batch, before that.
        """

    def on_validation_batch(self, x: tuple[Tensor, ...], outputs: Tensor, y: Tensor) -> None:
        """Called after every batch of a validation."""

    def on_validation(self, loss: float) -> None:
        """Called at the end of a validation with its mean loss, the weights that were evaluated still in place."""

    def on_end(self, training: Training) -> None:
        """Called after the last step, before the best weights come back; a second call does nothing."""

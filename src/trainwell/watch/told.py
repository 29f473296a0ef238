"""A watch on a loop that tells of its steps itself, so that only the steps that are looked at cost something."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainwell.rules.underfitting import LEFT
from trainwell.rules.view import View
from trainwell.signals.scene import Batch
from trainwell.values.signal import Traces
from trainwell.watch import losses
from trainwell.watch.branch import CURVED, LINEAR
from trainwell.watch.losses import KINDS, LossCall
from trainwell.watch.replica import Forward, same_streams
from trainwell.watch.schedule import DENSITY, Schedule
from trainwell.watch.watcher import Say, Watch

SHARE, EARLY_SHARE, EARLY_S = 0.015, 0.02, 0.3
"""Looks and validations may cost this share of the time that the training will take; of a short one, whose statistics
would be too thin, the second share, but not more than so many seconds."""

LOOKS = 0.6
"""Part of that for looks; the rest is for validations that are judged row by row."""

WHOLE = 0.5
"""Part of the time for looks that may go into whole ones, which recurrent networks need: they repeat forward and backward
on the copy. The others hear the step itself, and need one forward more where it can be paid."""

LATER = 1.5
"""A validation is judged row by row, whatever it costs, once the run is so many times as long as at the last: what it
shows late must be known."""

SMALL_S = 0.002
"""A forward of fewer seconds is always paid."""

PARTIAL = 0.25
"""What the others are expected to cost of a whole one, until the first has been timed."""

WHAT_IF_S, WHAT_IF_SHARE = 0.8, 0.03
"""The seconds that what-ifs may take after a short training that asks for them; after a longer one a share of it."""

NEVER = 2**62


class Planned(Schedule):
    """Choose looks so that all of them keep to a share of the time that the whole training will take.

    Args:
        total: steps of the training.
        first: steps that were done before it began here.
    """

    def __init__(self, total: int, first: int) -> None:
        super().__init__()
        self.total, self.first, self.next = total, first, first
        self.whole_s = self.looks_s = self.validations_s = 0.0
        self.whole, self.is_whole, self.judged = 0, True, 0
        self._allowed_s = 0.0

    def wants_whole(self) -> bool:
        """Whether the look that comes is to be a whole one; the first one is, whatever it costs."""
        if self.whole < 1:
            return True
        share = WHOLE * self._allowed(LOOKS, self.next)
        return self.whole_s * (1 + 1 / self.whole) <= share

    def wants_rows(self, step: int) -> bool:
        """Whether the validation that comes is to be judged row by row."""
        paid = self.validations_s <= self._allowed(1 - LOOKS, step)
        return paid or step >= LATER * self.judged

    def done(self, step: int, cost_s: float, elapsed_s: float) -> None:
        """Note the cost of the look at `step` and choose the next."""
        self.affords(step, elapsed_s)
        if self.is_whole:
            self.whole += 1
            self.whole_s += cost_s
        self.looks += 1
        self.looks_s += cost_s
        self.cost_s += cost_s
        # so many looks, each as far from the next in proportion, reach to the end
        spread = (self.total / max(1, step)) ** (1 / max(1.0, self._left())) - 1
        self.next = step + max(1, step // DENSITY, math.ceil(step * spread))

    def pays(self, cost_s: float) -> bool:
        """Whether so much more may be spent on a look."""
        return cost_s <= SMALL_S or self.looks_s + cost_s <= LOOKS * self._allowed_s

    def affords(self, step: int, elapsed_s: float) -> bool:
        """Return whether a look at `step` can be paid, by the pace so far; if not, it is asked again later."""
        expected = (elapsed_s - self.cost_s) / (step + 1 - self.first) * (self.total - self.first)
        self._allowed_s = max(SHARE * expected, min(EARLY_S, EARLY_SHARE * expected))
        if self.looks < 2 or self._left() >= 1:
            return True
        self.next = 2 * step + 8
        return False

    def _left(self) -> float:
        """Return how many more looks can be paid."""
        if not self.looks:
            return math.inf
        partial = self.looks - self.whole
        cost_s = (self.looks_s - self.whole_s) / partial if partial else PARTIAL * self.looks_s / self.looks
        return (LOOKS * self._allowed_s - self.looks_s) / cost_s

    def _allowed(self, part: float, step: int) -> float:
        """Return the seconds of a part that may be spent up to here: some at once, the rest as the training goes."""
        return part * self._allowed_s * (0.4 + 0.6 * step / max(1, self.total))


class ToldWatch(Watch):
    """Watch one training through what its loop tells.

    Args:
        optimizer: groups as those of torch's; `twin(params)` returns what moves these copies of all parameters alike,
            as an optimizer of torch would (`param_groups`, `step`), where `has_twin`.
        loss: (outputs, target, reduction=...) -> loss, the plain loss of the task.
        minimised: (outputs, target) -> mean loss that the loop minimises, of outputs in training mode.
        loss_name: the function of `torch.nn.functional` that it stands for; empty for one of the user's own.
        total_steps: steps that are planned.
        first_step: steps that were done before, by the same run.
        facts: what the loop knows of itself, see `Traces.facts`.
    """

    def __init__(
        self, model: nn.Module, optimizer: Any, *, loss: Callable[..., Tensor], loss_name: str,
        minimised: Callable[[Tensor, Tensor], Tensor], total_steps: int, first_step: int, facts: dict[str, Any], say: Say,
    ) -> None:  # fmt: skip
        self.loss, self.loss_name, self._nothing = loss, loss_name, torch.zeros(0)
        self._minimised, self._groups = minimised, optimizer
        self._streams = streams_of(model)
        with same_streams():
            super().__init__(model, optimizer, say=say)
        self._schedule: Planned = Planned(total_steps, first_step)
        self._step = self.scene.step = first_step
        self._agrees = self._repeats = True
        self.traces.facts |= {"loss_name": loss_name, "loss_kind": KINDS.get(loss_name, ""), **facts}
        self._started = time.perf_counter()

    @property
    def cost_s(self) -> float:
        """Seconds that looks and validations took."""
        return self._schedule.cost_s

    def steps_to_look(self) -> int:
        """Return how many steps are taken before the next that is looked at."""
        if not self._alive or self.scene.replica is None:
            return NEVER
        schedule = self._schedule
        while self._step >= schedule.next:
            if schedule.affords(self._step, time.perf_counter() - self._started):
                return 0
        return schedule.next - self._step

    def remember(self, past: Traces) -> None:
        """Put what an earlier session of the run recorded before what this one will record."""
        for signal in past.signals():
            for layer in [None, *past.layers(signal)]:
                trace = past.get(signal, layer)
                keep = trace.steps <= self._step
                self.traces.extend(signal, trace.steps[keep].tolist(), list(trace.values[keep]), layer)
        for name, value in past.facts.items():
            self.traces.facts.setdefault(name, value)

    # ------------------------------------------------------------------ what the loop tells

    def begin_look(self) -> None:
        """Called before the forward of a step that is looked at."""
        self._guarded(self._begin_look)

    def moment(self, autocast: tuple[str, torch.dtype] | None) -> Forward:
        """Return how the random streams stand before a forward; to be completed by `saw_forward`."""
        forward = _StreamedForward((), {}, self.model.training, torch.get_rng_state(), autocast=autocast)
        forward.streams = [g.get_state() for g in self._streams]
        if torch.cuda.is_initialized():
            forward.device_rng = torch.cuda.get_rng_state()
        self._t_open = time.perf_counter()
        return forward

    def saw_forward(
        self, forward: Forward, x: Sequence[Tensor], outputs: Tensor, y: Tensor, loss_of: Callable[[Tensor], Tensor],
        loss: Tensor,
    ) -> None:  # fmt: skip
        """Take a forward of the step that is looked at.

        Args:
            loss_of: the loss that was minimised, as a function of the outputs.
        """

        def minimised(outputs: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
            return (
                loss_of(outputs) if reduction == "mean" else self.loss(outputs, target, reduction=reduction)
            )

        self._forward_s += time.perf_counter() - self._t_open
        if self._own is not None:
            self._own.follow(loss)
        forward.args, forward.output = tuple(x), outputs
        forward.calls = [LossCall(self.loss_name, minimised, outputs, y, (), {}, loss.detach())]
        self._window.append(forward)

    def end_look(self) -> None:
        """Called after the step that is looked at."""
        if self._alive:
            self._guarded(self._end_look, time.perf_counter())

    def saw_steps(
        self, values: Sequence[float], rates: Sequence[float], start: float, wait_s: float = 0.0
    ) -> None:
        """Note steps that were taken since `start`: their losses and rates, and how long each waited for its batch."""
        if self._alive:
            self._guarded(self._saw_steps, values, rates, start, wait_s)

    def keep_batch(self, x: Sequence[Tensor], y: Tensor) -> bool:
        """Keep a training batch for the checks of the data; return whether more are wanted."""
        if self._alive and self._capturing:
            forward = self._forward(x, self._nothing)
            self._guarded(self._capture, forward, self._call(self._nothing, y))
        return self._alive and self._capturing

    def saw_validation_batch(self, x: Sequence[Tensor], outputs: Tensor, y: Tensor) -> None:
        """Take a batch of a validation, if this one is judged row by row."""
        if self._alive and self._judges_rows:
            start, forward = time.perf_counter(), self._forward(x, outputs)
            self._guarded(self._on_val_loss, self._call(outputs, y), forward)
            self._val_s += time.perf_counter() - start

    def saw_validation(self, loss: float) -> None:
        """Note the end of a validation."""
        start = time.perf_counter()
        if self._alive and self._val:
            self._guarded(self._end_validation)
        elif self._alive:
            self._ledger.at(self._step)("val_loss", loss)
        self._val_s += time.perf_counter() - start
        self._schedule.validations_s += self._val_s
        self._schedule.judged = self._step if self._judges_rows else self._schedule.judged
        self._val_s = 0.0
        self._judges_rows = bool(self.loss_name) and (
            self._val_phases < 2 or self._schedule.wants_rows(self._step)
        )

    # ------------------------------------------------------------------ inside

    _judges_rows, _val_s = True, 0.0

    def _attach(self, loss: Any) -> None:
        super()._attach(loss)
        losses.unlisten(self._on_loss_guarded)  # this loop tells of its losses
        replica = self.scene.replica
        if replica is not None:
            repeat, streams = replica.run, streams_of(replica.model)

            def run(forward: Forward, *rest: Any) -> Any:
                """Let the streams of the copy stand as those of the model did at that forward."""
                for stream, state in zip(streams, getattr(forward, "streams", ()), strict=False):
                    stream.set_state(state)
                return repeat(forward, *rest)

            replica.run = run

    def _arm(self) -> None:
        """Hang nothing into the model."""

    def _is_suspicious(self) -> bool:
        """Whether steps so short or long, or errors so predictable, let another rate or size do better."""
        view, can_ask = View(self.traces), bool(self.loss_name) and self._groups.has_twin
        odd = not CURVED <= view.q_median <= LINEAR or view.number("residual_r2", 0.0) > LEFT
        return can_ask and odd and super()._is_suspicious()

    def _budgets_s(self, seconds: float) -> tuple[float, float]:
        budget_s = max(WHAT_IF_S, WHAT_IF_SHARE * seconds)
        return budget_s, budget_s

    def _loss_of(self, batch: Batch) -> Tensor:
        model = self.scene.replica.model
        for stream in streams_of(model):
            stream.manual_seed(batch.step)  # the same dropout before and after a step
        outputs: Tensor = model(*batch.forward.args)
        return self._minimised(outputs, batch.y) if model.training else self.loss(outputs, batch.y)

    def _begin_look(self) -> None:
        start, self._window, self._forward_s = time.perf_counter(), [], 0.0
        self.scene.replica.take(self.model)
        self.scene.train_modes = [m.training for m in self.scene.replica.all_modules]
        own = self._own
        self._schedule.is_whole = own is None or (own.needs_copy and self._schedule.wants_whole())
        if own is not None:
            own.open()
        self._begin_s = time.perf_counter() - start
        self._t_clock = self._clock()

    def _end_look(self, now: float) -> None:
        own_s = self._own.cost_s if self._own is not None else 0.0
        start, window, self._window = now - self._begin_s - own_s, self._window, []
        self.scene.took(self._clock() - self._t_clock, sum(f.rows for f in window))
        self._probing = True
        try:
            with same_streams():
                self._measure(window, None)
        except (
            LookupError,
            RuntimeError,
            TypeError,
        ) as error:  # a forward that cannot be repeated on the copy
            self.traces.facts["no_looks"] = f"{type(error).__name__}: {error}"[:200]
        finally:
            self._probing = False
            if self._own is not None:
                self._own.end()
        self._schedule.done(self._step, time.perf_counter() - start, start - self._started)

    def _note_strength(self) -> None:
        """What this loop does to its gradients, `_minimised` and the twin of its optimizer do as well."""

    def _wants_copy(self) -> bool:
        return self._schedule.is_whole

    def _has_room(self, cost_s: float) -> bool:
        return self._schedule.pays(cost_s)

    def _saw_steps(
        self, values: Sequence[float], rates: Sequence[float], start: float, wait_s: float
    ) -> None:
        steps, now = range(self._step, self._step + len(values)), time.perf_counter()
        self.traces.extend("train_loss", steps, values)
        changed = [i for i, r in enumerate(rates[: len(values)]) if r != (rates[i - 1] if i else self._lr)]
        self.traces.extend("lr", [steps[i] + 1 for i in changed], [float(rates[i]) for i in changed])
        self._lr = rates[len(values) - 1] if values else self._lr
        if len(values) > 1:  # a step that was looked at took longer
            record = self._ledger.at(self._step)
            record("wait_s", wait_s)
            record("step_s", (now - start) / len(values))
        self._step = self.scene.step = self._step + len(values)
        self._ledger.flush_if_full()

    def _forward(self, x: Sequence[Tensor], outputs: Tensor) -> Forward:
        return Forward(tuple(x), {}, self.model.training, torch.get_rng_state(), output=outputs)

    def _call(self, outputs: Tensor, y: Tensor) -> LossCall:
        return LossCall(self.loss_name, self.loss, outputs, y, (), {}, self._nothing)


class _StreamedForward(Forward):
    """A forward of a model whose modules draw from streams of their own."""

    streams: list[Tensor]


def streams_of(model: nn.Module) -> list[torch.Generator]:
    """Return the generators that the modules of a model draw from, each once."""
    found = [getattr(m, "generator", None) for m in model.modules()]
    return list({id(g): g for g in found if isinstance(g, torch.Generator)}.values())

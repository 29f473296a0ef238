"""Watches any training loop through torch's own hooks, and changes nothing of what it computes."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from trainwell.rules.diagnosis import diagnose
from trainwell.rules.lr_too_low import LATE
from trainwell.rules.underfitting import asks_few_rows
from trainwell.rules.view import View
from trainwell.signals.family import Family
from trainwell.signals.scene import Batch, Look
from trainwell.signals.validation import judged
from trainwell.values.finding import Finding
from trainwell.watch.anew import anew_facts
from trainwell.watch.branch import CURVED, LINEAR, branch_facts, few_facts
from trainwell.watch.listening import Listening
from trainwell.watch.listening import Say as Say
from trainwell.watch.listening import to_stderr as _to_stderr
from trainwell.watch.losses import LossCall
from trainwell.watch.replica import Forward, same_streams
from trainwell.watch.threads import threads_for

__all__ = ["Say", "Watch", "_to_stderr"]


AGAIN, OFTEN = 20, 6
"""So often a step is repeated on the copy: every 20th look, of recurrent networks every 6th. The rest is read off the
loop's own step."""

REPEATS, AGREES, MORE = 1e-3, 0.01, 0.1
"""The copy repeats the loss of the loop where it differs by less than the first share, and its gradient by the second. An
equal loss with a gradient further apart than the third is not all that is minimised: what the copy does with it alone is
another training."""


WHAT_IF_S, WHAT_IF_SHARE = (1.0, 0.4), 0.01
"""Seconds that other rates, and few rows, may take after a short run that is not solved; after a longer one a share."""

WHAT_IF_STEPS, WHAT_IF_MOST_S = (200, 240), (3.0, 1.2)
"""The same as work: as long as so many steps of the run took, up to some seconds. Two branches of 24 steps that cool
down and are judged come to some 110 steps, on a machine under load as on a free one."""

ANEW_S, ANEW_STEPS, ANEW_MOST_S = 1.5, 1_500, 3.0
"""The same of trainings anew: two of a run of 600 steps, or three of which one has to be repeated."""


class Watch(Listening):
    """One watched training; use it as a context, or call `close` at the end.

    Attributes:
        traces: what was measured.
        findings: what ails the run, the gravest first; can be read while it goes on.
    """

    _findings: tuple[int, list[Finding]] | None = None
    _agrees: bool | None = None
    """Whether the loop's own gradient is that of the copy; `None` as long as it is not known."""
    _repeats = False
    """Whether the copy computes the loss that the loop does."""
    _has_more = False
    """Whether the loop minimises more than the losses that are heard, e.g. a divergence written by hand."""

    # ------------------------------------------------------------------ what the user calls

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.traces.facts["crashed"] = f"{type(error).__name__}: {error}"[:300]
        self.close()

    def close(self) -> list[Finding]:
        """Stop watching, measure what the whole run shows, save it where `out` says, and return the findings."""
        if not self._closed:
            self._closed = True
            self._unhook()
            self._guarded(self._finish)
        return self.findings

    @property
    def findings(self) -> list[Finding]:
        if self._findings is None or self._findings[0] != self._step:
            if not self._closed:
                self._guarded(self._finish)
            self._findings = (self._step, diagnose(self.traces))
        return self._findings[1]

    # ------------------------------------------------------------------ a look

    def _look(self, now: float) -> None:
        """Measure the step that has just been taken, at its cost in seconds since `now`."""
        self._measured()
        self._schedule.done(self._step, time.perf_counter() - now, now - self._started)

    def _measured(self) -> None:
        seen, self._window = self._window, []
        window = [f for f in seen if f.calls] or seen  # a loss written by hand is not heard
        stale, self._stale, self._stale_armed = self._stale, None, False
        if window and self.scene.replica is not None:
            self._probing = True
            try:
                with same_streams():
                    self._measure(window, stale)
            except (LookupError, RuntimeError, TypeError) as error:
                # this loop's forward cannot be repeated on the copy: go on without looks
                self.traces.facts["no_looks"] = f"{type(error).__name__}: {error}"[:200]
            finally:
                self._probing = False

    def _measure(self, window: list[Forward], stale: Tensor | None) -> None:
        look = self._look_at(window, stale) if window[0].calls else self._look_unheard(window)
        if look is None:
            return
        facts = self.traces.facts
        facts["accumulation"] = max(len(window), int(facts.get("accumulation", 1)))
        call = next(iter(window[0].calls), None)
        if call is not None and call.target.dim() and window[0].rows:
            facts["targets_per_sample"] = max(1, call.target.shape[0] // window[0].rows)
        self._note_strength()
        record = self._ledger.at(self._step)
        for family in self._families:
            family.look(look, record)

    def _note_strength(self) -> None:
        """Compare the gradients of the copy with those that the optimizer was given."""
        self._strengths.note(self.scene.replica.params, list(self.model.parameters()))

    def _look_at(self, window: list[Forward], stale: Tensor | None) -> Look:
        own = self._own.mean_grads(window) if self._own is not None else None
        look = self._look_with(window, stale, own)
        if own is not None:
            look.minimised = own[1]
        return look

    def _look_with(
        self,
        window: list[Forward],
        stale: Tensor | None,
        own: tuple[list[Tensor | None], Tensor | float] | None,
    ) -> Look:
        if own is not None and not self._wants_copy():
            return self._look_at_own(window, stale, *own)
        try:
            look = self._look_on_copy(window, stale)
        except (LookupError, RuntimeError, TypeError):
            if own is None:
                raise
            if not self._parts.late:  # what the loss is given does not follow from the output
                self._agrees, self._repeats = True, False
            return self._look_at_own(window, stale, *own)
        if own is not None:
            self._compare(own[0], look)
            if window[0].route is not None and not self._repeats:
                self._distrust_route()
            if self._has_more or self._by_hand:
                return self._look_at_own(window, stale, *own)
        return look

    def _distrust_route(self) -> None:
        """Note that the parts of the model do not repeat the loss of the loop, which does more than call them."""
        self._by_hand, self._agrees = True, True
        for batch in (*self.scene.train, *self.scene.val):
            batch.forward.by_hand, batch.forward.repeatable = True, False

    def _look_unheard(self, window: list[Forward]) -> Look | None:
        """Look at a step whose loss is written by hand: at its activations and gradients alone."""
        grads = self._own.unheard_grads() if self._own is not None else None
        self._repeats = False
        return None if grads is None else self._look_at_own(window, None, grads, 1.0)

    def _wants_copy(self) -> bool:
        """Whether the copy is to repeat this step: to learn whether the loop's own shows the same, and now and then."""
        looks, own = self._schedule.looks, self._own
        if self._agrees is False:
            return True
        often = own is not None and own.needs_copy
        due = self._agrees is None or looks % AGAIN == 0 or (often and (looks < 3 or looks % OFTEN == 0))
        return due and self._has_room(2 * self._step_s)

    def _has_room(self, cost_s: float) -> bool:
        return self._schedule.has_room(cost_s, time.process_time() - self._started_cpu)

    def _compare(self, grads: list[Tensor | None], look: Look) -> None:
        """Note whether the loop's own step shows what the copy does."""
        assert self._own is not None
        apart = self._own.apart(grads)
        same = (look.before - look.recorded).abs() <= REPEATS * look.recorded.abs() + 1e-6
        if apart is None:
            return
        self._has_more = bool(same) and apart > MORE
        if self._has_more:
            self.traces.facts["minimises_more"] = True
        self._agrees, self._repeats = self._has_more or apart <= AGREES, bool(same) and not self._has_more

    def _look_at_own(
        self, window: list[Forward], stale: Tensor | None, grads: list[Tensor | None], scale: Tensor | float
    ) -> Look:
        """Take the loop's own activations and gradients; the copy is asked for the loss after the step alone."""
        assert self._own is not None
        replica, recorded = self.scene.replica, _recorded(window)
        self._own.put_on_copy(grads)
        old = [p.detach() for p in replica.params]
        moved = torch._foreach_sub([p.detach() for p in self.model.parameters()], old)
        before = after = torch.full_like(recorded, torch.nan)
        if self._repeats and self._has_room(self._forward_s):
            old, buffers = [p.clone() for p in old], [b.clone() for b in replica.buffers]
            replica.take_params(self.model)
            before, after = recorded, self._loss_on_copy(window)
            self._restore(buffers)
            self._put_back(old)
        return Look(self.scene, window, before, after, recorded, list(moved), stale, scale)

    def _loss_on_copy(self, window: list[Forward]) -> Tensor:
        with torch.no_grad():
            return torch.stack([self.scene.replica.run(f, self._heard) for f in window]).mean()

    def _look_on_copy(self, window: list[Forward], stale: Tensor | None) -> Look:
        """Repeat the step on the copy."""
        replica = self.scene.replica
        old, buffers = [p.detach().clone() for p in replica.params], [b.clone() for b in replica.buffers]
        for param in replica.params:
            param.grad = None
        try:
            before = torch.zeros(())
            with torch.enable_grad():
                for forward in window:
                    loss = replica.run(forward, self._heard) / len(window)
                    loss.backward()
                    before = before.to(loss.device) + loss.detach()
            self._restore(buffers)
            replica.take_params(self.model)
            after = self._loss_on_copy(window)
            moved = torch._foreach_sub([p.detach() for p in replica.params], old)
        finally:
            self._restore(buffers)
            self._put_back(old)
        return Look(self.scene, window, before, after, _recorded(window), list(moved), stale)

    @torch.no_grad()
    def _put_back(self, params: list[Tensor]) -> None:
        if params:
            torch._foreach_copy_(self.scene.replica.params, params)

    def _restore(self, buffers: list[Tensor]) -> None:
        if buffers:
            torch._foreach_copy_(self.scene.replica.buffers, buffers)

    # ------------------------------------------------------------------ the end

    def _evaluate(self, batch: Batch) -> dict[str, Any]:
        """Judge a kept batch with the copy as it stands."""
        forward, call = batch.forward, batch.calls[0]
        caught: list[LossCall] = []

        class Catch(LossCall):
            def again(self, input: Tensor, target: Tensor | None = None, **changes: Any) -> Tensor:
                value = super().again(input, target, **changes)
                caught.append(
                    LossCall(self.name, self.function, input, self.target, self.args, self.kwargs, value)
                )
                return value

        probe = Catch(call.name, call.function, call.input, call.target, call.args, call.kwargs, call.value)
        self.scene.replica.run(forward, self._heard, [probe])
        seen = caught[0] if caught else self._heard[0]
        return judged(seen.name, seen, forward.rows, seen.each(forward.rows))

    def _close_family(self, family: Family, record: Callable[..., None]) -> None:
        """Let one family measure the whole run; where it cannot, the others still do."""
        try:
            family.close(self.scene, record)
        except Exception as error:
            name = type(family).__name__
            self.traces.facts.setdefault("unmeasured", {})[name] = f"{type(error).__name__}: {error}"[:200]

    def _is_suspicious(self) -> bool:
        """Whether to ask what another rate would do: not solved, or steps too long, and no plain fault explains it."""
        view = View(self.traces)
        if view.has_nonfinite or view.steps < 20 or self.scene.replica is None or self._has_more:
            return False
        if view.is_solved and (view.rate_decayed or not (self._may_overshoot(view) or _may_crawl(view))):
            return False
        return not any(f.is_alarm and f.grade == "D" and f.stage != "compute" for f in diagnose(self.traces))

    @staticmethod
    def _may_overshoot(view: View) -> bool:
        """Whether the steps looked at went past the middle, or were too few to tell where new rows fare badly."""
        known = view.q_median == view.q_median
        return view.q_median < CURVED if known else view.is_harmed

    def _loss_of(self, batch: Batch) -> Tensor:
        """The loss of a kept batch with the copy as it stands, in its modes as they are."""
        return self.scene.replica.run(batch.forward, self._heard)

    def _finish(self) -> None:
        if self._val:
            self._end_validation()
        self._prepare_targets()
        facts = self.traces.facts
        facts["steps"], facts["seconds"] = self._step, time.perf_counter() - self._started
        facts["watch_s"] = self._schedule.cost_s
        self._probing = True
        rows = self.scene.train[0].forward.rows if self.scene.train else 0
        with threads_for(self.scene.row_s * rows):
            self._measure_all()
        self._probing = False
        if self._closed and self.out is not None:
            self.traces.save(self.out)

    def _measure_all(self) -> None:
        """Measure what the whole run shows, and ask what would have been otherwise."""
        record = self._ledger.at(self._step)
        with same_streams():
            for family in self._families:
                if family.is_late and not self.scene.is_sound:
                    self._ledger.flush()
                    self.scene.is_sound = View(self.traces).is_sound
                self._close_family(family, record)
        self._ledger.flush()
        if self._closed and self._is_suspicious():
            self._ask_what_if()

    def _budgets_s(self, seconds: float) -> tuple[float, float]:
        """Return the seconds that other rates, and few rows, may take after a run of so many."""
        rates_s, rows_s = (
            max(self._budget_s(*limits), WHAT_IF_SHARE * seconds)
            for limits in zip(WHAT_IF_S, WHAT_IF_STEPS, WHAT_IF_MOST_S, strict=True)
        )
        return rates_s, rows_s

    def _budget_s(self, least: float, steps: int, most: float) -> float:
        """Return what so many steps of the run took in seconds, between both limits."""
        step_s = (time.process_time() - self._started_cpu) / max(1, self._step)
        return max(least, min(steps * step_s, most))

    def _ask_what_if(self) -> None:
        """Let copies go on from here: at other rates, and where the run is not solved also longer, and on few rows."""
        facts, view = self.traces.facts, View(self.traces)
        rates_s, rows_s = self._budgets_s(facts["seconds"])
        asks: dict[str, Callable[[], dict[str, Any]]] = {}
        if not view.is_solved or self._may_overshoot(view):
            asks["branch_facts"] = lambda: branch_facts(
                self.scene, rates_s, self._strengths.found, longest=0 if view.is_solved else None
            )
        if asks_few_rows(view):
            asks["few_facts"] = lambda: few_facts(self.scene, rows_s)
        if self._repeats and (not view.is_solved or _may_crawl(view)):
            anew_s = self._budget_s(ANEW_S, ANEW_STEPS, ANEW_MOST_S)
            asks["anew_facts"] = lambda: anew_facts(
                self.scene, self.scene.began, anew_s, self._strengths.found
            )
        with same_streams():
            for name, ask in asks.items():
                try:
                    facts |= ask()
                except Exception as error:  # e.g. no memory for a second optimizer
                    facts.setdefault("unmeasured", {})[name] = f"{type(error).__name__}: {error}"[:200]


def _may_crawl(view: View) -> bool:
    """Whether steps that go straight still lower a loss of which much is left, be the answers right by now."""
    return not view.is_done and view.q_median > LINEAR and view.late_rate > LATE


def _recorded(window: list[Forward]) -> Tensor:
    """Return the mean loss that the loop itself computed; nan of a loss that was not heard."""
    values = [c.value.detach().float().mean() for f in window for c in f.calls]
    return torch.stack(values).sum() / len(window) if values else torch.tensor(torch.nan)

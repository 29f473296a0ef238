"""Hears what a training loop does, through torch's own hooks: every forward, loss, step and validation."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwell.rules.rule import needed_signals
from trainwell.signals.contracts import DROPOUTS, NORMS
from trainwell.signals.family import Family, families
from trainwell.signals.scene import Batch, Scene, Validation
from trainwell.signals.validation import judged
from trainwell.values.signal import Traces
from trainwell.watch import losses
from trainwell.watch.anew import start_of
from trainwell.watch.by_hand import ByHand
from trainwell.watch.kept import facts_of_targets, kept, samples, static_facts
from trainwell.watch.ledger import Ledger
from trainwell.watch.losses import LossCall
from trainwell.watch.own_step import OwnStep, may_listen
from trainwell.watch.parts import Parts
from trainwell.watch.replica import Forward, Replica, same_streams
from trainwell.watch.schedule import Schedule
from trainwell.watch.shelf import Shelf
from trainwell.watch.strength import Strengths
from trainwell.watch.thinned import Thinned

MAX_ROWS = 2048
"""Rows of training and of validation whose inputs are kept for the checks of the data."""

MAX_VALUES = 16_000_000
"""Numbers that the kept rows may hold."""

MAX_START = 4_000_000
"""Weights of a network of which a copy of the first ones is kept; larger ones are not trained anew."""

TIMED = 20
"""Steps whose times are taken in any case; after that one follows every look."""

MAX_VAL_ROWS = 4096
"""Validation samples whose losses are kept one by one."""

Say = Callable[[str], None]


def to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


class Listening(ByHand):
    """Follow one training and keep what its measurements need; what is measured at a step is told by `Watch`."""

    _step, _closed = 0, False
    _stale_armed, _capturing, _quiet_until = False, True, -1
    """Of the steps up to the last of these only the losses are wanted, and of those before it the count."""
    _val_phases, _val_capturing, _val_training = 0, True, False
    _kept_rows = _kept_values = _timed = 0
    _heard_step = -1
    _t_step = _step_s = 0.0
    _stale: Tensor | None = None
    _lr: Any = None

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, *, loss: Any = None, task: str | None = None,
        train_data: Any = None, out: str | Path | None = None, say: Say = to_stderr,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model, self.optimizer, self.say = model, optimizer, say
        self.out = Path(out) if out is not None else None
        self.traces = Traces(static_facts(optimizer, task, train_data))
        self.traces.limits |= {"val_losses": 64, "unit_activity": 64, "unit_saturation": 64, "back_time": 64}
        self._ledger, self._schedule, self._shelf = Ledger(self.traces), Schedule(), Shelf()
        self._strengths = Strengths()
        self._families: list[Family] = families(needed_signals())
        self._sensitive = [m for m in model.modules() if isinstance(m, (*NORMS, *DROPOUTS))]
        self._heard: list[LossCall] = []
        self._handles: list[Any] = []
        self._val: Thinned[dict[str, Any]] = Thinned(MAX_VAL_ROWS)
        self._kept_val: Thinned[Batch] = Thinned(MAX_ROWS)
        self._per_epoch = int(self.traces.facts.get("steps_per_epoch", 0))
        self._started, self._started_cpu = time.perf_counter(), time.process_time()
        # the work of this thread: what else the machine does must not decide what can be asked
        self._clock = time.thread_time if self.traces.facts["device"] == "cpu" else time.perf_counter
        self.scene = Scene(model, optimizer, None, self.traces, guarded=self._guarded)
        self._guarded(self._attach, loss)

    # ------------------------------------------------------------------ what Watch measures

    def _measured(self) -> None:
        """Measure the step that has just been taken."""
        raise NotImplementedError

    def _evaluate(self, batch: Batch) -> dict[str, Any]:
        """Judge a kept batch with the copy as it stands."""
        raise NotImplementedError

    def _loss_of(self, batch: Batch) -> Tensor:
        """Return the loss of a kept batch with the copy as it stands, in its modes as they are."""
        raise NotImplementedError

    # ------------------------------------------------------------------ hooks

    def _attach(self, loss: Any) -> None:
        self._parts = Parts(self.model, self._may_seek())
        try:
            self.scene.replica = Replica(self.model)
        except Exception as error:  # a model that cannot be copied is watched without probes
            self.traces.facts["no_replica"] = f"{type(error).__name__}: {error}"[:200]
        small = sum(p.numel() for p in self.model.parameters()) <= MAX_START
        if small and isinstance(self.optimizer, Optimizer):
            self.scene.began = start_of(self.model)
        record = self._ledger.at(0)
        for family in self._families:
            if self.scene.replica is not None:
                family.prepare(self.scene)
            family.start(self.scene, record)
        if self.scene.replica is not None and may_listen(self.model):
            self._own = OwnStep(self.model, self.scene.replica, self._guarded, self._shelf)
        self.scene.evaluate, self.scene.loss_of = self._evaluate, self._loss_of
        losses.listen(self._on_loss_guarded, self._on_ordinary_loss)
        self._handles.append(self.optimizer.register_step_post_hook(self._on_step_guarded))
        self._arm()
        self._looking = self.scene.replica is not None  # the first step shows the start weights
        self._t_step = time.perf_counter()

    def _unhook(self) -> None:
        losses.unlisten(self._on_loss_guarded)
        self._quiet_until, self.scene.step = -1, self._step
        for handle in (*self._handles, *self._root_handles):
            handle.remove()
        self._handles, self._root_handles = [], []
        if self._own is not None:
            self._own.end()

    def _guarded(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call ours; whatever goes wrong in it must not reach the loop."""
        try:
            return function(*args)
        except Exception as error:
            self._alive = False
            self._unhook()
            self._window, self._open, self._probing = [], None, False
            where = error.__traceback__
            while where is not None and where.tb_next is not None:
                where = where.tb_next
            told = "watch_error" in self.traces.facts
            line = f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where else "?"
            self.traces.facts["watch_error"] = f"{type(error).__name__}: {error} ({line})"[:300]
            if not told:
                self.say(
                    f"trainwell: the watcher stopped, the training goes on ({type(error).__name__}: {error}, {line})"
                )
            return None

    def _on_step_guarded(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._step < self._quiet_until and not self._probing:
            groups = self.optimizer.param_groups
            if not groups or groups[0].get("lr") is self._lr:
                # most steps: `_on_step` would find the cache cold, and cost more than it does
                self._step += 1
                return
        if self._alive and not self._probing:
            self._guarded(self._on_step)

    def _on_ordinary_loss(self, value: Tensor) -> bool:
        """Take the loss of a step of which nothing else is wanted: most of them."""
        if self._step > self._quiet_until or self._probing or not value.requires_grad or value.dim():
            return False
        self._heard_step = self._step
        try:
            self._ledger.loss(self._step, value)
        except Exception:
            return False  # met again where it ends the watching
        return True

    def _on_loss_guarded(self, call: LossCall) -> None:
        if self._probing:
            self._heard.append(call)
        elif self._alive:
            self._guarded(self._on_loss, call)

    # ------------------------------------------------------------------ one loss, one step

    def _on_loss(self, call: LossCall) -> None:
        forward = self._open
        if forward is not None:
            forward.calls.append(call)
        if torch.is_grad_enabled() and call.value.requires_grad:
            self._on_train_loss(call, forward)
        elif not torch.is_grad_enabled():
            self._on_val_loss(call, forward)

    def _on_train_loss(self, call: LossCall, forward: Forward | None) -> None:
        if self._val:
            self._end_validation()
        value, self._heard_step = call.value, self._step
        self._ledger.loss(self._step, value if value.dim() == 0 else value.detach().mean())
        if "loss_name" not in self.traces.facts:
            self._first_loss(call)
        if self._capturing and forward is not None:
            self._capture(forward, call)
        if self._looking and not self._stale_armed and forward is not None:
            self._stale_armed = True
            call.value.register_hook(self._before_backward)
        if self._looking and forward is not None and self._own is not None:
            self._own.follow(call.value)

    def _before_backward(self, grad: Tensor) -> None:
        """Look whether gradients of the step before are still there; called before any new one arrives."""
        came = self._own is None or self._own.has_come  # else it was torch.autograd.grad that asked
        if self._alive and (self._stale is None or not came):
            self._guarded(self._note_stale)

    def _note_stale(self) -> None:
        params = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        norms = [p.grad.detach().abs().max() for p in params[:8] if p.grad.numel()]
        old = [f for f in self._window if f.calls]
        if len(old) <= 1:
            self._stale = (torch.stack(norms).max() > 0).float() if norms else torch.zeros(())

    def _capture(self, forward: Forward, *calls: LossCall) -> None:
        rows = forward.rows
        if rows and not self._parts.late and not self._is_edited(forward):
            own = kept(forward, calls, self._shelf)
            self.scene.train.append(Batch(own, own.calls, self._step))
            self._kept_rows += rows
            self._kept_values += self.scene.train[-1].x.numel()
        limit = int(self.traces.facts.get("rows_per_epoch") or MAX_ROWS)
        if self._kept_rows >= min(MAX_ROWS, limit) or self._kept_values > MAX_VALUES:
            self._capturing = False

    def _on_val_loss(self, call: LossCall, forward: Forward | None) -> None:
        if not self._val:
            self._quiet_until = -1
            self._kept_val = Thinned(MAX_ROWS)
            self._val_training = self.model.training and any(m.training for m in self._sensitive)
            if not self._root_handles and self._val_capturing:
                self._arm()
        rows = forward.rows if forward is not None else samples(call, self.traces.facts)
        self._val.offer(rows, lambda: judged(call.name, call, rows, call.each(rows)))
        if not self._val_capturing:
            return
        number = self._val.seen - 1
        self._kept_val.offer(rows, lambda: self._kept_of_validation(call, forward, number))
        self.scene.val = self._kept_val.items

    def _kept_of_validation(self, call: LossCall, forward: Forward | None, number: int) -> Batch | None:
        if forward is None or not forward.tensors or self._is_edited(forward):
            return None
        own = kept(forward, [call], self._shelf)
        return Batch(own, own.calls, number)

    def _end_validation(self) -> None:
        facts = self.traces.facts
        results = [r | {"number": n} for r, n in zip(self._val.items, self._val.numbers, strict=True)]
        phase = Validation(self.scene, results, [r["rows"] for r in results], self._val_training, False)
        self.scene.last_val, self._val = results, Thinned(MAX_VAL_ROWS)
        self._open = None
        if self._step == 0:
            return
        if self._val_phases == 0:
            facts.setdefault(
                "rows_per_epoch", sum(b.forward.rows for b in self.scene.train) if self._capturing else None
            )
            self._capturing = False
            self._prepare_targets()
        self._val_phases += 1
        self._val_capturing = self._val_capturing and not self.scene.val
        start = time.process_time()
        self._probing = True
        record = self._ledger.at(self._step)
        with same_streams():
            for family in self._families:
                family.validation(phase, record)
        self._probing = False
        self._ledger.flush_if_full()
        self._t_step = time.perf_counter()
        self._schedule.cost_s += time.process_time() - start
        self._t_forward = self._t_step
        if not self._looking and not self._capturing:
            self._disarm()

    def _on_step(self) -> None:
        armed, looked = bool(self._root_handles), self._looking
        if armed or looked:
            self._on_seen_step(looked)
        if self._parts.stepped():
            self._disarm()
        self._step += 1
        self.scene.step = self._step
        lr = self.optimizer.param_groups[0]["lr"]
        if lr is not self._lr and lr != self._lr:
            self._lr = lr
            self._ledger.at(self._step)("lr", float(lr))
        self._open, self._going_back, self._since_backward = None, None, 0
        self._looking = self._step >= self._schedule.next
        is_known = "loss_name" in self.traces.facts
        self._capturing = self._capturing and (
            is_known or self._tries > 0
        )  # of a loss that nobody knows: nothing
        if self._looking or looked or self._capturing or self._timed < TIMED or self._validation_may_come():
            self._arm()
        elif armed:
            self._disarm()
        self._ledger.flush_if_full()
        self._quiet_until = -1
        if not self._root_handles and not self._val and (is_known or not self._tries):
            epoch = self._per_epoch if self._val_capturing else 0
            self._quiet_until = self._schedule.event(self._step, epoch) - 1
        if self._root_handles:
            self._t_forward, self._t_step = 0.0, time.perf_counter()

    def _on_seen_step(self, looking: bool) -> None:
        """Take a step whose forward was seen: look at it, or note how long it took."""
        if looking:
            start, own = time.process_time(), self._own
            self._step_s = start - self._t_look
            self.scene.took(self._clock() - self._t_clock, sum(f.rows for f in self._window))
            if any(self._is_edited(f) for f in self._window):
                self._window, self._stale, self._stale_armed = [], None, False
            self._measured()
            cost_s = time.process_time() - start
            if own is not None:
                cost_s += own.cost_s
                own.end()
            self._schedule.done(self._step, cost_s, start - self._started_cpu)
        elif self._t_forward and self._t_step:
            record, self._timed = self._ledger.at(self._step), self._timed + 1
            record("wait_s", self._t_forward - self._t_step)
            record("step_s", time.perf_counter() - self._t_forward)

    def _validation_may_come(self) -> bool:
        """Whether an epoch has ended whose validation is the first to be seen."""
        return self._val_capturing and self._per_epoch > 0 and self._step % self._per_epoch == 0

    def _prepare_targets(self) -> None:
        """Measure the targets seen so far, and the loss of the best constant answer."""
        self.traces.facts |= facts_of_targets(
            [b.calls[0] for b in self.scene.train if b.calls], self.traces.facts
        )

"""Watches any training loop through torch's own hooks, and changes nothing of what it computes."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwell.rules.diagnosis import diagnose
from trainwell.rules.rule import needed_signals
from trainwell.rules.view import View
from trainwell.signals.contracts import DROPOUTS, NORMS
from trainwell.signals.data import target_facts
from trainwell.signals.family import Family, families
from trainwell.signals.scene import Batch, Look, Scene, Validation
from trainwell.signals.validation import judged
from trainwell.values.finding import Finding
from trainwell.values.signal import Traces
from trainwell.watch import losses
from trainwell.watch.branch import CURVED, branch_facts, few_facts
from trainwell.watch.ledger import Ledger
from trainwell.watch.losses import KINDS, LossCall
from trainwell.watch.replica import Forward, Replica, relation, same_streams
from trainwell.watch.schedule import Schedule

MAX_ROWS = 2048
"""Rows of training and of validation whose inputs are kept for the checks of the data."""

MAX_VALUES = 16_000_000
"""Numbers that the kept rows may hold."""

MAX_VAL_ROWS = 4096
"""Validation samples whose losses are kept one by one."""

Say = Callable[[str], None]


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


class Watch:
    """One watched training; use it as a context, or call `close` at the end.

    Attributes:
        traces: what was measured.
        findings: what ails the run, the gravest first; can be read while it goes on.
    """

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, *, loss: Any = None, task: str | None = None,
        train_data: Any = None, out: str | Path | None = None, say: Say = _to_stderr,
    ) -> None:  # fmt: skip
        self.model, self.optimizer, self.say = model, optimizer, say
        self.out = Path(out) if out is not None else None
        self.traces = Traces(_static_facts(optimizer, task, train_data))
        self.traces.limits |= {"val_losses": 64, "unit_activity": 64, "unit_saturation": 64, "back_time": 64}
        self._ledger = Ledger(self.traces)
        self._schedule = Schedule()
        self._families: list[Family] = families(needed_signals())
        self._sensitive = [m for m in model.modules() if isinstance(m, (*NORMS, *DROPOUTS))]
        self._step, self._closed, self._alive = 0, False, True
        self._probing = False
        self._heard: list[LossCall] = []
        self._handles: list[Any] = []
        self._root_handles: list[Any] = []
        self._window: list[Forward] = []
        self._open: Forward | None = None
        self._looking, self._stale_armed = False, False
        self._stale: Tensor | None = None
        self._capturing = True
        self._val: list[dict[str, Any]] = []
        self._val_rows, self._val_capturing, self._val_training = 0, True, False
        self._val_phases = 0
        self._kept_rows = self._kept_values = 0
        self._lr: Any = None
        self._per_epoch = int(self.traces.facts.get("steps_per_epoch", 0))
        self._t_step = self._t_forward = 0.0
        self._findings: tuple[int, list[Finding]] | None = None
        self._started, self._started_cpu = time.perf_counter(), time.process_time()
        self.scene = Scene(model, optimizer, None, self.traces)
        self._guarded(self._attach, loss)

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

    # ------------------------------------------------------------------ hooks

    def _attach(self, loss: Any) -> None:
        try:
            self.scene.replica = Replica(self.model)
        except Exception as error:  # a model that cannot be copied is watched without probes
            self.traces.facts["no_replica"] = f"{type(error).__name__}: {error}"[:200]
        record = self._ledger.at(0)
        for family in self._families:
            if self.scene.replica is not None:
                family.prepare(self.scene)
            family.start(self.scene, record)
        self.scene.evaluate, self.scene.loss_of = self._evaluate, self._loss_of
        losses.listen(self._on_loss_guarded)
        self._handles.append(self.optimizer.register_step_post_hook(self._on_step_guarded))
        self._arm()
        self._looking = self.scene.replica is not None  # the first step shows the start weights
        self._t_step = time.perf_counter()

    def _unhook(self) -> None:
        losses.unlisten(self._on_loss_guarded)
        for handle in (*self._handles, *self._root_handles):
            handle.remove()
        self._handles, self._root_handles = [], []

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
        if self._alive and not self._probing:
            self._guarded(self._on_step)

    def _on_loss_guarded(self, call: LossCall) -> None:
        if self._probing:
            self._heard.append(call)
        elif self._alive:
            self._guarded(self._on_loss, call)

    def _arm(self) -> None:
        if not self._root_handles:
            self._root_handles = [
                self.model.register_forward_pre_hook(self._before_forward, with_kwargs=True),
                self.model.register_forward_hook(self._after_forward, with_kwargs=True),
            ]

    def _disarm(self) -> None:
        for handle in self._root_handles:
            handle.remove()
        self._root_handles = []

    def _before_forward(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if self._alive and not self._probing:
            self._guarded(self._open_forward, args, kwargs)

    def _after_forward(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self._alive and not self._probing and self._open is not None:
            self._open.output = output
            self._open.inside = len(self._open.calls)

    # ------------------------------------------------------------------ one forward, one loss, one step

    def _open_forward(self, args: Any, kwargs: Any) -> None:
        now = time.perf_counter()
        training = torch.is_grad_enabled()
        if training and not self._window and not self._t_forward:
            self._t_forward = now
        self._open = Forward(args, kwargs, self.model.training, torch.get_rng_state())
        if torch.cuda.is_initialized():
            self._open.device_rng = torch.cuda.get_rng_state()
        device = self._open.tensors[0].device.type if self._open.tensors else "cpu"
        if torch.is_autocast_enabled(device):
            self._open.autocast = (device, torch.get_autocast_dtype(device))
        if training and self._looking:
            if not self._window and self.scene.replica is not None:
                self.scene.replica.take(self.model)
                self.scene.train_modes = [m.training for m in self.scene.replica.all_modules]
            self._window.append(self._open)

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
        value = call.value.detach()
        self._ledger.loss(self._step, value if value.dim() == 0 else value.mean())
        if "loss_name" not in self.traces.facts:
            self._first_loss(call)
        if self._capturing and forward is not None:
            self._capture(forward, call)
        if self._looking and not self._stale_armed and forward is not None:
            self._stale_armed = True
            call.value.register_hook(self._before_backward)

    def _first_loss(self, call: LossCall) -> None:
        facts = self.traces.facts
        facts["loss_name"], facts["loss_kind"] = call.name, KINDS[call.name]
        if self._open is not None:
            facts["batch_size"] = self._open.rows

    def _before_backward(self, grad: Tensor) -> None:
        """Look whether gradients of the step before are still there; called before any new one arrives."""
        if self._alive and self._stale is None:
            self._guarded(self._note_stale)

    def _note_stale(self) -> None:
        params = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        norms = [p.grad.detach().abs().max() for p in params[:8] if p.grad.numel()]
        old = [f for f in self._window if f.calls]
        if len(old) <= 1:
            self._stale = (torch.stack(norms).max() > 0).float() if norms else torch.zeros(())

    def _capture(self, forward: Forward, call: LossCall) -> None:
        rows = forward.rows
        if rows:
            kept = _kept(forward, call)
            self.scene.train.append(Batch(kept, kept.calls, self._step))
            self._kept_rows += rows
            self._kept_values += self.scene.train[-1].x.numel()
        limit = int(self.traces.facts.get("rows_per_epoch") or MAX_ROWS)
        if self._kept_rows >= min(MAX_ROWS, limit) or self._kept_values > MAX_VALUES:
            self._capturing = False

    def _on_val_loss(self, call: LossCall, forward: Forward | None) -> None:
        if not self._val:
            self._val_rows = 0
            self._val_training = self.model.training and any(m.training for m in self._sensitive)
            if not self._root_handles and self._val_capturing:
                self._arm()
        rows = forward.rows if forward is not None else self._samples(call)
        if self._val_rows < MAX_VAL_ROWS:
            each = call.each(rows)
            self._val.append(judged(call.name, call, rows, each))
            self._val_rows += len(each)
        if self._val_capturing and forward is not None and forward.tensors:
            kept = sum(b.forward.rows for b in self.scene.val)
            if kept < MAX_ROWS:
                self.scene.val.append(Batch(_kept(forward, call), [], len(self._val) - 1))
                self.scene.val[-1].calls = self.scene.val[-1].forward.calls

    def _samples(self, call: LossCall) -> int:
        """Guess the batch size where the forward was not seen: a sample may have several targets."""
        per_sample = int(self.traces.facts.get("targets_per_sample", 1))
        total = call.target.shape[0] if call.target.dim() else 0
        return total // per_sample if per_sample and total % per_sample == 0 else total

    def _end_validation(self) -> None:
        facts = self.traces.facts
        phase = Validation(self.scene, self._val, [r["rows"] for r in self._val], self._val_training, False)
        self.scene.last_val, self._val = self._val, []
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
        now = time.perf_counter()
        light = bool(self._root_handles) and not self._looking
        if light and self._t_forward and self._t_step:
            record = self._ledger.at(self._step)
            record("wait_s", self._t_forward - self._t_step)
            record("step_s", now - self._t_forward)
        looked = self._looking
        if looked:
            start = time.process_time()
            self._measured()
            self._schedule.done(self._step, time.process_time() - start, start - self._started_cpu)
        self._step += 1
        self.scene.step = self._step
        lr = self.optimizer.param_groups[0]["lr"]
        if lr is not self._lr and lr != self._lr:
            self._lr = lr
            self._ledger.at(self._step)("lr", float(lr))
        self._open = None
        self._looking = self._step >= self._schedule.next
        if self._looking or looked or self._capturing or self._validation_may_come():
            self._arm()
        elif self._root_handles:
            self._disarm()
        self._ledger.flush_if_full()
        self._t_forward = 0.0
        self._t_step = time.perf_counter()

    # ------------------------------------------------------------------ a look

    def _look(self, now: float) -> None:
        """Measure the step that has just been taken, at its cost in seconds since `now`."""
        self._measured()
        self._schedule.done(self._step, time.perf_counter() - now, now - self._started)

    def _measured(self) -> None:
        window, self._window = [f for f in self._window if f.calls], []
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
        replica = self.scene.replica
        buffers = [b.clone() for b in replica.buffers]
        for param in replica.params:
            param.grad = None
        with torch.enable_grad():
            before = torch.zeros(())
            for forward in window:
                loss = replica.run(forward, self._heard) / len(window)
                loss.backward()
                before = before.to(loss.device) + loss.detach()
        old = [p.detach().clone() for p in replica.params]
        self._restore(buffers)
        replica.take_params(self.model)
        after = torch.zeros_like(before)
        with torch.no_grad():
            for forward in window:
                after += replica.run(forward, self._heard) / len(window)
        moved = torch._foreach_sub([p.detach() for p in replica.params], old)
        self._restore(buffers)
        with torch.no_grad():
            for param, value in zip(replica.params, old, strict=True):
                param.copy_(value)
        recorded = torch.stack(
            [c.value.detach().float().mean() for f in window for c in f.calls]
        ).sum() / len(window)
        facts = self.traces.facts
        facts["accumulation"] = max(len(window), int(facts.get("accumulation", 1)))
        if window[0].calls[0].target.dim() and window[0].rows:
            facts["targets_per_sample"] = max(1, window[0].calls[0].target.shape[0] // window[0].rows)
        look = Look(self.scene, window, before, after, recorded, list(moved), stale)
        record = self._ledger.at(self._step)
        for family in self._families:
            family.look(look, record)

    def _restore(self, buffers: list[Tensor]) -> None:
        with torch.no_grad():
            for own, value in zip(self.scene.replica.buffers, buffers, strict=True):
                own.copy_(value)

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
        if view.has_nonfinite or view.steps < 20 or self.scene.replica is None:
            return False
        if view.is_solved and not (view.q_median < CURVED and not view.rate_decayed):
            return False
        return not any(f.is_alarm and f.grade == "D" and f.stage != "compute" for f in diagnose(self.traces))

    def _loss_of(self, batch: Batch) -> Tensor:
        """The loss of a kept batch with the copy as it stands, in its modes as they are."""
        return self.scene.replica.run(batch.forward, self._heard)

    def _validation_may_come(self) -> bool:
        """Whether an epoch has just ended whose validation is the first to be seen."""
        return self._val_capturing and self._per_epoch > 0 and self._step % self._per_epoch == 0

    def _prepare_targets(self) -> None:
        """Measure the targets seen so far, and the loss of the best constant answer."""
        facts = self.traces.facts
        calls = [b.calls[0] for b in self.scene.train if b.calls]
        shapes = {c.target.shape[1:] for c in calls}
        if not calls or len(shapes) > 1 or calls[0].target.dim() == 0:
            return
        targets = torch.cat([c.target.detach() for c in calls])
        facts |= target_facts(targets, facts["loss_kind"])
        facts["base_loss"] = _base_loss(calls[0], targets, facts)

    def _finish(self) -> None:
        if self._val:
            self._end_validation()
        self._prepare_targets()
        facts = self.traces.facts
        facts["steps"], facts["seconds"] = self._step, time.perf_counter() - self._started
        facts["watch_s"] = self._schedule.cost_s
        self._probing = True
        record = self._ledger.at(self._step)
        with same_streams():
            for family in self._families:
                if family.is_late and not self.scene.is_sound:
                    self._ledger.flush()
                    self.scene.is_sound = View(self.traces).is_sound
                self._close_family(family, record)
        self._ledger.flush()
        if self._closed and self._is_suspicious():
            with same_streams():
                budget_s = max(1.0, 0.015 * facts["seconds"])
                for ask in (branch_facts, few_facts):
                    try:
                        facts |= ask(self.scene, budget_s)
                    except Exception as error:  # e.g. no memory for a second optimizer
                        facts.setdefault("unmeasured", {})[ask.__name__] = f"{type(error).__name__}: {error}"[
                            :200
                        ]
        self._probing = False
        if self._closed and self.out is not None:
            self.traces.save(self.out)


def _static_facts(optimizer: Optimizer, task: str | None, train_data: Any) -> dict[str, Any]:
    group = optimizer.param_groups[0]
    numbers = {
        k: [float(v) for v in group[k]] if isinstance(group[k], tuple) else float(group[k])
        for k in ("lr", "momentum", "weight_decay", "betas", "eps", "initial_lr")
        if k in group and group[k] is not None
    }
    facts: dict[str, Any] = {
        "optimizer": type(optimizer).__name__, "hyper": numbers, "task": task,
        "lrs": [float(g["lr"]) for g in optimizer.param_groups],
        "decoupled_decay": type(optimizer).__name__ in ("AdamW", "NAdamW") or bool(group.get("decoupled_weight_decay")),
        "device": str(group["params"][0].device.type) if group["params"] else "cpu",
    }  # fmt: skip
    try:
        facts["steps_per_epoch"] = len(train_data)
        facts["rows_per_epoch"] = len(getattr(train_data, "dataset", None) or train_data.x)
    except (TypeError, AttributeError):
        pass
    return facts


def _kept(forward: Forward, call: LossCall) -> Forward:
    """Return a forward that can be held: copies of the inputs, no graph, and no outputs, which may be large."""

    def copied(value: Any) -> Any:
        return value.detach().clone() if isinstance(value, Tensor) else value

    args, kwargs = tuple(map(copied, forward.args)), {k: copied(v) for k, v in forward.kwargs.items()}
    kept = Forward(args, kwargs, forward.training, forward.rng, forward.device_rng, forward.autocast)
    kept.inside = forward.inside
    if forward.inside == 0:
        with contextlib.suppress(LookupError):
            kept.relations = [relation(call.input, forward.output)]
    kept.repeatable = bool(kept.relations) or forward.inside > 0
    nothing = call.input.new_zeros(0)
    kept.calls = [
        LossCall(call.name, call.function, nothing, copied(call.target), call.args, call.kwargs, nothing)
    ]
    return kept


def _base_loss(call: LossCall, targets: Tensor, facts: dict[str, Any]) -> float | None:
    """Return the loss of the best constant answer: class shares, or the mean target."""
    with torch.no_grad():
        if facts["loss_kind"] in ("classification", "binary") and facts.get("class_counts"):
            counts = torch.tensor(list(facts["class_counts"].values()), dtype=torch.float64)
            share = counts / counts.sum()
            return float(-(share * share.clamp(min=1e-12).log()).sum())
        if facts["loss_kind"] == "regression" and targets.is_floating_point():
            mean = targets.double().mean(0, keepdim=True).expand_as(targets).to(targets.dtype)
            return float(call.again(mean, targets, reduction="mean"))
    return None

"""Our own trainings under the watcher: what the engine tells it, and what comes of it."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from trainwell.app.findings import TRACES, Diagnosis, write_findings
from trainwell.engine.feed import XY
from trainwell.engine.losses import Objective
from trainwell.engine.parts import Batch
from trainwell.engine.recorder import Recorder
from trainwell.engine.training import Observer, Training
from trainwell.engine.twin import Twin
from trainwell.rules.diagnosis import diagnose
from trainwell.values.errors import RunError
from trainwell.values.signal import Traces
from trainwell.values.technique import Technique
from trainwell.watch.branch import copied_optimizer
from trainwell.watch.listening import MAX_ROWS
from trainwell.watch.losses import KINDS
from trainwell.watch.told import ToldWatch
from trainwell.watch.watcher import Say

BACK_SHARE = 0.005
"""Looking back for a person who watches may take this share of the time."""
UNFINISHED = ("budget", "capacity", "schedule", "symptom", "compute", "information", "batch")
"""Stages whose ailments only a whole run can show."""

SAVE_EVERY_S = 60.0
"""Traces are written so often, and at the end."""

OPTIMIZERS = {
    "adam": "Adam",
    "adamw": "AdamW",
    "sgd": "SGD",
    "nesterov": "SGD",
    "nadamw": "NAdamW",
    "muon": "Muon",
}


class Attending(Observer):
    """Lets a watch look into a training.

    Args:
        training: assembled, with its recorder, and put back to where it goes on.
        say: where the one line goes that tells of an error in the watcher.
        val_rows: of validation, where they are known; of many some are judged, from all over the part: a table is
            often in some order.
    """

    def __init__(self, training: Training, say: Say, val_rows: int = 0) -> None:
        self.training, self._saved_at, self._is_over = training, time.perf_counter(), False
        self._judged, self._val_row = _judged(val_rows), 0
        self._began, self._back_s = self._saved_at, 0.0
        loss, name = _plain_loss(training.objective, training)
        self._groups = groups = Groups(training)
        self.watch = ToldWatch(
            training.model, groups, loss=loss, loss_name=name,
            minimised=lambda outputs, y: training.step.loss_of(outputs, Batch((), y)), facts=_facts(training), say=say,
            total_steps=training.state.total_steps, first_step=training.state.step,
        )  # fmt: skip
        # the decay of a technique of ours never goes through the gradient
        self.watch.traces.facts |= {"optimizer": groups.kind, "decoupled_decay": groups.is_decay_decoupled}
        self._past()

    @property
    def cost_s(self) -> float:  # type: ignore[override]
        return self.watch.cost_s

    # ------------------------------------------------------------------ what the training tells

    def look_back(self) -> None:
        start = time.perf_counter()
        if self._back_s > BACK_SHARE * (start - self._began):
            return
        with contextlib.suppress(Exception):  # what a person is shown on the way must not end a training
            found = diagnose(self.watch.traces)
            self.so_far = [f.title for f in found if f.is_alarm and f.stage not in UNFINISHED]
        self._back_s += time.perf_counter() - start

    def steps_to_look(self) -> int:
        return self.watch.steps_to_look()

    def look(self, x: tuple[Tensor, ...], y: Tensor, lr: Any) -> Tensor:
        step, watch = self.training.step, self.watch
        plan = step.plan
        autocast = (plan.device.type, plan.autocast) if plan.autocast is not None else None

        def forward_loss(x: tuple[Tensor, ...], y: Tensor) -> Tensor:
            batch: Batch = step.edited(x, y)
            moment = watch.moment(autocast)
            outputs = step.forward(*batch.x)
            loss = step.loss_of(outputs, batch)
            watch.saw_forward(
                moment, batch.x, outputs, batch.y, lambda outputs: step.loss_of(outputs, batch), loss
            )
            return loss

        watch.begin_look()
        step.forward_loss = forward_loss  # type: ignore[method-assign]
        try:
            loss = step(x, y, lr)
        finally:
            del step.forward_loss
        watch.end_look()
        return loss

    def on_steps(
        self,
        batches: Sequence[XY],
        losses: Sequence[Tensor],
        rates: Sequence[float],
        start: float,
        wait_s: float,
    ) -> None:
        for x, y in batches:
            if not self.watch.keep_batch(x, y):
                break
        values = torch.stack(list(losses)).float().cpu().tolist()
        self.watch.saw_steps(values, [rate * self._groups.unit for rate in rates], start, wait_s)
        self._groups.rate_is(rates[len(values) - 1] if values else None)
        if time.perf_counter() - self._saved_at > SAVE_EVERY_S:
            self._save()

    def on_validation_batch(self, x: tuple[Tensor, ...], outputs: Tensor, y: Tensor) -> None:
        start, self._val_row = self._val_row, self._val_row + len(y)
        if self._judged is not None and len(outputs) == len(y):
            rows = torch.from_numpy(np.flatnonzero(self._judged[start : self._val_row])).to(y.device)
            x, outputs, y = tuple(t[rows] for t in x), outputs[rows], y[rows]
        if len(y):
            self.watch.saw_validation_batch(x, outputs, y)

    def on_validation(self, loss: float) -> None:
        self._val_row = 0
        self.watch.saw_validation(loss)

    def on_end(self, training: Training) -> None:
        if self._is_over:
            return
        self._is_over = True
        with training.step.evaluated_weights():
            self.findings = self.watch.close()
        self._save()
        recorder = training.watcher
        if isinstance(recorder, Recorder):
            steps, error = training.state.step, str(self.watch.traces.fact("watch_error") or "")
            diagnosis = Diagnosis(
                self.findings,
                steps,
                "",
                TRACES,
                error,
                training.recipe,
                str(getattr(training.model, "data_kind", "")),
            )
            recorder.write("findings", lambda: write_findings(recorder.folder.path, [diagnosis]))

    def _save(self) -> None:
        recorder, self._saved_at = self.training.watcher, time.perf_counter()
        if isinstance(recorder, Recorder):
            recorder.write("traces", lambda: self.watch.traces.save(recorder.folder.path / TRACES))

    def _past(self) -> None:
        """Go on with the traces of the session before, where the run is resumed."""
        recorder = self.training.watcher
        if isinstance(recorder, Recorder) and self.training.state.step:
            with contextlib.suppress(RunError):
                self.watch.remember(Traces.load(recorder.folder.path / TRACES))


def _judged(rows: int) -> npt.NDArray[np.bool_] | None:
    """Return which validation rows are judged one by one; None for all."""
    if rows <= MAX_ROWS:
        return None
    judged = np.zeros(rows, bool)
    judged[np.random.default_rng(0).permutation(rows)[:MAX_ROWS]] = True
    return judged


class Groups:
    """What the watcher reads of an optimizer, for one that moves flat weights.

    Attributes:
        kind: the class of torch.optim that moves alike.
        unit: what the rates of the training multiply.
    """

    def __init__(self, training: Training) -> None:
        recipe, step, optimizer = training.recipe, training.step, training.recipe.optimizer
        assert isinstance(optimizer, Technique)
        held = {p: getattr(optimizer, p) for p in optimizer.doses()}
        decay = recipe.get("weight_decay")
        group: dict[str, Any] = {
            "params": [p for p in training.model.parameters() if p.requires_grad],
            "lr": float(recipe.lr or 0.0),
            "weight_decay": float(held.get("weight_decay", 0.0)) + float(getattr(decay, "rate", 0.0)),
        }
        if "beta1" in held and "beta2" in held:
            group["betas"] = (held["beta1"], held["beta2"])
        if "momentum" in held:
            group["momentum"] = held["momentum"]
        self._training = training
        self._foreign = foreign = getattr(step.sites.optimizer, "optimizer", None)
        self.kind = OPTIMIZERS.get(optimizer.name, "") if foreign is None else type(foreign).__name__
        self.param_groups = [group] if foreign is None else foreign.param_groups
        self.unit = 1.0 if foreign is None else float(foreign.param_groups[0]["lr"])
        self.state: dict[Any, Any] = defaultdict(dict)

    def rate_is(self, rate: float | None) -> None:
        """Note the rate of the last step."""
        if self._foreign is None and rate is not None:
            self.param_groups[0]["lr"] = float(rate)

    @property
    def is_decay_decoupled(self) -> bool:
        """Whether the weight decay acts on the weights and not on the gradient."""
        return self._foreign is None or self.kind in ("AdamW", "NAdamW")

    @property
    def has_twin(self) -> bool:
        """Whether copies of the parameters can be moved as this training moves its own."""
        return self._foreign is not None or hasattr(self._training.step.sites.optimizer, "direction")

    def twin(self, own: Sequence[Tensor]) -> Any:
        """Return what moves copies of all parameters, in their order, with the memory of this optimizer."""
        model, step = self._training.model, self._training.step
        if self._foreign is not None:
            return copied_optimizer(self._foreign, own, list(model.parameters()))
        return Twin(step, model, own)

    def register_step_post_hook(self, hook: Callable[..., None]) -> Groups:
        """Do nothing: the training tells of its steps."""
        return self

    def remove(self) -> None:
        pass


def _plain_loss(objective: Objective, training: Training) -> tuple[Callable[..., Tensor], str]:
    """Return the loss of the task with a reduction, and the name of the function of torch that it stands for."""
    if objective.mean in (F.cross_entropy, F.mse_loss):
        return objective.mean, objective.mean.__name__

    def own(outputs: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
        if reduction == "none" and objective.each is not None:
            return objective.each(outputs, target)
        return objective.mean(outputs, target)

    made = getattr(objective.mean, "__name__", type(objective.mean).__name__)
    snake = {n.replace("_", ""): n for n in KINDS} | {
        "bceloss": "binary_cross_entropy", "bcewithlogitsloss": "binary_cross_entropy_with_logits",
        "crossentropyloss": "cross_entropy",
    }  # fmt: skip
    name = made if made in KINDS else snake.get(made.lower(), "")
    return own, name if objective.each is not None else ""


def _facts(training: Training) -> dict[str, Any]:
    """Return what the training knows of itself."""
    recipe, feed, task = training.recipe, training.feed, training.task
    smoothing = recipe.get("label_smoothing")
    facts: dict[str, Any] = {
        "model_name": recipe.model.family, "task": task.kind if task else None, "batch_size": recipe.batch_size,
        "steps_per_epoch": feed.steps_per_epoch, "rows_per_epoch": feed.num_rows or None, "reduction": "mean",
        "label_smoothing": float(getattr(smoothing, "amount", 0.0)),
        "loss_weighted": recipe.get("class_weights") is not None,
    }  # fmt: skip
    if task is not None:
        classes = task.is_classification
        facts |= {
            "out_shape": [recipe.batch_size, task.num_outputs], "target_integer": classes,
            "target_shape": [recipe.batch_size] if classes else [recipe.batch_size, task.num_outputs],
        }  # fmt: skip
    return facts

"""Live treatment: a training in trouble goes back to its last good state and on with a changed recipe.

Every so many steps the whole state is copied in memory; two copies are kept. Both the cadence and the verdict on a
step depend on the steps alone, never on the clock, so that a run that was cut and resumed is treated alike.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trainwell.engine.compose import Sites
from trainwell.engine.feed import XY
from trainwell.engine.guard import Guard
from trainwell.engine.step import Step
from trainwell.engine.streams import global_streams, kept_streams, restore_global
from trainwell.engine.trouble import MARGIN, Trouble, Window
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from trainwell.engine.training import Training

LEAST_STEPS, MOST_STEPS, COPIES = 20, 500, 50
"""Steps between two copies: a fiftieth of the run, within these bounds. At least one of two copies then lies more than
the window of a verdict before any trouble, and a return loses at most twice so many steps."""

ALIKE = 8.0
"""Roundings within which answers are one and the same."""

Treatment = dict[str, Any]
Prescribe = Callable[[Trouble, Recipe, Sequence[Treatment]], tuple[str, Recipe] | None]


@dataclasses.dataclass
class Copy:
    """The whole state of a training before a step.

    Args:
        step, epoch, step_in_epoch, best_epoch, best_value: as in `State`.
        num_rows: finished epochs in the history.
        returns: how often the training came back to it.
        window: the losses and norms of the last steps before it.
        tensors: weights, buffers, states of techniques, best weights, random streams, losses of the epoch in hand.
    """

    step: int
    epoch: int
    step_in_epoch: int
    best_epoch: int
    best_value: float
    num_rows: int
    returns: int
    window: dict[str, list[float]]
    tensors: dict[str, Tensor]


class Live:
    """Watches every step of one training, and treats it at most so many times.

    Args:
        prescribe: (trouble, recipe, treatments so far) -> what is changed, in words, and the new recipe; None where
            nothing can be done.
        most: treatments at most.
        renew: called after a return, so that who looks on begins anew there.

    Attributes:
        every: steps between two copies.
        copies: the kept states, the older first.
    """

    def __init__(
        self, training: Training, prescribe: Prescribe, most: int, renew: Callable[[], None] = lambda: None
    ) -> None:
        self.prescribe, self.most, self.renew = prescribe, most, renew
        self.every = max(LEAST_STEPS, min(MOST_STEPS, training.state.total_steps // COPIES))
        self.window = Window(usual=usual_loss(training), constant=constant_loss(training), since=0)
        self.copies: list[Copy] = []
        self._norms: list[Tensor] = []

    def is_over(self, training: Training) -> bool:
        """Whether no treatment is left."""
        return len(training.state.treatments) >= self.most

    def steps_to_copy(self, step: int) -> int:
        """Return how many steps may be taken from this one before the next copy, >= 1."""
        return self.every - step % self.every

    def before(self, training: Training, take: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Keep a copy if one is due; return a step that also notes the norm of its gradient."""
        if self.is_over(training):
            return take
        step = training.state.step
        if step % self.every == 0 and not any(c.step == step for c in self.copies):
            self.copies = [*self._kept(), copy_of(training, self.window)]
        grads, self._norms = training.step.grads.flat, []

        def noted(x: tuple[Tensor, ...], y: Tensor, lr: Any) -> Tensor:
            if training.step.count == 0 and answers_alike(training, x):
                self.window.since = -1  # so it was made: that it answers alike says nothing
            loss = take(x, y, lr)
            self._norms.append(torch.linalg.vector_norm(grads))
            return loss

        return noted

    def _kept(self) -> list[Copy]:
        """Return the copies to keep beside a new one: the last, and that from which life is not proved yet."""
        unproved, treated = self.window.since >= 0, self.window.treated
        return [
            c for c in self.copies[:-1] if unproved and (c.returns if treated else c.step == 0)
        ] + self.copies[-1:]

    def returned(self, training: Training, block: Sequence[XY], losses: Sequence[Tensor]) -> bool:
        """Look at the steps of a block; treat the training if one of them is in trouble, and say whether it was."""
        if self.is_over(training):
            return False
        norms = torch.stack(self._norms).tolist() if self._norms else []
        self.window.answers_alike = lambda: answers_alike(training, block[-1][0])
        trouble = self.window.add(training.state.step, torch.stack(list(losses)).tolist(), norms)
        if trouble is None:
            return False
        at = trouble.step - training.state.step - 1
        if not all(
            bool(torch.isfinite(t).all()) for t in (*block[at][0], block[at][1]) if t.is_floating_point()
        ):
            return False  # the data are at fault
        found = self.prescribe(trouble, training.recipe, training.state.treatments)
        copy = self._last_good(trouble)
        if found is None or copy is None:
            return False
        words, recipe = found
        treatment = {
            "step": trouble.step, "back_to": copy.step, "kind": trouble.kind, "shows": trouble.text,
            "change": words, "lr": recipe.lr, "techniques": [t.to_dict() for t in recipe.techniques],
        }  # fmt: skip
        put_back(training, copy, self.window)
        self.window.since, self.window.treated = 0, True
        training.state.treatments.append(treatment)
        adopt(training, recipe)
        self.renew()
        training.watcher.on_return(training, treatment)
        return True

    def _last_good(self, trouble: Trouble) -> Copy | None:
        """Return the newest copy from before the trouble; the older one where the newer did not help twice."""
        last = max(0, trouble.onset - MARGIN) if trouble.kind != "dead" else 0
        good = [c for c in self.copies if c.step <= last or c.returns]  # the trouble may come back at once
        if len(good) > 1 and good[-1].returns >= 2:
            good = good[:-1]
        if not good:
            return None
        self.copies = [c for c in self.copies if c.step <= good[-1].step]
        good[-1].returns += 1
        return good[-1]

    # ------------------------------------------------------------------ to disk and back

    def saved(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the copies as tensors by name, and everything else as plain data."""
        tensors = {f"{i}.{k}": t for i, c in enumerate(self.copies) for k, t in c.tensors.items()}
        plain = [
            {f.name: getattr(c, f.name) for f in dataclasses.fields(Copy) if f.name != "tensors"}
            for c in self.copies
        ]
        return tensors, {"every": self.every, "window": self.window.to_dict(), "copies": plain}

    def restore(self, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
        """Put back what `saved` returned."""
        self.every = int(plain["every"])
        self.window.refill(plain["window"])
        parts: list[dict[str, Tensor]] = [{} for _ in plain["copies"]]
        for name, tensor in tensors.items():
            which, _, key = name.partition(".")
            parts[int(which)][key] = tensor
        self.copies = [
            Copy(**about, tensors=held) for about, held in zip(plain["copies"], parts, strict=True)
        ]


@torch.no_grad()
def answers_alike(training: Training, x: tuple[Tensor, ...]) -> bool:
    """Whether the network, as it is used, gives every row of a batch one and the same answer, to rounding."""
    model = training.model
    modes = {m: m.training for m in model.modules()}
    try:
        with kept_streams(training.step.params.flat.device):
            answers: Any = model.eval()(*x)
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not isinstance(answers, Tensor) or answers.ndim == 0 or len(answers) < 2:
        return False
    spread, size = (answers - answers[:1]).abs().amax(), answers.abs().amax()
    return bool(spread <= ALIKE * torch.finfo(answers.dtype).eps * size)


def usual_loss(training: Training) -> float:
    """Return the loss of a network that answers alike for every row: ln K, or the mean square of the targets."""
    mean, task, y = training.objective.mean, training.task, getattr(training.feed, "y", None)
    if mean is F.cross_entropy and task is not None:
        return math.log(task.num_outputs)
    return float(y.square().mean()) if mean is F.mse_loss and y is not None else math.nan


def constant_loss(training: Training) -> float:
    """Return the loss of the best constant answer: the entropy of the classes, or the variance of the targets."""
    mean, y = training.objective.mean, getattr(training.feed, "y", None)
    if y is None or training.step.sites.at("loss") or training.step.sites.at("batch"):
        return math.nan
    rows = getattr(training.feed, "rows", None)
    y = y if rows is None else y.index_select(0, rows)
    if mean is F.cross_entropy and not y.is_floating_point():
        shares = torch.bincount(y.flatten()).double() / y.numel()
        return float(-torch.xlogy(shares, shares).sum())
    return float(y.double().var(0, correction=0).mean()) if mean is F.mse_loss else math.nan


def copy_of(training: Training, window: Window) -> Copy:
    """Copy the state of a training."""
    state, step = training.state, training.step
    tensors = {**_live_tensors(training), **_foreign(step), **_streams(training)}
    losses = torch.stack(training.losses) if training.losses else torch.zeros(0)
    kept = {k: t.detach().clone() for k, t in {**tensors, "losses": losses}.items()}
    kept["sizes"] = torch.tensor(training.sizes, dtype=torch.int64)
    with training.best_weights():
        best = _model_tensors(training) if state.best_epoch else {}
        kept |= {f"best.{k}": t.clone() for k, t in best.items()}
    return Copy(
        state.step, state.epoch, state.step_in_epoch, state.best_epoch, state.best_value, len(state.history), 0,
        window.to_dict(), kept,
    )  # fmt: skip


@torch.no_grad()
def put_back(training: Training, copy: Copy, window: Window) -> None:
    """Return a training to the state of a copy; the states of techniques that it does not hold begin anew."""
    state, held, device = training.state, copy.tensors, training.step.params.flat.device
    if copy.best_epoch:
        for name, tensor in _model_tensors(training).items():
            tensor.copy_(held[f"best.{name}"])
        training.best.take()
    for name, tensor in _live_tensors(training).items():
        if name in held:
            tensor.copy_(held[name])
    optimizer = training.step.sites.optimizer
    if hasattr(optimizer, "load"):
        optimizer.load({k[8:]: t.clone() for k, t in held.items() if k.startswith("foreign.")})
    restore_global({k: t for k, t in held.items() if k.partition(".")[0] == "torch"})
    training.streams.restore({k[8:]: t for k, t in held.items() if k.startswith("streams.")})
    state.step, state.epoch, state.step_in_epoch = copy.step, copy.epoch, copy.step_in_epoch
    state.best_epoch, state.best_value = copy.best_epoch, copy.best_value
    del state.history[copy.num_rows :]
    training.step.count = copy.step
    training.losses, training.sizes = list(held["losses"].to(device).unbind()), held["sizes"].tolist()
    window.refill(copy.window)


def adopt(training: Training, recipe: Recipe) -> None:
    """Go on with other doses: the step is composed anew over the same weights; states that fit are carried over."""
    old = training.step
    sites = dataclasses.replace(Sites.of(recipe), optimizer=old.sites.optimizer)
    new = Step(
        old.forward, old.params, old.grads, sites, training.objective, training.task or Task("regression"), old.plan,
        training.streams.generator, getattr(training.model, "num_members", 1),
    )  # fmt: skip
    for name, state in new.states.items():
        state.update(old.states.get(name, {}))
    new.count = old.count
    training.step, training.recipe = new, recipe
    training.guard = Guard(new, training.model, training.streams, training.guard.columns)


def changed(recipe: Recipe, treatments: Sequence[Treatment]) -> Recipe:
    """Return the recipe as the last treatment left it."""
    if not treatments:
        return recipe
    last = treatments[-1]
    return recipe.replace(lr=last["lr"], techniques=tuple(map(Technique.from_dict, last["techniques"])))


def treated_line(treatment: Treatment) -> str:
    """Return a treatment as one line."""
    return (
        f"treated   at step {treatment['step']:,} {treatment['shows']}; back to step {treatment['back_to']:,}, "
        f"{treatment['change']}"
    )


def _model_tensors(training: Training) -> dict[str, Tensor]:
    buffers = {f"buffer.{n}": b for n, b in training.model.named_buffers()}
    return {"weights": training.step.params.flat, **buffers}


def _live_tensors(training: Training) -> dict[str, Tensor]:
    """Return what a step changes, by name."""
    states = {
        f"state.{name}.{k}": t
        for name, s in training.step.states.items()
        for k, t in s.items()
        if k[0] != "_"
    }
    return {**_model_tensors(training), **states}


def _foreign(step: Step) -> dict[str, Tensor]:
    optimizer = step.sites.optimizer
    return (
        {f"foreign.{k}": t for k, t in optimizer.tensors().items()} if hasattr(optimizer, "tensors") else {}
    )


def _streams(training: Training) -> dict[str, Tensor]:
    named = {f"streams.{k}": t for k, t in training.streams.state().items()}
    return named | global_streams(training.step.params.flat.device)

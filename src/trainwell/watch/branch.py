"""What if the rate were another, or the training went on? Short continuations on a copy, from where it stands."""

from __future__ import annotations

import copy
import dataclasses
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from trainwell.signals.scene import FORWARD, Batch, Scene
from trainwell.watch.replica import Replica
from trainwell.watch.strength import Strength

STEPS, LEAST, COOL = 24, 8, 12
"""Steps of a branch at its rate, at most and at least, and of the linear cool-down to zero that all branches share:
without it a lower rate always looks better over a short horizon (Wu et al. 2018, arXiv:1803.02021)."""

PROBE_ROWS, PROBE_BATCHES = 256, 64
"""Rows of training, and of validation, on which branches are compared row by row; fewer where batches are tiny, for
every batch is judged by itself."""

TINY = 8
"""Rows of a batch under which a step sees little: branches then take more steps, and a lower rate is tried as well."""

UNSURE = 5.0
"""Standard errors under which a gain of ten times the rate is measured again over a longer way."""

DECAYED = 0.34
"""A rate below this share of its peak has decayed; then all branches start from the peak."""

LINEAR, CURVED = 0.98, 0.85
"""Above the first prediction ratio a higher rate is tried, below the second a lower one."""

FEW_ROWS, FEW_SEQUENCES, FEW_STEPS, FEW_RATE, FEW_TRIAL = 64, 16, 120, 1e-2, 5
"""Rows, or sequences of many targets, to be learned by heart, and the steps of Adam for it: any network that is large
enough does it. By the time of the first steps it is known how many can be paid; fewer than half say nothing."""


AS_IT_IS = Strength()

LossOf = Callable[[Batch], Tensor]


class OutOfTime(Exception):
    """The budget of the what-ifs is spent."""


@dataclasses.dataclass(frozen=True)
class Branch:
    """One continuation.

    Args:
        steps: steps at its rate, before the cool-down.
        hot, end: losses per row before and after the cool-down, of training and of validation.
        q: prediction ratio of every step before the cool-down.
    """

    steps: int
    hot: tuple[Tensor, Tensor]
    end: tuple[Tensor, Tensor]
    q: tuple[float, ...]


def copied_optimizer(optimizer: Optimizer, own: Sequence[Tensor], other: Sequence[Tensor]) -> Optimizer:
    """Copy an optimizer with its state, so that it moves `own` in place of `other`."""
    # one that stands for another kind of loop says itself what moves alike
    if not isinstance(optimizer, Optimizer):
        twin: Optimizer = optimizer.twin(own)
        return twin
    # the copy must not drag the watcher, schedulers or foreign tensors along: only class, groups and state
    twin = copy.copy(optimizer)
    place = {id(o): p for o, p in zip(other, own, strict=True)}
    twin.__dict__ = {k: v for k, v in optimizer.__dict__.items() if k != "step"}
    twin.param_groups = [
        {
            k: [place[id(p)] for p in v if id(p) in place] if k == "params" else copy.deepcopy(v)
            for k, v in g.items()
        }
        for g in optimizer.param_groups
    ]
    twin.state = type(optimizer.state)(
        optimizer.state.default_factory, {place[id(p)]: _cloned(s) for p, s in optimizer.state.items() if id(p) in place}
    )  # fmt: skip
    for hooks in ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"):
        setattr(twin, hooks, type(getattr(optimizer, hooks))())
    return twin


def _cloned(state: Any) -> Any:
    return {k: v.clone() if isinstance(v, Tensor) else copy.deepcopy(v) for k, v in state.items()}


class WhatIf:
    """Continue a training on copies.

    Args:
        budget_s: seconds that all branches may take together.
        strength: what the loop makes of the gradient of its loss.
    """

    def __init__(self, scene: Scene, budget_s: float, strength: Strength = AS_IT_IS) -> None:
        self.scene, self.strength = scene, strength
        on_cpu = scene.facts.get("device", "cpu") == "cpu"
        # the work of this thread: what else the machine does must not decide what can be asked
        self.clock = time.thread_time if on_cpu else time.perf_counter
        self.until = self.clock() + budget_s
        self.batches = [b for b in scene.train if b.forward.repeatable]
        self.probes = _first(self.batches), _first([b for b in scene.val if b.forward.repeatable])
        assert scene.loss_of is not None and scene.evaluate is not None
        self.evaluate, self._loss_of = scene.evaluate, scene.loss_of
        self.replica: Replica = scene.replica
        self.pace_s = 0.0
        self.is_tiny = bool(self.batches) and 0 < self.batches[0].forward.rows < TINY
        self.more = TINY // self.batches[0].forward.rows if self.is_tiny else 1

    def loss_of(self, batch: Batch) -> Tensor:
        """What the loop minimises of a batch."""
        loss = self._loss_of(batch)
        return loss if self.strength.factor == 1 else self.strength.factor * loss

    @property
    def has_decayed(self) -> bool:
        """Whether a schedule has lowered the rate: going on at its peak would be another training."""
        trace = self.scene.traces.get("lr").values
        return float(self.scene.optimizer.param_groups[0]["lr"]) < DECAYED * float(trace.max(initial=0.0))

    @property
    def is_possible(self) -> bool:
        return len(self.batches) >= 2

    def start(self) -> tuple[Tensor, Tensor]:
        """Return the losses per row where the training stands."""
        self.replica.take(self.scene.model)
        return self.losses()

    @property
    def rates(self) -> list[float]:
        """The rates at their peak, of every group: a schedule may have taken them to nothing by now."""
        groups, trace = self.scene.optimizer.param_groups, self.scene.traces.get("lr").values
        now = float(groups[0]["lr"])
        peak = max(now, float(trace.max(initial=0.0)))
        if not self.has_decayed:
            return [float(g["lr"]) for g in groups]
        first = float(groups[0].get("initial_lr", 0.0)) or now or peak
        return [float(g.get("initial_lr", g["lr"])) * peak / first for g in groups]

    def grow(self, factor: float, steps: int, want_q: bool = False) -> Branch:
        """Train a copy on at its peak rates times `factor`, then cool down.

        Raises:
            OutOfTime: the budget does not last.
        """
        scene, replica = self.scene, self.replica
        replica.take(scene.model)
        for module, training in zip(replica.model.modules(), scene.train_modes, strict=False):
            module.training = training
        optimizer = copied_optimizer(scene.optimizer, replica.params, list(scene.model.parameters()))
        rates = [rate * factor for rate in self.rates]
        qs: list[Tensor] = []
        began = self.clock()
        hot = self.losses() if steps == 0 else ()
        cool = min(COOL * self.more, max(4, steps // 2))
        for i in range(steps + cool):
            share = 1.0 if i < steps else 1 - (i - steps + 0.5) / cool
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * share
            batch = self.batches[i % len(self.batches)]
            ratio = take_step(self.loss_of, replica, optimizer, batch, self.strength, want_q and i < steps)
            if ratio is not None:
                qs.append(ratio)
            if i == steps - 1:
                hot = self.losses()
            if self.clock() > self.until:
                raise OutOfTime
        self.pace_s = (self.clock() - began) / (steps + cool)
        found = torch.stack(qs).float().cpu().tolist() if qs else []
        assert len(hot) == 2
        return Branch(steps, hot, self.losses(), tuple(found))

    def fitting_steps(self, budget_s: float) -> int:
        """Return the steps of a branch of which the budget lasts for two, by the time of one step.

        Not under `LEAST`, as long as it may last for one; else none.
        """
        began = self.clock()
        self.replica.take(self.scene.model)
        with torch.enable_grad():
            _backward(self.loss_of(self.batches[0]))
        passes = 0.9 * budget_s / max(self.clock() - began, 1e-9)
        # the rows are judged about five times, and a branch cools down for half as many steps again
        judging = min(PROBE_BATCHES, PROBE_ROWS / max(1, self.batches[0].forward.rows))
        fitting = (passes - 5 * judging) / 4
        return max(LEAST, min(STEPS * self.more, int(fitting))) if passes > 2 * LEAST else 0

    def affordable_steps(self) -> int:
        """Return how many more steps the budget lasts, with a reserve of a third."""
        left = (self.until - self.clock()) * 2 / 3
        return max(0, int(left / self.pace_s) - COOL) if self.pace_s > 0 else 0

    def losses(self) -> tuple[Tensor, Tensor]:
        """Losses of the probe rows, one by one, in evaluation mode."""
        with torch.no_grad(), self.replica.mode(training=False):
            both = [[self.evaluate(b)["each"] for b in probe] for probe in self.probes]
        return (torch.cat(both[0]), torch.cat(both[1]) if both[1] else torch.zeros(0))


def _first(batches: Sequence[Batch]) -> list[Batch]:
    probe, rows = [], 0
    for batch in batches:
        probe.append(batch)
        rows += batch.forward.rows
        if rows >= PROBE_ROWS or len(probe) == PROBE_BATCHES:
            break
    return probe


def _backward(loss: Tensor) -> None:
    with warnings.catch_warnings():  # images that lie channels last: no fault, and not of the user's
        warnings.filterwarnings("ignore", "grad and param do not obey the gradient layout contract")
        loss.backward()


def take_step(
    loss_of: LossOf,
    replica: Replica,
    optimizer: Optimizer,
    batch: Batch,
    strength: Strength,
    want_q: bool = False,
) -> Tensor | None:
    """Take one step of a copy as the loop does; return its prediction ratio where it is wanted."""
    for param in replica.params:
        param.grad = None
    with torch.enable_grad():
        before = loss_of(batch)
        _backward(before)
    old = [p.detach().clone() for p in replica.params] if want_q else []
    grads = [p.grad for p in replica.params]
    for param, grad in zip(replica.params, strength.clip(grads), strict=True):
        param.grad = grad
    buffers = [b.clone() for b in replica.buffers] if want_q else []
    optimizer.step()
    if not want_q:
        return None
    with torch.no_grad():
        along = torch.stack([
            (g * (p - o)).sum().float() for g, p, o in zip(grads, replica.params, old, strict=True) if g is not None
        ]).sum()  # fmt: skip
        after = loss_of(batch)
        for own, value in zip(replica.buffers, buffers, strict=True):
            own.copy_(value)
    return (after - before.detach()) / along


def branch_facts(
    scene: Scene, budget_s: float, strength: Strength = AS_IT_IS, longest: int | None = None
) -> dict[str, Any]:
    """Return what continuations of the training gain, in units of the loss of the best constant answer.

    `what_if` has an entry for every continuation: `as_is` at the rate as it is, `tenfold`, `tenth`, and `longer`, for
    as many steps as the training took where the budget lasts; where `tenfold` gains more but not surely also
    `tenfold_longer`, whose standard errors are those against `longer`. Each has `steps`, the fall of the loss on
    training and validation rows to the end, `train` and `val`, the same before the cool-down, `train_hot` and
    `val_hot`, and how many standard errors it lies below `as_is`, row by row: `train_z`, `val_z`.

    Args:
        strength: what the loop makes of the gradient of its loss.
        longest: steps that `longer` may take; as many as the training took, where nothing is said.
    """
    what_if = WhatIf(scene, budget_s, strength)
    # what is judged, and the shortest branch: nothing is begun that cannot be paid
    least_s = (
        (FORWARD * 5 * PROBE_ROWS + 1.5 * LEAST * scene.train[0].forward.rows) * scene.row_s
        if scene.train
        else 0.0
    )
    if not what_if.is_possible or least_s > budget_s:
        return {}
    base = float(scene.facts.get("base_loss") or 1.0)
    start = what_if.start()
    found: dict[str, dict[str, float]] = {}
    facts: dict[str, Any] = {"what_if": found}
    try:
        num = what_if.fitting_steps(budget_s)
        if not num:
            return {}
        as_is = what_if.grow(1.0, num, want_q=True)
        facts["branch_q"] = list(as_is.q)
        found["as_is"] = _gains(start, as_is, as_is, base)
        unsure = _ask_rates(what_if, start, as_is, found, base)
        steps = int(scene.step) if longest is None else longest
        steps = 0 if what_if.has_decayed else min(steps, what_if.affordable_steps() // (1 + unsure))
        if steps > 2 * max(STEPS, num):
            longer = what_if.grow(1.0, steps)
            found["longer"] = _gains(start, longer, as_is, base)
            if unsure:
                found["tenfold_longer"] = _gains(start, what_if.grow(10.0, steps), longer, base)
    except OutOfTime:
        pass
    return facts


def _ask_rates(
    what_if: WhatIf,
    start: tuple[Tensor, Tensor],
    as_is: Branch,
    found: dict[str, dict[str, float]],
    base: float,
) -> bool:
    """Add what other rates gain to `found`; return whether ten times the rate gained more, but not surely."""
    middle = float(np.median(as_is.q)) if as_is.q else 1.0
    unsure = False
    if middle > LINEAR:
        found["tenfold"] = _gains(start, what_if.grow(10.0, as_is.steps), as_is, base)
        better = found["tenfold"]["train"] > found["as_is"]["train"]
        unsure = better and found["tenfold"]["train_z"] < UNSURE
    if middle < CURVED or what_if.is_tiny:
        found["tenth"] = _gains(start, what_if.grow(0.1, as_is.steps), as_is, base)
    return unsure


def _gains(start: tuple[Tensor, Tensor], branch: Branch, as_is: Branch, base: float) -> dict[str, float]:
    gains: dict[str, float] = {"steps": branch.steps}
    for i, name in enumerate(("train", "val")):
        if not len(start[i]):
            continue
        gains[name] = float((start[i] - branch.end[i]).mean()) / base
        gains[f"{name}_hot"] = float((start[i] - branch.hot[i]).mean()) / base
        gains[f"{name}_hot_z"] = paired_z(start[i], branch.hot[i])
        gains[f"{name}_z"] = paired_z(as_is.end[i], branch.end[i])
        gains[f"{name}_cool_z"] = paired_z(branch.hot[i], branch.end[i])
    return gains


def few_facts(scene: Scene, budget_s: float) -> dict[str, Any]:
    """Return how far a copy gets on a few rows, without dropout, decay and noise: `few_way`, 1 is perfect."""
    batches, rows = [], 0
    enough = FEW_ROWS if scene.facts.get("targets_per_sample", 1) <= 1 else FEW_SEQUENCES
    for batch in scene.train:
        if rows >= enough or not batch.forward.repeatable:
            break
        batches.append(batch)
        rows += batch.forward.rows
    replica = scene.replica
    learning = [p for p in replica.params if p.requires_grad]
    if FEW_STEPS / 2 * rows * scene.row_s > budget_s:
        return {}
    if rows < 16 or not learning or scene.evaluate is None or scene.loss_of is None:
        return {}
    replica.take(scene.model)
    optimizer = torch.optim.Adam(learning, FEW_RATE)
    began, steps = time.thread_time(), FEW_STEPS
    with replica.mode(training=False):
        i = 0
        while i < steps:
            optimizer.param_groups[0]["lr"] = FEW_RATE * min(1.0, 2 * (1 - i / steps))
            optimizer.zero_grad()
            for batch in batches:
                with torch.enable_grad():
                    (scene.loss_of(batch) / len(batches)).backward()
            optimizer.step()
            i += 1
            if i == 1:  # which makes the optimizer's state
                began = time.thread_time()
            elif i == FEW_TRIAL:  # the rate must come down within what can be paid
                steps = min(FEW_STEPS, int(budget_s * (i - 1) / max(time.thread_time() - began, 1e-9)))
                if steps < FEW_STEPS // 2:
                    return {}
        with torch.no_grad():
            results = [scene.evaluate(b) for b in batches]
    if all("hit" in r for r in results):
        right, label = (torch.cat([r[k] for r in results]) for k in ("hit", "label"))
        base = float(label.unique(return_counts=True)[1].max()) / len(label)
        return {"few_way": (float(right.float().mean()) - base) / max(1e-9, 1 - base)}
    base = float(scene.facts.get("base_loss") or 0.0)
    return {"few_way": 1 - float(torch.cat([r["each"] for r in results]).mean()) / base} if base else {}


def paired_z(a: Tensor, b: Tensor) -> float:
    """Return how many standard errors the second losses lie below the first, row by row."""
    d = (a - b).double().cpu().numpy()
    error = float(np.std(d) / np.sqrt(max(1, d.size)))
    return float(d.mean() / error) if error > 0 else 0.0

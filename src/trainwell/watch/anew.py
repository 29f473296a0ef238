"""What would the whole run have come to otherwise? A copy is trained anew, from the weights that the run began with."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwell.signals.contracts import DROPOUTS
from trainwell.signals.scene import Batch, Scene, Start
from trainwell.values.signal import Array
from trainwell.watch.branch import AS_IT_IS, LINEAR, OutOfTime, WhatIf, copied_optimizer, paired_z, take_step
from trainwell.watch.strength import Strength

MOST_STEPS, LEAST_STEPS, COOL_SHARE = 600, 40, 3
"""Steps of a training anew at most and at least; where it has fewer than the run, its rate falls to zero over the last
third of them, for a lower rate always looks worse over a short way."""

TWICE = 0.45
"""Part of the budget that one training anew may take: one that does better is held against the run itself, once more."""

BETTER = 0.03
"""What it must gain on training and validation rows, in units of the base loss, for the run itself to be repeated too."""

ALIKE = 1.6
"""Ratio of deviations and of root mean squares up to which start weights are those that their layer draws by itself."""

BURST = 1 / 3
"""Median rate over the highest under which it may be the median that suits the run."""

FEW = 16
"""Numbers of a parameter under which its deviation says nothing."""

Losses = tuple[Tensor, Tensor]


@dataclasses.dataclass(frozen=True)
class Change:
    """What a training anew does otherwise.

    Args:
        factor: of the learning rate.
        usual_start: whether every layer draws its weights as it does by itself.
        decays: whether weights decay as in the run.
        constant: share of the peak rate at which it stays; without one it goes its way.
    """

    factor: float = 1.0
    usual_start: bool = False
    decays: bool = True
    constant: float | None = None


AS_IT_WAS = Change()


def start_of(model: nn.Module) -> Start:
    """Return copies of the weights and buffers that a run begins with."""
    return Start(
        [p.detach().clone() for p in model.parameters()], [b.detach().clone() for b in model.buffers()]
    )


class Anew(WhatIf):
    """Trainings of a copy from the first weights, over the rows that were kept, in their order."""

    def __init__(self, scene: Scene, start: Start, budget_s: float, strength: Strength = AS_IT_IS) -> None:
        super().__init__(scene, budget_s, strength)
        self.first = start
        step_s = scene.row_s * (self.batches[0].forward.rows if self.batches else 0)
        payable = int(TWICE * budget_s / step_s) if step_s > 0 else 0
        self.steps = min(int(scene.step), MOST_STEPS, payable)

    @property
    def is_possible(self) -> bool:
        """Whether a training anew can be paid, and would be the run that it stands for."""
        scene = self.scene
        plain = isinstance(scene.optimizer, Optimizer) and int(scene.facts.get("accumulation", 1)) == 1
        return plain and super().is_possible and self.steps >= min(LEAST_STEPS, int(scene.step))

    def train(self, change: Change) -> Losses:
        """Return the losses per row, of training and of validation, after a training anew.

        Raises:
            OutOfTime: the budget does not last.
        """
        scene, replica = self.scene, self.replica
        self._begin(change)
        optimizer = copied_optimizer(scene.optimizer, replica.params, list(scene.model.parameters()))
        optimizer.state = defaultdict(dict)
        if not change.decays:
            for group in optimizer.param_groups:
                group["weight_decay"] = 0.0
        shares = self._shares()
        drops = any(isinstance(m, DROPOUTS) and m.training for m in replica.all_modules)
        for i in range(self.steps):
            rate = change.factor * (
                self._rate_at(i) if change.constant is None else change.constant * self.peak
            )
            for group, share in zip(optimizer.param_groups, shares, strict=True):
                group["lr"] = rate * share
            batch = self.batches[i % len(self.batches)]
            take_step(self.loss_of, replica, optimizer, _drawn(batch, i) if drops else batch, self.strength)
            if self.clock() > self.until:
                raise OutOfTime
        return self.losses()

    def unusual(self) -> list[str]:
        """Return the parameters that began otherwise than their layers draw them by themselves."""
        self._begin(Change(usual_start=True))
        pairs = zip(self.replica.model.named_parameters(), self.first.params, strict=True)
        return [
            name
            for (name, usual), first in pairs
            if first.numel() >= FEW and not _alike(usual.detach(), first)
        ]

    @torch.no_grad()
    def _begin(self, change: Change) -> None:
        replica = self.replica
        for own, first in zip(
            (*replica.params, *replica.buffers), (*self.first.params, *self.first.buffers), strict=True
        ):
            own.copy_(first)
        if change.usual_start:
            torch.manual_seed(0)  # the caller gives the streams back
            for module in replica.all_modules:
                reset = getattr(module, "reset_parameters", None)
                if callable(reset):
                    reset()
        for module, training in zip(replica.all_modules, self.scene.train_modes, strict=False):
            module.training = training

    def _shares(self) -> list[float]:
        """Rates of the groups as shares of that of the first, which is the one that is recorded."""
        rates = self.rates
        return [rate / rates[0] if rates[0] > 0 else 1.0 for rate in rates]

    @property
    def peak(self) -> float:
        """The highest rate that the run had, or was to rise to."""
        peak = float(self.scene.traces.get("lr").values.max(initial=0.0))
        return max(peak, float(self.scene.optimizer.param_groups[0].get("initial_lr", 0.0)))

    @property
    def usual_share(self) -> float:
        """The median rate of the steps as a share of the highest; 1 of one that never fell under half of it."""
        if not self.peak > 0 or self._ran_at.min(initial=self.peak) >= self.peak / 2:
            return 1.0
        return float(np.median(self._ran_at)) / self.peak

    @cached_property
    def _ran_at(self) -> Array:
        """The rate of every step of the run."""
        trace = self.scene.traces.get("lr")
        place = np.searchsorted(trace.steps, np.arange(1, int(self.scene.step) + 1), side="right") - 1
        return trace.values[np.clip(place, 0, None)] if len(trace) else np.zeros(len(place))

    def _rate_at(self, i: int) -> float:
        """Return the rate of a step of the run, cooled down where the training anew is shorter."""
        cool = self.steps // COOL_SHARE if self.steps < self.scene.step else 0
        return float(self._ran_at[i]) * (min(1.0, (self.steps - i - 0.5) / cool) if cool else 1.0)


def anew_facts(
    scene: Scene, start: Start | None, budget_s: float, strength: Strength = AS_IT_IS
) -> dict[str, Any]:
    """Return what the run would have come to at another rate, from usual start weights, or without its decay or schedule.

    `anew` has an entry for each: `tenth`, `tenfold`, `usual_start`, `undecayed`, and `at_peak` and `at_median` for a
    constant rate. Each has `steps`, how far it ends below the run on training and validation rows in units of the loss of
    the best constant answer, `train` and `val`, and in standard errors, row by row, `train_z` and `val_z`. One that ends
    below the run is also held against the run repeated alike, and what is told is the lesser of both. `unusual_start`
    names the parameters that began otherwise than their layers draw them.
    """
    base = float(scene.facts.get("base_loss") or 0.0)
    if start is None or not base > 0:
        return {}
    anew = Anew(scene, start, budget_s, strength)
    if not anew.is_possible:
        return {}
    end, found = anew.start(), dict[str, dict[str, float]]()
    if not len(end[1]):
        return {}
    repeated: Losses | None = None
    pretrained = bool(scene.facts.get("pretrained"))
    unusual = [] if pretrained else anew.unusual()
    try:
        for name, change in _changes(anew, bool(unusual)):
            losses = anew.train(change)
            gains = _gains([end], losses, base)
            if min(gains["train"], gains["val"]) > BETTER:
                repeated = repeated or anew.train(AS_IT_WAS)
                gains = _gains([end, repeated], losses, base)
            found[name] = {"steps": float(anew.steps), **gains}
    except OutOfTime:
        pass
    return {"anew": found, "unusual_start": unusual} if found else {}


def _changes(anew: Anew, has_unusual_start: bool) -> list[tuple[str, Change]]:
    """Return what to ask, the likeliest first."""
    scene = anew.scene
    asks, share = list[tuple[str, Change]](), anew.usual_share
    if share < 1:
        asks.append(("at_peak", Change(constant=1.0)))
    if BURST > share > 0:
        asks.append(("at_median", Change(constant=share)))
    asks.append(("tenfold", Change(10.0)) if _may_be_low(scene) else ("tenth", Change(0.1)))
    if has_unusual_start:
        asks.append(("usual_start", Change(usual_start=True)))
    if any(float(group.get("weight_decay", 0.0)) > 0 for group in scene.optimizer.param_groups):
        asks.append(("undecayed", Change(decays=False)))
    return asks


def _may_be_low(scene: Scene) -> bool:
    """Whether the rate may be too low, not too high: by what continuations gained, or how straight the steps went."""
    tried = scene.facts.get("what_if") or {}
    if "tenfold" in tried and "as_is" in tried:
        return float(tried["tenfold"]["train"]) > float(tried["as_is"]["train"])
    values = scene.traces.get("q").values
    values = values[values == values]
    return values.size > 0 and float(np.median(values)) > LINEAR


def _gains(references: Sequence[Losses], losses: Losses, base: float) -> dict[str, float]:
    gains: dict[str, float] = {}
    for i, name in enumerate(("train", "val")):
        least = min(references, key=lambda r: float(r[i].mean()))[i]
        gain = float((least - losses[i]).mean()) / base
        gains[name] = gain if math.isfinite(gain) else -math.inf
        gains[f"{name}_z"] = paired_z(least, losses[i])
    return gains


def _alike(usual: Tensor, first: Tensor) -> bool:
    for of in (lambda t: t.float().std(), lambda t: t.float().square().mean().sqrt()):
        a, b = float(of(usual)), float(of(first))
        if not (a <= ALIKE * b and b <= ALIKE * a):
            return False
    return True


def _drawn(batch: Batch, number: int) -> Batch:
    """Return a batch whose dropout is drawn anew."""
    torch.manual_seed(number)
    forward = copy.copy(batch.forward)
    forward.rng = torch.get_rng_state()
    if forward.device_rng is not None:
        forward.device_rng = torch.cuda.get_rng_state()
    return dataclasses.replace(batch, forward=forward)

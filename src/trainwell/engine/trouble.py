"""Tells from losses and norms of gradients alone that a training is in trouble: no number of its scale is assumed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

RECENT, NEEDED = 8, 5
"""Of so many last steps so many must stand out. A lone outlier is a hard batch, and the next step forgets it."""
REFERENCE, LEAST = 128, 32
"""Steps before them that they are held against, and the least that say something. Where nothing has changed, 5 of the
last 8 exceed all of 128 others with probability C(8, 5) / C(136, 5) = 1.6e-7, whatever the distribution."""
OPENING, FROM_START, TIMES = 2, 10.0, 10.0
"""Without a usual loss the first two say where a training began; losses that are all so many times that; a gradient so
many times the largest before."""
CHUNK = 64
"""Steps that are glanced at together."""
TRIAL = 64
"""Steps of a half of a training's proof of life: it has to be better than a constant answer, or to fall."""
CLEARLY = 2.0
"""Standard errors by which."""
MARGIN = 4
"""A state is good if it lies so many steps before the first that stands out."""


@dataclasses.dataclass(frozen=True)
class Trouble:
    """What is wrong, and since when.

    Args:
        kind: `non-finite`, `spike` (of the loss), `explosion` (of the gradient), or `dead`: no better than a constant
            from the start or after a treatment.
        step: the step that shows it, from 1. onset: the last step before all that stand out.
        text: what was measured, in words.
        grad_norm: the 90 % quantile of the norms before it. rise: the largest recent norm over it.
    """

    kind: str
    step: int
    onset: int
    text: str
    grad_norm: float
    rise: float


@dataclasses.dataclass
class Window:
    """The losses and norms of the last steps.

    Args:
        losses, norms: the newest last.
        first: what a loss at the start is: the larger of the usual loss and that of step 1, which no step has moved yet;
            where no usual one is given, the larger of the first two losses.
        usual: the loss of a network that answers alike for every row; nan where it is not known. A lucky first batch is
            then no measure of the others, and a second step that has thrown the weights away is none either.
        constant: the loss of the best constant answer; nan where it is not known.
        since: steps since the start or the last treatment; -1 as soon as it has proved better than a constant.
        treated: whether there was a treatment; before it a training that stays where it was may only be slow.
        answers_alike: whether the network answers alike for every row: that tells a dead one from a slow one.
    """

    losses: list[float] = dataclasses.field(default_factory=list)
    norms: list[float] = dataclasses.field(default_factory=list)
    first: float = math.nan
    usual: float = math.nan
    constant: float = math.nan
    since: int = -1
    treated: bool = False
    answers_alike: Callable[[], bool] = lambda: False

    def add(self, done: int, losses: Sequence[float], norms: Sequence[float]) -> Trouble | None:
        """Take in the next steps; return the first of them that shows a trouble.

        Args:
            done: steps taken before these.
        """
        opening = OPENING if math.isnan(self.usual) else 1
        if done < opening:
            start = float(np.fmax(self.usual, np.max(losses[: opening - done], initial=-math.inf)))
            self.first = float(np.fmax(self.first, start))
        for start in range(0, len(losses), CHUNK):
            found = self._add(done + start, losses[start : start + CHUNK], norms[start : start + CHUNK])
            if found is not None:
                return found
        return None

    def _add(self, done: int, losses: Sequence[float], norms: Sequence[float]) -> Trouble | None:
        old = len(self.losses)
        values, grads = np.array([*self.losses, *losses]), np.array([*self.norms, *norms])
        self.losses, self.norms = (a[-(REFERENCE + RECENT) :].tolist() for a in (values, grads))
        dead = self._dead_at(values, old)
        if self._is_quiet(values, grads, old):
            return self._death(values, grads, dead, done + dead - old) if dead else None
        for end in range(old + 1, len(values) + 1):
            trouble = self._verdict(values[:end], grads[:end], done + end - old)
            if trouble is not None:
                return trouble
            if end == dead:
                return self._death(values, grads, dead, done + dead - old)
        return None

    def _dead_at(self, values: Array, old: int) -> int:
        """Return after how many of these a training is seen to be dead, 0 if it is not.

        It is looked at after every so many steps, from the second time on: it learns nothing if it neither falls from
        one half to the next nor is better than a constant. Before a treatment the network is asked as well.
        """
        if self.since < 0 or math.isnan(self.constant):
            return 0
        begun, self.since = self.since, self.since + len(values) - old
        first = max(2 * TRIAL, TRIAL * (begun // TRIAL + 1))
        for at in range(first, self.since + 1, TRIAL):
            end = old + at - begun
            before, last = values[end - 2 * TRIAL : end - TRIAL], values[end - TRIAL : end]
            error = CLEARLY * float(last.std()) / math.sqrt(TRIAL)
            falls = float(before.mean()) - float(last.mean()) > math.sqrt(2) * error
            if float(last.mean()) <= self.constant - error:
                self.since = -1
                return 0
            if not falls and (self.treated or self.answers_alike()):
                return end
        return 0

    def _death(self, values: Array, grads: Array, end: int, step: int) -> Trouble:
        mean = values[end - TRIAL : end].mean()
        when = "after the treatment" if self.treated else "from the start and every row gets one answer"
        text = f"the loss stays at {mean:.4g} {when}, a constant answer has {self.constant:.4g}"
        usual = grads[: end or None]
        q90 = float(np.quantile(usual, 0.9)) if len(usual) else math.nan
        return Trouble("dead", step, max(0, step - self.since), text, q90, 1.0)

    def _is_quiet(self, values: Array, grads: Array, old: int) -> bool:
        """Whether no step after the first `old` can show a trouble, seen at one glance.

        Nothing fresh is larger than what every reference holds.
        """
        common = slice(max(0, len(values) - RECENT - REFERENCE), old + 1 - RECENT)
        if old < LEAST + RECENT or common.start >= common.stop:
            return False
        fresh = slice(old + 1 - RECENT, None)
        # NaN compares as false
        low = all(a[fresh].max() <= a[common].max() for a in (values, grads) if len(a))
        return low and bool(values[fresh].max() <= self._ceiling)

    @property
    def _ceiling(self) -> float:
        """A loss that only a training in trouble exceeds: so many times the one that it began with."""
        return self.first + (FROM_START - 1) * abs(self.first)

    def _verdict(self, values: Array, grads: Array, step: int) -> Trouble | None:
        """Return what ails the training after the last of these steps."""
        recent, reference = values[-RECENT:], values[-RECENT - REFERENCE : -RECENT]
        norms, norms_before = grads[-RECENT:], grads[-RECENT - REFERENCE : -RECENT]
        onset = max(0, step - len(recent))

        def trouble(kind: str, text: str) -> Trouble:
            usual = norms_before if len(norms_before) >= LEAST else grads[:1]
            usual = usual[np.isfinite(usual)]
            q90 = float(np.quantile(usual, 0.9)) if len(usual) else math.nan
            rise = float(norms.max()) / q90 if len(norms) and q90 > 0 else math.nan
            return Trouble(kind, step, onset, text, q90, rise)

        if not math.isfinite(values[-1]):
            return trouble("non-finite", f"the loss became {values[-1]:g}")
        if len(norms) and not math.isfinite(norms[-1]):
            return trouble("non-finite", f"the gradient's norm became {norms[-1]:g}")
        if len(recent) == RECENT and (recent > self._ceiling).all():
            return trouble(
                "spike", f"the loss rose from {self.first:.4g} at first to {np.median(recent):.4g}"
            )
        if len(reference) < LEAST:
            return None
        top, middle = float(reference.max()), float(np.median(reference))
        limit = top + max(top - middle, 0.1 * abs(middle))
        if (recent > limit).sum() >= NEEDED:
            return trouble("spike", f"the loss rose from {middle:.4g} to {np.median(recent):.4g}")
        large = len(norms_before) >= LEAST and (norms > TIMES * norms_before.max()).sum() >= NEEDED
        if large and np.median(recent) > middle:
            was, now = np.median(norms_before), np.median(norms)
            return trouble("explosion", f"the norm of the gradient rose from {was:.4g} to {now:.4g}")
        return None

    def refill(self, saved: Mapping[str, Any]) -> None:
        """Go back to what `to_dict` returned."""
        self.losses, self.norms = list(saved["losses"]), list(saved["norms"])
        self.first = float(saved["first"])
        self.since, self.treated = int(saved.get("since", -1)), bool(saved.get("treated", False))

    def to_dict(self) -> dict[str, Any]:
        return {
            "losses": list(self.losses),
            "norms": list(self.norms),
            "first": self.first,
            "since": self.since,
            "treated": self.treated,
        }

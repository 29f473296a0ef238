"""What `tune` gives back, and how it is told."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from trainwell.app.run import Run
from trainwell.app.tuning.space import try_values
from trainwell.app.tuning.work import Work
from trainwell.search.importance import Importance
from trainwell.search.parameter import Parameter
from trainwell.search.space import Config, Space
from trainwell.search.study import ENDED, Trial
from trainwell.search.winner import Winner
from trainwell.values.errors import TrainwellError
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task

NEGLIGIBLE = 0.01
"""Parameters with a smaller share of the variance are not listed."""


@dataclasses.dataclass
class Tuning:
    """The result of a search.

    Attributes:
        recipe, config: the winner; the default where nothing beat it is still the one with the best shrunken mean.
        winner: confirmed, optimism, gain over the default with intervals, as losses (lower is better).
        trials: every trial of the study.
        configs, losses: the default and the finalists, and what they reached on fresh seeds and splits.
        importance: share of the variance due to each parameter.
        flags: what to beware of.
        before: trials that had ended before this go at the study.
        enough_s: the budget in seconds with which a claim over the default could be made; 0 where it can be made.
        seed: with which the winner is trained at the end: that of its training in the search, where there was one on
            the same rows.
        run: the winner trained on the parts as they are; it alone saw the test part.
        interrupted: the number of the signal that ended the search, 0 for none.
    """

    recipe: Recipe
    config: Config
    winner: Winner
    task: Task | None
    trials: Sequence[Trial]
    configs: Sequence[Config]
    losses: np.ndarray[Any, Any]
    space: Space
    importance: Sequence[Importance]
    flags: Sequence[str]
    seconds: float
    search_seconds: float
    best_seen: float
    before: int = 0
    enough_s: float = 0.0
    seed: int = 0
    run: Run | None = None
    interrupted: int = 0
    path: Path | None = None

    @property
    def model(self) -> nn.Module:
        """The winner's network."""
        assert self.run is not None
        return self.run.model

    @property
    def score(self) -> float:
        """The primary metric of the winner on the test part."""
        assert self.run is not None
        return self.run.score

    def shown(self, loss: float) -> float:
        """Return a loss in the unit of the primary metric."""
        return loss if self.task is None else -self.task.metric_sign * loss

    @property
    def confirmed_interval(self) -> tuple[float, float]:
        """The 95 % interval of what is confirmed, within what the metric can be."""
        low, high = sorted(map(self.shown, self.winner.interval))
        return (low, high) if self.task is None else within(self.task, low, high)

    @property
    def optimism(self) -> float:
        """By how much the best of the search looked better than the winner is."""
        return self.winner.confirmed - self.best_seen

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, metrics in their own unit."""
        w, states = self.winner, [t.state for t in self.trials]
        return {
            "path": str(self.path) if self.path else None,
            "metric": self.task.metric if self.task else "val_loss",
            "config": dict(self.config),
            "recipe": self.recipe.to_dict(),
            "trials": {"all": len(states), **{s: states.count(s) for s in ENDED}},
            "best_seen": self.shown(self.best_seen),
            "confirmed": _known(self.shown(w.confirmed)),
            "confirmed_interval": [_known(v) for v in self.confirmed_interval],
            "optimism": _known(self.optimism),
            "test": dict(self.run.scores.get("test", {})) if self.run else {},
            "gain_over_default": _known(w.gain),
            "gain_interval": [_known(v) for v in w.gain_interval],
            "beats_default": w.beats_default,
            "decided": w.decided,
            "repeats": w.repeats,
            "enough_s": self.enough_s,
            "importance": [dataclasses.asdict(i) for i in self.importance],
            "flags": list(self.flags),
            "finalists": [
                {"config": dict(c), "losses": [float(v) for v in row]}
                for c, row in zip(self.configs, self.losses, strict=True)
            ],
            "seconds": round(self.seconds, 2),
            "interrupted": self.interrupted,
        }

    def lines(self) -> Iterator[str]:
        """Yield the result as lines: the four numbers together, the verdict, the recipe, what mattered, the flags."""
        metric = self.task.metric if self.task else "val_loss"
        done = sum(t.state in ENDED for t in self.trials)
        new, took = done - self.before, self.search_seconds
        pace = f" in {took:.1f} s ({new / max(took, 1e-9):.1f}/s)"
        yield (
            f"trials    {done:,}{pace}"
            if not self.before
            else f"trials    {done:,}, {self.before:,} of them before; {new:,}{pace}"
        )
        yield f"seen      {metric} {self.shown(self.best_seen):.4f}, the best of the search"
        yield from self._confirmed(metric)
        if self.run is not None and self.task is not None and "test" in self.run.scores:
            yield f"test      {metric} {self.run.scores['test'][metric]:.4f}, opened once"
        yield self._verdict()
        width = max(map(len, self.config), default=0)
        for name, value in self.config.items():
            now = self.space[name].default
            was = "" if value == now else f"  (default {_word(now)})"
            yield f"          {name:{width}s}  {_word(value)}{was}"
        for i in self.importance:
            if i.share >= NEGLIGIBLE:
                yield f"matters   {i.name:{width}s}  {i.share:.0%} [{i.low:.0%}, {i.high:.0%}]"
        for flag in self.flags:
            yield f"beware    {flag}"
        if self.path is not None:
            yield f"study     {self.path}"

    def _confirmed(self, metric: str) -> Iterator[str]:
        """Yield what fresh seeds confirm, and the optimism of the search."""
        if not self.winner.repeats:
            yield "confirmed nothing: the time did not reach for trainings on fresh seeds"
            return
        low, high = self.confirmed_interval
        between = f"[{low:.4f}, {high:.4f}]" if low < high else "(no interval: all scored the same)"
        on = counted(self.losses.shape[1], "fresh seed")
        yield f"confirmed {metric} {self.shown(self.winner.confirmed):.4f} {between} on {on}"
        flattered = "by which the search flattered its best"
        told = flattered if self.optimism > 0 else "the search did not flatter its best"
        yield f"optimism  {self.optimism:.4f}, {told}"

    def _verdict(self) -> str:
        """Return whether the default is beaten, as a line."""
        w = self.winner
        a, b = w.gain_interval
        if not w.repeats:
            return "verdict   not judged, so the default is kept; give more budget"
        if len(self.configs) == 1:
            return "verdict   nothing but the default was judged"
        if w.index == 0:
            return "verdict   the default is not beaten; keep it"
        if w.beats_default:
            return f"verdict   better than the default by {w.gain:.4f} [{a:.4f}, {b:.4f}]"
        if not w.decided:
            return (
                f"verdict   not decided: {w.repeats} repeats, a claim needs {w.needed}{self._how_much()}. Gain over the "
                f"default {w.gain:+.4f} [{a:.4f}, {b:.4f}]"
            )
        return f"verdict   the default is not beaten for certain: {w.gain:+.4f} [{a:.4f}, {b:.4f}]"

    def _how_much(self) -> str:
        if not self.enough_s:
            return "" if self.interrupted else "; give more budget"
        minutes = math.ceil(self.enough_s / 30) / 2
        return (
            f"; about --budget {minutes:g}m would do"
            if minutes < 90
            else f"; about {minutes / 60:.1f} hours would do"
        )


def _known(value: float) -> float | None:
    """Return a number; None where nothing is known."""
    return None if math.isnan(value) else value


def within(task: Task, low: float, high: float) -> tuple[float, float]:
    """Return an interval of the primary metric, cut to what the metric can be."""
    return (low if task.metric == "r2" else max(0.0, low)), (min(1.0, high) if task.metric_sign > 0 else high)


def flags(space: Space, best: Config, winner: Winner, work: Work, complete: int) -> list[str]:
    """Return what to beware of: an optimum at a bound, finalists that cannot be told apart, few trials."""
    found = []
    for name, value in best.items() if winner.index else ():
        end = space[name].at_bound(value)
        if end:
            found.append(
                f"{name} stands at the {end} end of its range ({_word(value)}){_wider(space[name], end, work)}"
            )
    others = [i for i in winner.rivals if i]
    val = work.prepared.parts.get("val")
    rows = len(val[1]) if isinstance(val, tuple) else 0
    if others and winner.index:
        size = f"; the validation part has {rows} rows" if rows else ""
        found.append(f"{counted(len(others), 'other finalist')} cannot be told from the winner{size}")
    if complete < 2 * len(space):
        trials = "1 complete trial is" if complete == 1 else f"{complete} complete trials are"
        found.append(f"{trials} few for {counted(len(space), 'parameter')}; give more budget")
    if winner.repeats and not math.isfinite(winner.interval[0]):
        found.append("the default or the winner failed on a fresh seed")
    return found


def _wider(p: Parameter, end: str, work: Work) -> str:
    """Return how to widen a range, as far as a recipe can have what lies beyond it."""
    try:
        wide = p.widened(end)
        try_values(Space((dataclasses.replace(wide, when=None),)), work.base)
    except (TrainwellError, TypeError, ZeroDivisionError):
        return ""
    return f"; widen it: --space '{wide.line}'"


def _word(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def counted(count: int, what: str) -> str:
    """Return how many of what."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"

"""The whole study inside an outer cross-validation: what tuning is worth on rows that no part of it saw."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from trainwell.app.console import Console
from trainwell.app.tuning.options import check_honest, parse_time
from trainwell.app.tuning.report import Tuning, within
from trainwell.app.tuning.tune import tune
from trainwell.values.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Honest:
    """The test results of the studies of the outer folds."""

    metric: str
    tests: tuple[float, ...]
    studies: tuple[Tuning, ...]

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean, widened for the overlap of the folds (Nadeau, Bengio 2003)."""
        from scipy.stats import t

        count = len(self.tests)
        wide = float(np.std(self.tests, ddof=1)) * (1 / count + 1 / (count - 1)) ** 0.5
        reach = float(t.ppf(0.975, count - 1)) * wide
        mean, task = float(np.mean(self.tests)), self.studies[0].task
        assert task is not None
        return within(task, mean - reach, mean + reach)

    def to_dict(self) -> dict[str, Any]:
        return {
            "metric": self.metric, "tests": list(self.tests), "mean": float(np.mean(self.tests)),
            "interval": list(self.interval), "studies": [s.to_dict() for s in self.studies],
        }  # fmt: skip

    def lines(self) -> Iterator[str]:
        for i, (test, study) in enumerate(zip(self.tests, self.studies, strict=True), 1):
            yield f"fold {i:<4d} {self.metric} {test:.4f} (seen {study.shown(study.best_seen):.4f})"
        low, high = self.interval
        interval = f"[{low:.4f}, {high:.4f}]" if low < high else "(no interval: all scored the same)"
        mean = f"{np.mean(self.tests):.4f} {interval}"
        yield f"honest    {self.metric} {mean} over {len(self.tests)} outer folds"


def tune_honest(
    data: Any, target: str | None, *, outer_folds: int, budget: str | float = "10m", console: Console | None = None,
    split_seed: int = 0, **options: Any,
) -> Honest:  # fmt: skip
    """Repeat the whole study on outer splits, each with an equal part of the budget.

    Args:
        outer_folds: outer splits, 2 or more; each has a test part of 1/outer_folds, drawn with a split seed of its own.
        options: of `tune`; a `test_fraction` among them is not heeded.
    """
    check_honest(outer_folds, options)
    share = parse_time(budget) / outer_folds
    options = {**options, "test_fraction": 1 / outer_folds}
    studies = []
    for fold in range(outer_folds):
        if console is not None:
            console.say(f"honest    outer fold {fold + 1} of {outer_folds}")
        studies.append(
            tune(
                data, target, budget=share, console=console, split_seed=split_seed + 1000 * (fold + 1),
                out=False, **options,
            )
        )  # fmt: skip
        if studies[-1].interrupted:
            raise UsageError("interrupted before all outer folds had ended; nothing can be said.")
    assert studies[0].task is not None
    return Honest(studies[0].task.metric, tuple(s.score for s in studies), tuple(studies))

"""A Run: a recipe trained on data with a seed, with its model, scores and folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from trainwell.app.predictor import Array, Predictor
from trainwell.values.errors import UsageError
from trainwell.values.finding import Finding
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task


@dataclasses.dataclass
class Run:
    """The result of a training.

    Attributes:
        recipe, seed, task: what was trained.
        model: the network with the weights of the best epoch, in eval mode.
        history: one row per epoch: `epoch`, `step`, `train_loss`, `val_loss`, `val_metric`, `best`, times in seconds.
        scores: metrics by part (`val`, `test`), scikit-learn's definitions.
        interval: 95 % interval of the score over its rows; None where it is not known.
        baseline: what scikit-learn's HistGradientBoosting reaches on the same split; empty where there is none.
        best_epoch: 1-based; 0 if no epoch was finished.
        stop_reason: why the training ended.
        interrupted: the number of the signal that broke it off, 0 for none.
        notes: what was found in the data before the first step.
        findings: what ails the training, the gravest first; empty where it was not watched.
        treatments: what was changed while it ran, where it was let: `step`, `back_to`, `kind`, `shows`, `change`, and
            the `lr` and `techniques` from there on.
        path: the run folder, None if the run was not written.
        unsaved: why the end of the run does not stand in its folder (a full disk); empty where all of it does.
    """

    recipe: Recipe
    seed: int
    task: Task | None
    predictor: Predictor
    history: Sequence[Mapping[str, Any]]
    scores: Mapping[str, Mapping[str, float]]
    best_epoch: int
    stop_reason: str
    seconds: float
    baseline: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    interrupted: int = 0
    notes: Sequence[Any] = ()
    path: Path | None = None
    fingerprint: str = ""
    unsaved: str = ""
    findings: Sequence[Finding] = ()
    interval: tuple[float, float] | None = None
    treatments: Sequence[Mapping[str, Any]] = ()

    @property
    def model(self) -> nn.Module:
        return self.predictor.model

    @property
    def kind(self) -> str:
        """The kind of the data, e.g. `text`, where a family of ours was trained; else empty."""
        return str(getattr(self.model, "data_kind", ""))

    @property
    def score(self) -> float:
        """The primary metric on the test part, or on the validation part where there is no test part."""
        for part in ("test", "val"):
            if part in self.scores and self.task is not None:
                return self.scores[part][self.task.metric]
        raise UsageError("this run has no score: there was no validation or test part, or no task.")

    def predict(self, data: Any) -> Array:
        """Return the predicted label or number of each row, (N,)."""
        return self.predictor.predict(data)

    def predict_proba(self, data: Any) -> Array:
        """Return the probability of each class, (N, C)."""
        return self.predictor.predict_proba(data)

    def report(self, out: str | Path | None = None) -> Path:
        """Write the report as one HTML file and return its path; `report.html` in the run folder without `out`."""
        from trainwell.app.reporting import report_of

        return report_of(self, out)

    def to_dict(self) -> dict[str, Any]:
        """Return the results as plain data, as `--json` prints them."""
        return {
            "path": str(self.path) if self.path else None,
            "task": self.task.kind if self.task else None,
            "metric": self.task.metric if self.task else None,
            "scores": {k: dict(v) for k, v in self.scores.items()},
            "interval": list(self.interval) if self.interval else None,
            "baseline": dict(self.baseline),
            "best_epoch": self.best_epoch,
            "epochs": len(self.history),
            "stop_reason": self.stop_reason,
            "seconds": round(self.seconds, 3),
            "seed": self.seed,
            "recipe": self.recipe.to_dict(),
            "recipe_hash": self.recipe.hash(),
            "fingerprint": self.fingerprint,
            "treatments": [dict(t) for t in self.treatments],
            "notes": [dataclasses.asdict(n) for n in self.notes],
        }

    def __repr__(self) -> str:
        parts = ", ".join(
            f"{name} {self.task.metric} {values[self.task.metric]:.4f}"
            for name, values in self.scores.items()
            if self.task is not None and self.task.metric in values
        )
        where = f"{self.path} (not saved: {self.unsaved})" if self.unsaved else self.path or "in memory"
        return f"<Run {where}: {parts or self.stop_reason}>"

"""MLflow: a run of the experiment `trainwell`, where MLFLOW_TRACKING_URI or MLflow's own default points."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from trainwell.report.sink import Sink, flat

EXPERIMENT = "trainwell"
LONGEST = 500
"""Characters of one parameter; the oldest servers take no more."""


class MLflow(Sink):
    """The recipe as parameters, measures by optimizer step, the scores and the folder at the end."""

    name: ClassVar[str] = "mlflow"

    def __init__(self) -> None:
        import mlflow

        self._mlflow = mlflow
        self._client: Any = None
        self._run = ""
        self._step, self._status = 0, "FAILED"

    def begin(self, folder: Path, recipe: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        self._client = self._mlflow.MlflowClient()
        found = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found is not None else self._client.create_experiment(EXPERIMENT)
        tags = {"trainwell.folder": str(folder), "mlflow.source.name": "trainwell"}
        self._run = self._client.create_run(experiment, tags=tags, run_name=folder.name).info.run_id
        params = [Param(name, value[:LONGEST]) for name, value in flat(recipe)]
        self._client.log_batch(self._run, params=params)

    def row(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        self._step, now = step, int(1000 * time.time())
        self._client.log_batch(self._run, metrics=[Metric(k, v, now, step) for k, v in values.items()])

    def end(self, results: Mapping[str, Any]) -> None:
        scores = results.get("scores") or {}
        self.row(
            self._step, {f"final/{part}_{k}": v for part, held in scores.items() for k, v in held.items()}
        )
        for name in ("fingerprint", "recipe_hash", "stop_reason"):
            self._client.set_tag(self._run, f"trainwell.{name}", str(results.get(name)))
        self._status = "FAILED" if results.get("stop_reason") == "non-finite" else "FINISHED"

    def close(self) -> None:
        if self._run:
            self._client.set_terminated(self._run, self._status)

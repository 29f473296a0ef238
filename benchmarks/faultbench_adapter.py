"""A detector for faultbench: the default watcher, attached as a user would, and nothing else.

python -m faultbench.runner --detector benchmarks.faultbench_adapter:detect --split dev -v
"""

from __future__ import annotations

from typing import Any

import trainwell.watch as tw
from trainwell.values.finding import Finding


def findings(case: Any) -> tuple[list[Finding], tw.Watch]:
    """Train the case under the watcher and return its findings, the gravest first."""
    job = case.build()
    with tw.watch(job.model, job.optimizer, loss=job.loss_fn, task=job.task, train_data=job.train) as watch:
        job.run(None)
    return watch.findings, watch


def detect(case: Any) -> list[str]:
    """Return the names of the ailments that were found, the gravest first, information last."""
    return [f.ailment for f in findings(case)[0]]

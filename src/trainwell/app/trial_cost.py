"""What a change costs: the time of a step and the memory of the states, against the base, taken in turn."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from trainwell.app.trial_runs import Arm, TrialRuns
from trainwell.engine.assemble import Source, assemble
from trainwell.engine.streams import Streams, kept_streams
from trainwell.engine.training import Training
from trainwell.values.evidence import Cost

WARM_UP, ROUNDS, STEPS = 3, 11, 3
"""Steps before the clock; pairs of blocks that are timed in turn, and the steps of each."""


def costs(runs: TrialRuns, base: Arm, changes: list[Arm]) -> dict[str, Cost]:
    """Return the cost of every change on one thread of the plain engine, by name."""
    with kept_streams(runs.device):
        made = {arm.name: _Timed(runs, arm) for arm in (base, *changes)}
    times: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(ROUNDS):
        for name, timed in made.items():
            times[name].append(timed.seconds())
    found = {}
    for arm in changes:
        ratios = np.array(times[arm.name]) / np.array(times[base.name])
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
        memory = made[arm.name].bytes / made[base.name].bytes
        found[arm.name] = Cost(float(middle), float(low), float(high), memory)
    return found


class _Timed:
    """A training of which only some steps are taken."""

    def __init__(self, runs: TrialRuns, arm: Arm) -> None:
        model = runs.build(arm.recipe, Streams(0).generator("init"))
        source = Source(runs.parts["train"], None, runs.source.columns)
        self.training: Training = assemble(
            model, arm.recipe, source, task=runs.task, loss=runs.loss, device=runs.device
        )
        self.training.model.train()
        self.rate = (
            float(arm.recipe.lr or 0.0) * 1e-3
        )  # the weights hardly move: the cost is that of any step
        self.batches: list[Any] = next(iter(self.training.feed.blocks(0, 0)))[:1]
        for _ in range(WARM_UP):
            self._step()

    def _step(self) -> None:
        x, y = self.batches[0]
        self.training.step(x, y, self.rate)

    def seconds(self) -> float:
        """Return the time of a step."""
        start = time.process_time()
        for _ in range(STEPS):
            self._step()
        return (time.process_time() - start) / STEPS

    @property
    def bytes(self) -> int:
        """Bytes of weights, gradients and states."""
        step = self.training.step
        held = [step.params.flat, step.grads.flat]
        held += [t for s in step.states.values() for t in s.values() if isinstance(t, torch.Tensor)]
        return sum(t.numel() * t.element_size() for t in held)

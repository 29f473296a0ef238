"""How the targets behave while the run goes on: those that a network makes itself, as in Q-learning, move."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from trainwell.signals.family import Family, Record
from trainwell.signals.scene import Look
from trainwell.values.signal import Signal


class Targets(Family):
    """Measure the mean target of the rows of a step, of losses on numbers."""

    signals: ClassVar = (Signal("target_mean", "unit of the target", cost="one pass over the targets"),)

    def look(self, look: Look, record: Record) -> None:
        if look.scene.facts.get("loss_kind") != "regression":
            return
        targets = [c.target for f in look.window for c in f.calls[:1]]
        if targets and all(isinstance(t, Tensor) and t.is_floating_point() and t.numel() for t in targets):
            record("target_mean", sum(t.detach().float().mean() for t in targets) / len(targets))

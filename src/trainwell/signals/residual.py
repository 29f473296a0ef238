"""Whether simple learners can predict the errors that the network still makes on validation rows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch

from trainwell.signals import witness
from trainwell.signals.data import inputs_of
from trainwell.signals.family import Family, Record
from trainwell.signals.scene import FORWARD, Batch, Scene
from trainwell.values.signal import Signal

FEW = 60
"""Fewer rows say nothing."""


class Residual(Family):
    """Measure how much of the validation residuals an independent witness predicts."""

    signals: ClassVar = (
        Signal("residual", "explained variance", cadence="once", cost="a kernel ridge regression"),
    )

    is_late = True

    def close(self, scene: Scene, record: Record) -> None:
        facts = scene.facts
        if scene.is_sound:
            return
        if scene.val and scene.last_val:
            judged = {r["number"]: r for r in scene.last_val}
            batches = [b for b in scene.val if b.step in judged]
            results = [judged[b.step] for b in batches]
        else:
            batches, results = self._on_training_rows(scene)
        if not batches or any(
            len(r["target"]) != b.y.shape[0] for r, b in zip(results, batches, strict=True)
        ):
            return
        residual = _residuals(results, str(facts.get("loss_kind")), facts.get("class_weights") or {})
        x, tokens = inputs_of(batches)
        if residual is None or len(x) < FEW or len(x) != len(residual) or not np.isfinite(residual).all():
            return
        some = np.random.default_rng(0).permutation(len(x))[: witness.MAX_ROWS]
        facts |= witness.residual_facts(x[some].astype(np.float64), residual[some], tokens)

    @staticmethod
    def _on_training_rows(scene: Scene) -> tuple[list[Batch], list[dict[str, Any]]]:
        """Judge training rows where there is no validation."""
        if scene.replica is None or scene.evaluate is None:
            return [], []
        batches, rows = [], 0
        most = scene.judging_s / (FORWARD * scene.row_s) if scene.row_s else witness.MAX_ROWS
        if most < FEW:
            return [], []
        for batch in scene.train:
            if batch.forward.repeatable and rows < min(most, witness.MAX_ROWS):
                batches.append(batch)
                rows += batch.forward.rows
        scene.replica.take(scene.model)
        with torch.no_grad(), scene.replica.mode(training=False):
            return batches, [scene.evaluate(b) for b in batches]


def _residuals(
    results: list[dict[str, Any]], kind: str, weights: dict[str, float]
) -> np.ndarray[Any, Any] | None:
    """Return (N, K) residuals: target minus answer, one-hot minus probability.

    A loss that weighs classes shifts the probabilities on purpose: they are shifted back (Elkan 2001, theorem 2).
    """
    out = torch.cat([r["out"] for r in results]).float().cpu()
    target = torch.cat([r["target"] for r in results]).cpu()
    if kind == "classification" and out.dim() == 2 and target.dim() == 1:
        hot = torch.nn.functional.one_hot(target.clamp(min=0), out.shape[1])
        odds = out.softmax(1) / torch.tensor([weights.get(str(k), 1.0) for k in range(out.shape[1])])
        return (hot - odds / odds.sum(1, keepdim=True)).double().numpy()
    if kind == "binary" and out.shape == target.shape:
        logits = bool((out < 0).any() or (out > 1).any())
        share = out.sigmoid() if logits else out
        yes, no = share / weights.get("1", 1.0), (1 - share) / weights.get("0", 1.0)
        return (target - yes / (yes + no)).reshape(len(out), -1).double().numpy()
    if kind == "regression" and out.shape == target.shape:
        return (target - out).reshape(len(out), -1).double().numpy()
    return None

"""Whether simple learners can predict the errors that the network still makes on validation rows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch

from trainwell.signals import rows
from trainwell.signals.data import _inputs
from trainwell.signals.family import Family, Record
from trainwell.signals.scene import Scene
from trainwell.values.signal import Signal


class Residual(Family):
    """Measure the explained variance of the validation residuals under neighbours and ridge regression."""

    signals: ClassVar = (
        Signal("residual", "explained variance", cadence="once", cost="neighbours of 700 rows"),
    )

    def close(self, scene: Scene, record: Record) -> None:
        facts = scene.facts
        if not scene.val or not scene.last_val:
            return
        batches = [b for b in scene.val if b.step < len(scene.last_val)]
        results = [scene.last_val[b.step] for b in batches]
        if not batches or any(
            len(r["target"]) != b.y.shape[0] for r, b in zip(results, batches, strict=True)
        ):
            return
        residual = _residuals(results, str(facts.get("loss_kind")))
        x, tokens = _inputs(batches)
        n = min(len(x), 700) if residual is None else min(len(x), len(residual), 700)
        if residual is None or n < 60 or len(x) != len(residual) or not np.isfinite(residual).all():
            return
        x, residual = x[:n], residual[:n]
        views = [rows.counts(x)] if tokens else [rows.standardised(x)[0], rows.like_pixels(x)]
        facts["residual_r2"] = max(_explained(v, residual) for v in views)


def _residuals(results: list[dict[str, Any]], kind: str) -> np.ndarray[Any, Any] | None:
    """Return (N, K) residuals: target minus answer, one-hot minus probability."""
    out = torch.cat([r["out"] for r in results]).float().cpu()
    target = torch.cat([r["target"] for r in results]).cpu()
    if kind == "classification" and out.dim() == 2 and target.dim() == 1:
        hot = torch.nn.functional.one_hot(target.clamp(min=0), out.shape[1])
        return (hot - out.softmax(1)).double().numpy()
    if kind == "binary" and out.shape == target.shape:
        logits = bool((out < 0).any() or (out > 1).any())
        return (target - (out.sigmoid() if logits else out)).reshape(len(out), -1).double().numpy()
    if kind == "regression" and out.shape == target.shape:
        return (target - out).reshape(len(out), -1).double().numpy()
    return None


def _explained(x: np.ndarray[Any, Any], residual: np.ndarray[Any, Any]) -> float:
    """Return the share of the residuals' variance (about zero) that five neighbours predict out of sample."""
    near, _ = rows.neighbours(x)
    guess = residual[near].mean(1)
    total = float((residual**2).sum())
    return 1 - float(((residual - guess) ** 2).sum()) / total if total > 0 else 0.0

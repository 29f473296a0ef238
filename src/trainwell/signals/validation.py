"""Validation loss and score, per sample, from the user's own evaluation; and the same on training rows."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainwell.signals.family import Family, Record
from trainwell.signals.scene import FORWARD, Scene, Validation
from trainwell.signals.witness import surest_of_each
from trainwell.values.signal import Signal

PROBE_ROWS = 256
"""Training rows that are evaluated beside a validation."""

FINAL_ROWS = 512
"""Training rows that are evaluated at the end."""

YES_FROM = {
    "binary_cross_entropy": 0.5, "binary_cross_entropy_with_logits": 0.0, "soft_margin_loss": 0.0,
    "multilabel_soft_margin_loss": 0.0,
}  # fmt: skip
"""Losses of answers yes or no, and the output above which it is yes."""

SHARE, FREE_S = 0.003, 0.01
"""Share of the CPU time so far, and seconds, that the evaluations beside validations may take together."""


class Evaluation(Family):
    """Measure losses and hits per sample, without a second pass over the validation data.

    A training row is judged in evaluation mode, so that neither dropout nor averaging over an epoch fakes a gap.
    """

    signals: ClassVar = (
        Signal("val_loss", "loss", cadence="epoch", cost="one more loss"),
        Signal("val_losses", "loss per sample", cadence="epoch", cost="one more loss"),
        Signal("val_score", "share right, or explained variance", cadence="epoch", cost="one more loss"),
        Signal("probe_loss", "loss", cadence="epoch", cost="a forward of 256 rows"),
        Signal(
            "probe_score", "share right, or explained variance", cadence="epoch", cost="a forward of 256 rows"
        ),
        Signal(
            "train_mode_loss", "loss in training mode on the same rows", cadence="once", cost="as probe_loss"
        ),
        Signal("confusion", "counts per class", cadence="once", cost="none"),
    )

    def __init__(self) -> None:
        self._phases, self._spent_s = 0, 0.0

    def validation(self, phase: Validation, record: Record) -> None:
        losses = torch.cat([c["each"] for c in phase.calls])
        record("val_loss", losses.mean())
        record("val_losses", losses)
        score = _score(phase.calls, phase.scene.facts)
        if score is not None:
            record("val_score", score)
        self._phases += 1
        is_due = self._phases <= 5 or self._phases % max(1, self._phases // 5) == 0
        start = time.process_time()
        if is_due and self._spent_s <= FREE_S + SHARE * (start - phase.scene.started):
            self._probe(phase.scene, record, PROBE_ROWS)
            self._spent_s += time.process_time() - start

    def close(self, scene: Scene, record: Record) -> None:
        results = self._probe(scene, record, FINAL_ROWS)
        if scene.facts.get("loss_kind") in ("classification", "binary"):
            scene.facts["train_recalls"] = _recalls(results)
            scene.facts["val_recalls"] = _recalls(scene.last_val)
            scene.facts.update(_sure_errors(scene.last_val))
        normalised = any("norm" in m for m in scene.facts.get("layers", ()))
        one_s = FORWARD * scene.row_s * (scene.train[0].forward.rows if scene.train else 0)
        if scene.replica is not None and normalised and one_s <= scene.judging_s:
            trained = _evaluated(scene, FINAL_ROWS, training=True)
            if trained:
                record("train_mode_loss", torch.cat([r["each"] for r in trained]).mean())

    def _probe(self, scene: Scene, record: Record, rows: int) -> list[dict[str, Any]]:
        if scene.replica is None:
            return []
        scene.replica.take(scene.model)
        results = _evaluated(scene, rows, training=False)
        if results:
            record("probe_loss", torch.cat([r["each"] for r in results]).mean())
            score = _score(results, scene.facts)
            if score is not None:
                record("probe_score", score)
        return results


def _evaluated(scene: Scene, rows: int, training: bool) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    with torch.no_grad(), scene.replica.mode(training):
        done, start = 0, time.thread_time()
        enough_s = scene.judging_s
        for batch in scene.train:
            is_late = done > 0 and time.thread_time() - start > enough_s
            if done >= rows or is_late or scene.evaluate is None:
                break
            if not batch.forward.repeatable:
                continue
            results.append(scene.evaluate(batch))
            done += batch.forward.rows
    return results


def judged(name: str, call: Any, rows: int, each: Tensor) -> dict[str, Any]:
    """Return losses, hits and labels of the samples of one loss call."""
    out, target = call.input.detach(), call.target.detach()
    entry: dict[str, Any] = {"each": each, "out": out, "target": target, "rows": rows}
    if name in ("cross_entropy", "nll_loss", "multi_margin_loss") and out.dim() >= 2:
        label = target if not target.is_floating_point() else target.argmax(1)
        hit, left_out = out.argmax(1) == label, call.left_out
        known = slice(None) if left_out is None else ~left_out.reshape(-1)
        entry |= {"label": label.reshape(-1)[known], "hit": hit.reshape(-1)[known]}
    elif name in YES_FROM and out.shape == target.shape:
        yes = (target > (0.0 if name == "soft_margin_loss" else 0.5)).reshape(-1)
        entry |= {"label": yes.long(), "hit": (out > YES_FROM[name]).reshape(-1) == yes}
    return entry


def _score(results: list[dict[str, Any]], facts: dict[str, Any]) -> Tensor | None:
    if all("hit" in r for r in results):
        return torch.cat([r["hit"] for r in results]).float().mean()
    base = facts.get("base_loss")
    if facts.get("loss_kind") == "regression" and base:
        return 1 - torch.cat([r["each"] for r in results]).mean() / base
    return None


def _sure_errors(results: list[dict[str, Any]]) -> dict[str, float]:
    """Return the share of errors on validation rows, and among the quarter of them of which the network is surest."""
    if not results or not all("hit" in r and len(r["hit"]) == len(r["out"]) for r in results):
        return {}
    hit, out = (torch.cat([r[k] for r in results]).float().cpu() for k in ("hit", "out"))
    if out.dim() == 2 and out.shape[1] > 1:
        top, answers = out.softmax(1).topk(2, 1)
        margin, answer = top[:, 0] - top[:, 1], answers[:, 0]
    elif out.numel() == len(out):
        line = 0.5 if bool(((out >= 0) & (out <= 1)).all()) else 0.0  # probabilities, or scores
        margin = (out.reshape(len(out)) - line).abs()
        answer = out.reshape(len(out)) > line
    else:
        return {}
    sure = margin.argsort(descending=True)[: max(1, len(hit) // 4)]
    return {
        "val_error": 1 - float(hit.mean()), "val_sure_error": 1 - float(hit[sure].mean()),
        "val_sure_rows": float(len(sure)),
        "val_surest_error": 1 - float(hit[surest_of_each(margin.numpy(), answer.numpy())].mean()),
    }  # fmt: skip


def _recalls(results: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Return for each class how many samples there are and how many were right."""
    if not results or not all("hit" in r for r in results):
        return {}
    label = torch.cat([r["label"] for r in results]).cpu()
    hit = torch.cat([r["hit"] for r in results]).cpu()
    classes = label.unique().tolist()
    if len(classes) > 200:
        return {}
    return {str(c): [int((label == c).sum()), int(hit[label == c].sum())] for c in classes}

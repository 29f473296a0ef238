"""Facts of the data that went through the loop: taken from the batches that were seen, never from the loader."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from trainwell.signals import rows, witness
from trainwell.signals.family import Family, Record
from trainwell.signals.scene import Batch, Scene
from trainwell.values.signal import Array, Signal

MAX_COLUMNS = 4096

FEW_COLUMNS = 256
"""Columns, drawn at random, on which wide rows such as images are described: temporaries of all would cost seconds."""

ROWS = 256
"""Rows of which it is asked whether each was brought to scale by itself."""

ROUNDED = 1e-3
"""How far equal targets that were read off a gradient may lie apart, in their deviations."""

MOST_TARGETS = 16
"""Targets of a row of which another learner is asked at once; a row with more is a picture."""

NORMALISING = ("Norm", "Front", "Standard", "Scale")
"""Words in the name of a first module that brings the inputs to scale itself."""


class DataFacts(Family):
    """Measure scale, odd values, copies, shift, order, and whether labels follow from inputs."""

    signals: ClassVar = (
        Signal("data", "facts of the rows seen", cadence="once", cost="one pass over 700 rows"),
    )

    is_late = True

    def close(self, scene: Scene, record: Record) -> None:
        facts = scene.facts
        batches = scene.train
        if not batches:
            return
        x, tokens = inputs_of(batches)
        y, classes = targets_of(batches, facts)
        facts["tokens"] = tokens
        facts["first_layer_normalises"] = _first_normalises(facts)
        if len(x) < 8:
            return
        whole = whole_rows(batches, x)
        keep = rows.first_of_each(whole)
        facts["seen_rows"], facts["distinct_rows"] = len(x), len(keep)
        # rows that come again belong to the second epoch
        order = np.concatenate([np.full(b.forward.rows, i) for i, b in enumerate(batches)])
        few = few_columns(x)
        if y is not None and len(y) == len(x):
            facts |= rows.order_facts(y[keep], order[keep], classes, None if tokens else few[keep])
            if not classes and len(keep) < len(x) and not facts.get("rows_per_epoch"):
                facts["drawn_again"] = rows.drawn_again(x, order)
        if not tokens:
            facts |= rows.scale_facts(few) | rows.odd_facts(few[keep])
            facts["own_scale"] = rows.own_scale(x[keep[:ROWS]])
            # of all rows that were seen: blank ones are equal, and only the first of equal ones is kept
            blank = rows.is_blank(whole)
            facts["blank_row_share"] = 0.0 if rows.alike(y, blank, classes) else float(blank.mean())
        told_of = y is not None and len(y) == len(x) and y[0].size <= MOST_TARGETS
        if y is not None and told_of and len(keep) >= 60 and y.std() > 0:
            some = keep[
                np.random.default_rng(0).permutation(len(keep))[: witness.MAX_ROWS]
            ]  # rows may come sorted
            rows_, labels = x[some].astype(np.float64), y[some]
            told = {} if scene.is_sound else witness.label_facts(rows_, labels, tokens, classes)
            facts |= told
            if y.ndim == 1:
                facts |= witness.column_facts(rows_, labels, tokens, classes, told.get("learnable"))
            if not classes and y.ndim == 1 and facts.get("y_integral"):
                facts |= witness.ordinal_facts(rows_, labels, tokens)
        if scene.val:
            self._versus_validation(scene, x, whole, keep, y, tokens)

    def _versus_validation(
        self, scene: Scene, x: Array, whole: Array, keep: Array, y: Array | None, tokens: bool
    ) -> None:
        facts = scene.facts
        xv, _ = inputs_of(scene.val)
        yv, classes = targets_of(scene.val, facts)
        if len(xv) < 8 or xv.shape[1:] != x.shape[1:]:
            return
        self._copies(facts, (whole, whole_rows(scene.val, xv)), keep, (y, yv), tokens)
        x = x[keep]
        if tokens:
            facts |= rows.token_shift_facts(few_columns(x), few_columns(xv))
        else:
            facts |= rows.shift_facts(few_columns(x), few_columns(xv), pixels=scene.val[0].x.dim() == 4)
        if y is None or yv is None:
            return
        if classes and y.ndim == 1 and yv.ndim == 1:
            own = np.bincount(y.astype(int), minlength=int(max(y.max(), yv.max())) + 1) / len(y)
            other = np.bincount(yv.astype(int), minlength=len(own)) / len(yv)
            # beyond what two samples of this size differ by chance
            error = np.sqrt(own * (1 - own) * (1 / len(y) + 1 / len(yv))).sum() * math.sqrt(2 / math.pi) / 2
            facts["label_shift"] = float(np.abs(own - other).sum() / 2 - 2 * error)
            # among few rows a class may be missing by chance
            missing = (own == 0) & ((1 - other) ** len(y) < 1e-3)
            facts["unseen_label_share"] = float(other[missing].sum())
        elif facts.get("loss_name") == "mse_loss" and y.shape[1:] == yv.shape[1:] and y.std() > 0:
            # the best constant of training rows costs more or less on others
            facts["val_base_ratio"] = float(((yv - y.mean(0)) ** 2).mean() / ((y - y.mean(0)) ** 2).mean())
        if not classes and y.ndim == 1 and yv.ndim == 1 and y.std() > 0:
            facts["target_shift_sd"] = float(abs(yv.mean() - y.mean()) / y.std())
            facts["target_shift_scale"] = float(max(yv.std() / y.std(), y.std() / max(yv.std(), 1e-300)))

    @staticmethod
    def _copies(
        facts: dict[str, Any], whole: tuple[Array, Array], keep: Array,
        y: tuple[Array | None, Array | None], tokens: bool,
    ) -> None:  # fmt: skip
        """Look for validation rows that stand in training: with their targets, for rows of codes are often equal."""
        num_train = int(facts.get("rows_per_epoch") or len(keep))
        if whole[0].shape[1] != whole[1].shape[1] or whole[0].shape[1] < 2:
            return
        # that rows hold nothing makes them equal, but not copies of each other
        full = [np.ones(len(v), bool) if tokens else ~rows.is_blank(v) for v in whole]
        train, val = (v[f] for v, f in zip(whole, full, strict=True))
        once = whole[0][keep][full[0][keep]]
        if min(len(once), len(val)) < 8:
            return
        told = [
            None if t is None or len(t) != len(f) else t[f].reshape(int(f.sum()), -1)
            for t, f in zip(y, full, strict=True)
        ]
        targets = (told[0], told[1]) if told[0] is not None and told[1] is not None else None
        facts |= rows.copy_facts(train, val, num_train, targets)
        facts |= rows.near_facts(few_columns(once[:1024]), few_columns(val[:512]))


def inputs_of(batches: list[Batch]) -> tuple[Array, bool]:
    """Return (N, D) inputs, and whether they were whole numbers: tokens, codes."""
    parts = [b.x for b in batches if b.x.shape[1:] == batches[0].x.shape[1:]]
    flat = torch.cat([p.detach().flatten(1) if p.dim() > 1 else p.detach()[:, None] for p in parts]).cpu()
    flat = flat[:, :MAX_COLUMNS]
    exact = flat.dtype in (torch.float32, torch.float64)
    numbers: Array = (flat if exact else flat.double()).numpy()
    return numbers, not (flat.is_floating_point() or flat.dtype == torch.uint8)


def whole_rows(batches: list[Batch], x: Array) -> Array:
    """Return the inputs with what a model is given beside them, such as codes: only then are equal rows equal."""
    like = [b for b in batches if b.x.shape[1:] == batches[0].x.shape[1:]]
    rest = [
        torch.cat([t.detach().reshape(len(t), -1).double() for t in others], 1).cpu()
        for b in like
        if (others := [t for t in b.forward.tensors[1:] if len(t) == b.forward.rows])
    ]
    if len(rest) < len(like) or len({r.shape[1] for r in rest}) != 1:
        return x
    more: Array = torch.cat(rest).numpy()[:, :MAX_COLUMNS]
    return np.hstack([x, more])


def few_columns(x: Array) -> Array:
    """Return the same columns of every array as wide as this, at most FEW_COLUMNS, in float64."""
    if x.shape[1] > FEW_COLUMNS:
        x = x[:, np.sort(np.random.default_rng(0).permutation(x.shape[1])[:FEW_COLUMNS])]
    return x.astype(np.float64)


def targets_of(batches: list[Batch], facts: dict[str, Any]) -> tuple[Array | None, bool]:
    """Return (N,) labels, (N,) or (N, K) numbers, None where samples have another form; and whether they are classes."""
    targets = [b.y for b in batches if b.calls]
    if len(targets) != len(batches) or any(not isinstance(t, Tensor) for t in targets):
        return None, False
    if any(t.dim() == 0 or t.shape[0] != b.forward.rows for t, b in zip(targets, batches, strict=True)):
        return None, False
    y = torch.cat([t.detach() for t in targets]).cpu()
    kind = facts.get("loss_kind")
    if kind == "classification" and y.is_floating_point() and y.dim() == 2:
        y = y.argmax(1)
    y = y.squeeze(-1) if y.dim() == 2 and y.shape[1] == 1 else y
    if y.dim() == 2 and kind == "regression":
        return y.double().numpy(), False
    if y.dim() != 1:
        return None, False
    if kind == "binary" and bool((y.abs() == 1).all()):
        y = (y > 0).to(y.dtype)  # yes and no are also told as 1 and -1
    classes = kind == "classification" or (kind == "binary" and bool(((y == 0) | (y == 1)).all()))
    if kind == "classification" and bool((y < 0).any()):
        return None, False  # rows without a label
    return y.double().numpy(), classes


def _first_normalises(facts: dict[str, Any]) -> bool:
    kinds = [m["kind"] for m in facts.get("modules", ())]
    return bool(kinds) and any(word in kinds[0] for word in NORMALISING)


def target_facts(y: Tensor, kind: str) -> dict[str, Any]:
    """Return scale and form of the targets of the first batches."""
    codes = kind == "classification" and not y.is_floating_point()
    flat = y.detach().double().cpu()
    # a sample may have many class numbers, as in segmentation: each is one label, none is a column
    flat = flat.reshape(-1, 1) if codes or y.dim() == 1 else flat.flatten(1)
    finite = torch.isfinite(flat)
    values = torch.where(finite, flat, torch.zeros_like(flat))
    facts: dict[str, Any] = {
        "y_nonfinite_share": float((~finite).double().mean()), "y_min": float(values.min()),
        "y_max": float(values.max()), "y_rms": float(values.pow(2).mean().sqrt()),
        "y_mean": float(values.mean()), "y_sd": float(values.std()) if values.numel() > 1 else 0.0,
        "y_integral": bool((values == values.round()).all()), "y_distinct": int(values.unique().numel()),
        "y_width": int(values.shape[1]),
    }  # fmt: skip
    if kind == "regression" and 1 < values.shape[1] <= MOST_TARGETS:
        apart = (values.max(1).values - values.min(1).values) <= ROUNDED * values.std().clamp(min=1e-30)
        facts["targets_alike"] = float(apart.double().mean()) if len(values) > 1 else 0.0
    if kind == "binary" and values.shape[1] > 1:
        facts["targets_sum_to_one"] = float(((values.sum(1) - 1).abs() < 1e-3).double().mean())
    if kind in ("classification", "binary"):
        label = values if values.shape[1] == 1 or kind == "binary" else values.argmax(1, keepdim=True)
        if kind == "binary" and bool((values.abs() == 1).all()):
            label = (values > 0).double()  # yes and no are also told as 1 and -1
        known, counts = label.unique(return_counts=True)
        facts["class_counts"] = {str(int(k)): int(c) for k, c in zip(known, counts, strict=True) if k >= 0}
        facts["base_score"] = float(counts.max() / counts.sum())
    elif kind == "regression":
        facts["base_score"] = 0.0
    return facts

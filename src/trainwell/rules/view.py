"""What the rules read from the traces of a run: curves per epoch, how well it went, how the steps behaved."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from trainwell.rules.strides import StrideView
from trainwell.values.signal import Array

MOVES = 3.0
"""Deviation of the mean target of a batch over the run, in deviations of the first targets; of fixed rows at most 1."""

SOLVED = 0.9
"""Share of the way from the best constant answer to perfection at which a run counts as solved."""


HARM = 0.2
"""Validation loss at the end, in units of the base loss, from which new rows fare badly whatever the score says."""

SHRUNK = 0.35
"""Weights at the end over weights at the start that have been pulled to zero."""

FEW_EPOCHS, PART_STEPS = 5, 8
"""Epochs from which their means make a curve; steps that a part of a run of fewer must have."""

RENEWED = 0.05
"""Median of |update| / |weight| at which twenty steps renew the weights, more than any healthy run here shows (0.049)."""

THROW, UNREST, SWINGS = 0.3, 0.15, 0.3
"""In units of the base loss: rise of the loss beyond the noise of batches that kills units, sum of all rises of the epoch
loss, and how far the validation loss rises and falls again; healthy unsolved runs swing by at most 0.16."""

LOST = 1.0
"""Rise of the loss beyond the noise of batches, in units of the base loss, that takes all there was to learn."""

MIXED = 0.01
"""Share of the output of a row that changes with the other rows of its batch; rounding alone changes 1e-6."""

MANY = 16
"""Numbers of a target from which it counts as a picture, not as one with a few parts."""


class View(StrideView):
    """The traces of one run with what follows from them.

    All of it is free of the unit of the loss: differences are held against the loss of the best constant answer.
    """

    # ------------------------------------------------------------------ the task

    @cached_property
    def kind(self) -> str:
        """`classification`, `binary`, `regression`, `distribution`, or empty where no loss was seen."""
        return str(self.fact("loss_kind", ""))

    @cached_property
    def is_sequence(self) -> bool:
        """Whether every sample has many targets, as in language models: such tasks are never solved."""
        wide = self.kind == "classification" and self.number("targets_per_sample", 1) > 1
        return bool(wide) or self.fact("task") == "lm"

    @cached_property
    def is_wide(self) -> bool:
        """Whether a sample has many numbers as its target, as in autoencoders."""
        width = self.number("y_width", 1)
        return self.kind in ("regression", "binary") and width > MANY

    @cached_property
    def num_classes(self) -> int:
        shape = self.fact("out_shape") or [0, 0]
        return int(shape[1]) if len(shape) > 1 and self.kind == "classification" else len(self.class_counts)

    @cached_property
    def class_counts(self) -> dict[str, int]:
        return dict(self.fact("class_counts") or {})

    @cached_property
    def batch_size(self) -> int:
        """Samples per optimizer step."""
        return int(self.number("batch_size", 0) * self.number("accumulation", 1))

    # ------------------------------------------------------------------ how well it went

    @cached_property
    def base_score(self) -> float:
        return self.number("base_score", 0.0)

    @cached_property
    def train_score(self) -> float:
        """Score on training rows in evaluation mode at the end; NaN where it is not known."""
        return self.get("probe_score").last

    @cached_property
    def val_score(self) -> float:
        return self.get("val_score").last

    @cached_property
    def way(self) -> float:
        """Share of the way from the best constant answer to perfection, on training rows."""
        if self.targets_move:
            return math.nan  # the best constant answer of early targets is none of late ones
        weighted = self._weighted_way("train")
        if weighted is not None:
            return weighted
        return (self.train_score - self.base_score) / max(1e-9, 1 - self.base_score)

    def _weighted_way(self, part: str) -> float | None:
        """Return the way where rows count as the loss weighs them: to know the rare ones costs some of the others."""
        weights, recalls = self.fact("class_weights"), self.fact(f"{part}_recalls")
        if not weights or not recalls:
            return None
        seen = {k: weights.get(k, 0.0) * n for k, (n, _) in recalls.items()}
        right = sum(weights.get(k, 0.0) * hit for k, (_, hit) in recalls.items())
        base = max(seen.values()) / max(1e-9, sum(seen.values()))
        return (right / max(1e-9, sum(seen.values())) - base) / max(1e-9, 1 - base)

    @property
    def is_judged(self) -> bool:
        """Whether it is known how well the run went: losses written by hand do not tell."""
        return math.isfinite(self.way)

    @cached_property
    def is_solved(self) -> bool:
        return bool(self.way >= SOLVED)

    @cached_property
    def is_done(self) -> bool:
        """Whether nothing much is left to gain: solved by the score, and by the loss on training rows.

        Answers that are right but unsure leave a high loss. That alone is no fault, but it shows that one costs.
        """
        left = self.get("probe_loss").last / self.base_loss
        return self.is_solved and (not left > 1 - SOLVED or bool(self.fact("label_smoothing")))

    @cached_property
    def is_harmed(self) -> bool:
        """Whether new rows fare badly, be the rows of the training learned or not."""
        return not self.is_sound or bool(self.get("val_loss").last > HARM * self.base_loss)

    @cached_property
    def answers_new(self) -> bool:
        """Whether new rows are answered right and surely: rows of training may be mixed or spoilt on purpose."""
        sure = self.get("val_loss").last <= (1 - SOLVED) * self.base_loss
        return bool(sure and self.val_score - self.base_score >= SOLVED * (1 - self.base_score))

    @cached_property
    def val_way(self) -> float:
        """The same share of the way, on new rows."""
        weighted = self._weighted_way("val")
        plain = (self.val_score - self.base_score) / max(1e-9, 1 - self.base_score)
        return plain if weighted is None else weighted

    @cached_property
    def is_sound(self) -> bool:
        """Whether the run is solved in training and, where there is one, in validation."""
        return self.is_solved and not self.val_way < SOLVED

    @cached_property
    def base_loss(self) -> float:
        """Loss of the best constant answer; the first losses where it is not known."""
        base = self.number("base_loss")
        if math.isfinite(base) and base > 0:
            return base
        losses = self.get("train_loss").values
        finite = np.abs(losses[np.isfinite(losses)])
        return float(finite[:5].mean()) if finite.size else math.nan

    @cached_property
    def train_base_loss(self) -> float:
        """The same in the unit of the training loss: a loss that is summed over a batch is larger by its targets."""
        if self.fact("reduction") != "sum":
            return self.base_loss
        return self.base_loss * max(1, math.prod(self.fact("target_shape") or [1]))

    @cached_property
    def first_loss(self) -> float:
        """Loss of the first step in units of the loss of the best constant answer."""
        values = self.get("train_loss").values
        return float(values[0]) / self.train_base_loss if values.size and self.train_base_loss else math.nan

    @cached_property
    def thrown(self) -> float:
        """Largest rise of the training loss above its lowest level before, in units of the base loss, beyond noise."""
        if self.targets_move:
            return 0.0
        values = self.get("train_loss").values
        values = values[np.isfinite(values)] / self.train_base_loss
        width = max(3, values.size // 100)
        if values.size < 3 * width:
            return 0.0
        level = np.convolve(values, np.ones(width) / width, "valid")
        noise = 1.48 * float(np.median(np.abs(np.diff(values)))) / math.sqrt(2 * width)
        # the first step alone may throw the weights
        lowest = np.minimum(np.minimum.accumulate(level), values[0] + 2 * noise * math.sqrt(width))
        return float((level - lowest).max()) - 4 * noise

    @cached_property
    def targets_move(self) -> bool:
        """Whether the network makes its targets itself, as in Q-learning: losses early and late do not compare."""
        means = self.get("target_mean").values
        means = means[np.isfinite(means)]
        return len(means) > 2 and float(means.std()) > MOVES * self.number("y_sd", math.inf)

    # ------------------------------------------------------------------ curves per epoch

    @cached_property
    def epoch_ends(self) -> Array:
        """Steps at which epochs end: validations, or the loader's length, or ten equal parts."""
        ends = np.unique(self.get("val_loss").steps)
        if len(ends) >= 2:
            return ends
        per_epoch = int(self.number("steps_per_epoch", 0))
        if per_epoch and self.steps >= 2 * per_epoch:
            return np.arange(per_epoch, self.steps + 1, per_epoch)
        return (
            np.unique(np.linspace(0, self.steps, 11).astype(int)[1:])
            if self.steps >= 20
            else np.zeros(0, int)
        )

    @cached_property
    def part_ends(self) -> Array:
        """Ends of the parts over which the training loss is averaged: epochs, or ten parts where those are few."""
        if self.num_epochs >= FEW_EPOCHS or self.steps < 10 * PART_STEPS:
            return self.epoch_ends
        return np.linspace(0, self.steps, 11).astype(int)[1:]

    @cached_property
    def epoch_loss(self) -> Array:
        """Mean training loss of every epoch (or part), in units of the loss of the best constant answer."""
        return self._over_parts[0]

    @cached_property
    def _over_parts(self) -> tuple[Array, Array]:
        """Means of the training loss over the parts, and the rise from one to the next that noise alone may make."""
        trace, ends = self.get("train_loss"), self.part_ends
        if not len(trace) or not len(ends):
            return np.zeros(0), np.zeros(0)
        place = np.searchsorted(ends, trace.steps, side="right")
        parts = [trace.values[place == i] for i in range(len(ends))]
        means = np.asarray([p.mean() if p.size else np.nan for p in parts]) / self.train_base_loss
        if ends is self.epoch_ends:  # every epoch has the same rows
            return means, np.zeros(len(means))
        errors = (
            np.asarray([p.std() / math.sqrt(p.size) if p.size else 0.0 for p in parts]) / self.train_base_loss
        )
        return means, 2 * np.hypot(errors, np.append(errors[1:], 0.0))

    @cached_property
    def _rises(self) -> Array:
        """Rises of the training loss from part to part, beyond noise."""
        means, noise = self._over_parts
        with np.errstate(all="ignore"):
            rises = np.clip(np.diff(means) - noise[:-1], 0, None)
        return rises[np.isfinite(rises)]

    @cached_property
    def num_epochs(self) -> int:
        return len(self.epoch_ends)

    @cached_property
    def has_nonfinite(self) -> bool:
        """Whether a loss, a gradient or a weight became NaN or infinite."""
        traces = ("train_loss", "grad_norm", "weight_norm", "look_loss")
        return any(not np.isfinite(self.get(t).values).all() for t in traces)

    @cached_property
    def upward(self) -> float:
        """Share of the path of the epoch loss that goes up: 0 is steady progress, 1/2 none at all."""
        curve = self.epoch_loss[np.isfinite(self.epoch_loss)]
        path = np.abs(np.diff(curve)).sum()
        return float(self._rises.sum() / path) if path > 0 else 0.0

    @cached_property
    def gained(self) -> float:
        """Fall of the training loss over the run, in units of the loss of the best constant answer."""
        curve = self.epoch_loss[np.isfinite(self.epoch_loss)]
        return float(curve[0] - curve.min()) if curve.size else 0.0

    @cached_property
    def late_rate(self) -> float:
        """Fall of the training loss in the last quarter of the epochs against its mean fall: 1 on a straight line."""
        curve = self.epoch_loss[np.isfinite(self.epoch_loss)]
        if curve.size < 3:
            return math.nan
        start = self.early_loss
        drop = start - curve[-1]
        if not drop > 0.01 * abs(start):
            return 0.0
        n = max(1, round(curve.size / 4))
        # the epochs, not their ends, carry the losses: the first lies half an epoch after the start
        return float((curve[-1 - n] - curve[-1]) / n / (drop / (curve.size - 0.5)))

    @cached_property
    def gets_faster(self) -> bool:
        """Whether no part of the run ended above the one before, and the last parts fell fastest."""
        return self.upward == 0 and self.late_rate > 1 and self.falling_z > 2

    @cached_property
    def early_loss(self) -> float:
        """Loss of the first few steps in units of the loss of the best constant answer."""
        values = self.get("train_loss").values
        return (
            float(np.mean(values[: max(1, min(4, len(values) // 20))]) / self.train_base_loss)
            if len(values)
            else math.nan
        )

    @cached_property
    def unrest(self) -> float:
        """Sum of all rises of the epoch loss after the first quarter, in units of the base loss."""
        curve = self.epoch_loss[np.isfinite(self.epoch_loss)]
        return float(self._rises[curve.size // 4 :].sum()) if curve.size > 2 else 0.0

    @cached_property
    def mate_effect(self) -> float:
        """How far at least an output depends on the other rows of its batch, in evaluation mode; 0 if unknown."""
        effect = self.get("mate_effect").values
        return float(np.nanmin(effect)) if np.isfinite(effect).any() else 0.0

    @cached_property
    def norms_of_the_batch(self) -> tuple[str, ...]:
        """Layers of batch norm that keep no statistics, so that they take those of the batch in use as well."""
        return tuple(
            m["name"] for m in self.fact("layers", ()) if m.get("norm") == "batch" and not m["running"]
        )

    @cached_property
    def val_swings(self) -> float:
        """How far the validation loss rose and fell again after the first quarter, in units of the base loss.

        The smaller of the sums of all rises and of all falls: progress only falls, learning by heart only rises. A loss
        far above the base loss, as of rows from elsewhere, swings in units of its own level.
        """
        values = self.get("val_loss").values
        values = values[len(values) // 4 :]
        moves = np.diff(values) / max(self.base_loss, float(np.median(values)) if values.size else 0.0)
        if moves.size < 2 or not np.isfinite(moves).all():
            return 0.0
        return float(min(moves[moves > 0].sum(), -moves[moves < 0].sum()))

    @cached_property
    def is_undone(self) -> bool:
        """Whether the run lost all again that it had learned, by its mean losses over the parts, beyond their noise."""
        curve, noise = self._over_parts
        kept = np.isfinite(curve)
        curve, noise = curve[kept], noise[kept]
        return bool(curve.size > 2 and self.gained > UNREST and curve[-1] - noise[-1] >= curve[0])

    @cached_property
    def is_shaken(self) -> bool:
        """Whether steps that renew the weights within twenty throw training and validation loss up and down.

        Or steps of whatever size throw it so far that nothing is left of what was learned, or as far as there was to
        learn and do not find back. The prediction ratio is blind to that: each step may suit its own batch and undo
        what others taught.
        """
        rises = self.val_swings > LOST and self.falling_z < -2
        if (self.is_undone or rises) and self.thrown > LOST and not self.targets_move:
            return True
        thrown = self.thrown > THROW and not self.is_sound
        shaken = (thrown or self.unrest > UNREST) and (self.val_swings > SWINGS or self.is_undone)
        return bool(shaken and self.update_ratio > RENEWED and not self.targets_move)

    @cached_property
    def trend(self) -> float:
        """Fall of the training loss per step over the last half of the steps, in units of the base loss."""
        return -self._slope[0] / self.train_base_loss if self.train_base_loss else 0.0

    # ------------------------------------------------------------------ the steps

    @cached_property
    def rates(self) -> Array:
        """Learning rate at every epoch's end."""
        trace = self.get("lr")
        if not len(trace) or not len(self.epoch_ends):
            return trace.values
        place = np.searchsorted(trace.steps, self.epoch_ends, side="left") - 1
        return trace.values[np.clip(place, 0, len(trace) - 1)]

    @property
    def measured(self) -> dict[str, float]:
        """Numbers that techniques use for their doses."""
        found: dict[str, float] = {}
        if self.grad_norms.size:
            for share in (50, 90):
                found[f"grad_norm.q{share}"] = float(np.quantile(self.grad_norms, share / 100))
        found["lr"] = float(self.get("lr").values.max()) if len(self.get("lr")) else math.nan
        found["batch_size"], found["steps"] = float(self.batch_size), float(self.steps)
        found["train_score"], found["val_score"] = self.train_score, self.val_score
        found["gap"] = self.train_score - self.val_score
        return {k: v for k, v in found.items() if math.isfinite(v)}

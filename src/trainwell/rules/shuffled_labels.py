from __future__ import annotations

import math

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

LEARNABLE, BY_CHANCE = 0.06, 0.8
"""Explained variation of unseen labels, at most, and over the root of the rows: permuted ones show at most 0.036 on 320
to 400 rows (own_faults, mutations), and chance is the less the more there are."""

CARRIES = 0.05
"""Share of the base loss that has to be gone on validation rows for something to carry over."""

ENOUGH = 60
"""Rows from which a witness tells."""

PER_COLUMN, NOTHING = 40, 0.03
"""Rows for each column from which the nearest of them is near; way, and explained variation, of nothing at all."""

FEW_STEPS = 40
"""Steps under which neither what was learned nor what was not tells anything."""

FOUND, WORTH = 0.5, 1.5
"""Share of what the network leaves on validation rows that the witness explains where it explains nothing in training;
validation loss, in units of the base loss, up to which that is not the work of answers that are far off."""

GOES_ON = 4.0
"""Standard errors by which the loss on training rows falls when the training goes on."""


class ShuffledLabels(Rule):
    """Find labels that have nothing to do with their inputs."""

    ailment = "shuffled_labels"
    needs = ("data", "val_score", "probe_score")
    explains = ("overfitting", "underfitting", "label_noise", "undertrained", "plateau", "lr_too_low",
                "batch_too_small", "batch_too_large", "oscillation", "class_imbalance")  # fmt: skip
    source = "Zhang et al. 2017, arXiv:1611.03530 (random labels are memorised)."

    def diagnose(self, view: View) -> Finding | None:
        learnable, rows = _learnable(view)
        val = view.get("val_score").values
        if not rows >= ENOUGH or not learnable <= _limit(rows) or not _judged_late(view) or view.is_sequence:
            return None
        if view.steps < FEW_STEPS:
            return None
        counts = view.class_counts.values()
        # where one class outweighs all others together by far, all learners hold to it
        if counts and max(counts) > 8 * min(counts) and 2 * max(counts) > sum(counts):
            return None
        if _in_training_alone(view):
            return self._finding(view, Reading("residual_r2", view.number("residual_r2"), FOUND), learnable)
        # the network itself is the strongest witness: it must have learned something, and none of it may carry over
        val = 1 - (1 - val) / _ratio(view)
        best = float(val[max(1, len(val) // 4) :].max(initial=float(val[-1])))
        base = view.base_score
        chance = base + max(0.05 * (1 - base), 2.5 * math.sqrt(max(base * (1 - base), 0.01) / rows))
        gap = view.train_score - float(val[-1])
        least = 0.08 * (1 - base)
        if counts:  # what a score differs by chance between so many rows
            num_val = (
                view.get("val_losses").values.shape[-1] if view.get("val_losses").values.ndim == 2 else rows
            )
            least = max(
                0.03, 3 * math.sqrt(max(base * (1 - base), 0.01) * (1 / max(rows, 1) + 1 / max(num_val, 1)))
            )
        fitted = (view.way > 0.03 and gap > least) or _only_by_heart(view)
        fitted = fitted or _nothing_follows(view)
        if not best < chance or not fitted or _beats_constant(view) or _carries_on(view):
            return None
        return self._finding(view, Reading("val_score", best, chance, "<"), learnable)

    def _finding(self, view: View, told: Reading, learnable: float) -> Finding:
        where = "The labels" if told.trace == "val_score" else "The labels of the training rows"
        return Finding(
            self.ailment, "critical", 0.9, "S",
            f"{where} do not follow from the inputs: neighbours do not share them, and what the network learns "
            "in training is worth nothing in validation. Probably rows and labels were put out of step.",
            (Reading("learnable", learnable, _limit(_learnable(view)[1]), "<"), told),
            fix="check the line that joins inputs and labels: sorted, filtered or shuffled one without the other",
            source=self.source, measured=view.measured,
        )  # fmt: skip


def _learnable(view: View) -> tuple[float, float]:
    """Return what another learner explains of the targets of rows that it has not seen, and of how many rows.

    Of many targets a row it is asked what the network leaves, which is all where the network itself explains nothing.
    """
    learnable, rows = view.number("learnable"), view.number("label_rows", 0)
    losses = view.get("val_losses").values
    if math.isnan(learnable) and losses.ndim == 2:
        return view.number("residual_r2"), float(losses.shape[-1])
    return learnable, rows


def _limit(rows: float) -> float:
    """Return what is explained of so many labels at most where nothing is to be explained."""
    return min(LEARNABLE, BY_CHANCE / math.sqrt(max(rows, 1.0)))


def _in_training_alone(view: View) -> bool:
    """Whether the same witness finds nothing in training, and in validation most of what the network leaves."""
    losses, val = view.get("val_losses").values, view.get("val_loss").last
    # a network that answers new rows well has learned what holds there
    fits = view.base_loss / 2 < val < WORTH * view.base_loss
    seen = losses.ndim == 2 and losses.shape[-1] >= ENOUGH and fits
    return seen and view.number("residual_r2", 0.0) > FOUND


def _beats_constant(view: View) -> bool:
    """Whether the validation loss ends below that of the best constant: of labels without any bearing it cannot."""
    losses, base = view.get("val_loss").values, view.base_loss * _ratio(view)
    return bool(losses.size) and base > 0 and float(losses[-1]) < (1 - CARRIES) * base


def _ratio(view: View) -> float:
    """Return what the best constant costs on validation rows against its own, where that is less.

    Targets that vary less are nearer to any constant; that new ones vary more says nothing of what was learned.
    """
    return min(1.0, max(view.number("val_base_ratio", 1.0), 1e-9))


def _carries_on(view: View) -> bool:
    """Whether going on surely betters rows that it has not seen: what the witness cannot see may follow all the same."""
    branches = (view.continuation, "tenfold", "tenfold_longer")
    sure = [view.what_if(b, "val_hot_z") > GOES_ON and view.what_if(b, "val_hot") > 0 for b in branches]
    return any(sure)


def _only_by_heart(view: View) -> bool:
    """Whether the network goes on to learn its rows, surely so, and no validation row ever gained by it."""
    losses, base = view.get("val_loss").values, view.base_loss * _ratio(view)
    learns = view.what_if(view.continuation, "train_hot_z") > GOES_ON
    learned = view.way > 0.03 and view.get("probe_loss").last < (1 - CARRIES) * view.base_loss
    learned = learned or view.what_if(view.continuation, "train_hot") > CARRIES
    worse = bool(losses.size) and float(losses[-1]) > base and float(losses.min()) > (1 - CARRIES / 2) * base
    return learns and learned and worse and view.what_if(view.continuation, "val_hot") < 0


def _nothing_follows(view: View) -> bool:
    """Whether in few columns neither the nearest rows, nor another learner, nor the network find anything at all."""
    rows, columns = view.number("label_rows", 0.0), view.number("x_columns", math.inf)
    seen = (
        rows >= PER_COLUMN * columns and view.number("nearest_z") < 2 and view.number("learnable") < NOTHING
    )
    return seen and view.way < NOTHING


def _judged_late(view: View) -> bool:
    """Whether the network was judged in the second half: it may have learned since the first."""
    steps = view.get("val_score").steps
    return bool(steps.size) and 2 * steps[-1] >= view.steps

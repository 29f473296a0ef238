from __future__ import annotations

import math

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

BETWEEN = 0.5
"""Share of the targets' variation that lies between batches; 0 in a shuffled epoch, 1 in a sorted one."""

ORDERED, SURE = 0.1, 5.0
"""The same from which rows are in order at all, in part of their variation, and in standard errors of chance; such rows
are told of where they do harm."""

Z = 3.0
"""Standard errors by which a tenth of the rate does better than the rate as it is."""

FORGOTTEN, UPWARD = 1.5, 0.2
"""Loss of rows from all over at the end against the mean loss of the last epoch, and share of the path of the epoch loss
that goes up: rows in order that are learned all the same, as windows of a series are, show neither."""

DRAWN = 0.5
"""Share of the batches that hold both new rows and such as came before; of rows read in order hardly one does."""


class UnshuffledData(Rule):
    """Find training rows that come sorted by their target, or by an input where that costs."""

    ailment = "unshuffled_data"
    needs = ("data", "val_score", "target_mean")
    explains = ("lr_too_high", "oscillation", "exploding_gradient", "undertrained", "overfitting", "batch_too_small",
                "train_val_shift", "underfitting", "plateau", "class_imbalance", "dead_units", "batchnorm_misuse",
                "lr_too_low", "lr_schedule")  # fmt: skip
    source = "Bengio 2012, arXiv:1206.5533, 3.1."

    def diagnose(self, view: View) -> Finding | None:
        between = view.number("between_batches", 0.0)
        if self._begins_with_one_class(view):
            between = 1.0
        # rows that come again among new ones are drawn at random, as from the memory of a game
        is_replay = view.number("drawn_again", 0.0) > DRAWN
        swept = view.number("between_batches_x", 0.0)
        in_part = ORDERED < between <= BETWEEN and between > SURE * _chance(view) and self._harms(view)
        by_input = between <= BETWEEN < swept and not in_part and self._forgets(view)
        if not (between > BETWEEN or in_part or by_input) or view.targets_move or is_replay:
            return None
        base = view.base_score
        if view.val_score >= base + 0.9 * (1 - base):
            return None
        if by_input:
            return Finding(
                self.ailment, "critical", 0.88, "S",
                "The training rows come in the order of one of their inputs, so that a batch holds one region only. "
                "The network suits each region while it passes there, and forgets the one before.",
                (Reading("between_batches_x", swept, BETWEEN),),
                fix="shuffle the training rows in every epoch: DataLoader(..., shuffle=True)", source=self.source,
            )  # fmt: skip
        return Finding(
            self.ailment, "critical", 0.9, "S",
            ("The training rows come in an order that has to do with their target, so that batches differ. " if in_part
             else "The training rows come in the order of their target, so that a batch holds one kind only. ") +
            "Each batch pulls the network to its own kind, and it forgets the one before.",
            (Reading("between_batches", between, ORDERED if in_part else BETWEEN),),
            fix="shuffle the training rows in every epoch: DataLoader(..., shuffle=True)", source=self.source,
        )  # fmt: skip

    @staticmethod
    def _harms(view: View) -> bool:
        """Whether what has just passed is known far better than the rest, or short steps, which average more, help."""
        passing = view.epoch_loss * view.base_loss
        forgets = passing.size > 0 and view.get("probe_loss").last > FORGOTTEN * passing[-1]
        ahead = sum(view.what_if("tenth", f"{part}_z") for part in ("train", "val")) / math.sqrt(2)
        return bool(forgets or (not view.rate_decayed and ahead > Z))

    @staticmethod
    def _forgets(view: View) -> bool:
        """Whether rows from all over are known far worse than those that had just passed, and epochs take turns in it."""
        passing, val = view.epoch_loss * view.base_loss, view.get("val_loss").values
        if not passing.size or not view.upward > UPWARD:
            return False
        # the last epoch alone may end on rows that suit all
        late = float(val[-len(val) // 2 :].mean()) if val.size == passing.size > 3 else math.nan
        return bool(
            view.get("probe_loss").last > FORGOTTEN * passing[-1]
            or late > FORGOTTEN * passing[-len(passing) // 2 :].mean()
        )

    @staticmethod
    def _begins_with_one_class(view: View) -> bool:
        """Whether the rows that were looked at are of one class, are the first of more, and validation has others."""
        whole = view.number("rows_per_epoch", 0.0)
        return (
            view.kind in ("classification", "binary")
            and len(view.class_counts) == 1
            and 0 < view.number("seen_rows", whole) < 0.9 * whole
            and view.number("unseen_label_share", 0.0) > 0.02
        )


def _chance(view: View) -> float:
    """Return the standard error of `between_batches` of rows in a chance order: the share is then beta distributed."""
    rows = view.number("seen_rows", 0.0)
    groups = rows / max(1, view.batch_size)
    a, b = (groups - 1) / 2, (rows - groups) / 2
    if not (a > 0 and b > 0):
        return math.inf
    return math.sqrt(a * b / (a + b + 1)) / (a + b) / (1 - a / (a + b))

from __future__ import annotations

import math
from collections.abc import Mapping

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

RATIO, RECALL = 8.0, 0.75

FEW = 8
"""Rows of rare classes in validation under which rows of the training, judged in evaluation mode, count as well."""


class ClassImbalance(Rule):
    """Find rare classes that the network passes over."""

    ailment = "class_imbalance"
    needs = ("data", "confusion")
    explains = ("underfitting", "undertrained", "overfitting", "plateau")
    source = "Buda et al. 2018, arXiv:1710.05381."

    def diagnose(self, view: View) -> Finding | None:
        counts = view.class_counts
        new, old = (view.fact(f"{part}_recalls") or {} for part in ("val", "train"))
        recalls = new or old
        if len(counts) < 2 or view.is_sequence or not recalls:
            return None
        upside_down = _weighs_the_common(counts, view.fact("class_weights") or {})
        if view.fact("loss_weighted") and not upside_down:
            return None
        if upside_down:  # a row counts as often as the loss makes it
            counts = {c: n * view.fact("class_weights").get(c, 1.0) for c, n in counts.items()}
        top = max(counts.values())
        rare = [c for c in recalls if 0 < RATIO * counts.get(c, 0) < top]
        common = [c for c in recalls if c not in rare]
        if new and sum(new[c][0] for c in rare) < FEW:
            # new rows of a rare class are few: that it does not know its own rows tells as much
            recalls = {c: [sum(n) for n in zip(new[c], old.get(c, (0, 0)), strict=True)] for c in new}
        seen, hit = (sum(recalls[c][i] for c in rare) for i in (0, 1))
        others, others_hit = (sum(recalls[c][i] for c in common) for i in (0, 1))
        if not rare or not common or not seen or not others:
            return None
        recall, usual = hit / seen, others_hit / others
        if recall >= RECALL * usual or usual < 0.5:
            return None
        # how likely so few hits are where the rare classes were known as well as the others
        chance = sum(math.comb(seen, k) * usual**k * (1 - usual) ** (seen - k) for k in range(hit + 1))
        if chance > 0.05:
            return None
        what = "count for over {:.0f} times less" if upside_down else "have over {:.0f} times fewer rows"
        why = "The weights of the loss are upside down." if upside_down else ""
        return Finding(
            self.ailment, "warning", 0.85, "S",
            f"The rarest classes {what.format(RATIO)} than the commonest, and the network knows "
            f"{100 * recall:.0f} % of them against {100 * usual:.0f} % of the others. "
            f"{why or 'It gains more by being right on the common classes.'}",
            (Reading("recall_of_rare", recall, RECALL * usual, "<"),),
            fix="weigh a class by the inverse of its share, pos_weight by rows of no over rows of yes"
            if upside_down else "weigh the classes in the loss, or draw the rare rows more often", source=self.source,
            measured={**view.measured, "imbalance": top / max(1, min(counts.values()))},
        )  # fmt: skip


def _weighs_the_common(counts: Mapping[str, float], weights: Mapping[str, float]) -> bool:
    """Whether the loss lets the rarest class count less than the commonest, row for row."""
    rarest, commonest = min(counts, key=lambda c: counts[c]), max(counts, key=lambda c: counts[c])
    return counts[rarest] < counts[commonest] and weights.get(rarest, 1.0) < weights.get(commonest, 1.0)

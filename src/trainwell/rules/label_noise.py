from __future__ import annotations

import math

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

RATE, LOWER = 0.04, 0.02
"""Healthy data, also with overlapping classes, show <= 1.3 %; 12 % wrong labels show 9.9 % (DOCTOR 4, Data)."""


class LabelNoise(Rule):
    """Find labels that contradict all their neighbours, which agree among themselves."""

    ailment = "label_noise"
    needs = ("data",)
    explains = ("overfitting", "underfitting", "plateau")
    source = "Northcutt et al. 2021, arXiv:1911.00068; DOCTOR 4, Data."

    def diagnose(self, view: View) -> Finding | None:
        agreed, against = view.number("agreed", 0.0), view.number("against_agreed", 0.0)
        if agreed < 40 or against < 4:
            return None
        rate = against / agreed
        lower = rate - 2 * math.sqrt(rate * (1 - rate) / agreed)
        if rate <= RATE or lower <= LOWER:
            return None
        # neighbours may be poor witnesses (images, many columns): the network must contradict the labels as well
        # on the new rows that it is surest of
        surest, wrong = view.number("surest", 0.0), view.number("surest_wrong", 0.0)
        if surest < 20 or wrong < max(2.0, RATE * surest) or not view.way > 0.3:
            return None
        return Finding(
            self.ailment, "warning", 0.85, "S",
            f"{against:.0f} labels differ from the label on which all nearest neighbours agree. "
            f"About {100 * rate:.0f} % of the labels are probably wrong, and the network can only learn them by heart.",
            (Reading("against_agreed / agreed", rate, RATE),),
            fix="review the rows whose label differs from all their neighbours", source=self.source,
            measured={**view.measured, "noise": rate},
        )  # fmt: skip

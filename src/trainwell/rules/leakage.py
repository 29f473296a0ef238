from __future__ import annotations

from trainwell.rules.rule import Rule
from trainwell.rules.view import MIXED, View
from trainwell.values.finding import Finding, Reading

HALF = 0.5
"""Share of the equal rows with equal targets under which being equal is the rule of few codes, not the mark of a copy."""

SOME = 0.02
"""Share of rows that may be equal by chance."""

CODES = 0.2
"""Where no column has this share of distinct values, rows of codes are equal by chance: only more equal rows between
the parts than within one tell."""

MEASURED, OFTEN = 0.9, 0.3
"""Share of the distinct rows that one column parts, from which equal rows are copies; else of rows that are hardly ever
distinct nothing can be said."""

LEFT = 5.0
"""How many times more variation is left unexplained without the lone column than with it. Of healthy data with a column
that ranks the targets so well at most 1.2 times (faultbench, digits and wine)."""

REMEMBERS = "The validation score then says how well the network remembers, not how well it will do."
KNOWN = "Where it is not known beforehand, the network will do far worse than the validation score says."


class Leakage(Rule):
    """Find validation rows that stand in training, and a single feature that gives the answer away."""

    ailment = "leakage"
    needs = ("data", "later_rows", "answers")
    explains = ("converged_early", "undertrained")
    source = "Kaufman et al. 2012, Leakage in data mining; Deepchecks 'train test samples mix'."

    def diagnose(self, view: View) -> Finding | None:
        columns = view.fact("leaks") or []
        if columns:
            few = " and ".join(f"'{name}'" for name in columns[:3])
            return self._finding("S", 0.8, Reading("columns that alone give the target", len(columns), 0),
                f"{few} alone predict{'s' if len(columns) == 1 else ''} the target of rows that were held out. ",
                "check whether it is known at the time of prediction; if not: "
                + " ".join(f"--drop {name}" for name in columns), KNOWN)  # fmt: skip
        copied, rows = view.number("copied_share", 0.0), view.number("copied_rows", 0.0)
        distinct = view.number("distinct_rows", 0.0) / max(1.0, view.number("seen_rows", 1.0))
        near, within = view.number("near_share", 0.0), view.number("near_share_within", 1.0)
        codes = view.number("most_distinct", 1.0) < CODES
        # most rows that are equal are of different cases
        others = view.number("copied_alike", 1.0) < HALF
        chance = others or (codes and view.number("copied_of_seen", copied) < 0.02 + 3 * (1 - distinct))
        can_tell = distinct > OFTEN or view.number("most_distinct", 0.0) > MEASURED
        if copied > SOME and not chance and rows >= 3 and can_tell:
            return self._finding("D", 0.95, Reading("copied_share", copied, SOME),
                f"{100 * min(copied, 1):.0f} % of the validation rows also stand in training. ",
                "remove duplicates before splitting, and split again")  # fmt: skip
        found = self._later(view)
        if found is not None:
            return found
        if not view.fact("tokens") and not codes and near > 4 * within + 0.05 and distinct > 0.5:
            return self._finding("S", 0.85, Reading("near_share", near, 4 * within + 0.05),
                f"{100 * near:.0f} % of the validation rows are almost copies of a training row. ",
                "keep all rows of one origin (person, document, augmentation) in one part of the split")  # fmt: skip
        lone, without = view.number("lone_score", 0.0), view.number("learnable_without", 1.0)
        told = view.number("learnable_with", 0.0)
        says_less = without < 0.7 * told or 1 - without > LEFT * (1 - told)
        if lone > 0.97 and says_less and view.number("x_columns", 0) > 2:
            return self._finding("S", 0.8, Reading("lone_score", lone, 0.97),
                "One column alone nearly gives the answer, and without it all others together say far less. ",
                "check whether that column is known at the time of prediction; drop it if not", KNOWN)  # fmt: skip
        return None

    def _later(self, view: View) -> Finding | None:
        """Validation rows that are trained on after they were validated on, and answers that are seen beforehand."""
        later, seen = view.number("trained_on_later", 0.0), view.number("later_tokens_seen", 0.0)
        # rows of codes may be equal by chance, as often as between the parts of the first epoch
        if (
            later > SOME + 3 * view.number("equal_of_seen", 0.0)
            and view.number("trained_on_later_rows", 0.0) >= 3
        ):
            return self._finding("D", 0.95, Reading("trained_on_later", later, SOME),
                "Rows of the first validation are trained on later. ",
                "split once, before the loop over epochs; give the split a generator with a fixed seed")  # fmt: skip
        if view.number("target_offset", 0.0) == 1 and seen > MIXED:
            return self._finding("D", 0.93, Reading("later_tokens_seen", seen, MIXED),
                "The outputs change with tokens that come after their place, and those are what they are to predict. ",
                "hide what comes later: a causal mask in attention, no second direction", KNOWN)  # fmt: skip
        return None

    def _finding(
        self, grade: str, confidence: float, reading: Reading, what: str, fix: str, so: str = REMEMBERS
    ) -> Finding:
        return Finding(
            self.ailment, "critical", confidence, grade,
            what + so,
            (reading,), fix=fix, source=self.source,
        )  # fmt: skip

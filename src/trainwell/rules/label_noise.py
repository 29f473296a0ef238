from __future__ import annotations

import math
from statistics import NormalDist

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

RATE, LOWER = 0.04, 0.02
"""Healthy data, also with overlapping classes, show <= 1.3 %; 12 % wrong labels show 9.9 % (faultbench, dev)."""

FLAT = 0.6
"""Errors among the surest rows over all errors: wrong labels hit both alike, a poor witness errs where it is unsure."""

PROBED = 512
"""Rows of the training that are judged at its end (signals/validation.py)."""

POOR, WEAK, FLAT_OF_BOTH, FLAT_NETWORK, BY_HEART = 0.5, 0.65, 0.4, 0.5, 0.5
"""A witness with over half the errors of the best constant answer needs a second: the network, on rows that it has not
seen, with fewer than this share of those errors, at least half of which it makes on rows of its training as well;
errors of both must be as flat as this."""

EVEN, Z = 0.9, 2.5
"""Errors of witness and network among their surest rows over all their errors, where those are as many as elsewhere; by
how many standard errors both together must be fewer than those of the best constant answer: then both know something, and
what they do not know has nothing to do with how sure they are."""


UNRIPE = 0.15
"""Gain of twice the steps, in units of the base loss, of a network that is no judge of labels yet."""

QUARTER, BEYOND = 0.25, 4.0
"""Share of the rows that count as sure; standard errors by which errors among them exceed those of overlapping classes,
of witness and network each, from which the labels are wrong: one look in ten thousand shows as much by chance."""


class LabelNoise(Rule):
    """Find labels that contradict an independent learner even where it is surest."""

    ailment = "label_noise"
    needs = ("data", "probe_score", "val_score")
    # wrong labels that are learned by heart are both: to stop in time mends the one and not the other
    explains = ("underfitting", "plateau", "lr_too_low", "undertrained", "lr_too_high")
    source = "Northcutt et al. 2021, arXiv:1911.00068 (confident errors)."

    def diagnose(self, view: View) -> Finding | None:
        overall, base = view.number("witness_error", 1.0), view.number("witness_base_error", 1.0)
        if view.number("witness_sure_rows", 0.0) < 30 or view.is_sound:
            return None
        limit = self._limit(view, overall, base)
        if overall > POOR * base and view.goes_on and view.doubling_gain > UNRIPE:
            return None
        name = "witness_sure_error" if limit else "witness_surest_error"
        if not limit and not self._is_of_some_classes(view, base):
            return None
        rate = view.number(name)
        return Finding(
            self.ailment, "warning", 0.85, "S",
            f"About {100 * rate:.0f} % of the labels contradict an independent learner even on the rows of which "
            "it is surest. They are probably wrong, and the network can only learn them by heart.",
            (Reading(name, rate, RATE), Reading(f"{name} / witness_error", rate / max(overall, 1e-9), limit or FLAT)),
            fix="review the rows whose label differs from that of all similar rows", source=self.source,
            measured={**view.measured, "noise": rate},
        )  # fmt: skip

    def _limit(self, view: View, overall: float, base: float) -> float:
        """Return how even errors of the witness have to be, where they show wrong labels wherever these lie; else 0."""
        rows, rate = view.number("witness_sure_rows", 0.0), view.number("witness_sure_error", 0.0)
        if rate <= RATE:
            return 0.0
        flat = rate / max(overall, 1e-9)
        if flat >= FLAT and overall <= POOR * base and _at_least(rate, rows) > LOWER:
            return FLAT
        clear = overall <= POOR * base and self._knows_new_rows_better(view)
        agrees = flat >= FLAT_OF_BOTH and (clear or self._network_agrees(view, base))
        agrees = agrees or self._is_even(view, base) or self._is_beyond_overlap(view, base)
        return FLAT_OF_BOTH if agrees else 0.0

    @staticmethod
    def _knows_new_rows_better(view: View) -> bool:
        """Whether the network is right far more often on new rows than on those of its training: only these are wrong."""
        rows = 4 * view.number("val_sure_rows", 0.0)
        better = view.val_score - view.train_score
        middle = min(1.0, max(0.0, (view.val_score + view.train_score) / 2))
        chance = math.sqrt(middle * (1 - middle) * (1 / max(rows, 1.0) + 1 / PROBED))
        return rows >= 60 and better > max(RATE, 3 * chance)

    @staticmethod
    def _network_agrees(view: View, base: float) -> bool:
        """Whether the network errs as much on the validation rows of which it is surest, so that both together tell."""
        rows, sure, error = (view.number(f"val_{k}", 0.0) for k in ("sure_rows", "sure_error", "error"))
        by_heart = not view.val_score > view.train_score - BY_HEART * error
        # a network whose steps throw it about errs by chance wherever it stops
        if rows < 30 or error > WEAK * base or by_heart or sure < FLAT_NETWORK * error or view.is_shaken:
            return False
        more, rate = view.number("witness_sure_rows"), view.number("witness_sure_error")
        both = (sure * rows + rate * more) / (rows + more)
        return min(sure, both) > RATE and _at_least(both, rows + more) > LOWER

    @staticmethod
    def _is_even(view: View, base: float) -> bool:
        """Whether witness and network, which both know something, err as much where they are sure as where they are not.

        Where classes overlap sure rows are right; labels that were mistaken at random are so wherever they lie.
        """
        sure = [view.number(f"{of}_sure_error", 0.0) for of in ("witness", "val")]
        rows = [view.number(f"{of}_sure_rows", 0.0) for of in ("witness", "val")]
        errors = [view.number(f"{of}_error", 1.0) for of in ("witness", "val")]
        both = sum(s * n for s, n in zip(sure, rows, strict=True)) / max(1.0, sum(rows))
        knows = (base - both) / math.sqrt(max(both * (1 - both), 1e-9) / max(1.0, sum(rows)))
        even = all(s >= max(RATE, EVEN * e) for s, e in zip(sure, errors, strict=True))
        return even and min(rows) >= 30 and knows > Z and max(errors) < base and not view.is_shaken

    @staticmethod
    def _is_of_some_classes(view: View, base: float) -> bool:
        """Whether witness and network err as much among the surest rows of each answer as elsewhere.

        Where some classes only are taken for each other, the surest rows of all are of the others.
        """
        errs = []
        for of, worst in (("witness", POOR), ("val", WEAK)):
            rows, each, error = (
                view.number(f"{of}_{k}", 0.0) for k in ("sure_rows", "surest_error", "error")
            )
            sure = rows >= 30 and each > RATE and _at_least(each, rows) > LOWER
            errs.append(sure and each >= FLAT * error and error <= worst * base)
        return all(errs) and not view.is_shaken

    @staticmethod
    def _is_beyond_overlap(view: View, base: float) -> bool:
        """Whether witness and network each err where they are surest far more than overlapping classes let them."""
        apart = []
        for of in ("witness", "val"):
            rows, sure, error = (view.number(f"{of}_{k}", 0.0) for k in ("sure_rows", "sure_error", "error"))
            usual = error * flat_of_overlap(error / max(base, 1e-9))
            apart.append((sure - usual) * math.sqrt(rows / max(usual * (1 - usual), 1 / max(rows, 1.0))))
            if rows < 30 or sure <= RATE or not error < base:
                return False
        return min(apart) > BEYOND and not view.is_shaken


def flat_of_overlap(error: float) -> float:
    """Return errors among the surest quarter over all errors, of two classes that overlap so that the best learner errs.

    They are normal and equally frequent; sure is what lies far from the line between them.
    Args: error: of that learner, in units of guessing.
    """
    normal = NormalDist()
    half = -normal.inv_cdf(min(max(error, 1e-6), 1 - 1e-6) / 2)  # of the distance between the classes
    low, high = 0.0, half + 5.0
    for _ in range(40):
        line = (low + high) / 2
        beyond = normal.cdf(half - line) + normal.cdf(-half - line)
        low, high = (line, high) if beyond > QUARTER else (low, line)
    return normal.cdf(-half - low) / QUARTER / max(normal.cdf(-half), 1e-12)


def _at_least(rate: float, rows: float) -> float:
    """Return two standard errors below a share."""
    return rate - 2 * math.sqrt(rate * (1 - rate) / rows)

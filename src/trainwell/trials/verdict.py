"""What a trial has shown so far: for each change an estimate, an interval that is valid at this look, and a verdict."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from trainwell.trials.design import Design
from trainwell.trials.estimate import Array, estimate, interval

PROVED, REFUTED, UNDECIDED = "proved", "refuted", "undecided"

LEAST = 1e-12
"""Smaller p-values over several looks are not told apart."""


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What the pairs of one change show.

    Args:
        effect, low, high: the mean difference, positive where the change is better, and its interval: it covers with
            at least 95 % (1 - alpha) whenever the trial stopped, and excludes the margin exactly where there is a
            verdict, but for trials of too few pairs for any.
        p_value: over all looks (the least alpha at which this look would decide), before the correction.
        adjusted: after Holm's correction for several changes.
        level: the level of the interval, for one look.
    """

    verdict: str
    effect: float
    low: float
    high: float
    p_value: float
    adjusted: float
    benefit: float
    method: str
    pairs: int
    level: float


def judge(
    differences: Mapping[str, Array],
    sizes: Mapping[str, Sequence[int]],
    design: Design,
    *,
    final: Mapping[str, bool] | bool,
    margin: float = 0.0,
) -> dict[str, Judgement]:
    """Judge all changes of a trial at a look.

    The claim on trial is that a change gains more than the margin: it is proved if the interval lies above, refuted if
    it lies below. With fewer pairs than ranks could decide by it stays undecided: the interval then stands on nothing but
    the belief that gains are normal, and two gains that are alike by chance are no proof.

    With several changes the error is theirs together: Holm 1979, Scandinavian Journal of Statistics 6(2):65-70,
    on p-values over looks, which may be combined so: Maurer & Bretz 2013, Statistics in Biopharmaceutical Research
    5(4):311-320. Intervals: Jennison & Turnbull 1989, JRSS B 51(3):305-361.

    Args:
        differences: per change, in the order in which the pairs were added, (n,).
        sizes: per change the numbers of pairs at the looks so far, the last one n.
        final: whether the last look ends the trial, for all or per change.
    """
    ends = final if isinstance(final, Mapping) else dict.fromkeys(differences, final)
    made = {name: estimate(d, margin) for name, d in differences.items()}
    found = {n: p_over_looks(made[n].p_value, sizes[n], design, final=ends[n]) for n in differences}
    order = sorted(found, key=lambda name: found[name])
    adjusted, rejected = dict[str, float](), 0
    for i, name in enumerate(order):
        before = adjusted[order[i - 1]] if i else 0.0
        adjusted[name] = max(before, min(1.0, (len(order) - i) * found[name]))
        rejected += adjusted[name] <= design.alpha
    judged = {}
    for name, d in differences.items():
        shares = len(order) - min(order.index(name), rejected)
        level = design.levels(sizes[name], final=ends[name], shares=shares)[-1]
        low, high = interval(d, level)
        verdict = UNDECIDED
        if adjusted[name] <= design.alpha and len(d) >= design.least_seeds():
            verdict = PROVED if made[name].effect > margin else REFUTED
        e = made[name]
        judged[name] = Judgement(
            verdict, e.effect, low, high, found[name], adjusted[name], e.benefit, e.method, e.pairs, level
        )
    return judged


def p_over_looks(p_value: float, sizes: Sequence[int], design: Design, *, final: bool) -> float:
    """Return the least alpha of a design whose last look would cross its bound, to four digits.

    Args:
        p_value: two-sided, of the last look alone.
        sizes: pairs at the looks so far.
    """

    def crosses(alpha: float) -> bool:
        return p_value <= design.levels(sizes, final=final, alpha=alpha)[-1]

    if len(sizes) == 1 and (final or sizes[0] >= design.seeds):
        return p_value
    low, high = math.log(LEAST), 0.0
    if not crosses(1.0):
        return 1.0
    if crosses(LEAST):
        return LEAST
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if crosses(math.exp(middle)) else (middle, high)
    return math.exp(high)

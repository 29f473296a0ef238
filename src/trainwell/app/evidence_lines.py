"""Evidence as a person reads it: a table of the changes, a chart of their intervals, and the verdicts in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from trainwell.trials.design import Design
from trainwell.values.evidence import NOT_MEASURED, Comparison, Evidence

CHART = 41
"""Columns of the chart of intervals; odd, so that zero has one."""
SHOWN_SEEDS = 16
COARSE = ("accuracy", "balanced_accuracy", "f1_macro")
"""Metrics that count rows, and so do not see small changes."""


def evidence_lines(evidence: Evidence) -> Iterator[str]:
    """Yield the whole evidence as lines."""
    split = "redrawn for each seed" if evidence.split == "redrawn" else "as given"
    yield (
        f"trial     {len(evidence.comparisons)} change{_s(len(evidence.comparisons))} against the base, "
        f"{len(evidence.seeds)} paired seeds; {evidence.metric} on validation rows, {split}"
    )
    yield f"          {evidence.stopped}; {evidence.seconds:.1f} s"
    yield ""
    yield from table(evidence)
    yield ""
    for comparison in evidence.comparisons:
        yield from _details(evidence, comparison)
    ties = [gain == 0 for c in evidence.comparisons for gain in c.gains]
    if evidence.metric in COARSE and sum(ties) > len(ties) / 2:
        yield (
            f"note      {evidence.metric} is the same in {sum(ties)} of {len(ties)} pairs; a finer metric sees more: "
            "--metric log_loss"
        )
    if evidence.path is not None:
        yield f"evidence  {evidence.path}"


def table(evidence: Evidence) -> Iterator[str]:
    """Yield one line per change: mean gain, interval, probability of benefit, wins, chart, verdict."""
    width = max(len("change"), *(len(_short(c.name)) for c in evidence.comparisons))
    span = _span(evidence.comparisons)
    level = f"{100 * (1 - evidence.alpha):g} % interval"
    yield (
        f"{'change':{width}}  {'gain':>9}  {level:^22}  {'P(benefit)':>10}  {'better on':>9}  verdict    "
        f"{'worse':<{CHART // 2}}0{'better':>{CHART // 2}}"
    )
    for c in evidence.comparisons:
        unknown = math.isinf(c.low) and math.isinf(c.high)
        between = "not known" if unknown else f"{c.low:+.4f} to {c.high:+.4f}"
        yield (
            f"{_short(c.name):{width}}  {c.effect:>+9.4f}  {between:^22}  {c.benefit:>10.3f}  "
            f"{f'{c.wins} of {len(c.gains)}':>9}  {c.verdict:9}  {_bar(c, span)}"
        )


def sentence(evidence: Evidence, c: Comparison) -> str:
    """Return the verdict on a change in one sentence."""
    lost = [sum(not math.isfinite(s) for s in arm) for arm in (c.base, c.change)]
    if c.gains and min(lost) == len(c.gains):
        return f"{c.name} is undecided: all runs diverged, with it and without it."
    if c.verdict != "undecided" and math.isinf(c.effect):
        less_often = "more often" if c.effect < 0 else "less often"
        return (
            f"{c.name} diverges {less_often}: {lost[1]} of {len(c.gains)} runs with it, {lost[0]} without it."
        )
    beyond = f" by more than {evidence.smallest:g}" if evidence.smallest else ""
    more = "raises" if evidence.sign > 0 else "lowers"
    less = "lowers" if evidence.sign > 0 else "raises"
    if c.verdict == "proved":
        return f"{c.name} {more} {evidence.metric}{beyond}: by {abs(c.effect):.4g} in the mean."
    if c.verdict == "refuted" and evidence.smallest and c.effect > 0:
        return (
            f"{c.name} does not gain {evidence.smallest:g} of {evidence.metric}: {c.effect:.4g} in the mean."
        )
    if c.verdict == "refuted":
        return f"{c.name} harms: it {less} {evidence.metric} by {abs(c.effect):.4g} in the mean."
    if not any(c.gains):
        return f"{c.name} is undecided: {evidence.metric} is the same with it and without it on every seed."
    least = Design(alpha=evidence.alpha).least_seeds()
    if len(c.gains) < least:
        return f"{c.name} is undecided: {len(c.gains)} seeds decide nothing, whatever they show; {least} can."
    if any(lost):
        return (
            f"{c.name} is undecided: {lost[1]} of {len(c.gains)} runs with it diverged, {lost[0]} without it."
        )
    return (
        f"{c.name} is undecided: {len(c.gains)} seeds find a gain four times in five only from "
        f"{_spread(c.gains) * evidence.detectable:.2g} on ({evidence.detectable:.2g} times the spread over seeds)."
    )


def _details(evidence: Evidence, c: Comparison) -> Iterator[str]:
    said = sentence(evidence, c).replace(f"{c.name} is undecided: ", f"{c.name}: ", 1)
    yield f"{c.verdict:9s} {said}"
    shown = " ".join(f"{gain:+.4f}" for gain in c.gains[:SHOWN_SEEDS])
    yield f"  gains   {shown}{' ...' if len(c.gains) > SHOWN_SEEDS else ''}"
    corrected = f", {c.adjusted:.3g} for {len(evidence.comparisons)} changes (Holm)"
    ranks = "; by ranks, for runs diverged or nothing varied" if c.method == "ranks" else ""
    if any(c.gains):
        yield f"  test    p {c.p_value:.3g}{corrected if len(evidence.comparisons) > 1 else ''}{ranks}"
    lost = [sum(not math.isfinite(s) for s in arm) for arm in (c.base, c.change)]
    if any(lost):
        yield f"  lost    {lost[0]} runs of the base and {lost[1]} of the change diverged; they count as the worst"
    for claim in c.claims:
        way = "rise" if claim.sign == "+" else "fall"
        size = (
            ""
            if claim.verdict == NOT_MEASURED
            else f" ({claim.effect + 0.0:+.4g}{_range(claim.low, claim.high, ', {:+.4g} to {:+.4g}')})"
        )
        yield f"  claim   {claim.signal} is to {way}: {claim.verdict}{size}"
    if c.confirmation is not None:
        t = c.confirmation
        yield f"  on the test part, opened now: {t.effect + 0.0:+.4f}{_range(t.low, t.high, ' ({:+.4f} to {:+.4f})')}"
    if c.cost is not None:
        yield (
            f"  costs   {c.cost.step_ratio:.2f} times the time of a step, {c.cost.memory_ratio:.2f} times the memory of "
            "weights, gradients and states"
        )


def _range(low: float, high: float, form: str) -> str:
    """Return an interval; nothing where its ends are not known, as where nothing varies."""
    return form.format(low, high) if math.isfinite(low) and math.isfinite(high) else ""


def _spread(gains: Sequence[float]) -> float:
    finite = [g for g in gains if math.isfinite(g)]
    if len(finite) < 2:
        return math.nan
    mean = sum(finite) / len(finite)
    return math.sqrt(sum((g - mean) ** 2 for g in finite) / (len(finite) - 1))


def _span(comparisons: Sequence[Comparison]) -> float:
    """Return the gain at the edge of the chart."""
    ends = [abs(v) for c in comparisons for v in (c.low, c.effect, c.high) if math.isfinite(v)]
    return max(ends, default=0.0) or 1.0


def _bar(c: Comparison, span: float) -> str:
    """Draw an interval, e.g. `    |  ----o---- `."""

    def column(value: float) -> int:
        if math.isnan(value):
            return CHART // 2
        return round((max(-1.0, min(1.0, value / span)) + 1) / 2 * (CHART - 1))

    cells = [" "] * CHART
    cells[CHART // 2] = "|"
    low, high = column(c.low), column(c.high)
    cells[low : high + 1] = ["-"] * (high + 1 - low)
    cells[column(c.effect)] = "o"
    return "".join(cells).rstrip()


def _short(name: str) -> str:
    return name if len(name) <= 40 else name[:37] + "..."


def _s(count: int) -> str:
    return "" if count == 1 else "s"

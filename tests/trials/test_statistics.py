"""The statistics of trials against published bounds, scipy, and what must hold for any differences."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trainwell.trials.design import Design
from trainwell.trials.estimate import _skewed, _unskewed, differences_of, estimate, interval
from trainwell.trials.spending import bounds, crossing
from trainwell.trials.verdict import PROVED, REFUTED, UNDECIDED, judge
from trainwell.values.errors import UsageError

FIVE = (0.2, 0.4, 0.6, 0.8, 1.0)
GAINS = st.lists(st.floats(-5, 5), min_size=6, max_size=10)


def test_bounds_are_those_of_lan_and_demets() -> None:
    # Source: Lan & DeMets 1983; Jennison & Turnbull 2000, tables of chapter 7
    assert bounds(FIVE) == pytest.approx((4.8769, 3.3570, 2.6803, 2.2898, 2.0310), abs=2e-4)
    assert bounds(FIVE, spending="pocock") == pytest.approx((2.438, 2.427, 2.410, 2.397, 2.386), abs=2e-3)
    assert bounds((1.0,)) == pytest.approx((stats.norm.isf(0.025),))


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_error_over_all_looks_is_alpha(alpha: float) -> None:
    for fractions in (FIVE, (0.3, 1.0), (0.5, 0.75, 1.0)):
        upper, lower = crossing(fractions, bounds(fractions, alpha))
        assert sum(upper) + sum(lower) == pytest.approx(alpha, abs=1e-6)


def test_power_is_a_little_below_that_of_the_t_test() -> None:
    # Source: G*Power 3, paired t-test, two-sided, n = 8, dz = 1.2: 0.828; n = 32, dz = 0.6: 0.908
    assert 0.68 < Design(8).power(1.2) < 0.828
    assert 0.89 < Design(32, 32).power(0.6) < 0.908
    assert Design(8).power(4.0) > 0.995
    design = Design(16)
    assert design.power(design.detectable(0.8)) == pytest.approx(0.8, abs=5e-3)
    assert [Design(8).least_seeds(k) for k in (1, 2, 3, 4)] == [6, 7, 7, 8]


def test_even_gains_are_judged_by_the_paired_t_test() -> None:
    gains = np.array([-1.5, -0.5, 0.5, 1.5, 0.0, 0.2, -0.2]) + 0.9  # no skewness
    known = stats.ttest_1samp(gains, 0)
    found = estimate(gains)
    assert found.p_value == pytest.approx(known.pvalue)
    assert interval(gains) == pytest.approx(tuple(known.confidence_interval(0.95)))
    judged = judge({"x": gains}, {"x": [7]}, Design(7), final=True)["x"]
    assert (judged.low, judged.high) == pytest.approx(interval(gains), abs=1e-6)
    assert found.benefit == pytest.approx(stats.ttest_1samp(gains, 0, alternative="less").pvalue)


@settings(max_examples=60, deadline=None)
@given(GAINS)
def test_no_skewed_gains_are_judged_more_boldly_than_by_t(gains: list[float]) -> None:
    d = np.array(gains)
    if estimate(d).method == "ranks":
        return
    known = stats.ttest_1samp(d, 0)
    low, high = known.confidence_interval(0.95)
    mine = interval(d)
    assert estimate(d).p_value >= known.pvalue - 1e-9
    assert mine[0] <= low + 1e-9 and mine[1] >= high - 1e-9


def test_the_transform_is_that_of_hall_near_the_middle() -> None:
    # Source: Hall 1992, JRSS B 54(1), equation 2.4, for one sample
    score, skew, n = 0.4, -0.9, 12
    cubic = score + skew * score**2 / 3 + skew**2 * score**3 / 27 + skew / (6 * n)
    assert float(_skewed(score, skew, n)) == pytest.approx(cubic)
    for value in (-3.0, -0.2, 0.1, 0.9, 4.0):
        for bent in (-2.0, -0.3, 0.0, 1.1):
            assert float(_skewed(_unskewed(value, bent, n), bent, n)) == pytest.approx(value, abs=1e-5)


def test_ranks_are_those_of_wilcoxon() -> None:
    gains = np.array([0.3, -0.1, 0.7, 0.45, 1.2, -0.05, 0.9, math.inf])
    finite = np.where(np.isfinite(gains), gains, 1e3)
    assert estimate(gains).method == "ranks"
    assert estimate(gains).p_value == pytest.approx(stats.wilcoxon(finite, method="exact").pvalue)


def test_a_diverged_run_is_the_worst_and_never_dropped() -> None:
    gains = differences_of([math.nan, 0.5, math.inf, 0.5], [0.4, math.nan, -math.inf, 0.6])
    assert gains.tolist() == pytest.approx([math.inf, -math.inf, 0.0, 0.1])
    always = judge({"x": np.full(8, math.inf)}, {"x": [8]}, Design(8), final=True)["x"]
    assert always.verdict == PROVED and always.low == math.inf


def test_a_change_that_does_nothing_is_undecided() -> None:
    judged = judge({"x": np.zeros(8)}, {"x": [8]}, Design(8), final=True)["x"]
    assert (judged.verdict, judged.p_value, judged.benefit) == ("undecided", 1.0, 0.5)


def test_several_changes_are_corrected_by_holm() -> None:
    rng = np.random.default_rng(3)
    gains = {name: rng.normal(size=8) + shift for name, shift in zip("abc", (0.4, 0.9, 2.0), strict=True)}
    judged = judge(gains, {name: [8] for name in gains}, Design(8), final=True)
    raw = {name: estimate(d).p_value for name, d in gains.items()}
    order, before = sorted(raw, key=lambda n: raw[n]), 0.0
    for i, name in enumerate(order):
        before = max(before, (3 - i) * raw[name])
        assert judged[name].adjusted == pytest.approx(min(1, before), rel=1e-3)


def test_margin_is_what_a_change_must_exceed() -> None:
    gains = np.array([0.10, 0.12, 0.09, 0.11, 0.10, 0.12, 0.11, 0.09])
    verdicts = [
        judge({"x": gains}, {"x": [8]}, Design(8), final=True, margin=m)["x"].verdict for m in (0, 0.05, 0.2)
    ]
    assert verdicts == [PROVED, PROVED, REFUTED]


def test_a_handful_of_pairs_proves_nothing() -> None:
    for count, verdict in ((2, UNDECIDED), (5, UNDECIDED), (6, PROVED)):
        gains = 1 + np.arange(count) * 1e-3
        judged = judge({"x": gains}, {"x": [count]}, Design(count), final=True)["x"]
        assert judged.verdict == verdict and judged.low > 0


@settings(max_examples=60, deadline=None)
@given(GAINS, st.booleans())
def test_swapping_the_arms_turns_the_sign(gains: list[float], final: bool) -> None:
    d, turned = np.array(gains), {PROVED: REFUTED, REFUTED: PROVED}
    design, sizes = Design(12), {"x": [5, len(gains)]}
    here = judge({"x": d}, sizes, design, final=final)["x"]
    there = judge({"x": -d}, sizes, design, final=final)["x"]
    assert there.verdict == turned.get(here.verdict, here.verdict)
    assert (there.low, there.high) == pytest.approx((-here.high, -here.low), abs=1e-9)
    assert there.benefit == pytest.approx(1 - here.benefit, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(GAINS, st.randoms(), st.lists(st.sampled_from([math.inf, -math.inf, 0.0]), max_size=3))
def test_the_order_of_seeds_does_not_matter(gains: list[float], random: object, odd: list[float]) -> None:
    d = np.array(gains + odd)
    other = d.copy()
    random.shuffle(other)  # type: ignore[attr-defined]
    assert estimate(d).p_value == pytest.approx(estimate(other).p_value, rel=1e-6, abs=1e-12)
    assert interval(d) == pytest.approx(interval(other), rel=1e-6, abs=1e-9)


@settings(max_examples=80, deadline=None)
@given(GAINS, st.lists(st.sampled_from([math.inf, -math.inf, 0.0]), max_size=3), st.floats(0.01, 0.3))
def test_the_interval_excludes_zero_where_the_test_decides(
    gains: list[float], odd: list[float], level: float
) -> None:
    d = np.array(gains + odd)
    low, high = interval(d, level)
    p = estimate(d).p_value
    if abs(p - level) > 1e-9:
        assert (low > 0 or high < 0) == (p <= level)


def test_error_holds_under_looks_and_odd_distributions() -> None:
    rng = np.random.default_rng(1)
    design = Design(16, group=8)
    levels = [design.levels([8], final=False)[0], design.levels([8, 16], final=True)[1]]
    draws = {
        "normal": rng.normal(size=(4000, 16)),
        "heavy-tailed": rng.standard_t(2, size=(4000, 16)),
        "skewed arms": rng.exponential(size=(4000, 16)) - rng.exponential(size=(4000, 16)),
    }
    for name, d in draws.items():
        proved = np.zeros(len(d), bool)
        for n, level in zip((8, 16), levels, strict=True):
            t = stats.ttest_1samp(d[:, :n], 0, axis=1)
            proved |= (t.pvalue <= level) & (t.statistic > 0)
        assert proved.mean() <= 0.035, name  # one side of 5 %, and 3 standard errors


def test_looks_and_what_a_design_refuses() -> None:
    assert Design(32).looks == (8, 16, 24, 32)
    assert Design(6, group=4).looks == (4, 6)
    assert Design(3).looks == (3,)
    for wrong, value in itertools.product(("seeds", "alpha", "group"), (0,)):
        with pytest.raises(UsageError, match=wrong):
            Design(**{wrong: value})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="obrien_fleming"):
        Design(spending="obrien")

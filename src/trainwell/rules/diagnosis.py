"""From the traces of a run to its ranked findings."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from trainwell.rules.rule import load_rules
from trainwell.rules.view import View
from trainwell.values.finding import AILMENTS, Finding, fold
from trainwell.values.signal import Traces

RATES, LASTING = ("lr_schedule", "lr_too_high", "exploding_gradient"), ("dead_units", "saturated_units")
"""What a rate that leaps for a while leaves behind stays when the rate is right again, and needs a remedy of its own."""

OPPOSITES = (("lr_too_high", "lr_too_low"), ("batch_too_small", "batch_too_large"))
"""Pairs of which one run can have only one."""


def diagnose(traces: Traces) -> list[Finding]:
    """Ask every rule, attach consequences to their causes, and return the findings, the gravest first."""
    rules = load_rules()
    view = View(traces)
    # a diverged run is full of NaN: comparisons with it are false, which is what the rules want
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = [rules[name]().diagnose(view) for name in AILMENTS if name in rules]
    agreed = without_opposites([f for f in found if f is not None])
    lasting = LASTING if any(f.ailment == "lr_schedule" for f in agreed) else ()
    return fold(
        agreed,
        {name: _without(rule.explains, lasting if name in RATES else ()) for name, rule in rules.items()},
    )


def _without(names: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in others)


def without_opposites(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings, of two that contradict each other the surer; among equals what was tried, then the first."""
    kept = list(findings)
    for pair in OPPOSITES:
        both = [f for f in kept if f.ailment in pair]
        if len(both) > 1:
            surest = max(both, key=lambda f: (round(f.confidence, 2), f.grade == "W"))
            kept = [f for f in kept if f.ailment not in pair or f is surest]
    return kept

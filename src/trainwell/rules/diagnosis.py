"""From the traces of a run to its ranked findings."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from trainwell.rules.rule import load_rules
from trainwell.rules.view import View
from trainwell.values.finding import AILMENTS, Finding, fold
from trainwell.values.signal import Traces

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
    return fold(agreed, {name: rule.explains for name, rule in rules.items()})


def without_opposites(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings, of two that contradict each other the surer; among equals what was tried, then the first."""
    kept = list(findings)
    for pair in OPPOSITES:
        both = [f for f in kept if f.ailment in pair]
        if len(both) > 1:
            surest = max(both, key=lambda f: (round(f.confidence, 2), f.grade == "W"))
            kept = [f for f in kept if f.ailment not in pair or f is surest]
    return kept

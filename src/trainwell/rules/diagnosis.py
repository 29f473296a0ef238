"""From the traces of a run to its ranked findings."""

from __future__ import annotations

import warnings

import numpy as np

from trainwell.rules.rule import load_rules
from trainwell.rules.view import View
from trainwell.values.finding import AILMENTS, Finding, fold
from trainwell.values.signal import Traces


def diagnose(traces: Traces) -> list[Finding]:
    """Ask every rule, attach consequences to their causes, and return the findings, the gravest first."""
    rules = load_rules()
    view = View(traces)
    # a diverged run is full of NaN: comparisons with it are false, which is what the rules want
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = [rules[name]().diagnose(view) for name in AILMENTS if name in rules]
    return fold([f for f in found if f is not None], {name: rule.explains for name, rule in rules.items()})

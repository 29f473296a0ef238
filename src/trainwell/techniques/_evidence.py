"""Reads the numbers of a finding from which a technique chooses its dose."""

from __future__ import annotations

import math
from typing import Any

from trainwell.values.dose import Dose


def fact(finding: Any, name: str) -> float | None:
    """Return the finite number `finding.facts[name]`, or None if the finding does not have it."""
    value = (getattr(finding, "facts", None) or {}).get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def shrinking_rate(finding: Any) -> float | None:
    """Return the decay 1 / (rate of learning * steps), by which the weights remember about the run, if known.

    Source: Wang, Aitchison 2024, arXiv:2405.13698.
    """
    rate, steps = fact(finding, "lr"), fact(finding, "steps")
    return 1 / (rate * steps) if rate and steps and rate * steps > 0 else None


def within(spec: Dose, value: float | None) -> float:
    """Return the value moved into the range of the dose; the default when there is no value."""
    if value is None:
        return float(spec.default)
    assert spec.low is not None
    assert spec.high is not None
    return min(max(value, spec.low), spec.high)

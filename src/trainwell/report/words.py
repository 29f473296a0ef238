"""Numbers and names as a person reads them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

SHARES = ("accuracy", "balanced_accuracy", "f1_macro")
"""Metrics that are read as a percentage."""

# control codes, and the marks that turn the direction of what follows: a name must not rewrite its surroundings
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2028\u2029\u2060-\u2069\ufeff\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Return the text with control codes and marks of direction spelled out; line ends and tabs stay."""
    return _UNSEEN.sub(lambda m: m[0].encode("unicode_escape", "surrogatepass").decode(), text)


def metric_name(name: str) -> str:
    """Return the name of a metric as words."""
    known = {"rmse": "RMSE", "mae": "MAE", "r2": "R²", "roc_auc": "ROC AUC", "f1_macro": "F1 (macro)"}
    return known.get(name, name.replace("_", " "))


def score(value: Any, metric: str = "") -> str:
    """Return a score: shares in per cent, other numbers with four digits."""
    if not is_number(value):
        return "-"
    if metric in SHARES:
        return f"{100 * value:.1f} %"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 10 else number(value)


def number(value: Any, digits: int = 4) -> str:
    """Return a number with so many significant digits, thousands apart, or `-` for none."""
    if isinstance(value, str) or value is None:
        return value or "-"
    value = float(value)
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e12:
        return f"{int(value):,}"
    if 1000 <= abs(value) < 1e7:
        return f"{value:,.0f}"
    return re.sub(r"e([+-])0(?=\d$)", r"e\1", f"{value:.{digits}g}")


def seconds(value: Any) -> str:
    """Return a time as a person says it."""
    if not is_number(value):
        return "-"
    if value >= 3600:
        return f"{int(value // 3600)} h {int(value % 3600 // 60)} min"
    if value >= 60:
        return f"{int(value // 60)} min {int(value % 60)} s"
    return f"{value:.1f} s" if value >= 1 else f"{1000 * value:.3g} ms"


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def capital(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[:1].upper() + text[1:]


def joined(words: Sequence[str], shown: int = 6) -> str:
    """Return names in a row, and how many more there are."""
    more = len(words) - shown
    return ", ".join(words[:shown]) + (f" and {more} more" if more > 0 else "")


def change(name: Any) -> str:
    """Return a change as words: `-ema` is `without ema`."""
    return " + ".join(re.sub(r"^-(?=[A-Za-z_])", "without ", part) for part in str(name).split(" + "))


def dose_words(technique: dict[str, Any]) -> str:
    """Return the doses of a saved technique as `rate=0.1, scope=matrices`."""
    return ", ".join(f"{k}={number(v)}" for k, v in technique.items() if k != "name")


def total(values: Iterable[Any]) -> float:
    """Return the sum of what is a number."""
    return float(sum(v for v in values if is_number(v)))

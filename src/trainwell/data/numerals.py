"""Numbers and dates that are written as text."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence

import numpy as np

PLAIN = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?inf(inity)?", re.IGNORECASE)
GROUPED = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?|[-+]?\d+(\.\d+)?")
COMMA = re.compile(r"[-+]?\d{1,3}(\.\d{3})+(,\d+)?|[-+]?\d+(,\d+)?")
CURRENCY = "$€£¥"

DATE_START = re.compile(
    r"\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}|\d{1,2}[- ][A-Za-z]{3,9}[- ,]+\d{4}"
    r"|[A-Za-z]{3,9} \d{1,2},? +\d{4})"
)
DATES = (
    "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d", "%d %b %Y",
    "%d-%b-%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y",
)  # fmt: skip
TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
DATE_FORMATS = ("ISO8601", *(date + time for date in DATES for time in TIMES))
PROBE = 25
MANY_WORDS = 5000
"""Columns with more words than this are first judged by a sample."""


def _plain(word: str) -> float:
    return float(word) if PLAIN.fullmatch(word) else np.nan


def _grouped(word: str) -> float:
    return float(word.replace(",", "")) if GROUPED.fullmatch(word) else np.nan


def _comma(word: str) -> float:
    return float(word.replace(".", "").replace(",", ".")) if COMMA.fullmatch(word) else np.nan


def _percent(word: str) -> float:
    return _plain(word[:-1].rstrip()) if word.endswith("%") else np.nan


def _currency(word: str) -> float:
    sign, word = ("-", word[1:]) if word.startswith("-") else ("", word)
    if not word or (word[0] not in CURRENCY and word[-1] not in CURRENCY):
        return np.nan
    return _grouped(sign + word.strip(CURRENCY + " "))


NUMBER_FORMATS: dict[str, Callable[[str], float]] = {
    "plain": _plain,
    "1,234.5": _grouped,
    "1.234,5": _comma,
    "12%": _percent,
    "$1,234": _currency,
}
"""How numbers may be written, by an example; the first that reads the most cells is taken."""


def parse_numbers(words: Sequence[str], written: str) -> np.ndarray:
    """Return the words as float64, NaN for those that are not numbers of this form."""
    read = NUMBER_FORMATS[written]
    return np.array([read(w.strip()) for w in words], np.float64)


def number_format(words: Sequence[str], counts: np.ndarray) -> tuple[str, float]:
    """Return the form that reads the most cells and the share of the cells that it reads."""
    total = counts.sum()
    if not total or (len(words) > MANY_WORDS and _sampled_share(words, counts) < 0.5):
        return "plain", 0.0
    digits = np.array([any(c.isdigit() for c in w) for w in words])
    best, share = "plain", 0.0
    if counts[digits].sum() < 0.5 * total:
        return best, share
    for written in NUMBER_FORMATS:
        read = float(counts[~np.isnan(parse_numbers(words, written))].sum() / total)
        if read > share:
            best, share = written, read
        if share == 1.0:
            break
    return best, share


def _sampled_share(words: Sequence[str], counts: np.ndarray) -> float:
    """Return the share of numbers among common words and a sample of the others that no order of rows changes."""
    every = len(words) // 1000
    common = counts > counts.sum() / 1000
    kept = [
        i for i, w in enumerate(words) if common[i] or zlib.crc32(w.encode(errors="replace")) % every == 0
    ]
    return number_format([words[i] for i in kept], counts[kept])[1]


def parse_dates(words: Sequence[str], written: str) -> np.ndarray:
    """Return the words as datetime64[s] in UTC, NaT for those that are not dates of this form."""
    import pandas as pd

    parsed = pd.to_datetime(pd.Series(list(words), dtype=object), format=written, errors="coerce", utc=True)
    return parsed.dt.tz_localize(None).to_numpy("datetime64[s]")


def date_format(words: Sequence[str], counts: np.ndarray) -> tuple[str, float, bool]:
    """Return the form that reads the most cells, their share, and whether day and month are ambiguous."""
    total = counts.sum()
    like = np.array([DATE_START.match(w) is not None for w in words], bool)
    if not total or counts[like].sum() < 0.5 * total:
        return "", 0.0, False
    probe = sorted(w for w, ok in zip(words, like, strict=True) if ok)[:PROBE]
    shares = {}
    for written in DATE_FORMATS:
        if np.isnat(parse_dates(probe, written)).mean() > 0.5:
            continue
        shares[written] = float(counts[~np.isnat(parse_dates(words, written))].sum() / total)
        if shares[written] == 1.0 and written == "ISO8601":
            break
    if not shares:
        return "", 0.0, False
    best = max(shares, key=shares.__getitem__)
    swapped = {"%m/%d": "%d/%m", "%m-%d": "%d-%m"}.get(best[:5], "") + best[5:]
    return best, shares[best], shares.get(swapped) == shares[best]

"""The winner of a study, judged on trainings that the search did not see."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVEL = 0.05
"""Probability of a claim that is not true, over all finalists together."""

TIE = 1e-12
"""Share of the losses that is rounding: of equal ones the first wins, the default before all."""


@dataclasses.dataclass(frozen=True)
class Winner:
    """What the confirmation shows; losses, lower is better.

    Args:
        index: of the winner among the finalists; 0 is the default.
        confirmed: its mean loss on fresh seeds and splits, shrunken towards the mean of all finalists.
        interval: of the confirmed loss, 95 %.
        gain: how much lower than the default's its loss is, with its 95 % interval.
        beats_default: whether the gain is more than chance, all finalists allowed for.
        repeats: fresh seeds and splits that were judged by. needed: below so many nothing is claimed.
        rivals: finalists that the data cannot tell from the winner, by index.
    """

    index: int
    confirmed: float
    interval: tuple[float, float]
    gain: float
    gain_interval: tuple[float, float]
    beats_default: bool
    rivals: tuple[int, ...]
    repeats: int
    needed: int

    @property
    def decided(self) -> bool:
        """Whether there were repeats enough to claim anything."""
        return self.repeats >= self.needed


def least_repeats(rivals: int) -> int:
    """Return the repeats from which a claim over so many configurations can hold its level.

    With fewer, not even a gain on every repeat is rarer than chance allows, and the t test stands on its assumption of
    normal differences alone.
    """
    return 1 + math.ceil(math.log2(max(1, rivals) / LEVEL))


def unjudged() -> Winner:
    """Return the default as the winner where there was no time to judge anything: nothing speaks against it."""
    nan = math.nan
    return Winner(0, nan, (nan, nan), nan, (nan, nan), False, (), 0, least_repeats(1))


def choose_winner(losses: Floats, test_share: float = 0.0) -> Winner:
    """Choose among finalists by their shrunken means.

    Args:
        losses: (finalists, repeats); row 0 is the default; a column has one seed and one split. Not finite: failed.
        test_share: rows that judge over rows that learn, where the splits overlap (0: only the seeds differ). It
            widens the intervals as the overlap demands.

    Source: shrinkage: James, Stein 1961; overlap: Nadeau, Bengio 2003, Machine Learning 52, equation 9.
    """
    worst = losses[np.isfinite(losses)].max(initial=0.0)
    y = np.where(np.isfinite(losses), losses, 2 * abs(worst) + worst + 1.0)
    count, repeats = y.shape
    means = _shrunken(y)
    index = int((means <= means.min() + TIE * np.abs(means).max()).argmax())
    factor = math.sqrt(1 / repeats + test_share)
    level, needed = LEVEL / max(1, count - 1), least_repeats(count - 1)
    half = _quantile(LEVEL, repeats) * _spread(y[index]) * factor
    differences = y[0] - y[index]
    gain, deviation = float(differences.mean()), _spread(differences) * factor
    reach = _quantile(LEVEL, repeats) * deviation
    beats = index != 0 and repeats >= needed and gain > _quantile(level, repeats) * deviation
    rivals = tuple(
        i
        for i in range(count)
        if i != index
        and _mean(y[i] - y[index]) <= _quantile(LEVEL, repeats) * _spread(y[i] - y[index]) * factor
    )
    confirmed = float(means[index])
    return Winner(
        index, confirmed, (confirmed - half, confirmed + half), gain,
        (gain - reach, gain + reach), bool(beats), rivals, repeats, needed,
    )  # fmt: skip


def _shrunken(y: Floats) -> Floats:
    """Return the means, drawn towards their mean by the share of their variance that is chance."""
    means = y.mean(1)
    if y.shape[0] < 3 or y.shape[1] < 2:
        return np.asarray(means)
    centred = y - y.mean(0)  # what a seed or split does to all is no difference between them
    chance = float(centred.var(1, ddof=1).mean()) / y.shape[1]
    between = float(means.var(ddof=1))
    kept = max(0.0, 1 - chance / between) if between > 0 else 0.0
    return np.asarray(means.mean() + max(kept, 1e-6) * (means - means.mean()))


def _mean(values: Floats) -> float:
    return float(values.mean())


def _spread(values: Floats) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else math.inf


def _quantile(level: float, repeats: int) -> float:
    from scipy.stats import t

    return float(t.isf(level / 2, max(1, repeats - 1)))

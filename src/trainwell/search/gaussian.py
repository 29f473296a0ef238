"""Regression by a Gaussian process: Matern 5/2, one length per parameter, hyperparameters by the best posterior."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LENGTH_SPREAD = math.sqrt(3)
"""Standard deviation of the log of a length. Source: Hvarfner et al. 2024, arXiv:2402.02229, section 5."""

NOISE_LOG, NOISE_SPREAD = math.log(1e-2), 2.0
"""Of the noise variance, for values of variance one: mean and deviation of its log. Source: docs/log-search.md."""

JITTER = 1e-8


@dataclasses.dataclass(frozen=True)
class Hypers:
    """Logarithms of what a Gaussian process is given: a length per parameter, signal variance, noise variance."""

    lengths: Floats
    signal: float = 0.0
    noise: float = NOISE_LOG

    @classmethod
    def start(cls, count: int) -> Hypers:
        """Return the mode of the prior."""
        return cls(np.full(count, length_log(count)))

    def vector(self) -> Floats:
        return np.concatenate([self.lengths, [self.signal, self.noise]])

    @classmethod
    def of(cls, vector: Floats) -> Hypers:
        return cls(vector[:-2].copy(), float(vector[-2]), float(vector[-1]))


def length_log(count: int) -> float:
    """Return the most likely log of a length: it grows with the root of the number of parameters."""
    return math.log(0.5) + 0.5 * math.log(max(1, count))


def matern(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return the Matern 5/2 correlations (N, M) of scaled features, and what their derivatives need."""
    squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * (a @ b.T)
    r = np.sqrt(5 * np.maximum(squared, 0))
    decay = np.exp(-r)
    slope = (1 + r) * decay  # times 5/3 d_j^2: the derivative by the log of length j
    return slope + r * r / 3 * decay, slope


class Objective:
    """The negative log posterior of the hyperparameters and its gradient, for features X (N, F) and values y (N,).

    Args:
        extra: variances (N,) of what is known of each value beside the noise of all.
    """

    def __init__(
        self,
        features: Floats,
        values: Floats,
        owners: npt.NDArray[np.int64],
        count: int,
        extra: Floats | float = 0.0,
    ) -> None:
        self.features, self.values, self.owners, self.count = features, values, owners, count
        self.extra, self.calls = extra, 0

    def __call__(self, vector: Floats) -> tuple[float, Floats]:
        from scipy.linalg import lapack

        self.calls += 1
        hypers, n = Hypers.of(vector), len(self.values)
        scaled = self.features / np.exp(hypers.lengths)[self.owners]
        correlation, slope = matern(scaled, scaled)
        signal, noise = math.exp(hypers.signal), math.exp(hypers.noise)
        covariance = signal * correlation
        covariance[np.diag_indices(n)] += noise + JITTER + self.extra
        factor, info = lapack.dpotrf(covariance, lower=1, clean=1)
        if info:
            return 1e10, np.zeros_like(vector)
        alpha = lapack.dpotrs(factor, self.values, lower=1)[0]
        inverse = lapack.dpotri(factor, lower=1)[0]
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        value = 0.5 * float(self.values @ alpha) + float(np.log(np.diag(factor)).sum())
        weight = inverse - np.outer(alpha, alpha)
        gradient = np.empty_like(vector)
        pull = weight * slope
        rows = pull.sum(1)
        moments = (scaled * scaled * rows[:, None]).sum(0) - (scaled * (pull @ scaled)).sum(0)
        by_column = signal * 5 / 3 * moments
        gradient[:-2] = np.bincount(self.owners, by_column, minlength=self.count)
        gradient[-2] = 0.5 * signal * float((weight * correlation).sum())
        gradient[-1] = 0.5 * noise * float(np.trace(weight))
        return value + self._prior(hypers, gradient), gradient

    def _prior(self, hypers: Hypers, gradient: Floats) -> float:
        """Return the negative log prior and add its gradient."""
        off = (hypers.lengths - length_log(self.count)) / LENGTH_SPREAD
        gradient[:-2] += off / LENGTH_SPREAD
        noise = (hypers.noise - NOISE_LOG) / NOISE_SPREAD
        gradient[-1] += noise / NOISE_SPREAD
        gradient[-2] += hypers.signal
        return 0.5 * float((off * off).sum()) + 0.5 * noise * noise + 0.5 * hypers.signal**2


def fit(
    features: Floats,
    values: Floats,
    owners: npt.NDArray[np.int64],
    start: Hypers,
    most_calls: int,
    extra: Floats | float = 0.0,
) -> Hypers:
    """Return the hyperparameters of the highest posterior near `start`."""
    from scipy.optimize import minimize

    objective = Objective(features, values, owners, len(start.lengths), extra)
    bounds = [(math.log(0.05), math.log(100.0))] * len(start.lengths) + [(-5.0, 5.0), (math.log(1e-6), 0.5)]
    found = minimize(
        objective, start.vector(), jac=True, method="L-BFGS-B", bounds=bounds,
        options={"maxfun": most_calls, "maxiter": most_calls, "ftol": 1e-5},
    )  # fmt: skip
    return Hypers.of(found.x)


class Process:
    """A Gaussian process that has seen values, and is then told what it expects itself (the batch in hand).

    Args:
        features: (N, F). values: (N,), standardised. owners: parameter of each column.
        extra: variances (N,) of values that are uncertain beyond the noise of all: forecasts.

    Attributes:
        seen_mean: posterior mean at the features, (N,).
    """

    def __init__(
        self,
        features: Floats,
        values: Floats,
        owners: npt.NDArray[np.int64],
        hypers: Hypers,
        extra: Floats | float = 0.0,
    ) -> None:
        from scipy.linalg import cho_factor, cho_solve

        self._scale = np.exp(hypers.lengths)[owners]
        self.signal, self.noise = math.exp(hypers.signal), math.exp(hypers.noise)
        self._seen = features / self._scale
        covariance = self.signal * matern(self._seen, self._seen)[0]
        covariance[np.diag_indices(len(values))] += self.noise + JITTER + extra
        self._factor = cho_factor(covariance, lower=True)
        self._alpha = cho_solve(self._factor, values)
        self.seen_mean: Floats = values - (self.noise + JITTER + extra) * self._alpha

    def mean_at(self, features: Floats) -> Floats:
        """Return the posterior mean at features, (M,)."""
        found: Floats = self.signal * (matern(features / self._scale, self._seen)[0] @ self._alpha)
        return found

    def at(self, features: Floats) -> Points:
        """Return the posterior at features (M, F)."""
        from scipy.linalg import solve_triangular

        scaled = features / self._scale
        cross = self.signal * matern(self._seen, scaled)[0]
        root = solve_triangular(self._factor[0], cross, lower=True, check_finite=False)
        variance = np.maximum(self.signal - np.einsum("ij,ij->j", root, root), 1e-12)
        return Points(self, scaled, cross.T @ self._alpha, variance, root)


@dataclasses.dataclass
class Points:
    """Posterior mean and variance (M,) at points, which can be made to believe in one of them after the other.

    Attributes:
        root: (N, M), what of the prior variance each seen value takes away: variance = signal - root^2 summed.
    """

    process: Process
    scaled: Floats
    mean: Floats
    variance: Floats
    root: Floats
    believed: list[Floats] = dataclasses.field(default_factory=list)

    def believe(self, index: int) -> None:
        """Condition on the value expected at one of the points: means stay, variances shrink around it."""
        process = self.process
        own = process.signal * matern(self.scaled[index : index + 1], self.scaled)[0][0]
        covariance = own - self.root[:, index] @ self.root
        for row in self.believed:
            covariance -= row[index] * row
        row = covariance / math.sqrt(max(covariance[index], 1e-12) + process.noise)
        self.believed.append(row)
        self.variance = np.maximum(self.variance - row * row, 1e-12)

    def taken(self, index: npt.NDArray[np.int64]) -> Points:
        """Return some of the points, with what they believe."""
        believed = [row[index] for row in self.believed]
        return Points(
            self.process,
            self.scaled[index],
            self.mean[index],
            self.variance[index],
            self.root[:, index],
            believed,
        )

    def joined(self, other: Points) -> Points:
        """Return these points and others of the same process; neither may believe anything yet."""
        assert not self.believed and not other.believed
        pairs = ((getattr(self, f), getattr(other, f)) for f in ("scaled", "mean", "variance"))
        scaled, mean, variance = (np.concatenate(p) for p in pairs)
        return Points(self.process, scaled, mean, variance, np.concatenate([self.root, other.root], 1))


def log_expected_improvement(mean: Floats, variance: Floats, best: float) -> Floats:
    """Return the log of the expected improvement below `best`; accurate where it is tiny.

    Source: Jones, Schonlau, Welch 1998; Ament et al. 2023, arXiv:2310.20708, on working with the log.
    """
    from scipy.special import ndtr

    deviation = np.sqrt(variance)
    z = (best - mean) / deviation
    density = -0.5 * z * z - 0.5 * math.log(2 * math.pi)
    far = z < -6
    safe = np.where(far, 0.0, z)
    near = np.log(np.exp(-0.5 * safe * safe) / math.sqrt(2 * math.pi) + safe * ndtr(safe))
    away = np.where(far, z, -7.0)
    tail = density - 2 * np.log(np.abs(away)) + np.log1p(-3 / (away * away))
    result: Floats = np.where(far, tail, near) + np.log(deviation)
    return result


def standardised(values: Sequence[float] | Floats) -> tuple[Floats, float, float]:
    """Return losses with mean 0 and variance 1, the bad ones drawn in, failures as bad as the worst; and mean and scale.

    What lies above the median says only where not to look: it is cut off at the median plus twice the distance from
    the best to the median, so that a diverged training does not flatten the rest.
    """
    y = np.array(values, dtype=np.float64)
    good = np.isfinite(y)
    best = y[good].min()
    reach = np.median(y[good]) - best or y[good].mean() - best  # half of them may be as good as the best
    y = np.where(good, np.minimum(y, best + 3 * reach), np.nan)
    y = np.where(good, y, np.nanmax(y))
    centre, spread = float(y.mean()), float(y.std())
    result: Floats = (y - centre) / spread if spread > 0 else np.zeros_like(y)
    return result, centre, spread

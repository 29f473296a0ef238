"""How the error rate of a trial is shared out among its looks, so that looking often costs no false proof.

Source: Lan & DeMets 1983, Biometrika 70(3):659-663 (spending functions); Armitage, McPherson & Rowe 1969, JRSS A
132(2):235-244 (the recursion); Jennison & Turnbull 2000, Group Sequential Methods, chapters 7 and 19.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

NODES = 240
"""Points of the integration; 240 agree with 2,000 to six digits in the tests' designs."""

FARTHEST = 9.0
"""Bounds beyond it are not told apart: their level is below 1e-18."""


def upper_tail(z: Any) -> Any:
    """Return the probability that a standard normal number exceeds z."""
    from scipy.special import ndtr  # takes half a second: only when a trial is judged

    return ndtr(-np.asarray(z))


def upper_bound(tail: float) -> float:
    """Return the standard normal number that is exceeded with this probability."""
    from scipy.special import ndtri

    return -float(ndtri(tail))


def _density(at: Array, mean: Array, scale: float) -> Array:
    z = (at - mean) / scale
    return np.asarray(np.exp(-z * z / 2) / (scale * math.sqrt(2 * math.pi)))


def obrien_fleming(fraction: float, alpha: float) -> float:
    """Return the two-sided error spent at this fraction of the trial: little at first, nearly all at the end."""
    return float(min(alpha, 4 * upper_tail(upper_bound(alpha / 4) / math.sqrt(fraction))))


def pocock(fraction: float, alpha: float) -> float:
    """Return the two-sided error spent at this fraction of the trial: about the same at every look."""
    return alpha * math.log1p((math.e - 1) * fraction)


SPENDING: Mapping[str, Callable[[float, float], float]] = {"obrien_fleming": obrien_fleming, "pocock": pocock}


@functools.lru_cache(maxsize=4096)
def bounds(
    fractions: tuple[float, ...], alpha: float = 0.05, spending: str = "obrien_fleming"
) -> tuple[float, ...]:
    """Return the two-sided bounds on |z| of every look, such that crossing any has probability `alpha` at most.

    Args:
        fractions: ascending shares of the planned seeds at the looks, in (0, 1]; the last is 1 if it is the final look.
        alpha: probability that a change without effect crosses a bound at any look.
    """
    found: list[float] = []
    spent, nodes, weights, density = 0.0, np.zeros(1), np.ones(1), np.ones(1)
    before = 0.0
    for fraction in fractions:
        now = SPENDING[spending](fraction, alpha)
        width, scale = math.sqrt(fraction - before), math.sqrt(fraction)
        bound = _solve(now - spent, nodes, weights * density, width, scale)
        found.append(bound)
        edge = bound * scale
        points, shares = _legendre()
        new_nodes, new_weights = points * edge, shares * edge
        steps = _density(new_nodes[:, None], nodes[None, :], width)
        density = steps @ (weights * density)
        nodes, weights, spent, before = new_nodes, new_weights, now, fraction
    return tuple(found)


def crossing(
    fractions: Sequence[float], limits: Sequence[float], drift: float = 0.0
) -> tuple[list[float], list[float]]:
    """Return the probabilities of leaving through the upper and through the lower bound, look by look.

    Args:
        limits: bounds on |z| of the looks.
        drift: mean of z at fraction 1: the effect over its standard error at the end.
    """
    upper, lower = [], []
    nodes, weighted, before = np.zeros(1), np.ones(1), 0.0
    for fraction, limit in zip(fractions, limits, strict=True):
        width, edge = math.sqrt(fraction - before), limit * math.sqrt(fraction)
        ahead = nodes + drift * (fraction - before)
        upper.append(float(weighted @ upper_tail((edge - ahead) / width)))
        lower.append(float(weighted @ upper_tail((edge + ahead) / width)))
        points, shares = _legendre()
        new_nodes = points * edge
        density = _density(new_nodes[:, None], ahead[None, :], width) @ weighted
        nodes, weighted, before = new_nodes, shares * edge * density, fraction
    return upper, lower


def _solve(error: float, nodes: Array, weighted: Array, width: float, scale: float) -> float:
    """Return the bound that is crossed with this probability by paths that crossed none before."""

    from scipy.optimize import brentq

    def excess(bound: float) -> float:
        edge = bound * scale
        tails: Array = upper_tail((edge - nodes) / width) + upper_tail((edge + nodes) / width)
        return float(weighted @ tails) - error

    if error <= 0 or excess(FARTHEST) > 0:
        return FARTHEST
    return float(brentq(excess, 0.0, FARTHEST, xtol=1e-10)) if excess(0.0) > 0 else 0.0


@functools.lru_cache(maxsize=1)
def _legendre() -> tuple[Any, Any]:
    return np.polynomial.legendre.leggauss(NODES)

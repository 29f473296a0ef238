"""The register of the eighth blind set: siblings of the cases of faultbench's dev part, two to each.

Its authors had seen that part and nothing of the doctor; see `docs/log-doctor.md`.
"""

from __future__ import annotations

from typing import Any

from faultbench.lib import define

HALVES: dict[str, list[Any]] = {"A": [], "B": []}
SCORE, LOSS = ("test_score", 1, 0.05), ("test_loss", -1, 0.1)
COST, WALL = ("us_per_sample", -1, 5), ("wall_us_per_sample", -1, 100)


def case(half: str, labels: list[Any], better: Any = SCORE, accept: Any = (), severity: str = "clear") -> Any:
    """Register a maker `f(seed, fixed) -> Job` under its own name in one half."""

    def register(maker: Any) -> Any:
        HALVES[half].append(
            define("b8_" + maker.__name__, labels, maker, accept=accept, severity=severity,
                   better=better if labels else None)
        )  # fmt: skip
        return maker

    return register


def over_time(d: Any) -> Any:
    """Turn waves (N, 1, T) into sequences (N, T, 1)."""
    for a in ("x", "xv", "xt"):
        setattr(d, a, getattr(d, a).transpose(1, 2).contiguous())
    return d

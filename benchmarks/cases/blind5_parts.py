"""The register of the fifth blind set, whose cases imitate the hand that wrote faultbench's dev part.

Written before its authors read the rules; see `docs/log-doctor.md` for what it is good for and what not.
"""

from __future__ import annotations

import zlib
from typing import Any

from faultbench.lib import define

from benchmarks.cases.blind3_parts import LOSS, SCORE
from benchmarks.cases.blind4_parts import COST, WALL

__all__ = ["COST", "LOSS", "SCORE", "WALL"]
HALVES: dict[str, list[Any]] = {"A": [], "B": []}


def case(labels: list[Any], better: Any = SCORE, accept: Any = (), severity: str = "clear") -> Any:
    """Register a maker `f(seed, fixed) -> Job` under its own name; the name's checksum chooses the half."""

    def register(maker: Any) -> Any:
        half = "AB"[zlib.crc32(maker.__name__.encode()) % 2]
        HALVES[half].append(
            define("b5_" + maker.__name__, labels, maker, accept=accept, severity=severity,
                   better=better if labels else None)
        )  # fmt: skip
        return maker

    return register

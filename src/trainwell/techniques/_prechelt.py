"""The measures of Prechelt 1998, "Early stopping - but when?", section 2."""

from __future__ import annotations

import math
from collections.abc import Sequence


def generalization_loss(values: Sequence[float]) -> float:
    """Return by how many percent the last value lies above the smallest, in units of the smallest's size.

    For positive values this is GL = 100 (E / E_opt - 1). A score, such as -accuracy, is negative; its rise
    is measured against its size. A rise above a best of 0 is infinite; a value that is not finite gives 0.
    """
    best, last = min((v for v in values if math.isfinite(v)), default=math.inf), values[-1]
    if not math.isfinite(last) or last <= best:
        return 0.0
    return 100 * (last - best) / abs(best) if best else math.inf


def training_progress(losses: Sequence[float]) -> float:
    """Return P_k = 1000 (mean / min - 1) of the training losses of a strip."""
    least = min(losses)
    gap = sum(losses) / len(losses) - least
    if not gap > 0:
        return 0.0
    return 1000 * gap / abs(least) if least else math.inf

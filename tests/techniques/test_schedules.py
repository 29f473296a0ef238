"""Schedules at their landmarks, against torch's where torch has them, and as properties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainwell.techniques.constant import Constant
from trainwell.techniques.cos_log4 import CosLog4
from trainwell.techniques.cosine import Cosine
from trainwell.techniques.linear import Linear
from trainwell.techniques.one_cycle import OneCycle
from trainwell.techniques.warmup import Warmup
from trainwell.techniques.wsd import WSD

SCHEDULES = [
    Constant(),
    Linear(),
    Cosine(),
    Cosine(final=0.1),
    OneCycle(),
    WSD(),
    WSD(rise=0.0),
    CosLog4(),
    Warmup(),
]


def at(schedule: Any, *progress: float) -> list[float]:
    return [float(v) for v in schedule.schedule(np.asarray(progress, dtype=np.float64))]


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=30))
def test_factors_are_finite_and_never_above_the_peak(progress: list[float]) -> None:
    for schedule in SCHEDULES:
        factors = schedule.schedule(np.asarray(progress))
        assert factors.shape == (len(progress),)
        assert ((factors >= 0) & (factors <= 1 + 1e-12)).all(), schedule.name


def test_landmarks() -> None:
    assert at(Constant(), 0, 0.5, 1) == [1, 1, 1]
    assert at(Linear(final=0.2), 0, 0.5, 1) == pytest.approx([1, 0.6, 0.2])
    assert at(Cosine(final=0.2), 0, 0.5, 1) == pytest.approx([1, 0.6, 0.2])
    assert at(OneCycle(), 0, 0.3, 1) == pytest.approx([0.04, 1, 4e-6])
    assert at(WSD(), 0, 0.01, 0.02, 0.5, 0.8, 0.85, 1) == pytest.approx([0.01, 0.505, 1, 1, 1, 0.5, 0])
    assert at(Warmup(fraction=0.1, start=0.2), 0, 0.05, 0.1, 0.9) == pytest.approx([0.2, 0.6, 1, 1])


def test_cos_log4_has_four_valleys_and_four_peaks() -> None:
    valleys = [(2**k - 1) / 15 for k in range(5)]
    peaks = [(2 ** (k + 0.5) - 1) / 15 for k in range(4)]
    assert at(CosLog4(), *valleys) == pytest.approx([0] * 5, abs=1e-12)
    assert at(CosLog4(), *peaks) == pytest.approx([1] * 4)


def rates_of(make: Any, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_cosine_and_linear_equal_torch() -> None:
    steps, progress = 50, np.arange(50) / 50
    lr_scheduler = torch.optim.lr_scheduler
    theirs = rates_of(lambda o: lr_scheduler.CosineAnnealingLR(o, steps, eta_min=0.1), steps)
    assert Cosine(final=0.1).schedule(progress) == pytest.approx(theirs)
    theirs = rates_of(lambda o: lr_scheduler.LinearLR(o, 1.0, 0.1, total_iters=steps), steps)
    assert Linear(final=0.1).schedule(progress) == pytest.approx(theirs)


def test_one_cycle_equals_torch() -> None:
    # torch's last step stands at the end of the run, ours one step before it
    steps = 101
    theirs = rates_of(
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 1.0, total_steps=steps, pct_start=0.31), steps
    )
    start = (0.31 * steps - 1) / (steps - 1)
    ours = OneCycle(rise=start).schedule(np.arange(steps) / (steps - 1))
    assert ours == pytest.approx(theirs, abs=1e-9)

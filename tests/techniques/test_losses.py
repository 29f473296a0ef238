"""Techniques of the sites `loss` and `batch` against torch, scikit-learn and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

from trainwell.engine.losses import cross_entropy_each, squared_error_each
from trainwell.engine.parts import Batch
from trainwell.techniques.class_weights import ClassWeights
from trainwell.techniques.label_smoothing import LabelSmoothing
from trainwell.techniques.mixup import Mixup
from trainwell.values.errors import RecipeError
from trainwell.values.task import Task

COUNTS = (50, 30, 20)
TASK = Task("multiclass", (0, 1, 2), COUNTS)
NUMBER = Task("regression")


def batch(rows: int = 40) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, 3, generator=generator), torch.randint(3, (rows,), generator=generator)


@pytest.mark.parametrize("amount", [0.0, 0.1, 0.7])
def test_label_smoothing_equals_torch(amount: float) -> None:
    outputs, target = batch()
    ours = LabelSmoothing(amount=amount).loss(cross_entropy_each, TASK)(outputs, target)
    theirs = F.cross_entropy(outputs, target, label_smoothing=amount, reduction="none")
    torch.testing.assert_close(ours, theirs)


def test_class_weights_equal_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    outputs, target = batch()
    labels = np.repeat([0, 1, 2], COUNTS)
    weights = torch.tensor(
        compute_class_weight("balanced", classes=np.arange(3), y=labels), dtype=torch.float32
    )
    ours = ClassWeights().loss(cross_entropy_each, TASK)(outputs, target)
    torch.testing.assert_close(ours, F.cross_entropy(outputs, target, weight=weights, reduction="none"))


@pytest.mark.parametrize("power", [0.0, 0.3, 0.5, 1.0])
def test_class_weights_have_mean_one_over_the_training_part(power: float) -> None:
    target = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
    ones = lambda outputs, target: torch.ones(len(target))  # noqa: E731
    weights = ClassWeights(power=power).loss(ones, TASK)(torch.zeros(100, 3), target)
    assert float(weights.mean()) == pytest.approx(1)
    ratio = float(weights[-1] / weights[0])
    assert ratio == pytest.approx((50 / 20) ** power)


def test_class_weights_bear_a_class_without_rows() -> None:
    task = Task("multiclass", (0, 1, 2), (5, 5, 0))
    losses = ClassWeights().loss(cross_entropy_each, task)(*batch())
    assert losses.isfinite().all()


def test_members_of_a_model_share_the_weights_of_their_targets() -> None:
    outputs, target = batch()
    for technique in (ClassWeights(), LabelSmoothing()):
        each = technique.loss(cross_entropy_each, TASK)
        members = each(outputs.expand(4, 40, 3), target.expand(4, 40))
        torch.testing.assert_close(members[2], each(outputs, target))


@pytest.mark.parametrize("technique", [ClassWeights(), LabelSmoothing()], ids=lambda t: t.name)
def test_techniques_for_classes_refuse_numbers(technique: Any) -> None:
    with pytest.raises(RecipeError, match=rf"{technique.name} needs classes"):
        technique.loss(squared_error_each, NUMBER)


def mixed(alpha: float, seed: int, rows: int = 8) -> tuple[Batch, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    floats, codes = (
        torch.randn(rows, 3, generator=generator),
        torch.randint(9, (rows, 2), generator=generator),
    )
    target = torch.randint(3, (rows,), generator=generator)
    made = Batch((floats.clone(), codes.clone()), target.clone())
    Mixup(alpha=alpha).batch(made, torch.Generator().manual_seed(seed))
    return made, floats, codes, target


def test_mixup_mixes_rows_and_targets_in_one_proportion() -> None:
    made, floats, codes, target = mixed(1.0, 3)
    assert isinstance(made.mix, Tensor)
    assert made.mix.shape == (1,)
    assert 0.5 <= float(made.mix) <= 1
    torch.testing.assert_close(made.x[0], made.mix * floats + (1 - made.mix) * floats.roll(1, 0))
    assert torch.equal(made.x[1], codes)
    assert torch.equal(made.y, target)
    assert made.mixed_y is not None
    assert torch.equal(made.mixed_y, target.roll(1, 0))


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 4.0])
def test_mixup_draws_from_the_beta_distribution(alpha: float) -> None:
    generator, shares = torch.Generator().manual_seed(11), []
    x, y = torch.zeros(2, 1, dtype=torch.float64), torch.zeros(2, 1)
    for _ in range(3000):
        made = Batch((x,), y)
        Mixup(alpha=alpha).batch(made, generator)
        assert isinstance(made.mix, Tensor)
        shares.append(float(made.mix))
    # the larger of two shares: P(max(S, 1 - S) <= s) = 2 F(s) - 1; near 1 many round to 1
    points = np.linspace(0.5, 0.99, 50)
    empirical = (np.asarray(shares)[:, None] <= points).mean(0)
    distance = np.abs(empirical - (2 * stats.beta(alpha, alpha).cdf(points) - 1)).max()
    assert distance < stats.kstwo(len(shares)).ppf(0.999)


def test_mixup_of_regression_targets_and_of_lanes() -> None:
    generators = [torch.Generator().manual_seed(s) for s in range(2)]
    x, y = torch.randn(2, 6, 3), torch.randn(2, 6, 1)
    made = Batch((x,), y)
    Mixup(alpha=1.0).batch(made, generators)  # type: ignore[arg-type]
    for lane in range(2):
        alone = Batch((x[lane],), y[lane])
        Mixup(alpha=1.0).batch(alone, torch.Generator().manual_seed(lane))
        assert torch.equal(made.x[0][lane], alone.x[0])
        assert made.mixed_y is not None
        assert torch.equal(made.mixed_y[lane], alone.mixed_y)


def test_mixup_of_codes_alone_mixes_the_targets() -> None:
    codes, target = torch.randint(9, (8, 2)), torch.arange(8)
    made = Batch((codes,), target)
    Mixup().batch(made, torch.Generator().manual_seed(0))
    assert torch.equal(made.x[0], codes)
    assert made.mixed_y is not None

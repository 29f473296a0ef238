"""Penalties against the gradients that autograd takes of the documented losses; decay against its closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trainwell.techniques.elastic_net import ElasticNet
from trainwell.techniques.l1 import L1
from trainwell.techniques.l2 import L2
from trainwell.techniques.weight_decay import WeightDecay
from trainwell.testing.lanes import flats

CASES: list[tuple[Any, Callable[[Tensor], Tensor]]] = [
    (L1(rate=0.03), lambda w: 0.03 * w.abs().sum()),
    (L2(rate=0.03), lambda w: 0.03 / 2 * w.square().sum()),
    (
        ElasticNet(rate=0.03, l1_ratio=0.2),
        lambda w: 0.03 * (0.2 * w.abs().sum() + 0.8 / 2 * w.square().sum()),
    ),
]


@pytest.mark.parametrize(("technique", "loss"), CASES, ids=lambda v: getattr(v, "name", ""))
def test_penalty_adds_the_gradient_of_its_loss(technique: Any, loss: Callable[[Tensor], Tensor]) -> None:
    params, grads = flats()
    before = grads.flat.clone()
    weights = params.decayed.clone().requires_grad_()
    loss(weights).backward()
    technique.penalty(params, grads)
    assert weights.grad is not None
    torch.testing.assert_close(grads.decayed, before[: grads.num_decayed] + weights.grad)
    assert torch.equal(grads.flat[grads.num_decayed :], before[grads.num_decayed :])


def test_l1_leaves_zero_weights_alone() -> None:
    params, grads = flats()
    params.flat.zero_()
    before = grads.flat.clone()
    L1(rate=0.1).penalty(params, grads)
    assert torch.equal(grads.flat, before)


def test_elastic_net_reaches_the_weights_of_scikit_learn() -> None:
    from sklearn.linear_model import ElasticNet as Reference

    generator = np.random.default_rng(0)
    x = generator.normal(size=(80, 6))
    y = x @ np.array([1.0, -2.0, 0, 0, 0.5, 0]) + 0.1 * generator.normal(size=80)
    reference = Reference(alpha=0.3, l1_ratio=0.6, fit_intercept=False, tol=1e-12).fit(x, y)
    linear = torch.nn.Linear(6, 1, bias=False).double()
    from trainwell.engine.flat import flatten, parameter_groups

    params, grads = flatten(parameter_groups(linear))
    technique = ElasticNet(rate=0.3, l1_ratio=0.6)
    features, target = torch.tensor(x), torch.tensor(y)
    for step in range(4000):
        grads.flat.zero_()
        # scikit-learn halves the mean squared error
        (0.5 * (linear(features)[:, 0] - target).square().mean()).backward()
        technique.penalty(params, grads)
        params.flat.sub_(grads.flat, alpha=0.3 / (1 + 0.1 * step))
    assert params.views[0].numpy()[0] == pytest.approx(reference.coef_, abs=1e-3)


def test_weight_decay_shrinks_matrices_only_unless_asked() -> None:
    params, _ = flats()
    before = params.flat.clone()
    WeightDecay(rate=0.5).update(params, 0.1)
    torch.testing.assert_close(params.decayed, before[: params.num_decayed] * 0.95)
    assert torch.equal(params.flat[params.num_decayed :], before[params.num_decayed :])
    WeightDecay(rate=0.5, scope="all").update(params, 0.1)
    torch.testing.assert_close(params.flat[params.num_decayed :], before[params.num_decayed :] * 0.95)

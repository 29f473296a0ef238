"""Clipping against torch.nn.utils, the published AGC and numpy's quantiles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainwell.engine.flat import Flat
from trainwell.techniques.agc import AGC
from trainwell.techniques.clip_grad import ClipGrad
from trainwell.techniques.clip_quantile import WINDOW, ClipQuantile
from trainwell.techniques.clip_value import ClipValue
from trainwell.testing.lanes import flats, randomize


def as_parameters(grads: Flat) -> list[nn.Parameter]:
    parameters = [nn.Parameter(torch.zeros_like(v)) for v in grads.views]
    for parameter, grad in zip(parameters, grads.views, strict=True):
        parameter.grad = grad.clone()
    return parameters


@pytest.mark.parametrize("limit", [0.01, 1.0, 5.0, 1000.0, math.inf])
def test_clip_grad_equals_torch(limit: float) -> None:
    params, grads = flats()
    theirs = as_parameters(grads)
    nn.utils.clip_grad_norm_(theirs, limit)
    ClipGrad(max_norm=limit).grads(grads, params, None)
    for ours, their in zip(grads.views, theirs, strict=True):
        torch.testing.assert_close(ours, their.grad, rtol=1e-14, atol=0)


@pytest.mark.parametrize("limit", [0.01, 0.5, 1000.0, math.inf])
def test_clip_value_equals_torch(limit: float) -> None:
    params, grads = flats()
    theirs = as_parameters(grads)
    nn.utils.clip_grad_value_(theirs, limit)
    ClipValue(max_value=limit).grads(grads, params, None)
    for ours, their in zip(grads.views, theirs, strict=True):
        assert torch.equal(ours, their.grad)


def unit_norm(x: Tensor) -> Tensor:
    """The unit-wise norm of the authors' code, for weights whose first axis is the output."""
    if x.ndim <= 1:
        return x.norm()
    return torch.linalg.vector_norm(x, dim=tuple(range(1, x.ndim)), keepdim=True)


@pytest.mark.parametrize("scope", ["hidden", "all"])
@pytest.mark.parametrize("ratio", [0.01, 0.5])
def test_agc_equals_the_published_rule(ratio: float, scope: str) -> None:
    params, grads = flats()
    expected = []
    for slot, weight, grad in zip(params.slots, params.views, grads.views, strict=True):
        largest = unit_norm(weight).clamp(min=1e-3) * ratio
        norm = unit_norm(grad)
        clipped = torch.where(norm < largest, grad, grad * (largest / norm.clamp(min=1e-6)))
        spared = scope == "hidden" and slot.name == "4.weight"
        expected.append(grad.clone() if spared else clipped)
    AGC(ratio=ratio, scope=scope).grads(grads, params, None)
    for ours, theirs in zip(grads.views, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)


def test_clip_quantile_follows_the_window() -> None:
    technique, (params, grads) = ClipQuantile(quantile=0.7), flats()
    state, generator = technique.init_state(params), torch.Generator().manual_seed(0)
    norms: list[float] = []
    for _ in range(2 * WINDOW):
        randomize(grads, generator)
        grads.flat.mul_(10 ** float(torch.randn(1, generator=generator)))
        norms.append(float(grads.flat.norm()))
        technique.grads(grads, params, state)
        limit = np.quantile(norms[-WINDOW:], 0.7)
        assert float(grads.flat.norm()) == pytest.approx(min(norms[-1], limit), rel=1e-9)


def test_clip_quantile_does_not_remember_what_is_not_finite() -> None:
    technique, (params, grads) = ClipQuantile(quantile=0.5), flats()
    state = technique.init_state(params)
    for value in (1.0, math.inf, math.nan, 3.0):
        grads.flat.fill_(value)
        technique.grads(grads, params, state)
    assert float(grads.flat[0]) == pytest.approx(2.0)  # the median of 1 and 3


def test_clipping_bears_a_zero_gradient() -> None:
    params, grads = flats()
    grads.flat.zero_()
    quantile = ClipQuantile()
    quantile.grads(grads, params, quantile.init_state(params))
    for technique in (ClipGrad(), ClipValue(), AGC()):
        technique.grads(grads, params, None)
    assert (grads.flat == 0).all()


@pytest.mark.parametrize("technique", [ClipGrad(), ClipValue(), AGC()], ids=lambda t: t.name)
def test_clipping_does_not_hide_nan(technique: ClipGrad | ClipValue | AGC) -> None:
    params, grads = flats()
    grads.views[0].fill_(math.nan)
    technique.grads(grads, params, None)
    assert grads.views[0].isnan().all()

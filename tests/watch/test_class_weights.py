"""Losses that weigh classes: what the best constant answer costs, and what single rows cost."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainwell.watch.kept import base_loss, class_weights, facts_of_targets
from trainwell.watch.losses import LossCall, listen, unlisten

RARE = torch.tensor([0] * 90 + [1] * 8 + [2] * 2)
WEIGHTS = torch.tensor([1.0, 8.0, 30.0])


def call(name: str, logits: Tensor, target: Tensor, **kwargs: Any) -> LossCall:
    function = getattr(F, name)
    return LossCall(name, function, logits, target, (), kwargs, function(logits, target, **kwargs))


def best_constant(name: str, width: int, target: Tensor, **kwargs: Any) -> float:
    """Return what plain torch reaches with one answer for all rows."""
    answer = torch.zeros(1, width, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([answer], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = getattr(F, name)(answer.expand(len(target), width), target, **kwargs)
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(closure().detach())


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_best_constant_of_weighted_classes_is_what_torch_finds(weights: Tensor | None) -> None:
    kwargs = {} if weights is None else {"weight": weights}
    found = facts_of_targets(
        [call("cross_entropy", torch.zeros(100, 3), RARE, **kwargs)], {"loss_kind": "classification"}
    )
    reference = {k: v.double() for k, v in kwargs.items()}
    assert found["base_loss"] == pytest.approx(best_constant("cross_entropy", 3, RARE, **reference), rel=1e-4)
    assert ("class_weights" in found) is (weights is not None)


@pytest.mark.parametrize("weight", [1.0, 20.0])
def test_best_constant_of_a_weighted_yes_is_what_torch_finds(weight: float) -> None:
    target, yes = (RARE[:, None] > 0).float(), torch.tensor([weight])
    heard = call("binary_cross_entropy_with_logits", torch.zeros(100, 1), target, pos_weight=yes)
    found = facts_of_targets([heard], {"loss_kind": "binary"})
    reference = best_constant("binary_cross_entropy_with_logits", 1, target.double(), pos_weight=yes.double())
    assert found["base_loss"] == pytest.approx(reference, rel=1e-4)
    assert class_weights(heard, found) == ({"0": 1.0, "1": weight} if weight != 1 else {})


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_weights_that_are_given_by_their_place_are_heard_as_if_named(name: str) -> None:
    scores = torch.randn(100, 3, generator=torch.Generator().manual_seed(0)).log_softmax(1)
    heard: list[LossCall] = []
    listen(heard.append)
    try:
        getattr(F, name)(scores, RARE, WEIGHTS)
        getattr(F, name)(scores, RARE, weight=WEIGHTS)
    finally:
        unlisten(heard.append)
    placed, named = heard
    assert placed.kwargs.keys() == named.kwargs.keys() and not placed.args
    facts = [facts_of_targets([c], {"loss_kind": "classification"}) for c in heard]
    assert facts[0] == facts[1] and "class_weights" in facts[0]
    torch.testing.assert_close(placed.each(100), named.each(100))
    assert placed.each(100).mean().item() == pytest.approx(placed.value.item(), rel=1e-5)


def test_rows_of_a_weighted_loss_average_to_what_the_loop_computes() -> None:
    torch.manual_seed(0)
    for weight in (None, WEIGHTS):
        heard = call("cross_entropy", torch.randn(100, 3), RARE, weight=weight)
        assert float(heard.each(100).mean()) == pytest.approx(float(heard.value), rel=1e-5)


def test_weights_of_many_columns_leave_the_base_loss_as_it_was() -> None:
    target = torch.stack([RARE > 0, RARE > 1], 1).float()
    heard = call(
        "binary_cross_entropy_with_logits", torch.zeros(100, 2), target, pos_weight=torch.tensor([3.0, 9.0])
    )
    plain = call("binary_cross_entropy_with_logits", torch.zeros(100, 2), target)
    counts = {"loss_kind": "binary", "class_counts": {"0": 188, "1": 12}}
    assert base_loss(heard, target, counts) == base_loss(plain, target, counts)

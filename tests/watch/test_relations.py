"""How the input of a loss follows from the output of the model, where the loop changes it in between."""

from __future__ import annotations

import pytest
import torch

from trainwell.watch.replica import CHANGES, relation


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_loop_does_to_its_outputs_is_done_to_others(name: str) -> None:
    torch.manual_seed(0)
    first, second = torch.randn(8, 5), torch.randn(8, 5)
    found = relation(CHANGES[name](first).clone(), first)
    assert torch.allclose(found.apply(second), CHANGES[name](second))


def test_a_copy_in_another_shape_and_precision_is_known() -> None:
    half = torch.randn(8, 1).bfloat16()
    found = relation(half.float().reshape(8).clone(), half)
    assert found.apply(torch.ones(8, 1)).shape == (8,)


def test_what_follows_in_no_known_way_is_refused() -> None:
    torch.manual_seed(0)
    with pytest.raises(LookupError, match="not the output of the model"):
        relation(torch.randn(8, 5), torch.randn(8, 5))


def test_the_value_of_the_action_taken_is_taken_of_other_outputs_too() -> None:
    torch.manual_seed(0)
    first, second, action = torch.randn(8, 4), torch.randn(8, 4), torch.randint(0, 4, (8, 1))
    found = relation(first.gather(1, action), first)
    assert torch.equal(found.apply(second), second.gather(1, action))
    flat = relation(first.gather(1, action).squeeze(1), first)
    assert torch.equal(flat.apply(second), second.gather(1, action).squeeze(1))
    with pytest.raises(LookupError, match="changed its shape"):
        found.apply(second[:5])


def test_of_equal_values_none_is_taken_for_that_of_the_action() -> None:
    with pytest.raises(LookupError, match="not the output of the model"):
        relation(torch.zeros(8, 1), torch.zeros(8, 4))


def test_the_value_of_an_action_is_known_where_the_run_blew_up() -> None:
    broken, action = torch.full((8, 4), torch.nan), torch.randint(0, 4, (8, 1))
    assert relation(broken.gather(1, action), broken).apply(torch.ones(8, 4)).shape == (8, 1)

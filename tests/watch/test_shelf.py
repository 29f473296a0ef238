"""What is kept from look to look lies apart from the memory in which the loop's tensors come and go."""

from __future__ import annotations

import gc
import os

import pytest
import torch

from trainwell.watch.shelf import ALIGN, BLOCK_BYTES, Shelf


def test_copies_are_equal_apart_and_their_own() -> None:
    shelf, values = (
        Shelf(),
        [torch.randn(3, 5), torch.arange(7), torch.randn(2).bfloat16(), torch.tensor(True)],
    )
    copies = [shelf.keep(v) for v in values]
    for value, copy in zip(values, copies, strict=True):
        assert torch.equal(value, copy) and value.dtype == copy.dtype and value.shape == copy.shape
        assert copy.data_ptr() % ALIGN == 0 and not copy.requires_grad
    copies[0].zero_()
    assert torch.equal(values[1], copies[1]) and values[0].abs().sum() > 0
    places = [c.data_ptr() for c in copies]
    assert max(places) - min(places) == 3 * ALIGN, "small copies lie side by side"


def test_a_large_copy_has_a_map_of_its_own() -> None:
    shelf, large = Shelf(), torch.randn(BLOCK_BYTES // 4 + 1)
    first, second, third = shelf.keep(large), shelf.keep(torch.ones(2)), shelf.keep(large)
    assert torch.equal(first, large) and torch.equal(third, large) and second.tolist() == [1, 1]


def test_a_copy_outlives_its_shelf() -> None:
    shelf = Shelf()
    copies = [shelf.keep(torch.full((1000,), i)) for i in range(600)]  # several maps
    del shelf
    gc.collect()
    assert [int(c[-1]) for c in copies] == list(range(600))


def test_what_does_not_fit_is_cloned() -> None:
    shelf = Shelf()
    turned, nothing = torch.randn(4, 3).T, torch.zeros(0, 3)
    learning = torch.randn(3, requires_grad=True)
    assert torch.equal(shelf.keep(turned), turned) and shelf.keep(nothing).shape == (0, 3)
    assert not shelf.keep(learning).requires_grad
    sparse = torch.eye(3).to_sparse()
    assert torch.equal(shelf.keep(sparse).to_dense(), torch.eye(3))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
def test_a_forked_process_has_its_own() -> None:
    copy = Shelf().keep(torch.ones(3))
    if (pid := os.fork()) == 0:
        copy.zero_()
        os._exit(0)
    os.waitpid(pid, 0)
    assert copy.tolist() == [1, 1, 1]

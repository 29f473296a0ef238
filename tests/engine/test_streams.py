"""Named streams: fixed for ever by (seed, name), independent of each other, exact over a restore."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwell.engine.streams import Streams, derive, seeded
from trainwell.values.errors import RunError

seeds = st.integers(-(2**70), 2**70)


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (4299779367542116311, (0, "init")),
        (3816405084742632605, (-1, "order", 3)),
        (1507791724049244253, (2**70, "dropout", 0, 1)),
    ],
)
def test_derive_never_changes(expected: int, words: Any) -> None:
    assert derive(*words) == expected


@given(seeds, st.text(), st.lists(st.integers(0, 10**6), max_size=3))
def test_derive_stays_in_range_and_tells_its_arguments_apart(
    seed: int, name: str, counters: list[int]
) -> None:
    value = derive(seed, name, *counters)
    assert 0 <= value < 2**63
    others = [(seed + 1, name, *counters), (seed, name + "0", *counters), (seed, name, *counters, 0)]
    assert value not in [derive(*other) for other in others]


def test_derive_refuses_what_is_no_whole_number() -> None:
    with pytest.raises(TypeError):
        derive(1.5, "init")  # type: ignore[arg-type]


@settings(deadline=None)
@given(seeds, st.dictionaries(st.text(max_size=5), st.integers(0, 5), max_size=5))
def test_no_stream_shifts_another(seed: int, drawn: dict[str, int]) -> None:
    streams = Streams(seed)
    for name, count in drawn.items():
        if name != "own":
            torch.rand(count, generator=streams.generator(name))
    expected = torch.rand(4, generator=torch.Generator().manual_seed(derive(seed, "own")))
    assert torch.equal(torch.rand(4, generator=streams.generator("own")), expected)


def test_streams_leave_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    streams = Streams(0)
    torch.rand(3, generator=streams.generator("a"))
    streams.order(10, 0)
    streams.restore(streams.state())
    assert torch.equal(torch.get_rng_state(), before)


@settings(deadline=None)
@given(seeds, st.integers(0, 300), st.integers(0, 1000))
def test_order_is_a_permutation_that_depends_on_seed_and_epoch_alone(
    seed: int, rows: int, epoch: int
) -> None:
    used = Streams(seed)
    torch.rand(5, generator=used.generator("order"))
    used.order(rows, epoch + 1)
    order = used.order(rows, epoch)
    assert order.dtype == torch.int64
    assert torch.equal(order.sort().values, torch.arange(rows))
    assert torch.equal(order, Streams(seed).order(rows, epoch))


def test_orders_of_seeds_and_epochs_differ() -> None:
    orders = [tuple(Streams(seed).order(50, epoch).tolist()) for seed in range(5) for epoch in range(5)]
    assert len(set(orders)) == 25


def test_every_position_is_as_likely() -> None:
    first = torch.stack([Streams(0).order(4, epoch)[0] for epoch in range(2000)]).bincount(minlength=4)
    assert ((first - 500).abs() < 5 * (2000 * 0.25 * 0.75) ** 0.5).all()


def test_restore_puts_every_stream_back_in_place() -> None:
    streams = Streams(5)
    kept, other = streams.generator("kept"), streams.generator("other")
    torch.rand(7, generator=kept)
    state = {name: tensor.clone() for name, tensor in streams.state().items()}
    assert all(tensor.dtype == torch.uint8 for tensor in state.values())
    expected = [torch.rand(3, generator=g) for g in (kept, other)]
    late = torch.rand(3, generator=streams.generator("late"))
    streams.restore(state)
    assert streams.generator("kept") is kept
    again = [torch.rand(3, generator=g) for g in (kept, other)]
    assert all(map(torch.equal, again, expected))
    assert torch.equal(torch.rand(3, generator=streams.generator("late")), late)

    fresh = Streams(5)
    fresh.restore(state)
    assert torch.equal(torch.rand(3, generator=fresh.generator("kept")), expected[0])


@pytest.mark.parametrize(
    "bad", [torch.zeros(16, dtype=torch.uint8), torch.zeros(5056)], ids=["device", "dtype"]
)
def test_a_state_of_another_kind_is_refused(bad: torch.Tensor) -> None:
    with pytest.raises(RunError, match=r"random stream 'dropout' .* Resume where the run was started"):
        Streams(0).restore({"dropout": bad})


def test_seeded_draws_as_a_fresh_seed_and_leaves_the_outer_stream_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(1)
    outer = torch.get_rng_state()
    with seeded(5):
        assert torch.equal(torch.rand(3), expected)
    assert torch.equal(torch.get_rng_state(), outer)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_seeded_touches_the_stream_of_its_device_only_within() -> None:
    cuda = torch.device("cuda")
    outer = torch.cuda.get_rng_state()
    with seeded(5):
        assert torch.equal(torch.cuda.get_rng_state(), outer)
    with seeded(5, cuda):
        assert not torch.equal(torch.cuda.get_rng_state(), outer)
    assert torch.equal(torch.cuda.get_rng_state(), outer)

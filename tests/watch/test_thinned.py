"""Validations longer than what is held are known from all over, not from their beginning."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from trainwell.watch import watch
from trainwell.watch.thinned import Thinned


@given(st.lists(st.integers(1, 40), max_size=120), st.integers(1, 200))
def test_a_stream_is_held_evenly_and_within_bounds(rows: list[int], most: int) -> None:
    held: Thinned[int] = Thinned(most)
    for number, count in enumerate(rows):
        held.offer(count, lambda number=number: number)
    assert held.items == held.numbers and held.seen == len(rows)
    assert sum(rows[n] for n in held.numbers) <= most or len(held) == 1
    steps = {b - a for a, b in zip(held.numbers, held.numbers[1:], strict=False)}
    assert len(steps) <= 1 and (not rows or held.numbers[0] == 0)
    if sum(rows) <= most:
        assert held.numbers == list(range(len(rows)))


def test_what_cannot_be_kept_is_passed_over() -> None:
    held: Thinned[int] = Thinned(10)
    for number in range(4):
        held.offer(1, lambda number=number: number if number % 2 else None)
    assert held.items == [1, 3] and held.seen == 4


def test_classes_of_a_sorted_validation_are_all_seen() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(9000, 8), torch.arange(9000) % 9
    x[:, 0] += y / 3
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 9))
    optimizer, order = torch.optim.Adam(net.parameters(), 1e-3), torch.argsort(y, stable=True)
    validation = DataLoader(TensorDataset(x[order], y[order]), batch_size=128)
    seen = watch(net, optimizer, quiet=True)
    for _ in range(2):
        for part in torch.randperm(9000)[:640].split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[part]), y[part]).backward()
            optimizer.step()
        with torch.no_grad():
            for rows, labels in validation:
                nn.functional.cross_entropy(net(rows), labels)
    seen.close()
    assert seen.traces.fact("watch_error") is None and seen.traces.fact("unmeasured") is None
    kept = torch.cat([b.y for b in seen.scene.val])
    assert len(kept) <= 2048 and kept.unique().tolist() == list(range(9))
    recalls = seen.traces.fact("val_recalls")
    assert set(recalls) == {str(k) for k in range(9)} and sum(n for n, _ in recalls.values()) <= 4096
    assert seen.traces.fact("label_shift") < 0.1

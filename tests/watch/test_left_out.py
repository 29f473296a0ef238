"""Targets that a loss passes over, as padding is, count in nothing: not in losses, nor hits, nor the best constant."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainwell.signals.validation import judged
from trainwell.watch import watch
from trainwell.watch.losses import LossCall

N, T, K = 24, 6, 4


def padded(seed: int, code: int) -> tuple[Tensor, Tensor]:
    """Return (N, T) words and the classes of those before an end that differs from row to row."""
    torch.manual_seed(seed)
    words = torch.randint(K, (N, T)) + 1
    return words, torch.where(torch.arange(T) < torch.randint(1, T + 1, (N, 1)), words % K, code)


def call_of(output: Tensor, target: Tensor, **kwargs: int) -> LossCall:
    value = F.cross_entropy(output, target, **kwargs)
    return LossCall("cross_entropy", F.cross_entropy, output, target, (), dict(kwargs), value)


@pytest.mark.parametrize(("code", "kwargs"), [(-100, {}), (0, {"ignore_index": 0})])
@pytest.mark.parametrize("is_flat", [True, False])
def test_losses_and_hits_are_those_of_the_targets_that_count(
    code: int, kwargs: dict[str, int], is_flat: bool
) -> None:
    target = padded(1, code)[1]
    output = torch.randn(N, T, K, generator=torch.Generator().manual_seed(2))
    given = (output.flatten(0, 1), target.flatten()) if is_flat else (output.transpose(1, 2), target)
    call = call_of(*given, **kwargs)
    each = call.each(N)
    assert each.shape == (N,) and each.mean().item() == pytest.approx(call.value.item(), rel=1e-5)
    found, counts = judged("cross_entropy", call, N, each), target != code
    assert found["hit"].sum() == (output.argmax(2) == target)[counts].sum()
    assert sorted(found["label"].tolist()) == sorted(target[counts].tolist())


def test_a_loop_that_masks_its_padding() -> None:
    words, target = padded(3, -100)
    net = nn.Sequential(nn.Embedding(K + 1, 8), nn.Linear(8, K))
    moves = torch.optim.Adam(net.parameters(), 0.05)
    with watch(net, moves, say=lambda _: None) as seen:
        for step in range(63):
            rows = torch.arange(8) + step % 3 * 8
            moves.zero_grad()
            F.cross_entropy(net(words[rows]).flatten(0, 1), target[rows].flatten()).backward()
            moves.step()
            if step % 21 == 20:
                with torch.no_grad():
                    value = F.cross_entropy(net(words).flatten(0, 1), target.flatten())
    kept = target[target >= 0]
    share = kept.bincount(minlength=K) / len(kept)
    counts = {
        str(k): 7 * int((kept == k).sum()) for k in range(K)
    }  # of the epochs before the first validation
    assert seen.traces.fact("class_counts") == counts
    assert seen.traces.fact("base_loss") == pytest.approx(-float((share * share.log()).sum()), rel=1e-5)
    assert seen.traces.get("val_loss").values[-1] == pytest.approx(value.item(), rel=1e-5)
    right = (net(words).argmax(2) == target)[target >= 0].float().mean().item()
    assert right == 1  # the class of a word follows from it
    np.testing.assert_array_equal(seen.traces.get("probe_score").values[-1:], [right])
    assert not any(f.ailment == "underfitting" for f in seen.findings)

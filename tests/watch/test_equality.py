"""A watched training computes, bit for bit, what the same training computes unwatched."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.watch import loops
from trainwell.watch import watch


@pytest.mark.parametrize("name", sorted(loops.LOOPS))
def test_watched_training_is_bit_equal(name: str) -> None:
    without, _ = loops.trained(loops.LOOPS[name], watched=False)
    within, seen = loops.trained(loops.LOOPS[name], watched=True)
    assert seen is not None and seen.traces.fact("watch_error") is None
    assert len(seen.traces.get("q")) > 3, "the watcher looked at nothing"
    loops.assert_equal(without, within)


def test_findings_in_the_middle_change_nothing() -> None:
    def loop(net: nn.Module, optimizer: torch.optim.Optimizer) -> list[float]:
        losses = loops.plain(net, optimizer, 2)
        if seen:
            assert isinstance(seen[0].findings, list)
        return losses + loops.plain(net, optimizer, 2)

    seen: list[object] = []
    without, _ = loops.trained(loop, watched=False)
    net, optimizer = loops.start()
    with watch(net, optimizer) as one:
        seen.append(one)
        losses = loop(net, optimizer)
    loops.assert_equal(without["losses"], losses)
    loops.assert_equal(without["weights"], dict(net.state_dict()))


def test_frozen_layers_and_several_groups_are_bit_equal() -> None:
    def run(watched: bool) -> dict[str, torch.Tensor]:
        net, _ = loops.start()
        net.body[0].weight.requires_grad_(False)
        optimizer = torch.optim.SGD(
            [{"params": net.head.parameters(), "lr": 0.1}, {"params": net.body[4].parameters()}],
            0.01,
            momentum=0.9,
        )
        if watched:
            with watch(net, optimizer):
                loops.plain(net, optimizer)
        else:
            loops.plain(net, optimizer)
        return dict(net.state_dict())

    loops.assert_equal(run(False), run(True))

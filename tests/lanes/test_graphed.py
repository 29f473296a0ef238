"""A step that is replayed as a CUDA graph does what the step does."""

from __future__ import annotations

import contextlib
import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from tests.lanes.common import check, perceptron
from trainwell.engine.lanes import LaneSpec, graphed
from trainwell.engine.lanes.graphed import GraphedStep
from trainwell.values.recipe import Recipe

TECHNIQUES = ("dropout:rate=0.2", "clip_grad", "ema:decay=0.9")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("techniques", [(), TECHNIQUES, ("mixup",)])
def test_graphs_equal_lone_runs_on_cuda(techniques: tuple[str, ...]) -> None:
    recipe = Recipe(batch_size=16, epochs=3, lr=0.01, techniques=techniques)
    specs = [LaneSpec(recipe.replace(epochs=2 + s % 2), seed=s) for s in range(3)]
    norm = [nn.BatchNorm1d(12)]

    def build(recipe: Recipe, generator: torch.Generator) -> nn.Module:
        return perceptron(*copy.deepcopy(norm))(recipe, generator)

    check(specs, build=build, device=torch.device("cuda"))


class Counting:
    """Stands for a step: adds lr times the mean of x to its weights."""

    def __init__(self) -> None:
        self.weights, self.count, self.calls = torch.zeros(2), torch.zeros(2, 1), 0

    def __call__(self, x: tuple[torch.Tensor, ...], y: torch.Tensor, lr: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.count += 1
        self.weights += lr[:, 0] * x[0].mean(1)
        return self.weights * 1.0


def test_what_steps_before_a_capture_change_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for torch.cuda whose graph takes the step with the tensors that were captured."""
    step: Any = Counting()
    steps = GraphedStep(step, [step.weights], None)

    class Graph:
        def replay(self) -> None:
            _, x, y, lr, loss = steps._captured[2, 3, 0]
            loss.copy_(step(x, y, lr))

    stream = SimpleNamespace(wait_stream=lambda other: None)
    fake = SimpleNamespace(
        Stream=lambda: stream,
        current_stream=lambda: stream,
        stream=lambda _: contextlib.nullcontext(),
        graph=lambda _: contextlib.nullcontext(),
        CUDAGraph=Graph,
    )
    monkeypatch.setattr(graphed.torch, "cuda", fake)
    x, y, lr = torch.ones(2, 3), torch.zeros(2, 3), torch.tensor([[1.0], [2.0]])
    losses = [steps((x * (i + 1),), y, lr) for i in range(2)]
    assert [loss.tolist() for loss in losses] == [[1, 2], [3, 6]]
    assert step.count.flatten().tolist() == [2, 2]
    assert step.calls == graphed.WARM_UPS + 1 + 2

"""A module that is a box for its network, and a step that computes the loss itself: as Lightning trains."""

import sys

import torch
from torch import Tensor, nn


class Task(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.net(x), y)


torch.manual_seed(0)
x, y = torch.randn(256, 8), torch.randint(0, 3, (256,))
task = Task()
optimizer = torch.optim.Adam(task.parameters(), 1e-2)
for _ in range(40):
    rows = torch.randint(0, len(x), (32,))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = task.loss(x[rows], y[rows])  # noqa: B023 - the step calls it at once
        loss.backward()
        return loss

    optimizer.step(closure)
torch.save(task.state_dict(), sys.argv[1])

"""Gradients by `torch.autograd.grad` and `torch.func` beside the step's own, and inputs that the model edits."""

import sys

import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

torch.manual_seed(0)
x, y = torch.randn(256, 8), torch.randint(0, 3, (256,))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.body(batch["x"].sub_(0.1).div_(1.1))


def loss_of(weights: dict[str, torch.Tensor], row: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(functional_call(net, weights, ({"x": row[None].clone()},)), label[None])


net = Net()
optimizer = torch.optim.SGD(net.parameters(), 0.05)
for step in range(40):
    rows = torch.randint(0, len(x), (32,))
    loss = F.cross_entropy(net({"x": x[rows]}), y[rows])
    first = torch.autograd.grad(loss, list(net.parameters()), create_graph=True)
    optimizer.zero_grad()
    (loss + 1e-3 * sum((g**2).sum() for g in first)).backward()
    if step % 10 == 0:
        fixed = {name: p.detach() for name, p in net.named_parameters()}
        vmap(grad(loss_of), (None, 0, 0))(fixed, x[rows], y[rows])
    optimizer.step()
torch.save({**net.state_dict(), "stream": torch.get_rng_state()}, sys.argv[1])

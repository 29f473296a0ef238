"""An optimizer for each parameter, which steps within the backward pass."""

import sys

import torch
from torch import Tensor, nn

torch.manual_seed(0)
x, y = torch.randn(256, 8), torch.randint(0, 3, (256,))
net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
optimizers = {p: torch.optim.SGD([p], 0.05) for p in net.parameters()}


def step(param: Tensor) -> None:
    optimizers[param].step()
    optimizers[param].zero_grad()


for p in net.parameters():
    p.register_post_accumulate_grad_hook(step)
for _ in range(40):
    rows = torch.randint(0, len(x), (32,))
    nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
torch.save(net.state_dict(), sys.argv[1])

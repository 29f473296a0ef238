"""A network in TorchScript, which takes no hooks."""

import sys
import warnings

import torch
from torch import nn

warnings.simplefilter("ignore")
torch.manual_seed(0)
x, y = torch.randn(256, 8), torch.randint(0, 3, (256,))
net = torch.jit.script(nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)))
optimizer = torch.optim.SGD(net.parameters(), 0.05)
for _ in range(40):
    rows = torch.randint(0, len(x), (32,))
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
    optimizer.step()
torch.save(dict(net.state_dict()), sys.argv[1])

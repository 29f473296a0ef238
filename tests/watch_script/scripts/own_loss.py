"""A loss written by hand, and a model whose parts are called one by one."""

import sys

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(256, 10)
encoder, decoder = nn.Sequential(nn.Linear(10, 4), nn.Tanh()), nn.Linear(4, 10)
optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-2)
for _ in range(30):
    loss = (decoder(encoder(x)) - x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
torch.save({**encoder.state_dict(), **{f"d.{k}": v for k, v in decoder.state_dict().items()}}, sys.argv[1])

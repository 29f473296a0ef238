"""An encoder and a decoder, each with an optimizer of its own, that are trained together."""

import sys

import torch
from torch import nn

torch.manual_seed(0)
x, y = torch.randn(256, 8), torch.randint(0, 3, (256,))
encoder, decoder = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1)), nn.Linear(16, 3)
one, other = torch.optim.Adam(encoder.parameters(), 1e-2), torch.optim.SGD(decoder.parameters(), 0.1)
for _ in range(40):
    rows = torch.randint(0, len(x), (32,))
    one.zero_grad()
    other.zero_grad()
    nn.functional.cross_entropy(decoder(encoder(x[rows])), y[rows]).backward()
    one.step()
    other.step()
torch.save(
    {**encoder.state_dict(), **{f"decoder.{k}": v for k, v in decoder.state_dict().items()}}, sys.argv[1]
)

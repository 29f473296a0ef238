"""Two networks that the script calls one after the other, under one optimizer."""

import sys

import torch
from torch import nn

torch.manual_seed(0)
x, y = torch.randn(256, 8), torch.randint(0, 3, (256,))
encoder, head = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1)), nn.Linear(16, 3)
optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], 1e-2)
for step in range(40):
    rows = torch.randint(0, len(x), (32,))
    optimizer.zero_grad()
    nn.functional.cross_entropy(head(encoder(x[rows])), y[rows]).backward()
    optimizer.step()
    if step % 8 == 7:
        with torch.no_grad():
            nn.functional.cross_entropy(head(encoder(x)), y)
torch.save({**encoder.state_dict(), **{f"head.{k}": v for k, v in head.state_dict().items()}}, sys.argv[1])

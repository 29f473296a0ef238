"""Three networks, one after the other; gradients are never cleared in the second."""

import sys

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
x = torch.randn(400, 6)
y = (x[:, 0] * x[:, 1] > 0).long()
kept = {}
for fold in range(3):
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(10):
        for rows in torch.randperm(400).split(40):
            loss = F.cross_entropy(model(x[rows]), y[rows])
            if fold != 1:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    kept |= {f"{fold}.{k}": v for k, v in model.state_dict().items()}
torch.save(kept, sys.argv[1])

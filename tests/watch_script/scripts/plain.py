"""A loop with dropout, batch norm and validation, that draws from every global stream."""

import random
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

random.seed(1)
np.random.seed(2)
torch.manual_seed(3)
x = torch.randn(440, 12)
y = (x @ torch.randn(12, 4)).argmax(1)
model = nn.Sequential(nn.Linear(12, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 4))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
drawn = []
for _ in range(12):
    model.train()
    for rows in torch.randperm(360).split(30):
        noisy = x[rows] + 0.01 * torch.from_numpy(np.random.randn(len(rows), 12)).float()
        loss = cross_entropy(model(noisy), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        drawn.append(random.random())
    model.eval()
    with torch.no_grad():
        drawn.append(cross_entropy(model(x[360:]), y[360:]).item())
drawn += [random.random(), np.random.rand(), torch.rand(()).item()]
state = {**model.state_dict(), "drawn": torch.tensor(drawn, dtype=torch.float64)}
torch.save(state, sys.argv[1])
print("written", Path(sys.argv[1]).name)

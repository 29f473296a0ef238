"""One model, of which two optimizers move a part each."""

import sys

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
x = torch.randn(300, 8)
y = (x[:, :3]).argmax(1)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
matrices = [p for p in model.parameters() if p.ndim == 2]
others = [p for p in model.parameters() if p.ndim < 2]
optimizers = [torch.optim.SGD(matrices, lr=0.1, momentum=0.9), torch.optim.Adam(others, lr=1e-2)]
for _ in range(20):
    for rows in torch.randperm(300).split(50):
        loss = F.cross_entropy(model(x[rows]), y[rows])
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
torch.save(model.state_dict(), sys.argv[1])

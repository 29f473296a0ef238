"""Trains, and ends as it is told: `crash`, `exit 7`, `text`, `forever`."""

import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
x, y = torch.randn(64, 4), torch.randint(0, 2, (64,))
model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train(steps):
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


train(30)
print("trained", flush=True)
how = sys.argv[1]
if how == "crash":
    model(torch.zeros(3, 5))
elif how == "exit":
    sys.exit(int(sys.argv[2]))
elif how == "text":
    sys.exit("no more")
while how == "forever":
    train(1)
    time.sleep(0.001)

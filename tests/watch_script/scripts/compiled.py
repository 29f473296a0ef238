"""A model, and a whole forward with its loss, through torch.compile."""

import sys

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
x, y = torch.randn(128, 6), torch.randint(0, 3, (128,))
model = torch.compile(
    nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)), backend="eager", fullgraph=True
)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)


@torch.compile(backend="eager", fullgraph=True)
def loss_of(outputs, target):
    return F.cross_entropy(outputs, target)


torch._dynamo.reset()
torch._dynamo.utils.counters.clear()
graphs = torch._dynamo.utils.counters["stats"]
for step in range(40):
    loss = loss_of(model(x), y) if step % 2 else F.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
found = torch.tensor([graphs["unique_graphs"]])
torch.save({**model.state_dict(), "graphs": found}, sys.argv[1])

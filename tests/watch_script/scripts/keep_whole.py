"""Keeps whole models and optimizers, by copying and by saving, at every step; compiles a loss with torch.jit."""

import copy
import io
import sys
import warnings

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
warnings.filterwarnings("ignore", message=".*torch.jit.script")
x, y = torch.randn(128, 6), torch.randint(0, 3, (128,))
model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)


@torch.jit.script
def penalised(outputs, target):
    return F.cross_entropy(outputs, target) + 1e-3 * outputs.pow(2).mean()


kept, sizes = [], []
for step in range(40):
    loss = penalised(model(x), y) if step % 2 else F.cross_entropy(model(x), y)
    kept.append(copy.deepcopy(model))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    kept.append(copy.deepcopy(optimizer))
    file = io.BytesIO()
    torch.save([model, optimizer], file)
    sizes.append(len(file.getvalue()))
    assert not model._forward_hooks
    assert not kept[-2]._forward_pre_hooks
torch.save({**model.state_dict(), "sizes": torch.tensor(sizes)}, sys.argv[1])

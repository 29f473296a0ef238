"""Gradient accumulation, bf16 autocast, clipping, a scheduler per step and averaged weights."""

import sys

import torch
from torch import nn

torch.manual_seed(7)
x, w = torch.randn(512, 20), torch.randn(20, 1)
y = torch.tanh(x @ w) + 0.1 * torch.randn(512, 1)
model = nn.Sequential(nn.Linear(20, 64), nn.GELU(), nn.Dropout(0.1), nn.LayerNorm(64), nn.Linear(64, 1))
averaged = torch.optim.swa_utils.AveragedModel(model)
criterion = nn.MSELoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=64)
parts = 4
for _ in range(16):
    for i, rows in enumerate(torch.randperm(512).split(32)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = criterion(model(x[rows]), y[rows]) / parts
        loss.backward()
        if (i + 1) % parts == 0:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            averaged.update_parameters(model)
torch.save({**model.state_dict(), **averaged.state_dict()}, sys.argv[1])

"""A generator and a discriminator that are trained in turn."""

import sys

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
real = torch.randn(256, 2) * 0.5 + 2
maker, judge = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2)), nn.Linear(2, 1)
make_step, judge_step = torch.optim.Adam(maker.parameters()), torch.optim.Adam(judge.parameters())
for _ in range(20):
    made = maker(torch.randn(256, 4))
    scores = judge(torch.cat([real, made.detach()]))
    judge_step.zero_grad()
    F.binary_cross_entropy_with_logits(
        scores, torch.cat([torch.ones(256, 1), torch.zeros(256, 1)])
    ).backward()
    judge_step.step()
    make_step.zero_grad()
    F.binary_cross_entropy_with_logits(judge(made), torch.ones(256, 1)).backward()
    make_step.step()
torch.save({**maker.state_dict(), **{f"j.{k}": v for k, v in judge.state_dict().items()}}, sys.argv[1])

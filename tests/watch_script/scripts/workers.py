"""A loader with workers in other processes, which augment with numpy, torch and random."""

import random
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Rows(Dataset):
    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(200, 1, 8, 8, generator=generator)
        self.y = (self.x.mean((1, 2, 3)) > 0).long()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int):
        noise = 0.1 * torch.randn(1, 8, 8) + 0.01 * random.random() + 0.01 * np.random.rand()
        return self.x[i] + noise.float(), self.y[i]


def seed_worker(worker: int) -> None:
    np.random.seed(torch.initial_seed() % 2**32)
    random.seed(torch.initial_seed())


def main() -> None:
    torch.manual_seed(5)
    loader = DataLoader(Rows(), 20, shuffle=True, num_workers=2, worker_init_fn=seed_worker)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    torch.save(model.state_dict(), sys.argv[1])


if __name__ == "__main__":
    main()

"""Train a module of your own with loaders and a loss of your own; the loop, the best weights and the seeds are ours.

python examples/own_module.py
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import trainwell as tw


def make_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 4 * 4, 10)
    )


def main() -> tw.Run:
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    data = TensorDataset(images, torch.tensor(digits.target))
    train = DataLoader(torch.utils.data.Subset(data, range(1400)), batch_size=32, shuffle=True)
    val = DataLoader(torch.utils.data.Subset(data, range(1400, 1797)), batch_size=256)

    recipe = tw.Recipe(optimizer="adamw", lr=1e-2, schedule="cosine", epochs=15, techniques=("clip_grad",))
    torch.manual_seed(0)  # the initial weights of your module are yours; everything after is the run's seed
    net = make_net()
    run = tw.fit((train, val), model=net, loss=nn.CrossEntropyLoss(), recipe=recipe, out=False)
    print(run)
    print(f"best epoch {run.best_epoch} of {len(run.history)}; its weights are in `net`")

    with torch.no_grad():
        right = (net(images[1400:]).argmax(1) == data.tensors[1][1400:]).double().mean()
    print(f"{right:.1%} of the validation images right")
    return run


if __name__ == "__main__":
    main()

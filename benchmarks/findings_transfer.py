"""Cases of transfer for `findings_guide.py`: digits 5 to 9 with a network that learned digits 0 to 4, one thread."""

from __future__ import annotations

import copy
import functools
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import trainwell.watch as tw
from benchmarks.findings_cases import Shown
from trainwell.data.samples.looks import look_hashes, same_looks
from trainwell.rules.diagnosis import diagnose
from trainwell.signals.nearest import way_of_nearest
from trainwell.techniques._modules.frozen import adapt_norm_statistics
from trainwell.values.finding import Finding

CASES: dict[str, Shown] = {
    "duplicate_images": Shown(
        "copies", "Half of the validation images are training images, a little brighter.",
        "Validation images that training does not hold.", "honesty"),
    "inseparable_features": Shown(
        "noise", "A head on features that wrong weights turned into noise.", "The features themselves.", "val_loss"),
    "frozen_by_accident": Shown(
        "forgotten", "Fine-tuning whose optimizer was given the last layer only: `Adam(net.head.parameters())`.",
        "`Adam(net.parameters())`.", "train_loss"),
    "norm_drift": Shown(
        "drift", "A frozen body in training mode, on digits paler than those of its pre-training.",
        "The statistics measured once on these digits, then `body.eval()` after every `model.train()`.", "val_loss"),
    "pretrained_lr_too_high": Shown(
        "thrown", "Fine-tuning from a trained last layer with Adam at a rate of 0.1.", "A rate of 0.001.", "val_loss"),
}  # fmt: skip
Rows = tuple[torch.Tensor, torch.Tensor]


def network(inputs: int = 1) -> nn.Sequential:
    def block(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())

    body = nn.Sequential(block(inputs, 16), block(16, 32), nn.MaxPool2d(2), block(32, 48))
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 5))


@functools.cache
def digits(high: bool) -> Rows:
    x, y = load_digits(return_X_y=True)
    some = (y >= 5) == high
    return torch.tensor(x[some] / 8 - 1).float().view(-1, 1, 8, 8), torch.tensor(y[some]) % 5


@functools.cache
def pretrained() -> nn.Sequential:
    torch.manual_seed(0)
    net, (x, y) = network(), digits(False)
    loop(net, torch.optim.Adam(net.parameters(), 3e-3), (x, y), (x[:1], y[:1]), 4)
    return net


def loop(
    net: nn.Module, optimizer: Any, train: Rows, val: Rows, epochs: int, frozen: nn.Module | None = None
) -> None:
    for _ in range(epochs):
        net.train()
        if frozen is not None:
            frozen.eval()
        for rows in torch.randperm(len(train[1])).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(train[0][rows]), train[1][rows]).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            nn.functional.cross_entropy(net(val[0]), val[1])


def trained(name: str, cured: bool) -> tuple[list[Finding], Any]:
    """Train the case of an ailment, or its cure; return the findings, and traces with the score on fresh rows."""
    x, y = digits(True)
    x = x * 0.5 + 0.4 if name == "norm_drift" else x
    parts = [(x[a:b], y[a:b]) for a, b in ((0, 400), (400, 600), (600, 900))]
    net, facts = copy.deepcopy(pretrained()), {}
    torch.manual_seed(1)
    net[3] = nn.Linear(48, 5)
    frozen, epochs, lr = None, 8, 3e-3
    learning: Any = net[3].parameters()
    if name == "frozen_by_accident":
        learning, frozen, epochs = (net.parameters() if cured else learning), net[0], 4
    elif name == "norm_drift":
        net[0].requires_grad_(False)
        if cured:
            adapt_norm_statistics(net, (parts[0][0],))
            frozen = net[0]
    elif name == "pretrained_lr_too_high":
        loop(net, torch.optim.Adam(net[3].parameters(), 1e-2), parts[0], parts[1], 40, net[0])
        with torch.no_grad():
            start = float(nn.functional.cross_entropy(net(parts[1][0]), parts[1][1]))
        facts["start_of_base"] = start / float(np.log(5))
        learning, lr, epochs = net.parameters(), (1e-3 if cured else 0.1), 3
    elif name == "inseparable_features":
        parts, net, facts = headed(parts, cured)
        learning = net.parameters()
    elif name == "duplicate_images":
        parts, facts = copied(cured)
        learning, epochs = net.parameters(), 20
    optimizer = torch.optim.Adam(learning, lr)
    with tw.watch(net, optimizer) as watch:
        loop(net, optimizer, parts[0], parts[1], epochs, frozen)
    watch.traces.facts |= facts
    with torch.no_grad():
        right = (net(parts[2][0]).argmax(1) == parts[2][1]).float().mean()
    watch.traces.facts["clean_test"] = {"score": float(right)}
    return diagnose(watch.traces), watch.traces


def headed(parts: list[Rows], cured: bool) -> tuple[list[Rows], nn.Module, dict[str, Any]]:
    body = copy.deepcopy(pretrained())[:3].eval()
    if not cured:  # the tensors of another network, of the same shapes
        for parameter in body.parameters():
            nn.init.normal_(parameter, 0.0, 8.0)
    with torch.no_grad():
        features = [body(x) for x, _ in parts]
    if not cured:
        features = [torch.randn_like(f) for f in features]
    found, rows = way_of_nearest(features[0].numpy(), parts[0][1].numpy(), classes=True)
    plain, _ = way_of_nearest(parts[0][0].flatten(1).numpy(), parts[0][1].numpy(), classes=True)
    facts = {"knn_features": found, "knn_inputs": plain, "knn_rows": float(rows)}
    return [(f, y) for f, (_, y) in zip(features, parts, strict=True)], nn.Linear(48, 5), facts


def copied(cured: bool) -> tuple[list[Rows], dict[str, Any]]:
    """Return patterns of random cells, brighter in one of five stripes, with every fifth label wrong."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, 900)
    cells = rng.uniform(0, 1, (900, 1, 10, 10))
    cells[:, 0] += 0.15 * (np.arange(10) // 2 == y[:, None])[:, None, :]
    told = np.where(rng.uniform(size=900) < 0.2, rng.integers(0, 5, 900), y)
    if not cured:
        cells[400:500], told[400:500] = cells[:100] + 0.03, told[:100]
    images = (200 * cells.clip(0, 1.2)).astype(np.uint8).repeat(4, 2).repeat(4, 3)
    rows = {"train": np.arange(400), "val": np.arange(400, 600)}
    alike = same_looks(look_hashes(images), rows, [str(i) for i in range(900)], images)[1]
    x, labels = torch.tensor(2 * cells - 1).float(), torch.tensor(told)
    return [(x[a:b], labels[a:b]) for a, b in ((0, 400), (400, 600), (600, 900))], {
        "alike": {"val": [alike["val"], 200]}
    }

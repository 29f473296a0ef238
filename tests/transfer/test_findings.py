"""Each ailment of transfer in a training that has it, and its healthy twin, which is silent."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import trainwell as tw
from trainwell.app.data_facts import separability
from trainwell.app.prescriptions import prescriptions
from trainwell.data.samples import SampleData
from trainwell.rules.diagnosis import diagnose
from trainwell.signals.nearest import described, way_of_nearest
from trainwell.values.finding import Finding
from trainwell.values.task import Task

TRANSFER = {
    "frozen_by_accident", "norm_drift", "pretrained_lr_too_high", "inseparable_features", "duplicate_images"
}  # fmt: skip
Rows = tuple[torch.Tensor, torch.Tensor]


def network() -> nn.Sequential:
    def block(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())

    body = nn.Sequential(block(1, 16), block(16, 32), nn.MaxPool2d(2), block(32, 48))
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 5))


@pytest.fixture(scope="module")
def digits() -> tuple[Rows, Rows]:
    """Return the digits 0 to 4, and 5 to 9 as classes 0 to 4."""
    x, y = load_digits(return_X_y=True)
    images, labels = torch.tensor(x / 8 - 1).float().view(-1, 1, 8, 8), torch.tensor(y)
    low = labels < 5
    return (images[low], labels[low]), (images[~low], labels[~low] - 5)


@pytest.fixture(scope="module")
def trained(digits: tuple[Rows, Rows]) -> nn.Sequential:
    torch.manual_seed(0)
    net, (x, y) = network(), digits[0]
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(4):
        for rows in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return net


def watched(
    net: nn.Sequential,
    optimizer: torch.optim.Optimizer,
    data: Rows,
    begin: Callable[[nn.Sequential], object],
    epochs: int = 3,
) -> list[Finding]:
    """Train as a user would, and return what the watcher found."""
    x, y = data
    train, val = slice(0, 600), slice(600, 800)
    torch.manual_seed(1)
    with tw.watch(net, optimizer) as seen:
        for _ in range(epochs):
            net.train()
            begin(net)
            for rows in torch.randperm(600).split(32):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x[train][rows]), y[train][rows]).backward()
                optimizer.step()
            net.eval()
            with torch.no_grad():
                nn.functional.cross_entropy(net(x[val]), y[val])
    return seen.findings


def named(findings: list[Finding]) -> set[str]:
    return {g.ailment for f in findings for g in (f, *f.consequences)} & TRANSFER


def fresh(trained: nn.Sequential) -> nn.Sequential:
    torch.manual_seed(3)
    net = copy.deepcopy(trained)
    net[3] = nn.Linear(48, 5)
    return net


@pytest.mark.parametrize("accident", [True, False], ids=["sick", "twin"])
def test_a_trained_body_that_no_optimizer_has(
    accident: bool, trained: nn.Sequential, digits: tuple[Rows, Rows]
) -> None:
    net = fresh(trained)
    if not accident:  # frozen on purpose
        net[0].requires_grad_(False)
    found = watched(net, torch.optim.Adam(net[3].parameters(), 3e-3), digits[1], lambda net: net[0].eval())
    assert named(found) == ({"frozen_by_accident"} if accident else set())


@pytest.mark.parametrize("accident", [True, False], ids=["sick", "twin"])
def test_a_body_that_stays_frozen_in_the_optimizer(
    accident: bool, trained: nn.Sequential, digits: tuple[Rows, Rows]
) -> None:
    net = fresh(trained)
    net[0].requires_grad_(not accident)
    found = watched(net, torch.optim.Adam(net.parameters(), 1e-3), digits[1], lambda net: net[0].eval())
    assert named(found) == ({"frozen_by_accident"} if accident else set())


@pytest.mark.parametrize("drifts", [True, False], ids=["sick", "twin"])
def test_norms_of_a_frozen_body_in_training_mode(
    drifts: bool, trained: nn.Sequential, digits: tuple[Rows, Rows]
) -> None:
    net = fresh(trained)
    net[0].requires_grad_(False)
    x, y = digits[1]
    shifted = (x * 0.5 + 0.4, y)  # paler digits than those of the pre-training
    begin = (lambda net: None) if drifts else (lambda net: net[0].eval())
    found = watched(net, torch.optim.Adam(net[3].parameters(), 3e-3), shifted, begin)
    assert named(found) == ({"norm_drift"} if drifts else set())


def test_norms_that_see_what_they_saw_before_are_left_alone(
    trained: nn.Sequential, digits: tuple[Rows, Rows]
) -> None:
    net = fresh(trained)
    net[0].requires_grad_(False)
    found = watched(net, torch.optim.Adam(net[3].parameters(), 3e-3), digits[0], lambda net: None)
    assert named(found) == set()


def test_nearest_rows_tell_what_features_are_worth() -> None:
    x, y = load_digits(return_X_y=True)
    assert way_of_nearest(x, y, classes=True)[0] > 0.9
    noise = np.random.default_rng(0).normal(size=(800, 32))
    assert abs(way_of_nearest(noise, y[:800], classes=True)[0]) < 0.1
    assert way_of_nearest(x, x[:, :30].sum(1, keepdims=True), classes=False)[0] > 0.5
    tokens = np.array([[1, 2, 0], [2, 1, 0], [5, 5, 5]], np.int64)
    bag = described(tokens)
    assert np.array_equal(bag[0], bag[1]) and not np.array_equal(bag[0], bag[2])


@pytest.mark.parametrize("useful", [False, True], ids=["sick", "twin"])
def test_features_that_do_not_separate(useful: bool) -> None:
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    features = (x / 16 if useful else rng.normal(size=(len(x), 40))).astype(np.float32)
    images = x.astype(np.uint8).reshape(-1, 1, 8, 8)
    made = SampleData("image", Task("multiclass"), None, {"train": ((images,), y)}, {}, "")  # type: ignore[arg-type]
    facts = separability(made, {"train": features})
    assert ("knn_inputs" in facts) is not useful
    torch.manual_seed(0)
    net = nn.Linear(features.shape[1], 10)
    found = headed(net, torch.tensor(features), torch.tensor(y), facts)
    assert named(found) == (set() if useful else {"inseparable_features"})


def headed(net: nn.Module, x: torch.Tensor, y: torch.Tensor, facts: dict[str, float]) -> list[Finding]:
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    with tw.watch(net, optimizer) as seen:
        for _ in range(5):
            for rows in torch.randperm(1400).split(64):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
                optimizer.step()
            with torch.no_grad():
                net.eval()
                nn.functional.cross_entropy(net(x[1400:]), y[1400:])
                net.train()
    seen.traces.facts |= facts
    return diagnose(seen.traces)


def probed(trained: nn.Sequential, data: Rows) -> nn.Sequential:
    """Return the network with a last layer that was trained on its frozen body."""
    net, (x, y) = fresh(trained), data
    torch.manual_seed(2)
    optimizer = torch.optim.Adam(net[3].parameters(), 1e-2)
    net.eval()
    with torch.no_grad():
        features = net[:3](x[:600])
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net[3](features), y[:600]).backward()
        optimizer.step()
    return net


@pytest.mark.parametrize("lr", [0.5, 1e-3], ids=["sick", "twin"])
def test_fine_tuning_that_throws_the_weights_away(
    lr: float, trained: nn.Sequential, digits: tuple[Rows, Rows]
) -> None:
    net, (x, y) = probed(trained, digits[1]), digits[1]
    with torch.no_grad():
        start = float(nn.functional.cross_entropy(net(x[600:800]), y[600:800])) / float(np.log(5))
    optimizer = (
        torch.optim.SGD(net.parameters(), lr, momentum=0.9)
        if lr < 0.01
        else torch.optim.Adam(net.parameters(), lr)
    )
    with tw.watch(net, optimizer) as seen:
        torch.manual_seed(1)
        for _ in range(2):
            net.train()
            for rows in torch.randperm(600).split(32):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x[:600][rows]), y[:600][rows]).backward()
                optimizer.step()
            net.eval()
            with torch.no_grad():
                nn.functional.cross_entropy(net(x[600:800]), y[600:800])
    seen.traces.facts["start_of_base"] = start
    found = diagnose(seen.traces)
    assert named(found) == ({"pretrained_lr_too_high"} if lr > 0.01 else set())
    if lr > 0.01:
        worst = next(f for f in found if f.ailment == "pretrained_lr_too_high")
        assert {p.name for p in prescriptions(worst)} >= {
            "lr",
            "layer_decay",
            "discriminative_rates",
            "lp_ft",
        }


@pytest.mark.parametrize("copies", [12, 0], ids=["sick", "twin"])
def test_images_that_stand_in_two_parts(copies: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (160, 8, 8, 3))
    images = coarse.repeat(3, 1).repeat(3, 2).astype(np.uint8)
    labels = rng.integers(0, 2, 160)
    val = images[120:].copy()
    val[:copies] = np.clip(images[:copies].astype(int) + 6, 0, 255)  # brighter, no equal number
    run = tw.fit(
        (images[:120], labels[:120]),
        val=(val, labels[120:]),
        preset="quick",
        budget="1 epoch",
        out=tmp_path / "run",
    )
    assert named(list(run.findings)) == ({"duplicate_images"} if copies else set())
    assert named(list(tw.diagnose(tmp_path / "run").findings)) == named(list(run.findings))


def test_a_recipe_that_freezes_is_believed(
    trained: nn.Sequential, digits: tuple[Rows, Rows], tmp_path: Path
) -> None:
    x, y = digits[1]
    data = ((x[:600], y[:600]), (x[600:800], y[600:800]))
    recipe = tw.Recipe(lr=3e-3, epochs=2, techniques=("freeze",))
    asked = tw.fit(data, model=fresh(trained), recipe=recipe, out=False)
    assert named(list(asked.findings)) == set()
    net = fresh(trained)
    net[0].requires_grad_(False)
    unasked = tw.fit(data, model=net, recipe=recipe.replace(techniques=(), epochs=3), out=False)
    assert "frozen_by_accident" in named(list(unasked.findings))

"""Probes find what closed forms say, on a copy: the caller's objects and streams stay as they were, bit for bit."""

from __future__ import annotations

import copy
import random
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import trainwell as tw
from tests.conftest import REPO
from trainwell.watch.probe_size import GradientSquares, noise_scale


def quadratic() -> tuple[nn.Module, Tensor, Tensor, float]:
    """Return a linear regression and the largest curvature of its mean squared error."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(128, 5, generator=generator) * torch.tensor([3.0, 1.0, 1.0, 0.5, 0.3])
    y = x @ torch.tensor([[1.0], [2.0], [-1.0], [1.0], [0.5]])
    model = nn.Linear(5, 1, bias=False)
    nn.init.zeros_(model.weight)
    return model, x, y, float(torch.linalg.eigvalsh(2 * x.T @ x / len(x))[-1])


def digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y)


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10))


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e3])
def test_high_end_of_a_quadratic_is_two_over_its_curvature(scale: float) -> None:
    model, x, y, curvature = quadratic()
    sgd = torch.optim.SGD(model.parameters(), 1e-3)
    found = tw.lr_probe(
        model, (x, y), loss=lambda o, t: scale * F.mse_loss(o, t), optimizer=sgd, batch_size=128
    )
    assert found.low is not None and found.high is not None and found.value is not None
    assert found.high * scale == pytest.approx(2 / curvature, rel=0.1)
    assert found.low <= found.value <= found.high / 2 * 1.001
    assert f"{found.value:.2g}" in found.reason
    rates = [p.rate for p in found.curve]
    assert rates == sorted(rates)


def test_value_trains_better_than_its_neighbours_far_away() -> None:
    x, y = digits()
    found = tw.lr_probe(network(), (x[:1200], y[:1200]), loss=F.cross_entropy)
    assert found.value is not None and found.low is not None and found.high is not None
    assert 1e-4 < found.low < found.value < found.high

    def score(rate: float) -> float:
        model = network()
        adam = torch.optim.Adam(model.parameters(), rate)
        for i in range(0, 1200, 32):
            adam.zero_grad()
            F.cross_entropy(model(x[i : i + 32]), y[i : i + 32]).backward()
            adam.step()
        model.eval()
        return float((model(x[1200:]).argmax(1) == y[1200:]).float().mean())

    at_value = score(found.value)
    assert at_value > 0.8
    assert at_value > score(found.value / 100)


def test_no_rate_is_named_at_a_minimum_or_without_a_gradient() -> None:
    model, x, y, _ = quadratic()
    at_rest = tw.lr_probe(model, (x, y), loss=lambda o, t: (o * 0).mean() + 1.0)
    assert (at_rest.low, at_rest.high, at_rest.value) == (None, None, None)
    assert "No rate lowered the loss" in at_rest.reason


def test_bounded_loss_has_a_range_although_it_never_diverges() -> None:
    found = tw.lr_probe(
        network(), digits(), loss=lambda o, t: (1 - o.softmax(1).gather(1, t[:, None])).mean(), steps=12
    )
    assert found.low is not None and found.high is not None and found.value is not None
    assert found.low < found.value < found.high < 100


def test_rate_of_a_scheduled_optimizer_at_zero_is_probed_all_the_same() -> None:
    model, x, y, curvature = quadratic()
    sgd = torch.optim.SGD(model.parameters(), 0.0)
    found = tw.lr_probe(model, (x, y), loss=F.mse_loss, optimizer=sgd, batch_size=128)
    assert found.high == pytest.approx(2 / curvature, rel=0.1)
    assert sgd.param_groups[0]["lr"] == 0.0


def test_diverging_runs_are_points_of_the_curve_with_an_infinite_loss() -> None:
    model, x, y, _ = quadratic()
    sgd = torch.optim.SGD(model.parameters(), 1e-3)
    found = tw.lr_probe(
        model, (x, y), loss=lambda o, t: torch.exp((o - t).square().mean() / 10), optimizer=sgd
    )
    assert any(p.end == float("inf") for p in found.curve)
    assert found.value is not None


@pytest.mark.parametrize("kind", ["lr", "size"])
def test_nothing_of_the_caller_changes_bit_for_bit(kind: str) -> None:
    x, y = digits()
    model = network()
    model[1].eval()
    adam = torch.optim.AdamW(model.parameters(), 1e-3)
    F.cross_entropy(model(x[:64]), y[:64]).backward()
    adam.step()
    own = torch.Generator().manual_seed(5)
    data = DataLoader(TensorDataset(x[:256], y[:256]), batch_size=32, shuffle=True, generator=own)
    before = _snapshot(model, adam, own)
    if kind == "lr":
        first = tw.lr_probe(model, data, loss=F.cross_entropy, optimizer=adam, steps=4)
        assert tw.lr_probe(model, data, loss=F.cross_entropy, optimizer=adam, steps=4) == first
    else:
        a = tw.batch_size_probe(model, data, loss=F.cross_entropy, sizes=(16, 32))
        b = tw.batch_size_probe(model, data, loss=F.cross_entropy, sizes=(16, 32))
        assert a.noise_scale == b.noise_scale
    _assert_same(before, _snapshot(model, adam, own))


def _snapshot(model: nn.Module, optimizer: Any, own: torch.Generator) -> list[Any]:
    return copy.deepcopy([
        list(model.state_dict().values()), [p.grad for p in model.parameters()], [m.training for m in model.modules()],
        optimizer.state_dict(), own.get_state(), torch.get_rng_state(), list(np.random.get_state()),
        list(random.getstate()), [p.requires_grad for p in model.parameters()],
    ])  # fmt: skip


def _assert_same(a: Any, b: Any) -> None:
    if isinstance(a, Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, np.ndarray):
        assert np.array_equal(a, b)
    elif isinstance(a, dict):
        _assert_same(list(a.items()), list(b.items()))
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            _assert_same(one, other)
    else:
        assert a == b


def test_noise_scale_is_the_closed_form_of_a_linear_regression() -> None:
    generator = torch.Generator().manual_seed(3)
    width, sigma = 4, 1.0
    x = torch.randn(4096, width, generator=generator)
    truth = torch.tensor([1.0, -1.0, 0.5, 0.5])
    y = x @ truth[:, None] + sigma * torch.randn(4096, 1, generator=generator)
    model = nn.Linear(width, 1, bias=False)
    nn.init.zeros_(model.weight)
    found = tw.batch_size_probe(model, (x, y), loss=lambda o, t: F.mse_loss(o, t) / 2, sizes=(16, 64))
    square = float(truth.square().sum())
    closed = ((width + 1) * square + width * sigma**2) / square
    assert found.noise_scale == pytest.approx(closed, rel=0.25)


def test_noise_scale_of_single_rows_is_their_covariance_without_bias() -> None:
    g = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).double() + 1
    mean = g.mean(0)
    trace = float(g.var(0).sum())
    seen = GradientSquares(1, float(g.square().sum(1).mean()), 50, float(mean.square().sum()))
    assert noise_scale(seen) == pytest.approx(trace / (float(mean.square().sum()) - trace / 50))
    assert noise_scale(GradientSquares(1, 10.0, 10, 0.5)) == float("inf")
    assert noise_scale(GradientSquares(1, 1.0, 10, 1.0)) == 0.0


def test_batch_size_of_digits_has_a_reason_and_a_speed_per_size() -> None:
    found = tw.batch_size_probe(network(), digits(), loss=F.cross_entropy, sizes=(16, 64, 256, 100_000))
    assert set(found.rows_per_second) == {16, 64, 256}
    assert found.value in found.rows_per_second
    assert found.noise_scale > 0
    assert f"{found.value} rows" in found.reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": np.zeros((4, 5))}, "torch.as_tensor"),
        ({"data": iter([])}, "read twice"),
        ({"data": [torch.zeros(4, 5)]}, "batches of tensors"),
        ({"data": []}, "empty loader"),
        ({"data": (torch.zeros(4, 5), torch.zeros(3, 1))}, "as many rows"),
        ({"loss": lambda o, t: (o - t).square()}, "one number"),
        ({"loss": lambda o, t: (o - t).mean() * float("nan")}, "finite loss"),
        ({"model": nn.Linear(5, 1).requires_grad_(False)}, "requires a gradient"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], words: str) -> None:
    model, x, y, _ = quadratic()
    given: dict[str, Any] = {"model": model, "data": (x, y), "loss": F.mse_loss, **change}
    for probe, more in ((tw.lr_probe, {}), (tw.batch_size_probe, {"sizes": (2,)})):
        with pytest.raises(tw.UsageError, match=words):
            probe(given["model"], given["data"], loss=given["loss"], **more)


def test_mistakes_of_one_probe_are_named() -> None:
    model, x, y, _ = quadratic()
    other = torch.optim.SGD(nn.Linear(2, 1).parameters(), 0.1)
    lbfgs = torch.optim.LBFGS(model.parameters())
    for optimizer, words in ((other, "moves others"), (lbfgs, "LBFGS")):
        with pytest.raises(tw.UsageError, match=words):
            tw.lr_probe(model, (x, y), loss=F.mse_loss, optimizer=optimizer)
    with pytest.raises(tw.UsageError, match="steps"):
        tw.lr_probe(model, (x, y), loss=F.mse_loss, steps=0)
    with pytest.raises(tw.UsageError, match="got a sum"):
        tw.batch_size_probe(model, (x, y), loss=nn.MSELoss(reduction="sum"))
    with pytest.raises(tw.UsageError, match="twice as many rows"):
        tw.batch_size_probe(model, (x, y), loss=F.mse_loss, sizes=(100,))


def test_guide_runs_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    page = (REPO / "docs" / "guide-probe.md").read_text()
    held: dict[str, Any] = {}
    for snippet in re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        exec(snippet, held)  # noqa: S102  (a snippet of ours)
    assert "noise scale" in capsys.readouterr().out

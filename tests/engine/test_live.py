"""Live treatment: what counts as trouble, what a return restores, and that a run without trouble stays as it is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import trainwell as tw
from benchmarks import resume
from trainwell.engine.trouble import LEAST, RECENT, REFERENCE, Trouble, Window
from trainwell.values.errors import NonFiniteError, UsageError

SEEDS = st.integers(0, 2**32 - 1)


def verdict(losses: Any, norms: Any, sizes: list[int]) -> Trouble | None:
    """Return the first trouble of a series that comes in blocks of these sizes, over and over."""
    window, done, i = Window(), 0, 0
    while done < len(losses):
        size = sizes[i % len(sizes)]
        found = window.add(done, list(losses[done : done + size]), list(norms[done : done + size]))
        if found is not None:
            return found
        done, i = done + size, i + 1
    return None


def series(seed: int, jump: float, at: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    losses, norms = np.exp(rng.normal(size=400) / 2), np.exp(rng.normal(size=400) / 2)
    losses[at:] *= jump
    norms[at:] *= jump
    return losses, norms


@settings(max_examples=60, deadline=None)
@given(
    SEEDS, st.sampled_from([1.0, 30.0, 1e4]), st.integers(0, 380), st.lists(st.integers(1, 150), min_size=1)
)
def test_the_verdict_does_not_hang_on_the_blocks(seed: int, jump: float, at: int, sizes: list[int]) -> None:
    losses, norms = series(seed, jump, at)
    assert verdict(losses, norms, sizes) == verdict(losses, norms, [1])


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(RECENT + LEAST, 380), st.floats(1e-6, 1e6))
def test_a_spike_is_seen_in_any_unit(seed: int, at: int, unit: float) -> None:
    losses, norms = series(seed, 1e4, at)
    found = verdict(unit * losses, norms, [64])
    assert found is not None and at < found.step <= at + RECENT + 1
    assert found.onset <= at


def test_steady_noise_is_no_trouble() -> None:
    """Even losses with heavy tails that never fall: the chance is below 1e-5 a step."""
    rng = np.random.default_rng(0)
    heavy = rng.standard_t(2, size=(8, 5000))
    assert all(verdict(row + 30, np.abs(row), [64]) is None for row in heavy)


def test_a_lone_hard_batch_is_no_trouble() -> None:
    losses = np.ones(300) + 0.01 * np.random.default_rng(0).normal(size=300)
    losses[200:202] = 1e6
    # far above ten times the first loss as well, but for two steps only
    assert verdict(losses, np.ones(300), [50]) is None


def test_a_gradient_that_grows_while_the_loss_falls_is_no_trouble() -> None:
    losses = np.r_[np.full(REFERENCE + 50, 2.3), np.linspace(2.2, 0.1, 50)]
    norms = np.r_[np.full(REFERENCE + 50, 1e-3), np.full(50, 1.0)]
    assert verdict(losses, norms, [50]) is None
    found = verdict(np.r_[losses[: REFERENCE + 50], np.full(50, 2.31)], norms, [50])
    assert found is not None and found.kind == "explosion"


Data = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]


@pytest.fixture
def data() -> Data:
    return resume.tensors()


def test_a_run_without_trouble_is_the_same_bit_for_bit(data: Data, tmp_path: Path) -> None:
    runs = {}
    for treat in (0, 3):
        out = tmp_path / str(treat)
        run = tw.fit(data, model=resume.network(), recipe=resume.RECIPE, treat=treat, out=out)
        assert not run.treatments
        runs[treat] = {
            k: v for k, v in resume.digests(out).items() if not k.startswith(("last copies", "last live"))
        }
    assert resume.differences(runs[0], runs[3]) == []


@pytest.mark.parametrize("case", ["live", "given"])
def test_a_treated_run_that_is_cut_and_resumed_equals_the_undisturbed(case: str, tmp_path: Path) -> None:
    found = resume.measure(case, tmp_path, 45, fresh=False)
    assert found["wrong"] == {}
    assert found["cuts"] == 2


RISING = tw.Recipe(
    optimizer="sgd:momentum=0.9", lr=300.0, batch_size=15, epochs=20, techniques=("warmup:fraction=0.5",)
)


def test_a_rate_that_rises_too_far_is_treated_and_recorded(data: Data, tmp_path: Path) -> None:
    run = tw.fit(data, model=resume.plain_network(), recipe=RISING, treat=3, out=tmp_path / "r", watch=False)
    assert 1 <= len(run.treatments) <= 3
    first = run.treatments[0]
    assert first["change"] in ("lr 300 -> 100", "lr 300 -> 30") and first["back_to"] < first["step"]
    assert len(run.history) == 20 and [row["epoch"] for row in run.history] == list(range(1, 21))
    journal = resume.RunFolder(tmp_path / "r").read_journal()[0]
    assert sum(e["event"] == "treated" for e in journal) == len(run.treatments)
    assert [dict(t) for t in tw.load(tmp_path / "r", model=resume.plain_network()).treatments] == list(
        run.treatments
    )


def poisoned() -> tuple[Tensor, Tensor]:
    x, y = resume.rows(120, 1)
    x[77, 3] = torch.nan  # not in the first batch, which is checked before the first step
    return x, y


def test_what_the_data_break_is_not_treated() -> None:
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*poisoned()), batch_size=15)
    with pytest.raises(NonFiniteError) as error:
        tw.fit((loader, loader), model=resume.plain_network(), recipe=tw.Recipe(epochs=2), treat=3, out=False)
    assert not error.value.run.treatments  # type: ignore[attr-defined]


class Broken(nn.Module):
    """Gives NaN in training after some steps, whatever the rate."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(13, 3)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        return self.line(x) * (torch.nan if self.training and self.calls > 60 else 1.0)


def test_after_the_given_number_the_run_fails_as_before(data: Data) -> None:
    with pytest.raises(NonFiniteError) as error:
        tw.fit(
            data, model=Broken(), recipe=tw.Recipe(epochs=20, batch_size=15), treat=2, out=False, watch=False
        )
    assert len(error.value.run.treatments) == 2  # type: ignore[attr-defined]


def test_a_wrong_number_is_refused(data: Data) -> None:
    for wrong in (-1, 1.5, True):
        with pytest.raises(UsageError, match=r"^treat= is how often a run may be treated"):
            tw.fit(data, model=resume.plain_network(), recipe=RISING, treat=wrong, out=False)  # type: ignore[arg-type]


def test_weights_thrown_away_by_the_first_step_are_no_measure_of_the_start() -> None:
    """The loss of a network that answers alike is known; a second loss of a thousandfold of it is trouble."""
    losses = [0.7, *np.full(20, 700.0)]
    found = Window(usual=math.log(2)).add(0, losses, [1.0] * len(losses))
    assert found is not None and found.kind == "spike" and found.step <= 1 + RECENT
    lucky = [0.01, *np.full(60, 0.7)]  # an easy first batch is no measure of the others
    assert Window(usual=math.log(2)).add(0, lucky, [1.0] * len(lucky)) is None


def dies(losses: Any, sizes: list[int]) -> Trouble | None:
    """Return the trouble of a training that was treated before its first step."""
    window, done, i = Window(usual=0.7, constant=0.5, since=0, treated=True), 0, 0
    while done < len(losses):
        size = sizes[i % len(sizes)]
        found = window.add(done, list(losses[done : done + size]), [1.0] * len(losses[done : done + size]))
        if found is not None:
            return found
        done, i = done + size, i + 1
    return None


def test_a_treated_network_that_only_answers_with_a_constant_is_dead() -> None:
    noise = 0.1 * np.random.default_rng(0).normal(size=400)
    dead = np.r_[np.full(10, 0.69), np.full(390, 0.5)] + noise
    found = dies(dead, [50])
    assert found is not None and (found.kind, found.step) == ("dead", 128)
    assert found == dies(dead, [1])
    assert dies(np.linspace(0.69, 0.3, 400) + noise, [50]) is None  # slow, but it falls
    assert dies(np.full(400, 0.4) + noise, [50]) is None  # better than a constant
    assert verdict(dead, np.ones(400), [50]) is None  # not treated


def test_a_network_that_dies_at_the_treated_rate_is_treated_again() -> None:
    x = torch.randn(320, 8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    recipe = tw.Recipe(optimizer="adam", lr=3.0, batch_size=8, epochs=12)
    run = tw.fit((x, (x[:, 0] > 0).long()), model=net, recipe=recipe, treat=3, out=False, watch=False)
    kinds = [t["kind"] for t in run.treatments]
    assert kinds[:2] == ["spike", "dead"] and len(kinds) <= 3
    assert run.treatments[1]["back_to"] == 0
    assert run.history[-1]["val_loss"] < 0.3


def test_a_network_that_is_dead_from_the_start_is_treated_without_a_spike() -> None:
    x = torch.rand(640, 8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    recipe = tw.Recipe(optimizer="adam", lr=0.3, batch_size=8, epochs=6)
    about: Any = {"treat": 3, "out": False, "watch": False}
    run = tw.fit((x, (x[:, 0] > 0.5).long()), model=net, recipe=recipe, **about)
    assert [(t["kind"], t["back_to"]) for t in run.treatments][:1] == [("dead", 0)]
    assert "every row gets one answer" in run.treatments[0]["shows"]
    assert run.history[-1]["val_loss"] < 0.3


def test_a_slow_network_and_one_made_to_answer_alike_are_left_alone() -> None:
    x = torch.randn(640, 8, generator=torch.Generator().manual_seed(0))
    recipe = tw.Recipe(optimizer="sgd", lr=1e-9, batch_size=8, epochs=6)
    for scale in (1.0, 0.0):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
        with torch.no_grad():
            net[2].weight.mul_(scale)
        about: Any = {"treat": 3, "out": False, "watch": False}
        assert not tw.fit((x, (x[:, 0] > 0).long()), model=net, recipe=recipe, **about).treatments

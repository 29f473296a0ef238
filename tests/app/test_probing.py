"""The probe of a recipe: the rate that it finds, bad input, and that nothing of the caller's is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits, make_regression

import trainwell as tw
from trainwell.app.cli.entry import run_command
from trainwell.watch.probe import FACTOR, HALVINGS


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frame = load_digits(as_frame=True).frame.iloc[:300]
    path = tmp_path_factory.mktemp("probe") / "digits.csv"
    frame.to_csv(path, index=False)
    return path


def test_the_rate_of_a_quadratic_lies_below_the_edge_of_stability() -> None:
    """Full-batch SGD on least squares diverges above 2 / (largest curvature); the range must end there.

    From the optimum moved along the steepest direction, so that no step above the edge lowers the loss.
    """
    x, y = make_regression(64, 3, random_state=0)
    inputs, targets = (
        torch.tensor(x, dtype=torch.float32),
        torch.tensor(y / y.std(), dtype=torch.float32)[:, None],
    )
    curvatures, directions = torch.linalg.eigh(2 * inputs.T @ inputs / len(inputs))
    model = torch.nn.Linear(3, 1, bias=False)
    start = torch.linalg.lstsq(inputs, targets).solution[:, 0] + directions[:, -1]
    model.load_state_dict({"weight": start[None]})
    found = tw.probe(
        ((inputs, targets), (inputs, targets)), model=model, loss=torch.nn.functional.mse_loss,
        settings_={"optimizer": "sgd:momentum=0", "batch_size": 64},
    )  # fmt: skip
    edge, resolved = 2 / float(curvatures[-1]), FACTOR ** (1 / 2**HALVINGS)
    assert found.lr.high is not None and edge / resolved <= found.lr.high <= edge
    assert found.lr.value is not None and found.lr.value <= edge / 2


def test_nothing_of_the_callers_is_touched() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    stream, x = torch.get_rng_state(), torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    tw.probe((x, (x[:, 0] > 0).long()), model=model, steps=4)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert torch.equal(stream, torch.get_rng_state())


def test_two_probes_agree(table: Path) -> None:
    one, two = (
        tw.probe(table, "target", preset="quick", steps=3, seed=3, settings_={"model.width": 16})
        for _ in range(2)
    )
    assert one.lr == two.lr


def test_the_verb_prints_rate_and_next_command(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "probe",
        str(table),
        "--target",
        "target",
        "--preset",
        "quick",
        "--steps",
        "4",
        "--set",
        "lr=1e-7",
    ]
    assert run_command([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["changes"]["lr"] == pytest.approx(found["lr"]["value"], rel=0.05)
    assert run_command(command) == 0
    out = capsys.readouterr().out
    assert (
        f"next        trainwell fit {table} --target target --preset quick --set lr=" in out
        and "rate  " in out
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "1"], "steps of at least 2"),
        (["--target", "nothing"], "nothing"),
        (["--set", "lr"], "FIELD=VALUE"),
        (["--preset", "fast"], "fast"),
    ],
)
def test_bad_options_are_told(
    table: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert run_command(["probe", str(table), "--target", "target", *options]) in (2, 3)
    said = capsys.readouterr().err
    assert said.startswith("error:") and message in said

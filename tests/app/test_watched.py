"""A training under the watcher: the same numbers, its findings, and what can be read of it afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import trainwell as tw
from trainwell.watch.told import ToldWatch

Digits = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def digits() -> Digits:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(np.float32), y.astype(np.int64)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10))


def fit(data: Any, **options: Any) -> tw.Run:
    given = {"baseline": False, "out": False, "budget": "4ep", "val_fraction": 0.2, "test_fraction": 0.0}
    return tw.fit(data, **{**given, **options})


def weights(run: tw.Run) -> list[Tensor]:
    return [*run.model.state_dict().values()]


@pytest.mark.parametrize(
    "extra",
    [
        {"preset": "quick", "with_": ("mixup:alpha=0.2", "dropout:rate=0.2", "ema")},
        {"own": True, "with_": ("grad_accumulation:micro_batches=2", "clip_grad:max_norm=1")},
        {"own": True, "with_": ("bf16",), "settings_": {"schedule": "cosine"}},
    ],
    ids=["family", "accumulation", "bf16"],
)
def test_watched_training_equals_the_unwatched_bit_for_bit(digits: Digits, extra: dict[str, Any]) -> None:
    own = {"model": network} if "own" in extra else {}
    given = {k: v for k, v in extra.items() if k != "own"}
    runs = [fit(digits, watch=w, **given, **{k: make() for k, make in own.items()}) for w in (True, False)]
    assert all(torch.equal(a, b) for a, b in zip(weights(runs[0]), weights(runs[1]), strict=True))
    assert [r["val_loss"] for r in runs[0].history] == [r["val_loss"] for r in runs[1].history]
    assert runs[1].findings == ()


def test_run_ends_with_its_findings_and_its_folder_is_diagnosed_alike(digits: Digits, tmp_path: Path) -> None:
    x, y = digits
    shuffled = np.random.default_rng(0).permutation(y)
    run = fit((x, shuffled), model=network(), out=tmp_path / "run", budget="25ep")
    assert [f.ailment for f in run.findings if f.is_alarm], "labels that say nothing are found"
    again = tw.diagnose(tmp_path / "run")
    assert [f.ailment for f in again.findings] == [f.ailment for f in run.findings]
    assert [f.ailment for f in tw.load(tmp_path / "run", model=network()).findings] == [
        f.ailment for f in run.findings
    ]
    assert run.findings[0].ailment.replace("_", " ").split()[0] in str(again)


def test_resumed_run_finds_what_the_undisturbed_one_finds(digits: Digits, tmp_path: Path) -> None:
    x, y = digits
    data = (x, np.random.default_rng(0).permutation(y))
    whole = fit(data, model=network(), budget="25ep")
    fit(data, model=network(), out=tmp_path / "run", budget="12ep")
    resumed = tw.resume(tmp_path / "run", data, model=network(), budget="25ep", baseline=False)
    assert [f.ailment for f in resumed.findings if f.is_alarm] == [
        f.ailment for f in whole.findings if f.is_alarm
    ]


def test_error_of_the_watcher_costs_one_line_and_nothing_else(
    digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise RuntimeError("broken on purpose")

    lines: list[str] = []
    console = tw.Console.silent()
    console.say = lines.append  # type: ignore[method-assign]
    plain = fit(digits, model=network(), watch=False)
    monkeypatch.setattr(ToldWatch, "_end_look", broken)
    run = fit(digits, model=network(), console=console)
    assert all(torch.equal(a, b) for a, b in zip(weights(run), weights(plain), strict=True))
    assert len([line for line in lines if "broken on purpose" in line]) == 1


def loop(net: nn.Module, optimizer: torch.optim.Optimizer, digits: Digits, steps: int = 150) -> None:
    x, y = (torch.from_numpy(a) for a in digits)
    for step in range(steps):
        rows = torch.arange(step * 32, step * 32 + 32) % len(x)
        optimizer.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()


def test_loop_under_tw_watch_tells_and_writes_what_diagnose_reads(
    digits: Digits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, net = network(), network()
    for watched in (False, True):
        own = net if watched else plain
        optimizer = torch.optim.SGD([p for n, p in own.named_parameters() if not n.startswith("4")], 0.05)
        torch.manual_seed(1)
        if watched:
            with tw.watch(own, optimizer, folder=tmp_path / "run") as w:
                loop(own, optimizer, digits)
        else:
            loop(own, optimizer, digits)
    states = (plain.state_dict(), net.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))
    assert "params_not_trained" in [f.ailment for f in w.findings]
    assert "params not trained" in w.diagnosis
    assert "params not trained" in capsys.readouterr().err
    assert [f.ailment for f in tw.diagnose(tmp_path / "run").findings] == [f.ailment for f in w.findings]
    with pytest.raises(tw.UsageError, match="run"):
        tw.watch(net, optimizer, folder=tmp_path / "run")


def test_tw_watch_refuses_what_it_cannot_watch() -> None:
    net = network()
    with pytest.raises(tw.UsageError, match="model must be"):
        tw.watch(3, torch.optim.SGD(net.parameters(), 0.1))  # type: ignore[arg-type]
    with pytest.raises(tw.UsageError, match=r"Call tw\.watch\(model, optimizer\)"):
        tw.watch(net, net)  # type: ignore[arg-type]


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


ORDERS = """
import os, torch
net = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(net.parameters(), 0.1)
orders = (
    "import trainwell as tw; tw.watch; import trainwell.watch.watcher",
    "import trainwell.watch.watcher; import trainwell as tw",
    "import trainwell.watch.loop, trainwell as tw; from trainwell import watch; assert tw.watch is watch",
)
for order in orders:
    child = os.fork()  # each begins without trainwell, and none loads torch again
    if child == 0:
        exec(order)
        import trainwell.watch.losses
        w = tw.watch(net, optimizer, quiet=True); w.close()
        assert trainwell.watch.watcher.Watch in type(w).__mro__
        os._exit(0)  # without the second that Python takes to end
    assert os.waitpid(child, 0)[1] == 0, order
"""


def test_watch_is_room_and_function_in_any_order() -> None:
    python(ORDERS)


def test_diagnose_needs_no_torch_and_keeps_its_gate(digits: Digits, tmp_path: Path) -> None:
    x, y = digits
    folder = tmp_path / "run"
    fit((x, np.random.default_rng(0).permutation(y)), model=network(), out=folder, budget="25ep")
    out = python(
        "import sys\nfrom trainwell.app.cli.entry import run_command\n"
        f"codes = [run_command(['diagnose', {str(folder)!r}, *more]) for more in\n"
        "  (['--json'], ['--json', '--fail-on', 'any'], ['--json', '--fail-on', 'exploding_gradient'])]\n"
        "assert codes == [0, 5, 0], codes\nassert 'torch' not in sys.modules"
    )
    document, _ = json.JSONDecoder().raw_decode(out)
    (training,) = document["trainings"]
    alarm = next(f for f in training["findings"] if f["severity"] != "information")
    assert alarm["evidence"] and alarm["meaning"] and alarm["source"] and 0 < alarm["confidence"] <= 1


def test_folder_without_traces_is_refused_with_what_to_do(digits: Digits, tmp_path: Path) -> None:
    fit(digits, model=network(), out=tmp_path / "run", watch=False)
    with pytest.raises(tw.RunError, match="without watch=False"):
        tw.diagnose(tmp_path / "run")
    with pytest.raises(tw.RunError, match="there is no run"):
        tw.diagnose(tmp_path / "ran")


def test_validation_rows_of_a_sorted_table_are_drawn_from_all_of_it(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    x = draws.normal(size=(20_000, 3)).astype(np.float32)
    x = x[np.argsort(x[:, 0])]
    y = (x[:, 0] + x[:, 1] + draws.normal(size=len(x)) > 0).astype(np.int64)
    fit((x, y), preset="quick", budget="1ep", out=tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "watch" / "traces.json").read_text())["facts"]
    assert facts["shift_sd"] < 0.15


def test_a_rate_far_too_low_is_found_by_going_on_with_a_copy() -> None:
    """A copy that goes on at ten times the rate gains far more: the run itself cannot show that, and stays untouched."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    data = ((x / 16).astype(np.float32), y.astype(np.int64))
    runs = [fit(data, preset="quick", settings_={"lr": 1e-5}, budget="6ep", watch=w) for w in (True, False)]
    assert [f.ailment for f in runs[0].findings] == ["lr_too_low"]
    assert all(torch.equal(a, b) for a, b in zip(weights(runs[0]), weights(runs[1]), strict=True))


def test_a_twin_moves_copies_as_the_step_moves_the_weights() -> None:
    """From any point of a training, with its momentum, decay, clipping and rates of layers."""
    import copy

    from trainwell.engine.assemble import Source, assemble
    from trainwell.engine.twin import Twin

    x, y = torch.randn(64, 4), torch.randn(64, 1)
    recipe = tw.Recipe(techniques=("weight_decay:rate=0.1", "clip_grad:max_norm=0.1"), batch_size=64)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    training = assemble(net, recipe, Source(((x,), y), None), task=tw.Task("regression"))
    for _ in range(3):
        training.step((x,), y, 1e-2)
    own = copy.deepcopy(training.model)
    twin = Twin(training.step, training.model, list(own.parameters()))
    twin.param_groups[0]["lr"] = 1e-2
    for _ in range(3):
        training.step((x,), y, 1e-2)
        own.zero_grad()
        F.mse_loss(own(x), y).backward()
        twin.step()
    for a, b in zip(training.model.parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(a.detach(), b.detach(), rtol=1e-5, atol=1e-6)


def test_the_rate_for_thrown_weights_lets_the_network_learn(digits: Digits) -> None:
    """The farther the loss was thrown, the lower the rate that is proposed; a tenth of it would only throw again."""
    options: dict[str, Any] = {"preset": "quick", "budget": "8ep"}
    sick = fit(digits, settings_={"lr": 30.0}, **options)
    (finding,) = [f for f in sick.findings if f.ailment == "lr_too_high"]
    cured = fit(digits, settings_={"lr": finding.measured["lr.suggested"]}, watch=False, **options)
    accuracy = [max(row["val_metric"] for row in run.history) for run in (sick, cured)]
    assert accuracy[0] < 0.4 < 0.85 < accuracy[1]

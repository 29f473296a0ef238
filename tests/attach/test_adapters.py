"""What holds of every adapter, whether its framework is installed or not."""

from __future__ import annotations

import copy
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

import trainwell.watch.attach as package
from trainwell.app.findings import read_diagnoses
from trainwell.values.errors import UsageError
from trainwell.watch.attach.attached import Attached

SHARED = {"attached", "hooked", "outcome", "standin", "keras_network", "keras_steps"}
ADAPTERS = sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name not in SHARED)
PACKAGES = {
    "lightning": ("lightning", "lightning.pytorch", "pytorch_lightning"),
    "keras": ("keras", "keras.callbacks"),
    "fastai": ("fastai", "fastai.callback.core"),
    "fabric": ("lightning", "lightning.fabric", "lightning_fabric"),
}
"""What a framework is imported as, where that is not the name of its adapter."""


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Import an adapter as where its framework is not installed."""
    name = str(request.param)
    for absent in PACKAGES.get(name, (name,)):
        monkeypatch.setitem(sys.modules, absent, None)
    full = f"{package.__name__}.{name}"
    before = sys.modules.pop(full, None)
    yield importlib.import_module(full)
    del sys.modules[full]
    if before is not None:
        sys.modules[full] = before


def test_there_are_adapters() -> None:
    assert {"accelerate", "fabric", "fastai", "keras", "lightning", "skorch", "transformers"} <= set(ADAPTERS)


def test_adapter_is_short_and_shows_its_one_line(adapter: ModuleType) -> None:
    assert len(inspect.getsource(adapter).splitlines()) <= 80
    text = inspect.getdoc(adapter.WatchCallback) or ""
    assert f"from {adapter.__name__} import WatchCallback" in text
    assert "```python" in text and "findings" in text and "Args:" in text
    assert "WatchCallback(" in (adapter.__doc__ or "")
    assert issubclass(adapter.WatchCallback, Attached)


def test_missing_framework_is_told(adapter: ModuleType) -> None:
    objects = (None,) if adapter.__name__.endswith(".accelerate") else ()
    with pytest.raises(UsageError, match=r"which cannot be imported.*pip install 'trainwell\[attach\]'"):
        adapter.WatchCallback(*objects)


def test_package_imports_no_framework() -> None:
    code = (
        "import sys, trainwell.watch.attach, trainwell.watch.attach.attached\n"
        f"found = {set(ADAPTERS) | {'pytorch_lightning', 'lightning_fabric'}!r} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------------- what they share


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 30) -> None:
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), (x[:, 0] > 0).long())
        loss.backward()
        optimizer.step()


def started() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    return net, torch.optim.Adam(net.parameters(), 1e-2)


def test_one_training_after_the_other_is_watched(tmp_path: Path) -> None:
    lines: list[str] = []
    attached = Attached(tmp_path, lines.append)
    for steps in (20, 30):
        net, optimizer = started()
        attached.begin(net, optimizer)
        train(net, optimizer, steps)
        attached.close()
        assert attached.traces.fact("steps") == steps
    assert [d.steps for d in read_diagnoses(tmp_path)[1]] == [20, 30]
    assert len([line for line in lines if "steps)" in line]) == 2


def test_network_of_parts_is_watched_from_its_second_step() -> None:
    net, _ = started()
    parts = list(net)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    attached = Attached(None, lambda line: None)
    attached.begin(net, optimizer)

    def call(x: torch.Tensor) -> torch.Tensor:
        return parts[2](torch.relu(parts[0](x)))  # type: ignore[no-any-return]

    x = torch.randn(64, 8)
    for _ in range(10):
        optimizer.zero_grad()
        nn.functional.cross_entropy(call(x), (x[:, 0] > 0).long()).backward()
        optimizer.step()
    attached.close()
    assert attached.traces.fact("steps") == 9 and attached.traces.fact("watch_error") is None


def test_copies_of_a_watched_network_hear_nothing(tmp_path: Path) -> None:
    net, optimizer = started()
    attached = Attached(None, lambda line: None)
    attached.begin(net, optimizer)
    train(net, optimizer, 3)
    twin = copy.deepcopy(net)
    torch.save(net, tmp_path / "net.pt")
    saved = torch.load(tmp_path / "net.pt", weights_only=False)
    for other in (twin, saved):
        assert all(hook.hear is None for hook in other._forward_hooks.values())
        train(other, torch.optim.Adam(other.parameters()), 3)
    attached.close()
    assert attached.traces.fact("steps") == 3


def test_networks_in_turn_are_left_alone() -> None:
    (one, first), (other, second) = started(), started()
    lines: list[str] = []
    attached = Attached(None, lines.append)
    attached.begin(nn.ModuleList([one, other]), first, second)
    train(one, first, 3)
    train(other, second, 3)
    attached.close()
    assert len(lines) == 1 and "trained in turn" in lines[0]


def test_nothing_is_left_behind() -> None:
    from torch.nn.modules import module

    net, optimizer = started()
    attached = Attached(None, lambda line: None)
    attached.begin(net, optimizer)
    train(net, optimizer, 3)
    attached.close()
    assert (
        not module._has_any_global_hook()
        and not net._forward_pre_hooks
        and not optimizer._optimizer_step_post_hooks
    )
    assert nn.functional.cross_entropy.__module__ == "torch.nn.functional"


def test_the_next_command_can_be_pasted_whatever_the_folder_is_called(tmp_path: Path) -> None:
    lines: list[str] = []
    attached = Attached(tmp_path / "my run", lines.append)
    net, optimizer = started()
    attached.begin(net, optimizer)
    train(net, optimizer)
    attached.close()
    assert f"`trainwell diagnose '{tmp_path / 'my run'}'`" in lines[-1]


def test_folder_that_cannot_be_written_costs_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    lines: list[str] = []
    attached = Attached(tmp_path / "file" / "run", lines.append)
    net, optimizer = started()
    attached.begin(net, optimizer)
    train(net, optimizer)
    assert isinstance(attached.close(), list)
    assert "could not be written" in lines[-1]

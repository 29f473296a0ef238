"""What the watcher promises beside its findings: it never harms, and it leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.watch import loops
from trainwell.rules import diagnose
from trainwell.signals.units import Units
from trainwell.values.errors import UsageError
from trainwell.values.signal import Traces
from trainwell.watch import watch


def test_error_within_detaches_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("of our own")

    without, _ = loops.trained(loops.plain, watched=False)
    monkeypatch.setattr(Units, "look", broken)
    lines: list[str] = []
    within, seen = loops.trained(loops.plain, watched=True, say=lines.append)
    assert seen is not None
    assert len(lines) == 1 and "of our own" in lines[0] and "the training goes on" in lines[0]
    assert "of our own" in seen.traces.fact("watch_error")
    loops.assert_equal(without, within)
    assert isinstance(seen.findings, list)


@pytest.mark.parametrize("method", ["_on_step", "_on_loss", "_open_forward", "_end_validation", "_finish"])
def test_error_in_any_hook_leaves_the_training_alone(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainwell.watch.watcher import Watch

    def broken(self: Any, *_: Any) -> None:
        raise KeyError(method)

    without, _ = loops.trained(loops.plain, watched=False)
    monkeypatch.setattr(Watch, method, broken)
    lines: list[str] = []
    within, _ = loops.trained(loops.plain, watched=True, say=lines.append)
    assert len(lines) == 1
    loops.assert_equal(without, within)


def test_nothing_is_left_behind() -> None:
    original = F.cross_entropy
    net, optimizer = loops.start()
    with watch(net, optimizer):
        assert F.cross_entropy is not original
        loops.plain(net, optimizer, 1)
    assert F.cross_entropy is original
    assert not optimizer._optimizer_step_post_hooks
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in net.modules())


def test_error_of_the_loop_passes_through() -> None:
    net, optimizer = loops.start()
    seen = watch(net, optimizer)
    loops.plain(net, optimizer, 1)
    with pytest.raises(ZeroDivisionError), seen:
        raise ZeroDivisionError
    assert "ZeroDivisionError" in seen.traces.fact("crashed")


def test_two_watches_at_once_keep_apart() -> None:
    one, two = loops.start(), loops.start()
    with watch(*one) as a, watch(*two) as b:
        loops.plain(*one, 1)
        loops.plain(*two, 2)
    assert a.traces.fact("steps") == 8 and b.traces.fact("steps") == 16
    assert len(b.traces.get("val_loss")) == 2


def test_saved_traces_give_the_same_findings(tmp_path: Path) -> None:
    _, seen = loops.trained(loops.plain, watched=True, folder=tmp_path / "run")
    assert seen is not None
    back = diagnose(Traces.load(tmp_path / "run" / "watch"))
    assert [f.to_dict() for f in back] == [f.to_dict() for f in seen.findings]


def test_wrong_arguments_are_told() -> None:
    net, optimizer = loops.start()
    with pytest.raises(UsageError, match="model must be"):
        watch(optimizer, net)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="optimizer must be"):
        watch(net, "adam")  # type: ignore[arg-type]


def test_model_with_its_loss_inside_is_watched() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = loops.Net()

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            logits = self.net(x)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    torch.manual_seed(0)
    net = Own()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    x, y = loops.rows()
    with watch(net, optimizer) as seen:
        for _ in range(30):
            optimizer.zero_grad()
            net(x, labels=y)["loss"].backward()
            optimizer.step()
    q = seen.traces.get("q").values
    assert len(q) >= 5 and (q[q == q] > 0).mean() > 0.8


def test_a_model_that_cannot_be_copied_is_watched_without_looks() -> None:
    class Stubborn(loops.Net):
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("no copies of me")

    torch.manual_seed(0)
    net = Stubborn()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with watch(net, optimizer) as seen:
        loops.plain(net, optimizer, 2)
    assert "no copies of me" in seen.traces.fact("no_replica")
    assert len(seen.traces.get("train_loss")) == 16 and seen.traces.fact("watch_error") is None


def test_layers_unfrozen_on_the_way_are_trained() -> None:
    net, _ = loops.start()
    net.body[0].requires_grad_(False)
    optimizer = torch.optim.AdamW(net.head.parameters(), 3e-3)
    with watch(net, optimizer, quiet=True) as seen:
        loops.plain(net, optimizer, 2)
        net.body[0].requires_grad_(True)
        optimizer.add_param_group({"params": net.body.parameters()})
        loops.plain(net, optimizer, 2)
    assert "params_not_trained" not in {f.ailment for f in seen.findings}

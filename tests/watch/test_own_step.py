"""What is read off the loop's own step is what the copy shows when it repeats it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.watch import loops
from trainwell.values.signal import Traces
from trainwell.watch import Watch, watch
from trainwell.watch.own_step import may_listen
from trainwell.watch.schedule import Schedule

Loop = Callable[[nn.Module, torch.optim.Optimizer], None]


def scaled_and_clipped(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    x, y = loops.rows()
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    for part in torch.arange(len(x)).repeat(3).split(32):
        optimizer.zero_grad()
        scaler.scale(F.cross_entropy(net(x[part]), y[part])).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(net.parameters(), 0.1)
        scaler.step(optimizer)
        scaler.update()


def accumulated(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    x, y = loops.rows()
    for i, part in enumerate(torch.arange(len(x)).repeat(4).split(16)):
        (F.cross_entropy(net(x[part]), y[part]) / 2).backward()
        if i % 2:
            optimizer.step()
            optimizer.zero_grad()


def one_loss_a_row(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    x, y = loops.rows()
    for part in torch.arange(len(x)).repeat(3).split(32):
        optimizer.zero_grad()
        F.cross_entropy(net(x[part]), y[part], reduction="none").mean().backward()
        optimizer.step()


def two_weights(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Losses of different weights: what the loop minimises is not their sum."""
    x, y = loops.rows()
    for part in torch.arange(len(x)).repeat(3).split(32):
        optimizer.zero_grad()
        out = net(x[part])
        loss = F.cross_entropy(out, y[part]) + 0.1 * F.mse_loss(out, torch.zeros_like(out))
        loss.backward()
        optimizer.step()


def with_penalty(net: nn.Module, optimizer: torch.optim.Optimizer, weight: float = 2e-3) -> None:
    """A term that is no loss of torch's: the gradient of the loop is not that of its losses."""
    x, y = loops.rows()
    for part in torch.arange(len(x)).repeat(3).split(32):
        optimizer.zero_grad()
        penalty = sum((p**2).sum() for p in net.parameters())
        (F.cross_entropy(net(x[part]), y[part]) + weight * penalty).backward()
        optimizer.step()


LOOPS: dict[str, Loop] = {
    f.__name__: f for f in (scaled_and_clipped, accumulated, one_loss_a_row, two_weights, with_penalty)
}


def look_again(self: Schedule, step: int, *_: float) -> None:
    self.looks += 1
    self.next = step + 1


def run(loop: Loop, kind: str, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Tensor], Any]:
    """Return the weights and the watch of a loop: unwatched, watched by the copy alone, or as it is."""
    net, optimizer = loops.start()
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    if kind == "plain":
        loop(net, optimizer)
        return dict(net.state_dict()), None
    with monkeypatch.context() as patch:
        if kind == "copy":
            patch.setattr(Watch, "_wants_copy", lambda self: True)
        patch.setattr(Watch, "_has_room", lambda self, cost_s: True)
        patch.setattr(Schedule, "done", look_again)
        with watch(net, optimizer, quiet=True) as seen:
            loop(net, optimizer)
    assert seen.traces.fact("watch_error") is None and seen.traces.fact("no_looks") is None
    return dict(net.state_dict()), seen


def series(traces: Traces, signal: str) -> np.ndarray[Any, Any]:
    layers = [None, *traces.layers(signal)]
    return np.concatenate([traces.get(signal, layer).values.ravel() for layer in layers])


@pytest.mark.parametrize("name", sorted(LOOPS))
def test_own_step_shows_what_the_copy_shows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, _ = run(LOOPS[name], "plain", monkeypatch)
    own_weights, own = run(LOOPS[name], "own", monkeypatch)
    _, copied = run(LOOPS[name], "copy", monkeypatch)
    loops.assert_equal(plain, own_weights)
    if name != "with_penalty":
        assert own._agrees is not False and own._schedule.looks > 10
    else:
        assert own._agrees is False
    for signal in ("act_rms", "back_rms", "unit_activity", "grad_norm", "weight_norm", "update_norm", "q"):
        mine, its = series(own.traces, signal), series(copied.traces, signal)
        assert mine.shape == its.shape, signal
        np.testing.assert_allclose(mine, its, rtol=2e-3, atol=1e-5, err_msg=signal)


def test_another_training_is_not_asked_what_if() -> None:
    net, optimizer = loops.start()
    with watch(net, optimizer, quiet=True) as seen:
        with_penalty(net, optimizer, weight=0.3)
    assert seen._has_more and np.isnan(seen.traces.get("q").values[-1])
    assert seen.traces.fact("what_if") is None and len(seen.traces.get("grad_norm", "head.weight")) > 3


def test_looks_are_rarely_repeated_on_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    repeated: list[int] = []
    original = Watch._look_on_copy

    def counted(self: Watch, *args: Any) -> Any:
        repeated.append(self._step)
        return original(self, *args)

    monkeypatch.setattr(Watch, "_look_on_copy", counted)
    _, seen = run(one_loss_a_row, "own", monkeypatch)
    assert seen is not None
    assert seen._schedule.looks >= 15 and len(repeated) <= 2


def test_a_look_leaves_no_hook_and_takes_none_away() -> None:
    """An empty table of hooks that is left on a parameter costs each later backward pass a call."""
    net, optimizer = loops.start()
    bias, called = net.head.bias, [0]
    handle = bias.register_hook(lambda grad: called.__setitem__(0, called[0] + 1))
    with watch(net, optimizer, quiet=True) as seen:
        one_loss_a_row(net, optimizer)
        assert seen._schedule.looks > 3
    assert [n for n, p in net.named_parameters() if p._backward_hooks is not None] == ["head.bias"]
    assert called[0] == 24
    handle.remove()
    one_loss_a_row(net, optimizer)
    assert called[0] == 24


def test_compiled_and_scripted_models_are_left_alone() -> None:
    net = loops.Net()
    assert may_listen(net)
    assert not may_listen(nn.Sequential(torch.jit.script(nn.Linear(2, 2))))
    net.head.compile()
    assert not may_listen(net)


def test_every_loss_is_noted_once() -> None:
    (net, optimizer), (x, y) = loops.start(), loops.rows()
    losses: list[float] = []
    with watch(net, optimizer, quiet=True) as seen:
        for part in torch.arange(len(x)).repeat(40).split(64):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x[part]), y[part])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) % 40 == 0:
                with torch.no_grad():
                    F.cross_entropy(net(x), y)
    assert not seen._root_handles and len(seen.traces.get("val_loss")) == 4
    assert seen.traces.get("train_loss").values.tolist() == losses

"""A loss that a loop writes by hand is recognised by its gradient at the output, and then watched as any other."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.watch.loops import assert_equal, rows
from trainwell.watch import Watch, watch
from trainwell.watch.recognised import recognised

Loss = Callable[[Tensor, Tensor], Tensor]
B, K, T = 12, 5, 4


def hot(labels: Tensor, classes: int = K) -> Tensor:
    return torch.eye(classes, dtype=torch.float64)[labels]


def smooth(labels: Tensor) -> Tensor:
    return 0.9 * hot(labels) + 0.1 / K


def labels(*shape: int) -> Tensor:
    return torch.randint(K, shape, generator=torch.Generator().manual_seed(1))


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2)).double()


ONE, MANY, MAP = labels(B), labels(B, T), labels(B, 3, 3)
YES, REAL = (numbers(B, 1) > 0).double(), numbers(B, 3)
KNOWN: dict[str, tuple[tuple[int, ...], Callable[[Tensor], Tensor], str, Tensor, float]] = {
    "cross-entropy": ((B, K), lambda o: -o.log_softmax(1)[range(B), ONE].mean(), "cross_entropy", ONE, 1),
    "its sum": ((B, K), lambda o: -(hot(ONE) * o.log_softmax(1)).sum(), "cross_entropy", ONE, B),
    "an eighth of it": ((B, K), lambda o: -o.log_softmax(1)[range(B), ONE].mean() / 8, "cross_entropy", ONE, 1 / 8),
    "smoothed": ((B, K), lambda o: -(smooth(ONE) * o.log_softmax(1)).sum(1).mean(), "cross_entropy", smooth(ONE), 1),
    "words": (
        (B, T, K), lambda o: -o.log_softmax(2).gather(2, MANY[..., None]).mean(), "cross_entropy", MANY.reshape(-1), 1
    ),
    "pixels": ((B, K, 3, 3), lambda o: -o.log_softmax(1).gather(1, MAP[:, None]).mean(), "cross_entropy", MAP, 1),
    "squares": ((B, 3), lambda o: (o - REAL).pow(2).mean(), "mse_loss", REAL, 1),
    "half the squares of a row": ((B, 3), lambda o: (o - REAL).pow(2).sum(1).mean() / 2, "mse_loss", REAL, 1.5),
    "the sum of squares": ((B, 3), lambda o: ((o - REAL) ** 2).sum(), "mse_loss", REAL, 3 * B),
    "yes or no": (
        (B, 1), lambda o: -(YES * F.logsigmoid(o) + (1 - YES) * F.logsigmoid(-o)).mean(),
        "binary_cross_entropy_with_logits", YES, 1,
    ),
}  # fmt: skip
UNKNOWN: dict[str, Callable[[Tensor], Tensor]] = {
    "absolute": lambda o: (o - REAL[:, :1]).abs().mean(),
    "fourth power": lambda o: (o - hot(ONE)).pow(4).mean(),
    "brier": lambda o: (o.softmax(1) - hot(ONE)).pow(2).sum(1).mean(),
    "hinge": lambda o: (1 + o - o[range(B), ONE][:, None]).clamp(min=0).mean(),
    "advantages": lambda o: -(numbers(B) * o.log_softmax(1)[range(B), ONE]).mean(),
    "class weights": lambda o: -(o.log_softmax(1)[range(B), ONE] * (1 + ONE)).mean(),
    "mean output": lambda o: o.mean(),
    "squares and more": lambda o: (o - numbers(B, K)).pow(2).mean() + 1.0,
}


def seen_from(output: Tensor, loss: Callable[[Tensor], Tensor]) -> Any:
    output = output.requires_grad_()
    value = loss(output)
    (grad,) = torch.autograd.grad(value, output)
    return recognised(output, grad, value), value


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loss_and_targets_follow_from_the_gradient(name: str, dtype: torch.dtype) -> None:
    shape, loss, function, target, factor = KNOWN[name]
    call, value = seen_from(torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(dtype), loss)
    assert call is not None and call.name == function
    assert call.again(call.input).item() == pytest.approx(value.item(), rel=1e-4)
    assert call.function.factor == pytest.approx(factor, rel=2e-3)
    torch.testing.assert_close(call.target.double(), target.double(), atol=1e-4, rtol=1e-4)
    assert call.again(call.input, reduction="none").mean().item() * factor == pytest.approx(
        value.item(), rel=1e-3
    )


@pytest.mark.parametrize("through", [lambda o: o.log_softmax(1), lambda o: o.softmax(1)])
def test_outputs_that_are_probabilities_already(through: Callable[[Tensor], Tensor]) -> None:
    output = through(numbers(B, K))
    is_log = bool((output < 0).any())
    call, value = seen_from(output, lambda o: -(o if is_log else (o + 1e-9).log())[range(B), ONE].mean())
    assert call is not None and call.name == "nll_loss" and torch.equal(call.target, ONE)
    assert call.value.item() == pytest.approx(value.item(), rel=1e-5)


def test_probabilities_of_yes() -> None:
    output = numbers(B, 1).sigmoid()
    call, value = seen_from(output, lambda p: -(YES * p.log() + (1 - YES) * (1 - p).log()).mean())
    assert call is not None and call.name == "binary_cross_entropy" and torch.equal(call.target, YES)
    assert call.value.item() == pytest.approx(value.item(), rel=1e-5)


@pytest.mark.parametrize("name", UNKNOWN)
def test_other_losses_are_taken_for_nothing(name: str) -> None:
    assert seen_from(numbers(B, K), UNKNOWN[name])[0] is None


def test_what_cannot_tell_is_taken_for_nothing() -> None:
    assert seen_from(numbers(B, K).half(), lambda o: o.float().pow(2).mean())[0] is None
    assert seen_from(torch.full((B, K), torch.nan), lambda o: o.pow(2).mean())[0] is None
    assert seen_from(numbers(B, K), lambda o: 0.0 * o.sum())[0] is None


# ---------------------------------------------------------------------- in a loop


def by_hand(outputs: Tensor, target: Tensor) -> Tensor:
    return -outputs.log_softmax(1).gather(1, target[:, None]).mean()


def trained(
    loss: Loss, rate: float = 3e-3, steps: int = 120, watched: bool = True
) -> tuple[nn.Module, Watch | None]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3))
    (x, y), optimizer = rows(), torch.optim.Adam(net.parameters(), rate)
    seen = watch(net, optimizer, quiet=True) if watched else None
    for _ in range(steps):
        part = torch.randint(len(x), (32,))
        optimizer.zero_grad()
        loss(net(x[part]), y[part]).backward()
        optimizer.step()
    if seen is not None:
        seen.close()
        assert seen.traces.fact("watch_error") is None
    return net, seen


def test_a_loop_is_measured_as_if_torch_had_computed_its_loss() -> None:
    """The same numbers to rounding, though targets are known by their gradients alone."""
    seen, told = trained(by_hand)[1], trained(F.cross_entropy)[1]
    assert seen is not None and told is not None
    assert seen.traces.fact("loss_by_hand") and seen.traces.fact("loss_name") == "cross_entropy"
    for signal in ("train_loss", "q", "grad_norm", "probe_loss", "stale_grad"):
        own, other = seen.traces.get(signal), told.traces.get(signal)
        assert own.steps.tolist()[:8] == other.steps.tolist()[:8]
        torch.testing.assert_close(
            torch.tensor(own.values[:8]), torch.tensor(other.values[:8]), rtol=1e-2, atol=1e-4
        )
    for fact in ("base_loss", "class_counts", "learnable", "batch_size", "distinct_rows"):
        assert seen.traces.fact(fact) == pytest.approx(told.traces.fact(fact)), fact


def test_a_rate_too_low_is_found_by_what_another_would_do() -> None:
    seen = trained(by_hand, 1e-6, 200)[1]
    assert seen is not None and [f.ailment for f in seen.findings if f.is_alarm][:1] == ["lr_too_low"]


def test_nothing_changes() -> None:
    nets = [trained(by_hand, watched=watched)[0] for watched in (False, True)]
    assert_equal(*(list(net.state_dict().values()) for net in nets))


def test_a_loss_of_two_outputs_is_none_of_one() -> None:
    """A network that is to answer two views alike makes its own targets: the rows of the data are none."""

    def alike(net: nn.Module, x: Tensor) -> Tensor:
        return (net(x) - net(x + 0.1)).pow(2).mean()

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    seen = watch(net, optimizer, quiet=True)
    for _ in range(20):
        optimizer.zero_grad()
        alike(net, torch.randn(32, 12)).backward()
        optimizer.step()
    seen.close()
    assert seen.traces.fact("loss_name") is None and len(seen.traces.get("train_loss").values) == 20


def test_outputs_are_given_back_at_once() -> None:
    """A hook that held its own output would keep every graph of the first steps for ever."""
    outputs: list[weakref.ref[Tensor]] = []

    def noted(output: Tensor, target: Tensor) -> Tensor:
        outputs.append(weakref.ref(output))
        return by_hand(output, target)

    gc.disable()
    try:
        trained(noted, steps=12)
    finally:
        gc.enable()
    assert [ref() for ref in outputs] == [None] * 12

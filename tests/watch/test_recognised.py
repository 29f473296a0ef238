"""A loss that a loop writes by hand is recognised by its gradient at the output, and then watched as any other."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.watch.loops import assert_equal, rows
from trainwell.watch import Watch, watch
from trainwell.watch.formula import formula_of
from trainwell.watch.recognised import Recognised, recognised

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
    "its sum": ((B, K), lambda o: -(hot(ONE) * o.log_softmax(1)).sum(), "cross_entropy", ONE, 1),
    "an eighth of it": ((B, K), lambda o: -o.log_softmax(1)[range(B), ONE].mean() / 8, "cross_entropy", ONE, 1 / 8),
    "smoothed": ((B, K), lambda o: -(smooth(ONE) * o.log_softmax(1)).sum(1).mean(), "cross_entropy", smooth(ONE), 1),
    "words": (
        (B, T, K), lambda o: -o.log_softmax(2).gather(2, MANY[..., None]).mean(), "cross_entropy", MANY.reshape(-1), 1
    ),
    "pixels": ((B, K, 3, 3), lambda o: -o.log_softmax(1).gather(1, MAP[:, None]).mean(), "cross_entropy", MAP, 1),
    "squares": ((B, 3), lambda o: (o - REAL).pow(2).mean(), "mse_loss", REAL, 1),
    "half the squares of a row": ((B, 3), lambda o: (o - REAL).pow(2).sum(1).mean() / 2, "mse_loss", REAL, 1.5),
    "the sum of squares": ((B, 3), lambda o: ((o - REAL) ** 2).sum(), "mse_loss", REAL, 1),
    "yes or no": (
        (B, 1), lambda o: -(YES * F.logsigmoid(o) + (1 - YES) * F.logsigmoid(-o)).mean(),
        "binary_cross_entropy_with_logits", YES, 1,
    ),
}  # fmt: skip
RISING, WEIGHTS = numbers(B), torch.tensor([1.0, 4.0, 0.5, 2.0, 1.0], dtype=torch.float64)
RARE, WORDS = (RISING > 1).double(), MANY.reshape(-1)
SEEN = (torch.arange(T) < torch.arange(B)[:, None] % T + 1).double()
AHEAD = F.normalize(REAL, dim=1)
KNOWN |= {
    "absolute": ((B, 3), lambda o: (o - REAL).abs().mean(), "l1_loss", REAL, 1),
    "the sum of absolute": ((B, 3), lambda o: (REAL - o).abs().sum(), "l1_loss", REAL, 1),
    "squares times any number": ((B, 3), lambda o: 7.3 * (REAL - o).pow(2).mean(), "mse_loss", REAL, 7.3),
    "squares in another shape": (
        (B, 1), lambda o: 0.3 * (o.squeeze(1) - RISING).square().mean(), "mse_loss", RISING, 0.3
    ),
    "products": ((B, 3), lambda o: 5 * ((o - REAL) * (o - REAL)).mean(), "mse_loss", REAL, 5),
    "driven up": ((B, 3), lambda o: -(o - REAL).pow(2).mean(), "mse_loss", REAL, -1),
    "likelihood driven down": ((B, K), lambda o: o.log_softmax(1)[range(B), ONE].mean(), "cross_entropy", ONE, -1),
    "huber": (
        (B, 3), lambda o: torch.where((o - REAL).abs() < 0.5, (o - REAL) ** 2 / 2, ((o - REAL).abs() - 0.25) / 2).mean(),
        "huber_loss", REAL, 1,
    ),
    "all pairs of squares": ((B, 1), lambda o: ((o - RISING) ** 2).mean(), "mse_loss", RISING, 1),
    "all pairs the other way": ((B,), lambda o: ((RISING[:, None] - o) ** 2).mean(), "mse_loss", RISING[:, None], 1),
    "all pairs, absolute": ((B, 1), lambda o: (o - RISING).abs().mean(), "l1_loss", RISING, 1),
    "all pairs, huber": (
        (B, 1), lambda o: torch.where((o - RISING).abs() < 1, (o - RISING) ** 2 / 2, (o - RISING).abs() - 0.5).mean(),
        "huber_loss", RISING, 1,
    ),
    "all pairs of yes or no": (
        (B, 1), lambda o: -(RARE * F.logsigmoid(o) + (1 - RARE) * F.logsigmoid(-o)).mean(),
        "binary_cross_entropy_with_logits", RARE, 1,
    ),
    "nearly yes or no": (
        (B, 1), lambda o: -((0.1 + 0.8 * YES) * F.logsigmoid(o) + (0.9 - 0.8 * YES) * F.logsigmoid(-o)).mean(),
        "binary_cross_entropy_with_logits", 0.1 + 0.8 * YES, 1,
    ),
    "class weights": (
        (B * T, K), lambda o: -(o.log_softmax(1)[range(B * T), WORDS] * WEIGHTS[WORDS]).mean(), "cross_entropy", WORDS,
        float(WEIGHTS[WORDS].mean()),
    ),
    "masked words": (
        (B, T, K), lambda o: -(o.log_softmax(2).gather(2, MANY[..., None])[..., 0] * SEEN).sum() / SEEN.sum(),
        "cross_entropy", MANY.masked_fill(SEEN == 0, -100).reshape(-1), 1,
    ),
    "masked words over all": (
        (B, T, K), lambda o: -(o.log_softmax(2).gather(2, MANY[..., None])[..., 0] * SEEN).mean(),
        "cross_entropy", MANY.masked_fill(SEEN == 0, -100).reshape(-1), float(SEEN.mean()),
    ),
    "likeness": ((B, 3), lambda o: 1 - F.cosine_similarity(o, REAL, dim=1).mean(), "cosine_similarity", AHEAD, 1),
    "likeness of the wrong sign": (
        (B, 3), lambda o: 1 + F.cosine_similarity(o, REAL, dim=1).mean(), "cosine_similarity", AHEAD, -1
    ),
}  # fmt: skip
UNKNOWN: dict[str, Callable[[Tensor], Tensor]] = {
    "fourth power": lambda o: (o - hot(ONE)).pow(4).mean(),
    "brier": lambda o: (o.softmax(1) - hot(ONE)).pow(2).sum(1).mean(),
    "hinge": lambda o: (1 + o - o[range(B), ONE][:, None]).clamp(min=0).mean(),
    "advantages": lambda o: -(numbers(B) * o.log_softmax(1)[range(B), ONE]).mean(),
    "weights of rows": lambda o: -(o.log_softmax(1)[range(B), ONE] * (1 + numbers(B).abs())).mean(),
    "mean output": lambda o: o.mean(),
    "log of cosh": lambda o: (o - numbers(B, K)).cosh().log().mean(),
    "root of squares and more": lambda o: (o - numbers(B, K)).pow(2).mean().sqrt() + 1.0,
    "roots of rows": lambda o: (o - numbers(B, K)).pow(2).mean(1).sqrt().mean(),
    "masked squares": lambda o: ((o - numbers(B, K)).pow(2) * (numbers(B, K) > 0)).mean(),
    "all pairs of outputs": lambda o: (o[:, None] - o[None]).pow(2).mean(),
    "energy": lambda o: (o[:, :1] - numbers(B)).abs().mean() - (o[:, :1] - o[:, 0]).abs().mean() / 2,
    "squares and more": lambda o: (o - numbers(B, K)).pow(2).mean() + 1.0,
}


def seen_from(output: Tensor, loss: Callable[[Tensor], Tensor]) -> tuple[Recognised | None, Tensor]:
    output = output.requires_grad_() * 1.0  # an output follows from something
    value = loss(output)
    formula = formula_of(value, [output])
    (grad,) = torch.autograd.grad(value, output)
    return recognised([(output, grad)], formula), value


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loss_and_targets_follow_from_the_gradient(name: str, dtype: torch.dtype) -> None:
    shape, loss, function, target, factor = KNOWN[name]
    found, value = seen_from(
        torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(dtype), lambda o: loss(o).to(dtype)
    )
    assert found is not None and [c.name for c in found.calls] == [function]
    call = found.calls[0]
    assert found.factor == pytest.approx(factor, rel=2e-3)
    if function != "cosine_similarity":  # of which only the slope is known
        assert found.factor * call.again(call.input).item() == pytest.approx(value.item(), rel=1e-3)
    torch.testing.assert_close(call.target.double(), target.double(), atol=1e-4, rtol=1e-4)
    assert call.kwargs.get("reduction", "mean") == ("sum" if "sum" in name else "mean")


@pytest.mark.parametrize("through", [lambda o: o.log_softmax(1), lambda o: o.softmax(1)])
def test_outputs_that_are_probabilities_already(through: Callable[[Tensor], Tensor]) -> None:
    output = through(numbers(B, K))
    is_log = bool((output < 0).any())
    found, value = seen_from(output, lambda o: -(o if is_log else (o + 1e-9).log())[range(B), ONE].mean())
    assert found is not None
    call = found.calls[0]
    assert call.name == "nll_loss" and torch.equal(call.target, ONE)
    assert call.value.item() == pytest.approx(value.item(), rel=1e-5)


@pytest.mark.parametrize("scale", [1.0, 0.3, 5.0])
def test_a_root_of_squares_is_heard_as_the_squares(scale: float) -> None:
    """The slope of c sqrt(m) by m is c / (2 sqrt(m)); whatever comes after is told in the unit of m."""
    output = numbers(B, 3) / 2
    found, value = seen_from(output, lambda o: scale * (o - REAL).pow(2).mean().sqrt())
    squares = (output - REAL).pow(2).mean()
    assert found is not None and [c.name for c in found.calls] == ["mse_loss"]
    torch.testing.assert_close(found.calls[0].target, REAL)
    assert found.factor == pytest.approx(scale / (2 * squares.sqrt().item()))
    assert found.in_its_unit(value).item() == pytest.approx(squares.item())
    assert found.in_its_unit(value / 2).item() == pytest.approx(squares.item() / 4)


def test_probabilities_of_yes() -> None:
    output = numbers(B, 1).sigmoid()
    found, value = seen_from(output, lambda p: -(YES * p.log() + (1 - YES) * (1 - p).log()).mean())
    assert found is not None
    call = found.calls[0]
    assert call.name == "binary_cross_entropy" and torch.equal(call.target, YES)
    assert call.value.item() == pytest.approx(value.item(), rel=1e-5)


@pytest.mark.parametrize("name", UNKNOWN)
def test_other_losses_are_taken_for_nothing(name: str) -> None:
    assert seen_from(numbers(B, K), UNKNOWN[name])[0] is None


def test_what_cannot_tell_is_taken_for_nothing() -> None:
    assert seen_from(numbers(B, K).half(), lambda o: o.float().pow(2).mean())[0] is None
    assert seen_from(torch.full((B, K), torch.nan), lambda o: o.pow(2).mean())[0] is None
    assert seen_from(numbers(B, K), lambda o: 0.0 * o.sum())[0] is None


def test_what_hooks_keep_is_not_brought_back() -> None:
    """A checkpoint computes what it kept anew when it is asked, which is for the backward pass alone."""
    asked: list[int] = []
    output = numbers(B, 3).requires_grad_() * 1.0
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: asked.append(1) or t):
        hooked = (output - REAL).abs().mean()
    assert formula_of(hooked, [output]).differences == [] and not asked
    plain = formula_of((output - REAL).abs().mean(), [output])
    assert [d.shape for d, _ in plain.differences] == [output.shape] and plain.reached == {0}


def test_what_was_written_to_since_is_not_read() -> None:
    output = numbers(B, 3).requires_grad_() * 1.0
    apart = output - REAL
    loss = apart.abs().mean()
    apart.add_(1.0)
    assert formula_of(loss, [output]).differences == []


def test_a_penalty_on_the_weights_is_more() -> None:
    weight = numbers(3, 3).requires_grad_()
    output = numbers(B, 3) @ weight
    loss = 3 * (output - REAL).abs().mean()
    assert not formula_of(loss, [output]).has_more
    formula = formula_of(loss + weight.pow(2).sum(), [output])
    assert formula.has_more and formula.reached == {0}
    (grad,) = torch.autograd.grad(loss, output)
    found = recognised([(output, grad)], formula)
    assert found is not None and found.calls[0].name == "l1_loss" and found.factor == pytest.approx(3)


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


class TwoHeads(nn.Module):
    """A number and a class from one body."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.number, self.kind = nn.Linear(12, 32), nn.Linear(32, 1), nn.Linear(32, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        inside = self.body(x).tanh()
        return self.number(inside).squeeze(1), self.kind(inside)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_losses_of_several_outputs_are_heard_together(share: float) -> None:
    """Each output has its own targets, and both terms are measured as they are added up."""
    torch.manual_seed(0)
    net, (x, y) = TwoHeads(), rows()
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    seen = watch(net, optimizer, quiet=True)
    first: list[tuple[float, float]] = []
    for _ in range(60):
        part = torch.randint(len(x), (32,))
        number, kind = net(x[part])
        terms = (number - x[part, 0]).abs().mean(), by_hand(kind, y[part])
        optimizer.zero_grad()
        loss = 2 * (terms[0] + share * terms[1])
        loss.backward()
        if not first:
            norm = torch.stack([p.grad.norm() for p in net.parameters() if p.grad is not None]).norm()
            first.append((loss.item(), norm.item()))
        optimizer.step()
    seen.close()
    assert seen.traces.fact("watch_error") is None and seen.traces.fact("minimises_more") is None
    assert seen.traces.fact("loss_name") == "l1_loss" and seen.traces.fact("out_shape") == [32]
    assert seen.traces.get("loss_scale").values[0] == pytest.approx(2)
    assert seen.traces.get("train_loss").values[0] == pytest.approx(first[0][0] / 2)
    assert seen.traces.get("grad_norm").values[0] == pytest.approx(first[0][1] / 2, rel=1e-4)
    assert np.isfinite(seen.traces.get("q").values[:8]).all()
    assert seen.traces.get("stale_grad").values.max() == 0
    torch.testing.assert_close(seen.scene.train[0].y, x_of(seen, 0), rtol=1e-4, atol=1e-5)


def x_of(seen: Watch, column: int) -> Tensor:
    return seen.scene.train[0].x[:, column]


@pytest.mark.parametrize("scale", [1.0, -1.0, 0.125, 5.0])
def test_a_loss_is_recorded_in_the_unit_of_what_it_amounts_to(scale: float) -> None:
    """As if the loop took the loss of torch and multiplied that."""
    plain, seen = trained(by_hand, steps=40)[1], trained(lambda o, y: scale * by_hand(o, y), steps=1)[1]
    assert plain is not None and seen is not None
    first = [w.traces.get("train_loss").values[0] for w in (plain, seen)]
    assert first[0] == pytest.approx(first[1], rel=1e-4) and first[0] > 0
    assert seen.traces.get("loss_scale").values[0] == pytest.approx(scale, rel=1e-3)


@pytest.mark.parametrize("loss", [lambda like: 1 - like, lambda like: -like, lambda like: 3 + 2 * like])
def test_likeness_is_recorded_as_what_is_missing_to_one(loss: Callable[[Tensor], Tensor]) -> None:
    """Whatever number it is taken from; the best answer that is the same for all rows is their mean direction."""
    noted: list[float] = []

    def minimised(outputs: Tensor, target: Tensor) -> Tensor:
        like = F.cosine_similarity(outputs, hot(target, 3).float(), dim=1).mean()
        noted.append(1 - like.item())
        return loss(like)

    seen = trained(minimised, steps=100)[1]
    assert seen is not None and seen.traces.fact("loss_kind") == "similarity"
    np.testing.assert_allclose(seen.traces.get("train_loss").values, noted, atol=1e-5)
    targets = torch.cat([b.y for b in seen.scene.train])
    assert seen.traces.fact("base_loss") == pytest.approx(1 - float(targets.mean(0).norm()), abs=1e-5)


def test_all_pairs_of_a_column_and_a_row_are_a_mistake() -> None:
    """Outputs of the shape (N, 1) less targets of the shape (N,): the mean target is the best answer to every row."""
    torch.manual_seed(0)
    net, (x, _) = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 1)), rows()
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for power, shape, expected in (
        (2, (-1,), ["loss_mismatch"]),
        (1, (-1,), ["loss_mismatch"]),
        (2, (-1, 1), []),
    ):
        with watch(net, optimizer, quiet=True) as seen:
            for _ in range(100):
                part = torch.randint(len(x), (32,))
                optimizer.zero_grad()
                (net(x[part]) - x[part, 0].reshape(shape)).abs().pow(power).mean().backward()
                optimizer.step()
        assert [f.ailment for f in seen.findings if f.is_alarm and f.ailment == "loss_mismatch"] == expected
        assert seen.traces.fact("watch_error") is None


def test_a_rate_too_low_is_found_by_what_another_would_do() -> None:
    seen = trained(by_hand, 1e-6, 200)[1]
    assert seen is not None and [f.ailment for f in seen.findings if f.is_alarm][:1] == ["lr_too_low"]


@pytest.mark.parametrize(
    "loss",
    [
        by_hand,
        lambda o, y: 3 * (o - hot(y, 3)).abs().mean(),
        lambda o, y: (o[:, 0] - y[:, None].float()).square().mean(),
        lambda o, y: F.cosine_similarity(o, hot(y, 3).float(), dim=1).mean(),
        lambda o, y: (o.softmax(1) - hot(y, 3)).square().sum(),
    ],
)
def test_nothing_changes(loss: Loss) -> None:
    nets = [trained(loss, watched=watched)[0] for watched in (False, True)]
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

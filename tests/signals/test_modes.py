"""What a network does in evaluation mode, and what the loop makes of its loss, seen by the watcher in real loops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.watch.loops import rows
from trainwell.signals.outputs import _scrambled
from trainwell.values.signal import Traces
from trainwell.watch import watch
from trainwell.watch.losses import LossCall


class Own(nn.Module):
    """A network with a function of its own between two layers."""

    def __init__(self, between: Callable[[Tensor, bool], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.between = nn.Linear(12, 32), nn.Linear(32, 3), between

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.between(torch.relu(self.a(x)), self.training))  # type: ignore[no-any-return]


def attend(x: Tensor, p: float) -> Tensor:
    tokens = x.reshape(len(x), 1, 4, 8)
    return F.scaled_dot_product_attention(tokens, tokens, tokens, dropout_p=p).reshape(len(x), 32)


def traces_of(net: nn.Module, change: Callable[[Tensor, int], Tensor] = lambda loss, n: loss) -> Traces:
    (x, y), optimizer = rows(), torch.optim.SGD(net.parameters(), 0.05)
    with watch(net, optimizer, quiet=True) as seen:
        for _ in range(6):
            for part in torch.randperm(len(x)).split(32):
                optimizer.zero_grad()
                change(F.cross_entropy(net(x[part]), y[part]), len(part)).backward()
                optimizer.step()
    assert seen.traces.fact("watch_error") is None
    return seen.traces


@pytest.mark.parametrize(
    ("between", "drops", "mates"),
    [
        (lambda x, t: F.dropout(x, 0.5), True, False),
        (lambda x, t: F.dropout(x, 0.5, True), True, False),
        (lambda x, t: torch.dropout(x, 0.5, True), True, False),
        (lambda x, t: attend(x, 0.5), True, False),
        (lambda x, t: F.dropout(x, 0.5, training=t), False, True),
        (lambda x, t: attend(x, 0.5 if t else 0.0), False, True),
        (lambda x, t: x + 0.3 * torch.randn_like(x), False, False),
    ],
)
def test_units_that_are_dropped_in_evaluation_mode_are_heard(
    between: Callable[[Tensor, bool], Tensor], drops: bool, mates: bool
) -> None:
    torch.manual_seed(0)
    traces = traces_of(Own(between))
    assert set(traces.get("drops_in_eval").values) == {float(drops)}
    effect = traces.get("mate_effect").values
    assert bool(effect.size) is mates
    assert not (effect > 1e-5).any()


def test_a_share_of_the_batch_is_still_seen_in_its_mates() -> None:
    torch.manual_seed(0)
    assert traces_of(Own(lambda x, t: x - x.mean(0))).get("mate_effect").values.min() > 0.01


@pytest.mark.parametrize(
    ("change", "scale"),
    [(lambda loss, n: loss, 1.0), (lambda loss, n: loss / n, 1 / 32), (lambda loss, n: 3 * loss, 3.0)],
)
def test_what_the_loss_is_multiplied_by_is_recorded(
    change: Callable[[Tensor, int], Tensor], scale: float
) -> None:
    torch.manual_seed(0)
    scales = traces_of(Own(lambda x, t: x), change).get("loss_scale").values
    known = scales[torch.isfinite(torch.as_tensor(scales)).numpy()]
    assert known.size > 3
    assert known == pytest.approx(scale, rel=1e-4)


def test_a_layer_that_is_made_in_the_forward_is_heard() -> None:
    torch.manual_seed(0)
    made = traces_of(Own(lambda x, t: nn.Linear(32, 32)(x))).get("made_in_forward").values
    kept = nn.Linear(32, 32)
    assert set(made) == {1.0}
    assert set(traces_of(Own(lambda x, t: kept(x).clamp_(0))).get("made_in_forward").values) == {0.0}


@pytest.mark.parametrize(
    ("shape", "form", "scrambled"),
    [
        ((8, 4, 3), lambda o: o.reshape(8, 3, 4), True),
        ((8, 4, 3), lambda o: o.transpose(1, 2), False),
        ((8, 4, 3), lambda o: o.reshape(-1, 3), False),
        ((8, 3, 4), lambda o: o.reshape(-1, 3), True),
        ((8, 3, 4), lambda o: o.transpose(1, 2).reshape(-1, 3), False),
        ((8, 3, 1), lambda o: o.reshape(8, 1, 3), False),
        ((8, 3), lambda o: o, False),
    ],
)
def test_a_reshape_in_place_of_a_permutation_is_seen(
    shape: tuple[int, ...], form: Callable[[Tensor], Tensor], scrambled: bool
) -> None:
    output = torch.randn(shape)
    scores = form(output)
    call = LossCall("cross_entropy", F.cross_entropy, scores, torch.zeros(1), (), {}, torch.zeros(()))
    assert _scrambled(output, [call]) is scrambled


@pytest.mark.parametrize(
    ("weight", "told"),
    [
        (torch.rand(16, 16), True),
        (-torch.rand(16, 16), True),
        (torch.randn(16, 16), False),
        (torch.eye(16), False),
        (torch.zeros(16, 16), False),
    ],
)
def test_weights_have_one_sign_where_hardly_any_has_none_or_the_other(weight: Tensor, told: bool) -> None:
    """A recurrence that begins as the identity, and a branch that begins as nothing, are sound starts."""
    net = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    with torch.no_grad():
        net[2].weight.copy_(weight)
    with watch(net, torch.optim.SGD(net.parameters(), 0.1), quiet=True) as seen:
        pass
    sided = {p["name"]: p.get("one_sided", False) for p in seen.traces.fact("params")}
    assert sided["2.weight"] is told and not sided["0.weight"]

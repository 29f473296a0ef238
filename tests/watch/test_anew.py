"""A run that is trained anew is the run itself where nothing is changed, and tells what a change would have brought."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from trainwell.rules.strides import gain_anew
from trainwell.rules.view import View
from trainwell.values.signal import Traces
from trainwell.watch import Watch, watch
from trainwell.watch.anew import Anew, Change, anew_facts, start_of

EPOCHS, BATCH = 12, 32
Schedule = Callable[[int], float]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Steps that small are slowed by threads that wait for each other, and what can be paid goes by their time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rows() -> tuple[Tensor, Tensor]:
    x = torch.randn(896, 12, generator=torch.Generator().manual_seed(7))
    return x, x[:, :3].argmax(1)


def network(gain: float = 1.0) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    with torch.no_grad():
        for param in net.parameters():
            param.mul_(gain)
    return net


def adam(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(net.parameters(), 3e-3)


def trained(
    net: nn.Module, optimizer: torch.optim.Optimizer, schedule: Schedule | None = None, until: float = 30.0
) -> tuple[Watch, Anew]:
    """Train over rows in their order, validate every epoch, and return the watch and what can train anew."""
    (x, y), began = rows(), start_of(net)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule) if schedule else None
    loss = nn.CrossEntropyLoss()
    with watch(net, optimizer, say=lambda line: None) as seen:
        for _ in range(EPOCHS):
            net.train()
            for part in torch.arange(384).split(BATCH):
                optimizer.zero_grad()
                loss(net(x[part]), y[part]).backward()
                optimizer.step()
                if scheduler:
                    scheduler.step()
            net.eval()
            with torch.no_grad():
                loss(net(x[384:]), y[384:])
    assert "watch_error" not in seen.traces.facts
    seen._probing = True  # what is asked after the end must not be heard as part of the run
    return seen, Anew(seen.scene, began, until, seen._strengths.found)


@pytest.mark.parametrize("schedule", [None, lambda step: 0.97**step], ids=["constant", "decaying"])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_without_a_change_it_is_the_run(kind: str, schedule: Schedule | None) -> None:
    """Same rows in the same order from the same start: the weights come out as those of the run itself."""
    net = network()
    optimizer: torch.optim.Optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.1)
    if kind == "sgd":
        optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    seen, anew = trained(net, optimizer, schedule)
    anew.train(Change())
    for own, its in zip(anew.replica.params, seen.model.parameters(), strict=True):
        torch.testing.assert_close(own, its, rtol=1e-3, atol=1e-4)


def test_a_decay_and_a_schedule_can_be_left_out() -> None:
    """As the same loop does that never had them."""
    (net, other), rate = (network(), network()), 0.05
    decayed = torch.optim.SGD(net.parameters(), rate, weight_decay=0.05)
    _, anew = trained(net, decayed, lambda step: 0.9**step)
    trained(other, torch.optim.SGD(other.parameters(), rate))
    anew.train(Change(decays=False, constant=1.0))
    for own, its in zip(anew.replica.params, other.parameters(), strict=True):
        torch.testing.assert_close(own, its, rtol=1e-3, atol=1e-4)


def sgd(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), 0.05)


@pytest.mark.parametrize(
    ("net", "optimizer", "change"),
    [
        (network(0.02), sgd, "usual_start"),
        (network(), lambda net: torch.optim.Adam(net.parameters(), 0.3), "tenth"),
        (network(), lambda net: torch.optim.Adam(net.parameters(), 2e-4), "tenfold"),
    ],
    ids=["small start", "high rate", "low rate"],
)
def test_the_change_that_heals_gains(
    net: nn.Sequential, optimizer: Callable[[nn.Module], torch.optim.Optimizer], change: str
) -> None:
    seen, _ = trained(net, optimizer(net))
    assert gain_anew(View(seen.traces), change) > 0.1


def test_a_run_that_is_right_but_unsure_is_asked_for_ten_times_its_rate() -> None:
    """Its answers are right by now, and most of its loss is left: a usual rate would have come to its end."""
    net = network()
    seen, _ = trained(net, torch.optim.Adam(net.parameters(), 1e-3))
    view = View(seen.traces)
    assert view.is_solved and not view.is_done
    assert gain_anew(view, "tenfold") > 0.1


def test_usual_start_weights_are_told() -> None:
    """Those that layers draw by themselves, whatever the seed; not those of another size, sign or spread."""
    for seed in range(5):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(12, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 3))
        assert trained(net, adam(net))[1].unusual() == []
    for change in (lambda p: p.mul_(3), lambda p: p.fill_(0.1), lambda p: p.add_(1)):
        net = network()
        with torch.no_grad():
            change(net[2].weight)
        assert trained(net, adam(net))[1].unusual() == ["2.weight"]


def test_nothing_is_asked_that_cannot_be_paid_or_repeated() -> None:
    net = network(0.02)
    seen, _ = trained(net, sgd(net))
    scene, began = seen.scene, start_of(network(0.02))
    assert anew_facts(scene, None, 30.0) == {}
    assert anew_facts(scene, began, 1e-6) == {}
    scene.facts["accumulation"] = 2
    assert anew_facts(scene, began, 30.0) == {}


def test_the_models_weights_and_streams_stay() -> None:
    net = network(0.02)
    seen, _ = trained(net, sgd(net))
    before = [p.clone() for p in net.parameters()]
    assert "anew" in seen.traces.facts
    plain = network(0.02)
    optimizer, loss, (x, y) = sgd(plain), nn.CrossEntropyLoss(), rows()
    for _ in range(EPOCHS):
        for part in torch.arange(384).split(BATCH):
            optimizer.zero_grad()
            loss(plain(x[part]), y[part]).backward()
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, plain.parameters(), strict=True))


@pytest.mark.parametrize(
    ("entry", "gain"),
    [
        ({"train": 0.5, "val": 0.3, "train_z": 9.0, "val_z": 6.0}, 0.3),
        ({"train": 0.5, "val": 0.3, "train_z": 9.0, "val_z": 4.0}, 0.0),
        ({"train": 0.5, "val": -0.3, "train_z": 9.0, "val_z": -6.0}, 0.0),
        ({"train": -math.inf, "val": 0.3, "train_z": math.nan, "val_z": 6.0}, 0.0),
        ({}, math.nan),
    ],
)
def test_only_what_is_sure_on_both_parts_counts(entry: dict[str, float], gain: float) -> None:
    found = gain_anew(View(Traces({"anew": {"tenth": entry} if entry else {}})), "tenth")
    assert found == gain or (math.isnan(found) and math.isnan(gain))


def test_dropout_is_drawn_anew_in_every_epoch() -> None:
    """A mask of its own for each batch and epoch: one that came again and again would be learned by heart."""
    torch.manual_seed(0)
    net, seen = nn.Sequential(nn.Linear(12, 16), nn.Dropout(0.5), nn.Linear(16, 3)), list[Tensor]()
    _, anew = trained(net, adam(net))
    anew.replica.modules["1"].register_forward_hook(lambda m, i, o: seen.append(o == 0))
    anew.train(Change())
    per_epoch = len(anew.batches)
    assert not torch.equal(seen[0], seen[per_epoch])

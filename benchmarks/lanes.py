"""Networks x epochs per second: lanes of one stack against a good sequential loop.

    python benchmarks/lanes.py [--rounds 5] [--cases digits tiny wide ...]
    python benchmarks/lanes.py --peer lightning --cases digits --lanes 64 [--alone 64]
    python benchmarks/lanes.py --device cuda --lanes 64

The loop takes in-memory batches and `torch.optim.Adam(fused=True)`, validates every epoch and keeps the best weights,
as the lanes do. Both sides run in turn in one process on one thread. Compared is CPU time per network and epoch, all
included: making the networks, training, validation. Printed is the median of the ratios of a round, least and most,
and the ratio that would be reached if a network cost nothing but its products at the rate of the fastest product that
this core does (256 x 256 x 256, in the dtype of the case; 8192 cubed on a GPU): no engine can be faster. On a GPU the
time is that on the clock.

With `--peer` the loop is one training after the other with that framework; run it where the framework is installed.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import itertools
import platform
import statistics
import time
from collections.abc import Callable, Sequence

import lanes_peers
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import trainwell.techniques  # noqa: F401  (fills the registry)
from trainwell.engine.assemble import Source
from trainwell.engine.lanes import LaneSpec, train_lanes
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task

Split = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclasses.dataclass(frozen=True)
class Case:
    """A workload.

    Args:
        widths: of the layers, inputs and classes included. norm: batch norm and dropout 0.1 in every hidden layer.
        side: of the images; 0 for rows of features. The widths are then channels, and classes.
        rows: of the training part; a fifth of them more are for validation.
        alone: networks that the loop trains one after the other in a round.
        goals: least ratio by number of lanes.
    """

    widths: tuple[int, ...]
    batch: int
    rows: int
    epochs: int
    alone: int
    goals: dict[int, float]
    norm: bool = False
    bf16: bool = False
    side: int = 0


CASES = {
    "digits": Case((64, 64, 10), 32, 1257, 20, 3, {16: 9, 64: 14}),
    "digits-bf16": Case((64, 64, 10), 32, 1257, 20, 3, {16: 0, 64: 0}, bf16=True),
    "tiny": Case((20, 16, 16, 4), 16, 1000, 20, 3, {64: 30, 384: 50}),
    "wide": Case((64, 256, 256, 256, 10), 128, 4096, 2, 2, {16: 1.3}),
    "wide-bf16": Case((64, 256, 256, 256, 10), 128, 4096, 2, 2, {16: 2}, bf16=True),
    "norm": Case((64, 256, 256, 256, 10), 128, 4096, 2, 2, {16: 1.3}, norm=True),
    "norm-bf16": Case((64, 256, 256, 256, 10), 128, 4096, 2, 2, {16: 2}, norm=True, bf16=True),
    "large-batch": Case((64, 256, 256, 256, 10), 512, 8192, 2, 2, {16: 1}),
    "cnn": Case((1, 16, 32, 10), 32, 1257, 2, 2, {4: 0, 64: 4}, side=8),
    "large-net": Case((256, 1024, 1024, 10), 128, 4096, 2, 2, {16: 1}),
}


def network(case: Case) -> nn.Module:
    layers: list[nn.Module] = []
    if case.side:
        for a, b in itertools.pairwise(case.widths[:-1]):
            layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU()]
        flat = case.widths[-2] * (case.side // 2) ** 2
        return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(flat, case.widths[-1]))
    for a, b in itertools.pairwise(case.widths[:-1]):
        layers.append(nn.Linear(a, b))
        layers += [nn.BatchNorm1d(b), nn.ReLU(), nn.Dropout(0.1)] if case.norm else [nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(*case.widths[-2:]))


def data(case: Case) -> Split:
    generator = torch.Generator().manual_seed(0)
    rows = case.rows + case.rows // 5
    x = torch.randn(rows, case.widths[0] * max(1, case.side**2), generator=generator)
    y = (x[:, :1] + x[:, 1:2] * torch.linspace(-1, 1, case.widths[-1])).argmax(1)
    x = x.view(rows, case.widths[0], case.side, case.side) if case.side else x
    return x[: case.rows], y[: case.rows], x[case.rows :], y[case.rows :]


def loop(case: Case, split: Split, seed: int) -> float:
    """Train one network by hand; return its best validation loss."""
    torch.manual_seed(seed)
    device = split[0].device
    model, loss_function = network(case).to(device), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    x_train, y_train, x_val, y_val = split
    best, kept = float("inf"), None
    for _ in range(case.epochs):
        model.train()
        total = torch.zeros((), device=device)
        for rows in torch.randperm(len(x_train), device=device).split(case.batch):
            loss = loss_function(model(x_train[rows]), y_train[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
        model.eval()
        with torch.no_grad():
            outputs = model(x_val)
            value = loss_function(outputs, y_val).item()
            (outputs.argmax(1) == y_val).float().mean().item()
        if value < best:
            best, kept = value, {k: t.detach().clone() for k, t in model.state_dict().items()}
    assert kept is not None
    model.load_state_dict(kept)
    return best


def lanes(case: Case, split: Split, count: int, say: Callable[[str], None]) -> list[float]:
    """Train `count` networks as lanes; return their best validation losses."""
    task = Task("multiclass", tuple(range(case.widths[-1])))
    techniques = ("bf16",) if case.bf16 else ()
    recipe = Recipe(
        optimizer="adam", lr=1e-3, epochs=case.epochs, batch_size=case.batch, techniques=techniques
    )

    def build(recipe: Recipe, generator: torch.Generator) -> nn.Module:
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator, device=generator.device)))
        return network(case)

    x_train, y_train, x_val, y_val = split
    source = Source(((x_train,), y_train), ((x_val,), y_val))
    specs = [LaneSpec(recipe, seed) for seed in range(count)]
    device = x_train.device
    results = train_lanes(specs, source, task, model=build, device=device, max_lanes=count, say=say)
    return [r.best_value for r in results]


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """Return the CPU time of a call; for a GPU the time on the clock, until it has nothing left to do."""
    if device.type == "cpu":
        start = time.process_time()
        call()
        return time.process_time() - start
    torch.accelerator.synchronize(device)
    start = time.perf_counter()
    call()
    torch.accelerator.synchronize(device)
    return time.perf_counter() - start


def bound_s(case: Case, split: Split) -> float:
    """Return the least time of an epoch of one network: its products at the rate of the fastest one."""
    device = split[0].device
    model, dtype = network(case).to(device), torch.bfloat16 if case.bf16 else torch.float32
    with FlopCounterMode(display=False) as counter:
        nn.CrossEntropyLoss()(model(split[0][: case.batch]), split[1][: case.batch]).backward()
        steps = len(split[0]) / case.batch
        operations = counter.get_total_flops() * steps
    side = 256 if device.type == "cpu" else 8192
    one = torch.randn(side, side, device=device).to(dtype)
    times = [seconds(lambda: [torch.mm(one, one) for _ in range(20)], device) / 20 for _ in range(10)]
    return operations * min(times) / (2 * side**3)


def measure(name: str, rounds: int, counts: Sequence[int], peer: str | None, device: torch.device) -> None:
    case = CASES[name]
    x_train, y_train, x_val, y_val = (t.to(device) for t in data(case))
    split = x_train, y_train, x_val, y_val
    other: Callable[..., object] = loop if peer is None else lanes_peers.PEERS[peer]
    bound, told = bound_s(case, split), list[str]()
    for count in counts or case.goals:
        other(case, split, 0)
        lanes(case, split, min(count, 4), lambda text: None)
        ratios, ours, theirs = [], [], []
        for i in range(rounds):
            told.clear()
            theirs.append(
                seconds(lambda i=i: [other(case, split, i + s) for s in range(case.alone)], device)
                / case.alone
            )
            ours.append(seconds(lambda count=count: lanes(case, split, count, told.append), device) / count)
            ratios.append(theirs[-1] / ours[-1])
        epochs = case.epochs / statistics.median(ours)
        goal, most = case.goals.get(count, 0), statistics.median(theirs) / case.epochs / bound
        print(
            f"{name:12s} K={count:<4d} x{statistics.median(ratios):5.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
            f"{f', goal {goal:g}' * bool(goal)}; products alone x{most:.1f}; {epochs:.0f} networks x epochs/s; "
            f"{'; '.join(told)}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    parser.add_argument("--lanes", nargs="+", type=int, default=[])
    parser.add_argument(
        "--alone", type=int, help="trainings of the other side in a round, one after the other"
    )
    parser.add_argument("--peer", choices=sorted(lanes_peers.PEERS))
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    options = parser.parse_args()
    if options.peer and importlib.util.find_spec(options.peer) is None:
        parser.error(f"{options.peer} is not installed here; run this with the python that has it")
    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, {platform.processor() or platform.machine()}, one thread, {options.device}"
    )
    for name in options.cases:
        if options.alone:
            CASES[name] = dataclasses.replace(CASES[name], alone=options.alone)
        measure(name, options.rounds, options.lanes, options.peer, options.device)


if __name__ == "__main__":
    main()

"""Which rate? Short runs on a copy answer; nothing of the caller's is touched."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwell.values.errors import UsageError
from trainwell.watch.branch import copied_optimizer
from trainwell.watch.models import covers
from trainwell.watch.probe_bench import Bench, Data, Loss, Rows, batches_of, need_count, untouched

FACTOR, HALVINGS = math.sqrt(10), 4
"""Neighbours on the grid of rates; how often the last gap below divergence is halved (in logarithms)."""
MOST = 16
"""Rates tried at most in either direction: eight decades."""
LEAST_SHARE = 0.1
"""The range begins where a run gains this share of the best fall."""
MARGIN = 2.0
"""The value stays this far below the highest stable rate: at half of 2/curvature a step ends in the valley."""
RESOLVED = 1e-2
"""Length of a first step over that of the weights from which its slope is exact to a percent of a percent."""
FLAT = 1e-6
"""A change of the loss below this share of it is rounding in single precision."""
PROBE_ROWS = 512
"""Rows on which runs are compared."""


@dataclasses.dataclass(frozen=True)
class LrPoint:
    """One short run: its rate, the loss before its cool-down (`hot`) and after it (`end`)."""

    rate: float
    hot: float
    end: float


@dataclasses.dataclass(frozen=True)
class LrProbe:
    """What the short runs say of the rate.

    Args:
        low, high: the range: from where a run makes a tenth of the best fall to the highest rate at which the loss does
            not rise and makes that tenth too.
        value: the rate to take. All three are `None` where no rate lowers the loss.
        reason: why, in a sentence.
        curve: the runs by their rate, the diverged ones with an infinite loss.
    """

    low: float | None
    high: float | None
    value: float | None
    reason: str
    curve: tuple[LrPoint, ...]


def lr_probe(
    model: nn.Module,
    data: Data,
    *,
    loss: Loss,
    optimizer: Optimizer | None = None,
    steps: int = 24,
    batch_size: int = 64,
    seed: int = 0,
) -> LrProbe:
    """Find a range of rates and a value by short runs on a copy, at rates on a logarithmic grid.

    Helps before a training. Says little of late training, where the curvature is another; repeat it there.

    Args:
        data: `(x, y)` tensors, or a loader of batches whose last tensor is the target.
        loss: `loss(output, y)`, one number.
        optimizer: its class, settings and state are copied, rates of groups keep their ratio and the rates found are
            those of the group with the highest; Adam where none is given.
        steps: steps of a run at its rate; half as many follow in which the rate falls to zero, so that low rates are
            not favoured by the short horizon.
        batch_size: rows of a batch where data are tensors.
        seed: of the order of the rows and of dropout, the same in every run.

    Raises:
        UsageError: an argument does not fit, or the loss is not finite before the first step.

    Source: Smith 2017, arXiv:1506.01186, section 3.3; the cool-down: Wu et al. 2018, arXiv:1803.02021.
    """
    need_count("lr_probe", "steps", steps, 2)
    need_count("lr_probe", "batch_size", batch_size, 1)
    with untouched(model, data):
        bench = Bench("lr_probe", model, loss, seed)
        if optimizer is not None:
            _check_optimizer(model, optimizer)
        count = steps + steps // 2
        batches = bench.placed(batches_of("lr_probe", data, batch_size, count, seed))
        return answer(_LoopRuns(bench, batches, optimizer, steps))


def answer(runs: Runs) -> LrProbe:
    """Choose the rates to try, and answer from what they did."""
    return _verdict(runs, *_search(runs))


class Runs:
    """Short runs from the same start over the same batches, each at its own rate.

    Args:
        batches: of every run, in their order, again from the first where they do not suffice.
        steps: at the rate; half as many follow in which it falls to zero.

    Attributes:
        probe: the first batches, on which runs are compared.
        start: loss before the first step.
    """

    def __init__(self, batches: Sequence[Rows], steps: int) -> None:
        self.batches, self.steps = batches, steps
        rows = np.cumsum([0, *(len(b[-1]) for b in batches)])
        self.probe = [b for b, before in zip(batches, rows[:-1], strict=True) if before < PROBE_ROWS]
        self.points: dict[float, LrPoint] = {}
        self.begin()
        self.start = self.probe_loss()
        if not math.isfinite(self.start):
            raise UsageError(
                f"the probe of the rate needs a finite loss at the start, got {self.start}. "
                "Look for NaN in data or weights."
            )

    def begin(self) -> None:
        """Put weights, optimizer and streams to the start of every run."""
        raise NotImplementedError

    def step(self, batch: Rows, rate: float) -> bool:
        """Take one step; return whether its loss was finite."""
        raise NotImplementedError

    def loss_of(self, batch: Rows) -> float:
        """Return the loss of a batch with the weights as they stand."""
        raise NotImplementedError

    def reseed(self) -> None:
        """Set the streams of dropout and its like to the same state for every comparison."""
        raise NotImplementedError

    @property
    def learning(self) -> Sequence[Tensor]:
        """The weights that the steps move, with the gradients of the last one."""
        raise NotImplementedError

    def is_stable(self, rate: float) -> bool:
        """Whether the loss does not rise, and falls by more than a rest: a bounded loss never rises far."""
        best = max((self.fall(r) for r in [*self.points, rate]), default=0.0)
        return self.at(rate).hot <= self.start and self.fall(rate) >= LEAST_SHARE * best

    def fall(self, rate: float) -> float:
        return self.start - self.at(rate).end

    def is_flat(self, rate: float) -> bool:
        return abs(self.start - self.at(rate).hot) <= FLAT * abs(self.start)

    def first_rate(self) -> float | None:
        """Return the rate at which one step would take the whole loss if it fell on linearly; `None` at rest.

        It scales as every good rate does when the loss is multiplied, so that the grid needs no absolute rate.
        """
        for trial in (1.0, 1e4, 1e8):  # a step must stand out of the rounding of the weights
            slope, moved = self._first_step(trial)
            if moved > RESOLVED:
                break
        rate = abs(self.start) / abs(slope) if slope else 0.0
        return rate if math.isfinite(rate) and rate > 0 else None

    def _first_step(self, rate: float) -> tuple[float, float]:
        """Return the slope of the loss along a first step, per rate, and the step's length over that of the weights."""
        self.begin()
        old = [p.detach().clone() for p in self.learning]
        self.step(self.batches[0], rate)
        moves = [p.detach().double() - o.double() for p, o in zip(self.learning, old, strict=True)]
        grads = [p.grad for p in self.learning]
        slope = sum(float((g * m).sum()) for g, m in zip(grads, moves, strict=True) if g is not None)
        length = math.sqrt(sum(float((m * m).sum()) for m in moves))
        return slope / rate, length / max(1e-30, math.sqrt(sum(float((o.double() ** 2).sum()) for o in old)))

    def at(self, rate: float) -> LrPoint:
        if rate not in self.points:
            self.points[rate] = self._run(rate)
        return self.points[rate]

    def _run(self, rate: float) -> LrPoint:
        self.begin()
        hot, cool = math.inf, self.steps // 2
        for i in range(self.steps + cool):
            if i == self.steps:
                hot = self.probe_loss()
            falling = rate * min(1.0, (self.steps + cool - i) / (cool + 1))
            if not self.step(self.batches[i % len(self.batches)], falling) or (
                i == self.steps and hot == math.inf
            ):
                return LrPoint(rate, math.inf, math.inf)
        return LrPoint(rate, hot, self.probe_loss())

    @torch.no_grad()
    def probe_loss(self) -> float:
        """Return the mean loss of the probe's rows, infinite where it is not finite."""
        self.reseed()
        rows = sum(len(b[-1]) for b in self.probe)
        value = sum(self.loss_of(b) * len(b[-1]) for b in self.probe) / rows
        return value if math.isfinite(value) else math.inf


class _LoopRuns(Runs):
    """Runs of a model, a loss and an optimizer of torch."""

    def __init__(
        self, bench: Bench, batches: Sequence[Rows], optimizer: Optimizer | None, steps: int
    ) -> None:
        self.bench, self.given = bench, optimizer
        super().__init__(batches, steps)

    @property
    def learning(self) -> Sequence[Tensor]:
        return self.bench.learning

    def reseed(self) -> None:
        self.bench.reseed()

    def begin(self) -> None:
        self.bench.restart()
        self.optimizer, self.shares = self._optimizer()

    def loss_of(self, batch: Rows) -> float:
        return float(self.bench.loss_of(batch))

    def step(self, batch: Rows, rate: float) -> bool:
        _set_rates(self.optimizer, self.shares, rate)
        for param in self.bench.replica.params:
            param.grad = None
        with torch.enable_grad():
            loss = self.bench.loss_of(batch)
            if not torch.isfinite(loss):
                return False
            loss.backward()
        self.optimizer.step()
        return True

    def _optimizer(self) -> tuple[Optimizer, list[float]]:
        replica = self.bench.replica
        if self.given is None:
            return torch.optim.Adam(self.bench.learning), [1.0]
        twin = copied_optimizer(self.given, replica.params, list(self.bench.source.parameters()))
        rates = [float(g["lr"]) for g in twin.param_groups]
        top = max(rates)
        return twin, [r / top if top > 0 else 1.0 for r in rates]


def _search(runs: Runs) -> tuple[float | None, bool]:
    """Return the highest stable rate, `None` where there is none, and whether a rate above it diverged."""
    rate = runs.first_rate()
    if rate is None:
        return None, False
    stable = above = None
    for _ in range(MOST):
        if runs.is_stable(rate) and not runs.is_flat(rate):
            stable = rate
            if above is not None:
                break
            rate *= FACTOR
        elif runs.is_flat(rate) and above is not None:
            break
        elif runs.is_flat(rate):
            rate *= FACTOR
        else:
            above = rate
            if stable is not None:
                break
            rate /= FACTOR
    if stable is None or above is None:
        return stable, False
    for _ in range(HALVINGS):
        middle = math.sqrt(stable * above)
        stable, above = (middle, above) if runs.is_stable(middle) else (stable, middle)
    return stable, True


def _verdict(runs: Runs, high: float | None, diverged: bool) -> LrProbe:
    if high is None:
        reason = "No rate lowered the loss: the gradient is zero, or the weights stand at a minimum already."
        return LrProbe(None, None, None, reason, _curve(runs))
    rate = top = high / MARGIN if diverged else high
    best = top
    for _ in range(3 * MOST):
        runs.at(rate)
        best = max((r for r in runs.points if r <= top), key=runs.fall)
        if rate < best and runs.fall(rate) < LEAST_SHARE * runs.fall(best):
            break
        rate /= FACTOR
    floor = LEAST_SHARE * runs.fall(best)
    low = min(
        (p.rate for p in runs.points.values() if p.rate <= best and runs.fall(p.rate) >= floor), default=best
    )
    if runs.fall(best) <= FLAT * abs(runs.start):
        reason = "No rate lowered the loss after a cool-down: the runs were too short or the weights stand at a minimum."
        return LrProbe(None, None, None, reason, _curve(runs))
    end = f"above {high:.2g} the loss rises or stays" if diverged else f"no rate up to {high:.2g} diverged"
    reason = (
        f"At {best:.2g} {runs.steps} steps and a cool-down lowered the loss most, from {runs.start:.3g} to "
        f"{runs.at(best).end:.3g}; {end}, and below {low:.2g} less than a tenth of that fall is left."
    )
    return LrProbe(low, high, best, reason, _curve(runs))


def _curve(runs: Runs) -> tuple[LrPoint, ...]:
    return tuple(runs.points[r] for r in sorted(runs.points))


def _set_rates(optimizer: Optimizer, shares: Sequence[float], rate: float) -> None:
    for group, share in zip(optimizer.param_groups, shares, strict=True):
        old = group["lr"]
        group["lr"] = torch.full_like(old, rate * share) if isinstance(old, Tensor) else rate * share


def _check_optimizer(model: nn.Module, optimizer: Optimizer) -> None:
    if not covers(model, [optimizer]):
        raise UsageError(
            "lr_probe needs an optimizer of this model's parameters, got one that moves others or none."
        )
    if isinstance(optimizer, torch.optim.LBFGS):
        raise UsageError("lr_probe cannot copy LBFGS, which searches its own step length. Give SGD or Adam.")

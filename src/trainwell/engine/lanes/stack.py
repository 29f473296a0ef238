"""K networks of one structure that are trained together: one step moves them all."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from trainwell.engine.feed import XY
from trainwell.engine.flat import Flat, flatten
from trainwell.engine.lanes.bits import DropoutBits, Place
from trainwell.engine.lanes.chain import ChainNetwork
from trainwell.engine.lanes.direct import DirectStep
from trainwell.engine.lanes.evaluation import evaluate
from trainwell.engine.lanes.graphed import GraphedStep, can_be_captured
from trainwell.engine.lanes.lane import Lane, rates_of
from trainwell.engine.lanes.members import align, stack_sites
from trainwell.engine.lanes.moving import Move
from trainwell.engine.lanes.objective import LaneObjective
from trainwell.engine.lanes.paused import put_back
from trainwell.engine.lanes.vmapped import hush_layout_warning
from trainwell.engine.step import Step, forward_of
from trainwell.engine.training import Row
from trainwell.values.task import Task

BLOCK_BYTES = 1 << 20
"""Batches of about this size are gathered at once; more would only wash the cache."""

BITS_BYTES = 16 << 20
"""Dropout bits of about this size are drawn at once: a call for each lane costs more than a wait for memory."""


class Network(Protocol):
    """The forward pass of K networks; see `VmappedNetwork`."""

    def __call__(
        self,
        weights: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        x: tuple[Tensor, ...],
        bits: DropoutBits | None = None,
        *,
        training: bool,
    ) -> Tensor: ...


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all lanes of a stack share.

    Args:
        train, val: the parts on the device; `val` may be None.
        on_epoch: told of every row of every lane; what it returns ends the lane, as the reason.
        network: the forward pass.
        places: the calls of dropout layers in a forward pass.
        lengths: tokens of every row of the training part, where batches of texts are cut to their longest.
    """

    train: XY
    val: XY | None
    task: Task | None
    objective: LaneObjective
    network: Network
    places: Sequence[Place]
    on_epoch: Callable[[Lane, Row], str | None] = lambda lane, row: None
    lengths: Tensor | None = None


def side_by_side(lanes: Sequence[Lane]) -> list[Lane]:
    """Sort lanes so that those with dropout, which alone are masked, lie together."""
    return sorted(lanes, key=lambda lane: any(lane.dropouts))


class Stack:
    """Lanes in training. All stand at the same step of their epoch, each in its own epoch.

    Args:
        lanes: of one structure.
        old: the stack that some of the lanes stood in before; they go on as if nothing had happened.

    Attributes:
        at: finished steps of the epoch in hand.
    """

    def __init__(self, lanes: Sequence[Lane], setting: Setting, old: Stack | None = None) -> None:
        self.lanes, self.setting, self.at = side_by_side(lanes), setting, 0
        count, first = len(lanes), lanes[0]
        self.params, self.grads = flatten(first.groups, (count,))
        self.device = self.params.flat.device
        moved = Move(self, old)
        self._fill(moved)
        self.bits = self._dropout_bits()
        self.step = self._make_step()
        self.step.count = self._counts()
        self.best = self.params.flat.clone()
        self.best_buffers = {k: v.clone() for k, v in self.buffers.items()}
        self._losses: list[Tensor] = []
        self._rows = torch.empty(count, 0, dtype=torch.int64, device=self.device)
        self._batches: dict[int, list[Tensor]] = {}
        self._clock = time.perf_counter()
        if old is not None:
            moved.carry_over(old)
        for k in moved.new:
            resume = self.lanes[k].spec.resume
            if resume is not None:
                put_back(self, k, resume)
        self._take: Callable[..., Tensor] = self.step
        if can_be_captured(self.step):
            live = [self.params.flat, *self.buffers.values(), *self._state_tensors()]
            self._take = GraphedStep(self.step, live, self.bits)

    @torch.no_grad()
    def _fill(self, moved: Move) -> None:
        """Take the first weights, the constants and the buffers from the modules of the new lanes."""
        first = self.lanes[0]
        trained = {g.name for g in first.groups}
        fixed = [n for n, _ in first.model.named_parameters() if n not in trained]
        self.buffers: dict[str, Tensor] = {}
        self.fixed: dict[str, Tensor] = {}
        for name, like in first.model.named_buffers():
            self.buffers[name] = like.new_empty((len(self.lanes), *like.shape))
        for name in fixed:
            like = first.model.get_parameter(name).detach()
            self.fixed[name] = like.new_empty((len(self.lanes), *like.shape))
        views = {**self.params.named(), **self.buffers, **self.fixed}
        for k in moved.new:
            own = dict(self.lanes[k].model.named_parameters()) | dict(self.lanes[k].model.named_buffers())
            for name, view in views.items():
                view[k].copy_(own[name])
        if moved.old is not None:
            moved.copy(self.params.flat, moved.old.params.flat)
            for name in self.buffers:
                moved.copy(self.buffers[name], moved.old.buffers[name])
            for name in self.fixed:
                moved.copy(self.fixed[name], moved.old.fixed[name])
        hush_layout_warning()
        self.weights = {n: v.detach().requires_grad_() for n, v in self.params.named().items()}
        for name in first.momenta:
            momenta = [lane.momenta[name] for lane in self.lanes]
            self.fixed[name] = self.params.flat.new_tensor(momenta).unsqueeze(-1)
        self.weights |= self.fixed
        for name, grad in self.grads.named().items():
            self.weights[name].grad = grad

    def _make_step(self) -> Step:
        lanes = self.lanes
        columns = align([lane.techniques for lane in lanes])
        assert columns is not None
        flat = self.params.flat
        sites = stack_sites(columns, [lane.sites.optimizer for lane in lanes], flat.dtype, flat.device)
        generators: Any = lambda name: [lane.streams.generator(name) for lane in lanes]  # noqa: E731
        objective, plan, network = self.setting.objective, lanes[0].plan, self.setting.network
        shared: Any = (
            self.params, self.grads, sites, objective, self.setting.task or Task("regression"), plan, generators,
            getattr(lanes[0].model, "num_members", 1),
        )  # fmt: skip
        if isinstance(network, ChainNetwork):
            chain = network.bind(self.weights, self.buffers, self.grads.named())
            return DirectStep(chain, objective.with_gradient, self.bits, self._forward, *shared)
        return Step(forward_of(self._forward, plan), *shared)

    def _counts(self) -> Any:
        """Return the steps that were taken: a number, where all lanes are as far; else (K, 1)."""
        counts = [lane.state.step for lane in self.lanes]
        if len(set(counts)) == 1 and self.device.type == "cpu":
            return counts[0]
        return torch.tensor(counts, dtype=self.params.flat.dtype, device=self.device).unsqueeze(-1)

    def _dropout_bits(self) -> DropoutBits | None:
        places = self.setting.places
        layers = 1 + max((p.layer for p in places), default=-1)
        rates = [lane.dropouts or (0.0,) * layers for lane in self.lanes]
        if not any(map(any, rates)):
            return None
        generators = [lane.streams.generator("dropout") for lane in self.lanes]
        return DropoutBits(places, rates, generators, self.params.flat.dtype, self.device)

    def _forward(self, *x: Tensor) -> Tensor:
        return self.setting.network(self.weights, self.buffers, x, self.bits, training=True)

    def advance(self) -> list[Lane]:
        """Train to the end of the epoch, or to where the first lane's budget ends; return the lanes that ended.

        They must be taken out before the stack goes on, see `Stack(..., old)`.
        """
        if self.at == 0:
            self._begin_epoch()
        self._rows = pad_sequence([lane.rows for lane in self.lanes], batch_first=True).to(self.device)
        ends = [lane.end_of_epoch(self.at) for lane in self.lanes]
        stop = min(ends)
        self._take_steps(self.at, stop)
        for lane in self.lanes:
            lane.state.step += stop - self.at
        self.at = stop
        full = stop == self.lanes[0].feed.steps_per_epoch
        ended = self._finish([k for k, end in enumerate(ends) if full or end == stop])
        if full:
            self.at, self._losses = 0, []
        return ended

    def _begin_epoch(self) -> None:
        self._clock = time.perf_counter()
        orders: dict[tuple[Any, ...], Tensor] = {}
        for lane in self.lanes:
            key = lane.spec.seed, id(lane.spec.train_rows), lane.state.epoch, lane.feed.sorters
            if key not in orders:
                orders[key] = lane.feed.order(lane.state.epoch)
            lane.rows = orders[key]

    def _take_steps(self, first: int, stop: int) -> None:
        last = self.lanes[0].feed.steps_per_epoch - 1
        flat = self.params.flat
        rates = rates_of(self.lanes, stop - first)
        lr: Any = rates[:, 0].tolist()
        if flat.device.type != "cpu" or (rates != rates[:, :1]).any():
            lr = torch.from_numpy(rates).to(flat.device, flat.dtype).unsqueeze(-1)
        size = self.lanes[0].feed.batch_size
        whole = max(first, min(stop, last))
        rows = self._rows[:, first * size : whole * size].unflatten(1, (whole - first, size))
        rows = rows.transpose(0, 1).contiguous()  # (steps, K, B)
        drawn = first
        for begin, end in self._blocks(first, whole, size):
            if begin == drawn:
                drawn = min(whole, begin + self._steps_drawn(size, end - begin))
                self.draw([size] * (drawn - begin), rows=rows[begin - first : drawn - first])
            x, y = self._gather(rows[begin - first : end - first])
            for i in range(end - begin):
                self._losses.append(self._take(tuple(t[i] for t in x), y[i], lr[begin - first + i]))
        if stop > last:
            self._last_step(last * size, lr[-1])

    def _blocks(self, first: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
        """Yield where blocks of steps begin and end."""
        x, y = self.setting.train
        row_bytes = sum(t[:1].numel() * t.element_size() for t in (*x, y))
        steps = max(1, BLOCK_BYTES // max(1, row_bytes * size * len(self.lanes)))
        if isinstance(self._take, GraphedStep) and self.bits is not None:
            steps = 1
        for begin in range(first, stop, steps):
            yield begin, min(stop, begin + steps)

    def _steps_drawn(self, size: int, block: int) -> int:
        """Return for how many steps dropout bits are drawn at once, whole blocks of steps."""
        if isinstance(self._take, GraphedStep) or self.bits is None:
            return block
        step_bytes = 2 * sum(p.features for p in self.setting.places) * size * len(self.lanes)
        return block * max(1, BITS_BYTES // max(1, step_bytes * block))

    def draw(
        self, batch_sizes: Sequence[int], lanes: Sequence[int] | None = None, rows: Tensor | None = None
    ) -> None:
        """Draw the dropout bits of the next steps, on these rows of the training part, (steps, K, B)."""
        if self.bits is None:
            return
        counts, longest, lengths = list[int](), list[list[int]](), self.setting.lengths
        cut = None if rows is None or lengths is None else lengths[rows]
        for i, size in enumerate(batch_sizes):
            part = -(-size // self.lanes[0].plan.micro_batches)
            for start in range(0, size, part):
                counts.append(min(part, size - start))
                if cut is not None:
                    longest.append(cut[i, :, start : start + part].amax(-1).tolist())
        self.bits.draw(counts, lanes, longest or None)

    def _gather(self, rows: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return these rows of the training part. Shapes: (steps, K, B) -> (steps, K, B, ...)."""
        shape, rows = rows.shape, rows.reshape(-1)
        x, y = self.setting.train
        if len(rows) not in self._batches or not rows.is_cpu:  # memory that is used again stays in the cache
            self._batches[len(rows)] = [t.new_empty(len(rows), *t.shape[1:]) for t in (*x, y)]
        spaces = self._batches[len(rows)]
        for t, space in zip((*x, y), spaces, strict=True):
            torch.index_select(t, 0, rows, out=space)
        found = [space.view(*shape, *space.shape[1:]) for space in spaces]
        return found[:-1], found[-1]

    def _last_step(self, start: int, lr: Any) -> None:
        """Take the last step of an epoch, whose batches may be of several sizes: folds differ by a row."""
        sizes = [lane.feed.last_batch_size for lane in self.lanes]
        if len(set(sizes)) == 1:
            last = self._rows[:, start : start + sizes[0]].unsqueeze(0)
            self.draw([sizes[0]], rows=last)
            x, y = self._gather(last)
            self._losses.append(self._take(tuple(t[0] for t in x), y[0], lr))
            return
        total = torch.zeros(len(sizes), dtype=self.params.flat.dtype, device=self.device)
        for size in sorted(set(sizes)):
            meant = [k for k, own in enumerate(sizes) if own == size]
            loss = self._step_of_some(meant, start, size, lr)
            total[meant] = loss[meant]
        self.step.count += 1
        self._losses.append(total)

    def _step_of_some(self, meant: Sequence[int], start: int, size: int, lr: Any) -> Tensor:
        """Take a step with all lanes and put back those that were not meant, with their streams."""
        others = [k for k in range(len(self.lanes)) if k not in meant]
        count = self.step.count + 0  # a copy, where it is a tensor
        live = [self.params.flat, *self.buffers.values(), *self._state_tensors()]
        before = [t[others].clone() for t in live]
        names = [m.name for m in self.step.sites.at("batch")]
        streams = [self.lanes[k].streams.generator(name) for k in others for name in names]
        drawn = [g.get_state() for g in streams]
        rows = [lane.rows[start : start + size] for lane in self.lanes]
        rows = [r if len(r) == size else lane.rows[:size] for r, lane in zip(rows, self.lanes, strict=True)]
        index = torch.cat(rows).to(self.device)
        self.draw([size], meant, index.view(1, -1, size))
        (x, y), shape = self.setting.train, (len(rows), size)
        batch = tuple(t.index_select(0, index).view(*shape, *t.shape[1:]) for t in x)
        loss = self.step(batch, y.index_select(0, index).view(*shape, *y.shape[1:]), lr)
        with torch.no_grad():
            for tensor, saved in zip(live, before, strict=True):
                tensor[others] = saved
        self.step.count += count - self.step.count  # in place, where it is a tensor
        for generator, state in zip(streams, drawn, strict=True):
            generator.set_state(state)
        return loss

    def _state_tensors(self) -> list[Tensor]:
        """Return what the techniques keep, without their scratch space."""
        return [t for state in self.step.states.values() for k, t in state.items() if not k.startswith("_")]

    def _finish(self, lanes: Sequence[int]) -> list[Lane]:
        """Close the epoch of these lanes: validation, best weights, stopping. Return those that ended."""
        losses = torch.stack(self._losses).double()
        finite = torch.isfinite(losses).cpu()
        ended = []
        for k in lanes:
            if not bool(finite[:, k].all()):
                lane = self.lanes[k]
                lane.state.step -= len(finite) - int((~finite[:, k]).int().argmax())
                lane.state.stop_reason = "non-finite"
                ended.append(lane)
        alive = [k for k in lanes if not self.lanes[k].state.stop_reason]
        if alive:
            with self.step.evaluated_weights():
                ended += self._close_epochs(alive, self._train_losses(losses, alive))
        return ended

    def _train_losses(self, losses: Tensor, lanes: Sequence[int]) -> list[float]:
        sizes = torch.full(losses.shape, float(self.lanes[0].feed.batch_size), dtype=torch.float64)
        if len(losses) == self.lanes[0].feed.steps_per_epoch:
            sizes[-1] = torch.tensor([float(lane.feed.last_batch_size) for lane in self.lanes])
        sizes = sizes.to(self.device)
        means: list[float] = ((losses * sizes).sum(0) / sizes.sum(0))[list(lanes)].tolist()
        return means

    def _close_epochs(self, lanes: Sequence[int], train_losses: Sequence[float]) -> list[Lane]:
        start, better, ended = time.perf_counter(), list[int](), list[Lane]()
        validation = evaluate(self, lanes)
        now = time.perf_counter()
        shares = (now - self._clock) / len(self.lanes), (now - start) / len(lanes)
        for k, loss, (val_loss, val_metric) in zip(lanes, train_losses, validation, strict=True):
            lane, state = self.lanes[k], self.lanes[k].state
            state.epoch += 1
            state.seconds += shares[0]
            row = {
                "epoch": state.epoch, "step": state.step, "train_loss": loss, "val_loss": val_loss,
                "val_metric": val_metric, "epoch_s": shares[0], "validation_s": shares[1],
            }  # fmt: skip
            if state.close_epoch(row, lane.recipe, self.setting.task):
                better.append(k)
            asked = self.setting.on_epoch(lane, row)
            if state.step >= state.total_steps:
                state.stop_reason = "budget of epochs"
            else:
                early = state.early_reason(lane.recipe, self.setting.task, lane.sites)
                state.stop_reason = early or asked or ""
            if state.stop_reason:
                ended.append(lane)
        self._keep_best(better)
        return ended

    @torch.no_grad()
    def _keep_best(self, lanes: Sequence[int]) -> None:
        if len(lanes) == len(self.lanes):
            self.best.copy_(self.params.flat)
            for name, buffer in self.buffers.items():
                self.best_buffers[name].copy_(buffer)
        elif lanes:
            index = torch.tensor(lanes, device=self.device)
            self.best.index_copy_(0, index, self.params.flat.index_select(0, index))
            for name, buffer in self.buffers.items():
                self.best_buffers[name].index_copy_(0, index, buffer.index_select(0, index))

    def weights_of(self, lane: Lane) -> dict[str, Tensor]:
        """Return the best weights and buffers of a lane; the present ones where no epoch was best."""
        k = self.lanes.index(lane)
        best = lane.state.best_epoch > 0
        flat, buffers = (self.best, self.best_buffers) if best else (self.params.flat, self.buffers)
        views = Flat(flat[k], self.params.slots, self.params.num_decayed).named()
        return views | {n: t[k] for n, t in buffers.items()}

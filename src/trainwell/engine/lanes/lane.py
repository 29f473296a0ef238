"""One network of a stack: what it was asked for, its own streams, its feed, its schedule and its record."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from trainwell.engine.assemble import prepare_model
from trainwell.engine.compose import Sites
from trainwell.engine.feed import XY, MemoryFeed
from trainwell.engine.flat import parameter_groups
from trainwell.engine.lanes.bits import dropout_layers
from trainwell.engine.lanes.chain import chain_of, momenta_of
from trainwell.engine.lanes.members import in_step, optimizer_kind
from trainwell.engine.lanes.paused import Paused
from trainwell.engine.lanes.spec import Build, LaneResult, LaneSpec
from trainwell.engine.parts import HardwarePlan
from trainwell.engine.streams import Streams
from trainwell.engine.training import State
from trainwell.models.layers import Dropout
from trainwell.values.technique import Technique


@dataclasses.dataclass(frozen=True)
class Structure:
    """What lanes must share to stand in one stack. Doses, seeds, rows, rates and schedules may differ."""

    modules: tuple[str, ...]
    parameters: tuple[tuple[str, tuple[int, ...], float, bool], ...]
    constants: tuple[tuple[str, tuple[int, ...], torch.dtype], ...]
    dtype: torch.dtype
    optimizer: tuple[str, ...]
    batch_size: int
    steps_per_epoch: int
    autocast: torch.dtype | None
    micro_batches: int


class Lane:
    """One training, ready to stand in a stack.

    Attributes:
        model: the lane's own module: the first weights come from it, the best go back into it.
        groups: its trainable parameters.
        dropouts: the rates of its dropout layers, in the order of the modules.
        techniques: those that act in the step.
        rows: the order of the rows of the epoch in hand.
        chain: the modules, if the model is a chain. momenta: of its batch norms, which may differ from lane to lane.
        state: the counters and the history, as of a lone run.
    """

    def __init__(self, spec: LaneSpec, build: Build, train: XY, device: torch.device) -> None:
        self.spec, self.recipe = spec, spec.recipe
        self.streams = Streams(spec.seed, device)
        self.sites = Sites.of(spec.recipe)
        self.plan = self.sites.plan(HardwarePlan(device))
        rows = None if spec.train_rows is None else spec.train_rows.to(device)
        self.feed = MemoryFeed(*train, spec.recipe.batch_size, self.streams, rows, self.sites.at("data"))
        model = build(spec.recipe, Streams(spec.seed).generator("init")).to(device)
        self.model = prepare_model(model, self.sites, self.feed, self.streams)
        self.groups = [g for g in self.sites.edit_groups(parameter_groups(self.model)) if g.lr_factor != 0]
        self.dropouts = tuple(float(m.rate) for m in dropout_layers(self.model))
        self.techniques: tuple[Technique, ...] = in_step(self.sites.members)
        self.state = State(total_steps=max(1, math.ceil(spec.recipe.epochs * self.feed.steps_per_epoch)))
        self.rows = torch.empty(0, dtype=torch.int64)
        self.chain = chain_of(self.model)
        self.momenta = momenta_of(self.model) if self.chain else {}
        self.structure = self._structure()
        if spec.resume is not None:
            self.state = spec.resume.resumed_state()
            self.streams.restore(spec.resume.streams)

    def _structure(self) -> Structure:
        first, trained = self.groups[0].param, {id(g.param) for g in self.groups}
        fixed = [(n, p) for n, p in self.model.named_parameters() if id(p) not in trained]
        constants = [*fixed, *self.model.named_buffers()]
        return Structure(
            ("chain",) * bool(self.chain) + module_lines(self.model, momenta=not self.chain),
            tuple((g.name, tuple(g.param.shape), g.lr_factor, g.decay) for g in self.groups),
            tuple((n, tuple(t.shape), t.dtype) for n, t in constants),
            first.dtype,
            optimizer_kind(self.sites.optimizer),
            self.recipe.batch_size,
            self.feed.steps_per_epoch,
            self.plan.autocast,
            self.plan.micro_batches,
        )

    def end_of_epoch(self, at: int) -> int:
        """Return the step of the epoch at which it ends for this lane, which stands at step `at` of it."""
        return min(self.feed.steps_per_epoch, at + self.state.total_steps - self.state.step)

    @torch.no_grad()
    def result(self, weights: Mapping[str, Tensor], engine: str, paused: Paused | None = None) -> LaneResult:
        """Put weights and buffers into the module and return what became of the lane."""
        own = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        for name, value in weights.items():
            own[name].copy_(value)
        state = self.state
        return LaneResult(
            self.spec, self.model.eval(), state.history, state.best_epoch, state.best_value, state.stop_reason,
            state.step, engine, paused,
        )  # fmt: skip


def rates_of(lanes: Sequence[Lane], count: int) -> npt.NDArray[np.float64]:
    """Return the learning rates of the next steps, (steps, K); what lanes share of their schedules is made once."""
    known: dict[Any, npt.NDArray[np.float64]] = {}
    rates = np.empty((count, len(lanes)))
    for k, lane in enumerate(lanes):
        key = lane.state.step, lane.state.total_steps, lane.sites.schedule, *lane.sites.at("schedule")
        if key not in known:
            known[key] = lane.state.rate_factors(lane.sites, count)
        rates[:, k] = known[key] * float(lane.recipe.lr or 0.0)
    return rates


def module_lines(model: nn.Module, *, momenta: bool) -> tuple[str, ...]:
    """Describe the modules of a model one by one, without what may differ between lanes: the dropout layers.

    Args:
        momenta: whether the momenta of batch norms are of the structure.
    """
    silent = (nn.Sequential, nn.Identity, Dropout)

    def words(module: nn.Module) -> str:
        text = module.extra_repr()
        return text if momenta else re.sub(r"momentum=[^,]*", "", text)

    return tuple(
        f"{type(m).__module__}.{type(m).__qualname__}({words(m)})"
        for m in model.modules()
        if not isinstance(m, silent)
    )

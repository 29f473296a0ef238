"""Sorts the techniques of a recipe into the sites of the step. The engine knows techniques only through this file."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from trainwell.engine.flat import Flat, Group, parameter_groups
from trainwell.engine.losses import Each
from trainwell.engine.parts import Build, HardwarePlan
from trainwell.values.errors import NoPlaceError
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task
from trainwell.values.technique import KIND_WORDS

State = dict[str, Tensor]


@dataclasses.dataclass(frozen=True)
class Sites:
    """The active techniques of a recipe by site, in the order of the recipe.

    A member is a technique, or, in a stack of lanes, an object with its methods and doses of shape (K, 1).
    """

    members: tuple[Any, ...]
    optimizer: Any
    schedule: Any

    @classmethod
    def of(cls, recipe: Recipe) -> Sites:
        return cls(recipe.active(), recipe.optimizer, recipe.schedule)

    def at(self, site: str) -> list[Any]:
        """Return the members that act at the site."""
        return [m for m in self.members if hasattr(m, site)]

    def check_kinds(self, model: nn.Module, sample: Sequence[Tensor]) -> None:
        """Refuse members that cannot act on data of this kind.

        Args:
            model: says the kind, if it is of a family of ours. sample: rows, whose form says what they may be if not.

        Raises:
            NoPlaceError: names the first, and what it acts on.
        """
        kind = getattr(model, "data_kind", None)
        found = kinds_of(sample) if kind is None else (kind,)
        shapes = " and ".join(f"{tuple(x.shape[1:])}" for x in sample)
        said = (
            f"rows of the shape {shapes} are none"
            if kind is None
            else f"and these are {KIND_WORDS.get(kind, kind)}"
        )
        for m in self.members:
            m.check_kinds(found, said)

    def build_model(self, model: nn.Module, build: Callable[[str], Build]) -> nn.Module:
        """Let the members of the site `model` change it; each draws from the stream of its own name."""
        for m in self.at("model"):
            model = m.model(model, build(m.name))
        return model

    def edit_groups(self, groups: list[Group]) -> list[Group]:
        for m in self.at("groups"):
            m.groups(groups)
        return groups

    def plan(self, plan: HardwarePlan) -> HardwarePlan:
        for m in self.at("hardware"):
            m.hardware(plan)
        return plan

    def wrap_loss(self, each: Each, task: Task) -> Each:
        for m in self.at("loss"):
            each = m.loss(each, task)
        return each

    def rate_factors(self, progress: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the factor of the peak rate at each progress in [0, 1)."""
        factor = np.asarray(self.schedule.schedule(progress), dtype=np.float64)
        for m in self.at("schedule"):
            factor = factor * m.schedule(progress)
        return np.broadcast_to(factor, progress.shape)

    def init_states(self, params: Flat) -> dict[str, State]:
        """Return the tensors that members keep from step to step, by name of the member."""
        kept = [m for m in (*self.members, self.optimizer) if hasattr(m, "init_state")]
        return {m.name: m.init_state(params) for m in kept}

    def stop_reason(self, monitor: Sequence[float], train_loss: Sequence[float]) -> str | None:
        """Return why the training should stop now, or None."""
        for m in self.at("stop"):
            reason = m.stop(list(monitor), list(train_loss))
            if reason:
                return f"{m.name}: {reason}"
        return None


def kinds_of(x: Sequence[Tensor]) -> tuple[str, ...]:
    """Return the kinds of data that inputs of this form may be, where nothing else says it."""
    if any(t.ndim == 4 for t in x):
        return ("image", "audio")
    tokens = x and x[0].ndim == 2 and not x[0].is_floating_point() and x[0].dtype != torch.uint8
    return ("text",) if tokens else ("table",)


def check_places(model: nn.Module, recipe: Recipe) -> None:
    """Let the techniques change a network, without rows.

    Args:
        model: a copy, which is spoiled.

    Raises:
        NoPlaceError, RecipeError: one of them has no place in it, or cannot act on the data of a family of ours.
    """
    sites, generator = Sites.of(recipe), torch.Generator()
    if hasattr(model, "data_kind"):
        sites.check_kinds(model, ())
    kept = dataclasses.replace(sites, members=tuple(m for m in sites.members if m.family != "init"))
    changed = kept.build_model(model, lambda _: Build(generator, (), generator))
    kept.edit_groups(parameter_groups(changed))


def restore_structure(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Let the techniques change the modules of a model whose weights are loaded afterwards.

    Those that only set the first numbers, and those that found no place, are left out; no data are needed.
    """
    generator = torch.Generator()
    for m in Sites.of(recipe).at("model"):
        if m.family != "init":
            with contextlib.suppress(NoPlaceError):
                model = m.model(model, Build(generator, (), generator))
    return model

"""The recipe of a training, the network of a recipe, and whether every technique of it has a place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from trainwell.app.presets import preset as preset_recipe
from trainwell.app.settings import several
from trainwell.app.sources import Prepared
from trainwell.engine.assemble import Source, assemble
from trainwell.engine.streams import Streams, seeded
from trainwell.models import build_model
from trainwell.values.errors import NoPlaceError, UsageError
from trainwell.values.recipe import ModelSpec, Recipe
from trainwell.values.technique import Technique

Say = Callable[[str], None]


def recipe_for(
    prepared: Prepared,
    recipe: Recipe | None,
    preset: str,
    model: Callable[..., Any] | None,
    optimizer: torch.optim.Optimizer | None,
) -> Recipe:
    """Return the user's recipe, or that of the preset.

    Args: model: a module of the user's own, or what makes one.
    """
    if recipe is None:
        if model is not None:
            recipe = Recipe()
        elif prepared.task is None or prepared.inputs is None:
            raise UsageError("these data need a model: give model=your_module; uint8 pixels need none.")
        else:
            recipe = preset_recipe(preset, prepared.task, prepared.num_rows, prepared.inputs)
    elif recipe.model.family == "module" and model is None:
        if prepared.task is None or prepared.inputs is None:
            raise UsageError("the recipe has no model family and no model= was given.")
        default = preset_recipe(preset, prepared.task, prepared.num_rows, prepared.inputs)
        recipe = recipe.replace(model=default.model)
    if model is not None:
        recipe = recipe.replace(model=ModelSpec("module"))
    return recipe if optimizer is None else recipe.replace(optimizer="given")


def network_of(recipe: Recipe, prepared: Prepared, seed: int) -> nn.Module:
    """Build the family of the recipe; its numbers come from the stream `init`."""
    if prepared.inputs is None or prepared.task is None:
        raise UsageError(
            f"the family '{recipe.model.family}' is for tables; give model=your_module for these data."
        )
    streams = Streams(seed)
    return build_model(recipe.model, prepared.inputs, prepared.task.num_outputs, streams.generator("init"))


def try_out(recipe: Recipe, prepared: Prepared, network: nn.Module | None = None, loss: Any = None) -> None:
    """Put a training together and drop it again.

    Args:
        network: a copy of the user's own, which is changed; None for that of the recipe.

    Raises:
        NoPlaceError: a technique finds nothing to act on. RecipeError: something else does not fit together.
    """
    with seeded(0):
        made = network_of(recipe, prepared, 0) if network is None else network
        source = Source(prepared.parts["train"], None, prepared.columns)
        assemble(made, recipe, source, task=prepared.task, loss=loss)


def placed(
    recipe: Recipe,
    prepared: Prepared,
    settings_: Mapping[str, Any] | None,
    with_: Iterable[str | Technique],
    say: Say,
) -> Recipe:
    """Return the recipe of a preset without what has no place in the network that the user chose in its stead.

    What the user asked for stays: assembling the training refuses it.

    Args:
        recipe: of the preset, with the user's changes. settings_, with_: these changes.
    """
    if "model" not in (settings_ or {}):
        return recipe
    asked = names_of(settings_, with_)
    while True:
        try:
            try_out(recipe, prepared)
        except NoPlaceError as error:
            if error.technique in asked or recipe.get(error.technique) is None:
                return recipe
            say(f"left out  {error.technique} of the preset: {recipe.model.family} has no place for it")
            recipe = recipe.without(error.technique)
            continue
        return recipe


def names_of(settings_: Mapping[str, Any] | None, with_: Iterable[str | Technique]) -> Collection[str]:
    """Return the names of the techniques that the user adds or sets a dose of."""
    added = {t.name if isinstance(t, Technique) else t.partition(":")[0].strip() for t in several(with_)}
    return added | {key.partition(".")[0] for key in settings_ or {}}

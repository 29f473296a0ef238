"""Builds a recipe from a preset and what the user sets, adds and takes away."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainwell.values.dose import doses_of
from trainwell.values.errors import RecipeError, UsageError, did_you_mean
from trainwell.values.recipe import ModelSpec, Recipe
from trainwell.values.runfolder import RunFolder
from trainwell.values.technique import REGISTRY, Technique, technique

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

MODEL_WORDS = ("weights",)
"""Fields of a model that are words: weights "none" are drawn ones."""


def parse_budget(text: str | float) -> dict[str, float]:
    """Turn `20ep`, `90s`, `5m`, `1h` or `5m,20ep` into fields of a recipe; a bare number counts epochs."""
    fields: dict[str, float] = {}
    for part in str(text).replace(" ", "").split(","):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(epochs|epoch|ep|e|s|min|m|h)?", part)
        if match is None or float(match[1]) <= 0:
            raise UsageError(f"--budget {text}: expected e.g. 20ep (epochs), 90s, 5m or 1h, got '{part}'.")
        unit = match[2] or "ep"
        if unit in _UNITS:
            fields["seconds"] = float(match[1]) * _UNITS[unit]
        else:
            fields["epochs"] = float(match[1])
    return fields


def parse_seconds(text: str | float | None) -> float | None:
    """Turn `10s`, `5m`, `1h` or a number of seconds into seconds."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|min|m|h)?", str(text).replace(" ", ""))
    if match is None:
        raise UsageError(f"--checkpoint-every {text}: expected e.g. 10s, 5m or 1h.")
    return float(match[1]) * _UNITS[match[2] or "s"]


def with_budget(recipe: Recipe, budget: str | float | None) -> Recipe:
    """Return the recipe under a budget.

    A budget of time alone keeps the recipe's epochs as the upper bound; one of epochs alone lifts the bound of time.
    """
    return recipe if budget is None else recipe.replace(**parse_budget(budget))


def apply(
    recipe: Recipe,
    *,
    settings: Mapping[str, Any] | None = None,
    with_: Iterable[str | Technique] = (),
    without: Iterable[str] = (),
    budget: str | float | None = None,
) -> Recipe:
    """Return the recipe with the user's changes, in the order: without, with, settings, budget."""
    with_ = several(with_)
    without = (without,) if isinstance(without, str) else without
    recipe = recipe.without(*without).with_(*with_)
    # whole parts before their fields, whatever the order they were given in: a new optimizer brings its own rate
    whole = ("model", "optimizer", "schedule")
    for key, value in sorted((settings or {}).items(), key=lambda item: item[0] not in whole):
        recipe = _set(recipe, key, value)
    return with_budget(recipe, budget)


def several(with_: str | Technique | Iterable[str | Technique]) -> Iterable[str | Technique]:
    """Return techniques to add, of which one may be given alone."""
    return (with_,) if isinstance(with_, str | Technique) else with_


def check(
    *,
    settings: Mapping[str, Any] | None = None,
    budget: str | float | None = None,
    out: str | Path | bool | None = None,
) -> None:
    """Refuse before the data are read what no recipe could hold, and a folder that is taken.

    Args:
        settings, budget: as for `apply`. out: folder of a run to be made, if one is named.

    Raises:
        UsageError, RecipeError, DoseError: says which option is wrong.
    """
    for key, value in (settings or {}).items():
        head, dot, _ = key.partition(".")
        bare = Recipe()
        if head in ("model", "optimizer", "schedule") and dot:
            continue  # its fields are those of a family or technique that the data decide
        if _is_technique(head) and technique(head).role == "technique":
            bare = bare.with_(head)
        made = _set(bare, key, value)
        if head == "model":
            _check_family(made.model)
    if budget is not None:
        parse_budget(budget)
    if isinstance(out, str | Path):
        RunFolder.check_new(Path(out))


def check_kinds(model: Any, recipe: Any, seed: Any) -> None:
    """Refuse a class for a network, what is no recipe, and a seed that is no whole number.

    Raises:
        UsageError: says what came in its place.
    """
    if isinstance(model, type):
        raise UsageError(f"model= must be a network, got the class {model.__name__}; make one of it first.")
    if recipe is not None and not isinstance(recipe, Recipe):
        raise UsageError(f"recipe= must be a Recipe, got {type(recipe).__name__}; see tw.Recipe.from_dict.")
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise UsageError(f"seed= must be a whole number, got {seed!r}.")


def _check_family(model: ModelSpec) -> None:
    from trainwell.models import check_family  # torch is not imported for the other settings

    check_family(model.family)


def _set(recipe: Recipe, key: str, value: Any) -> Recipe:
    """Set one field: `lr`, `optimizer`, `optimizer.beta1`, `model`, `model.width`, `dropout.rate` ..."""
    head, dot, field = key.partition(".")
    if not dot:
        if head == "model":
            return recipe.replace(model=ModelSpec.of(str(value)))
        return recipe.replace(**{head: _number(value, key)})
    if head == "model":
        is_word = field in MODEL_WORDS or _is_choice(recipe.model.family, field)
        found = str(value) if is_word else _number(value, key)
        return recipe.replace(model=recipe.model.replace(**{field: found}))
    if head in ("optimizer", "schedule"):
        held: Technique = getattr(recipe, head)
        changes: dict[str, Any] = {head: held.replace(**{field: _dose(held, field, value)})}
        return recipe.replace(**changes, lr=recipe.lr)
    held_ = recipe.get(head)
    if held_ is None:
        names = [t.name for t in recipe.techniques]
        known = [*REGISTRY, *names, *(f.name for f in dataclasses.fields(Recipe))]
        hint = (
            f" Add it with --with {head}:{field}={value}."
            if _is_technique(head)
            else did_you_mean(head, known)
        )
        raise RecipeError(f"--set {key}: the recipe has no '{head}'.{hint}")
    return recipe.with_(held_.replace(**{field: _dose(held_, field, value)}))


def _is_choice(family: str, field: str) -> bool:
    """Whether a field of a model is one of several words, such as the depths of a ResNet."""
    from trainwell.models import FAMILIES  # torch is not imported for the other settings

    spec = doses_of(FAMILIES[family]).get(field) if family in FAMILIES else None
    return spec is not None and bool(spec.options)


def _is_technique(name: str) -> bool:
    try:
        technique(name)
    except RecipeError:
        return False
    return True


def _dose(held: Technique, field: str, value: Any) -> Any:
    spec = held.doses().get(field)
    return spec.parse(value, f"{held.name}:{field}") if spec is not None and isinstance(value, str) else value


def _number(value: Any, key: str) -> Any:
    """Turn a command-line word into a number, None or itself."""
    if not isinstance(value, str):
        return value
    if value.lower() in ("none", "null"):
        return None
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value

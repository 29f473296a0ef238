"""What a model family is, and the registry of families."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import nn

from trainwell.values.dose import doses_of
from trainwell.values.errors import RecipeError, did_you_mean
from trainwell.values.recipe import ModelSpec
from trainwell.values.task import InputSpec

FAMILIES: dict[str, type[Family]] = {}
"""Every family by name; filled when the classes are made."""


@dataclasses.dataclass(frozen=True)
class Family:
    """A kind of network, as a value: a frozen dataclass whose fields are doses.

    A subclass gives `name` and `build`. All initial numbers are drawn from the given generator.
    """

    name: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        other = FAMILIES.get(cls.name)
        if other is not None and other.__module__ != cls.__module__:
            raise RecipeError(
                f"two families are called '{cls.name}': {other.__module__} and {cls.__module__}."
            )
        FAMILIES[cls.name] = cls

    def __post_init__(self) -> None:
        for field, spec in doses_of(type(self)).items():
            spec.check(getattr(self, field), f"model.{field}")

    def build(self, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> nn.Module:
        """Return the network; `net(floats)` or `net(floats, codes)` gives (B, num_outputs)."""
        raise NotImplementedError


def build_model(
    spec: ModelSpec, inputs: InputSpec, num_outputs: int, generator: torch.Generator
) -> nn.Module:
    """Build the network of a recipe.

    Raises:
        RecipeError: there is no such family or it has no such parameter.
    """
    if spec.family not in FAMILIES:
        near = did_you_mean(spec.family, FAMILIES)
        raise RecipeError(
            f"there is no model family '{spec.family}' (there are: {', '.join(FAMILIES)}).{near}"
        )
    family = FAMILIES[spec.family]
    known = doses_of(family)
    for key, _ in spec.params:
        if key not in known:
            raise RecipeError(f"model '{spec.family}' has no parameter '{key}'.{did_you_mean(key, known)}")
    return family(**dict(spec.params)).build(inputs, num_outputs, generator)

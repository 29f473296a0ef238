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

    A subclass gives `name` and `build`, and `takes`: the kinds of data that it can read. All initial numbers are drawn
    from the given generator. A field without a dose is a word that is not searched, such as the name of a file.
    """

    name: ClassVar[str] = ""
    takes: ClassVar[tuple[str, ...]] = ("table",)

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


def check_family(name: str) -> None:
    """Refuse the name of a family that there is not.

    Raises:
        RecipeError: there is no such family; the nearest is suggested.
    """
    if name not in FAMILIES:
        near = did_you_mean(name, FAMILIES)
        raise RecipeError(f"there is no model family '{name}' (there are: {', '.join(FAMILIES)}).{near}")


def build_model(
    spec: ModelSpec, inputs: InputSpec, num_outputs: int, generator: torch.Generator
) -> nn.Module:
    """Build the network of a recipe; its `data_kind` says what it reads.

    Raises:
        RecipeError: there is no such family, it has no such parameter, or it cannot read data of this kind.
    """
    check_family(spec.family)
    family = FAMILIES[spec.family]
    if inputs.kind not in family.takes:
        fit = ", ".join(n for n, f in FAMILIES.items() if inputs.kind in f.takes)
        raise RecipeError(
            f"the family '{spec.family}' reads {' and '.join(family.takes)} data, these are of the kind {inputs.kind}; "
            f"take one of: {fit}."
        )
    known = [f.name for f in dataclasses.fields(family)]
    for key, _ in spec.params:
        if key not in known:
            raise RecipeError(f"model '{spec.family}' has no parameter '{key}'.{did_you_mean(key, known)}")
    net = family(**dict(spec.params)).build(inputs, num_outputs, generator)
    net.data_kind = inputs.kind  # type: ignore[assignment]
    return net

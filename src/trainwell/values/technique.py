"""The base of all techniques: a frozen value with doses that acts at named sites of the training step.

A technique is one file with one class. The sites it acts at are the methods of these names that it defines:

    site        when          signature (self: the technique, or in a stack of lanes its doses as (K, 1) tensors)
    data        every epoch   data(self, order, x, batch_size, generator) -> order    the rows of an epoch in memory
    model       once          model(self, model, build) -> model
    groups      once          groups(self, groups) -> None            edits lr_factor / decay of each Group in place
    batch       every step    batch(self, batch, generator) -> None   edits batch.x (tuple), .y, .mixed_y, .mix in place
    loss        once          loss(self, each, task) -> each          each: (outputs, target) -> losses (*lanes, B)
    penalty     every step    penalty(self, params, grads) -> None    adds the gradient of the penalty to `grads`
    grads       every step    grads(self, grads, params, state) -> None     edits the gradients in place
    update      every step    optimizers: direction(self, grads, state, step) -> direction;
                              others: update(self, params, lr) -> None      before the optimizer moves the weights
    after_step  every step    after_step(self, params, state, step) -> None
    schedule    once          schedule(self, progress) -> factor      progress: array in [0, 1); factor of the rate
    stop        every epoch   stop(self, monitor, train_loss) -> reason or None      lists of floats, lower is better
    hardware    once          hardware(self, plan) -> None            edits the HardwarePlan in place

`params` and `grads` are `Flat`: `.flat` (*lanes, P) holds all trainable numbers, `.views` the tensors by name,
`.decayed` the part that penalties and decay touch (matrices and kernels, not biases and norms).
`state` is a dictionary of tensors that belongs to the technique, is made by `init_state(params)` and is
saved in every checkpoint. Techniques import torch only inside the methods that need it.

A technique that finds nothing to act on in a network raises `NoPlaceError` in `model` or `groups`; one for some kinds of
data alone names them in `kinds`. None is passed over in silence.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Self

from trainwell.values.dose import Dose, doses_of
from trainwell.values.errors import DoseError, NoPlaceError, RecipeError, did_you_mean

SITES = (
    "data", "model", "groups", "batch", "loss", "penalty", "grads", "update", "after_step", "schedule", "stop",
    "hardware",
)  # fmt: skip
"""All sites, in the order of the step."""

KIND_WORDS: Mapping[str, str] = {
    "table": "tables", "image": "images", "text": "texts", "audio": "sounds", "features": "features of a backbone",
}  # fmt: skip
"""Kinds of data as people call them."""

REGISTRY: dict[str, type[Technique]] = {}
"""Every technique by its name; filled when the classes are made."""


class Technique:
    """One technique of practice, as a value.

    Class attributes:
        name: snake-case name, made from the class name.
        role: `technique`, `optimizer` or `schedule`; a recipe holds one optimizer and one schedule.
        treats: the ailments it answers, by the names of the rules.
        expects: signs that a trial can refute, e.g. `{"val_loss": "-"}`.
        calls: Python calls that it adds to a step (a law counts them).
        kinds: kinds of data that it can act on, e.g. `("image",)`; empty: all.
        once: at most one of this `family` in a recipe (e.g. two initializations make no sense); empty: no limit.
    """

    name: ClassVar[str] = ""
    role: ClassVar[str] = "technique"
    family: ClassVar[str] = ""
    treats: ClassVar[tuple[str, ...]] = ()
    expects: ClassVar[Mapping[str, str]] = {}
    calls: ClassVar[int] = 0
    kinds: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__name__.startswith("_"):
            return
        cls.name = cls.__dict__.get("name") or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        other = REGISTRY.get(cls.name)
        if other is not None and other.__module__ != cls.__module__:
            raise RecipeError(
                f"two techniques are called '{cls.name}': {other.__module__} and {cls.__module__}."
            )
        REGISTRY[cls.name] = cls

    def __post_init__(self) -> None:
        for field, spec in self.doses().items():
            spec.check(getattr(self, field), f"{type(self).__name__}.{field}")

    @classmethod
    def doses(cls) -> Mapping[str, Dose]:
        """Return the doses by field name."""
        return doses_of(cls)

    @classmethod
    def sites(cls) -> tuple[str, ...]:
        """Return the sites at which the technique acts, in the order of the step."""
        found = [s for s in SITES if hasattr(cls, s)]
        if hasattr(cls, "direction"):
            found.append("update")
        return tuple(s for s in SITES if s in found)

    @classmethod
    def check_kinds(cls, found: Collection[str], data: str) -> None:
        """Refuse data of other kinds than those that the technique acts on.

        Args:
            found: the kinds that the data may be. data: the same in words.

        Raises:
            NoPlaceError: none of them is one of `kinds`.
        """
        if not cls.kinds or set(cls.kinds) & set(found):
            return
        advice = f"leave {cls.name} out"
        if "features" in found:
            advice += ", or train the backbone itself (--set model=NAME of the backbone), whose inputs it can change"
        raise NoPlaceError(
            cls.name,
            f"{cls.name} acts on {' and '.join(KIND_WORDS.get(k, k) for k in cls.kinds)}, {data}: {advice}.",
        )

    @property
    def is_off(self) -> bool:
        """Whether a dose stands at the value that turns the technique off."""
        return any(s.off is not None and getattr(self, f) == s.off for f, s in self.doses().items())

    @classmethod
    def prescribe(cls, finding: Any) -> Technique | None:
        """Return the technique with a dose that fits the finding, or None if it does not treat it."""
        return cls() if getattr(finding, "ailment", None) in cls.treats else None

    def to_dict(self) -> dict[str, Any]:
        """Return name and doses as plain data."""
        return {"name": self.name, **{f: getattr(self, f) for f in self.doses()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "recipe") -> Technique:
        """Make the technique that `to_dict` described."""
        kind = technique(str(data.get("name")), where)
        values = {k: v for k, v in data.items() if k != "name"}
        for key in values:
            kind._check_field(key, where)
        return kind(**values)

    @classmethod
    def parse(cls, text: str, where: str = "--with") -> Technique:
        """Make a technique from its command-line form `name` or `name:dose=1,other=2`; `where` names the option."""
        head, _, tail = text.partition(":")
        kind, values = technique(head.strip(), where), {}
        for item in filter(None, (part.strip() for part in tail.split(","))):
            field, equals, value = item.partition("=")
            if not equals:
                raise DoseError(f"{where} {text}: expected {head}:NAME=VALUE, got '{item}'.")
            spec = kind._check_field(field, f"{where} {text}")
            values[field] = spec.parse(value, f"{head}:{field}")
        return kind(**values)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other doses."""
        for key in changes:
            self._check_field(key, self.name)
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]

    @classmethod
    def _check_field(cls, field: str, where: str) -> Dose:
        doses = cls.doses()
        if field not in doses:
            known = ", ".join(doses) or "none"
            raise DoseError(
                f"{where}: {cls.name} has no dose '{field}' (it has: {known}).{did_you_mean(field, doses)}"
            )
        return doses[field]

    def __str__(self) -> str:
        parts = [f"{f}={getattr(self, f)}" for f in self.doses()]
        return self.name + (":" + ",".join(parts) if parts else "")


def technique(name: str, where: str = "recipe") -> type[Technique]:
    """Return the technique class of this name.

    Raises:
        RecipeError: there is none; the message names the nearest.
    """
    if name not in REGISTRY:
        head, equals, value = name.partition("=")
        if equals and head in REGISTRY and REGISTRY[head].doses():
            dose = next(iter(REGISTRY[head].doses()))
            raise RecipeError(f"{where} {name}: a dose has a name. Did you mean '{head}:{dose}={value}'?")
        raise RecipeError(
            f"{where}: there is no technique '{name}'.{did_you_mean(name, REGISTRY)} "
            "`trainwell techniques` lists them."
        )
    return REGISTRY[name]

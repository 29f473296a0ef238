"""A Recipe is everything that decides a training but the data and the seed: plain, hashable, saved as one file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from trainwell.values.errors import RecipeError, did_you_mean
from trainwell.values.technique import Technique, technique

FORMAT = 1
"""Version of the saved form; a reader refuses a newer one."""
ALSO_CALLED = {
    "learning_rate": "lr", "rate": "lr", "batch": "batch_size", "bs": "batch_size", "num_epochs": "epochs",
    "n_epochs": "epochs", "max_epochs": "epochs", "scheduler": "schedule", "time": "seconds",
}  # fmt: skip
"""What other libraries call the fields of a recipe."""


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """A model family and its parameters. The family `module` stands for the user's own `nn.Module`."""

    family: str = "module"
    params: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, family: str, **params: Any) -> ModelSpec:
        return cls(
            family, tuple(sorted((k, tuple(v) if isinstance(v, list) else v) for k, v in params.items()))
        )

    def get(self, key: str, default: Any = None) -> Any:
        return dict(self.params).get(key, default)

    def replace(self, **changes: Any) -> ModelSpec:
        return ModelSpec.of(self.family, **{**dict(self.params), **changes})


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A model, an optimizer, a schedule, a batch size, a budget and a tuple of techniques.

    Args:
        model: family and parameters.
        optimizer, schedule: techniques of that role, or their names.
        lr: peak learning rate, > 0; `None` takes the optimizer's `default_lr`.
        batch_size: rows of one update, >= 1.
        epochs: passes over the training part, > 0.
        seconds: bound on the time of the training; the schedule is fitted into it. `None` for no bound.
        monitor: what chooses the best epoch and is watched by early stopping: `val_loss` or `val_metric`.
        techniques: everything else, applied in the order of the sites.
    """

    model: ModelSpec = ModelSpec()
    optimizer: Technique | str = "adam"
    schedule: Technique | str = "constant"
    lr: float | None = None
    batch_size: int = 32
    epochs: float = 20
    seconds: float | None = None
    monitor: str = "val_loss"
    techniques: tuple[Technique, ...] = ()

    def __post_init__(self) -> None:
        for role in ("optimizer", "schedule"):
            value = getattr(self, role)
            if isinstance(value, str):
                value = Technique.parse(value, role)
                object.__setattr__(self, role, value)
            if value.role != role:
                raise RecipeError(f"recipe: {role} must be a technique of that role, got '{value.name}'.")
        if isinstance(self.model, str):
            object.__setattr__(self, "model", ModelSpec.of(self.model))
        listed = (self.techniques,) if isinstance(self.techniques, str | Technique) else self.techniques
        given = (Technique.parse(t, "techniques") if isinstance(t, str) else t for t in listed)
        object.__setattr__(self, "techniques", tuple(given))
        self._check_numbers()
        _check_once(self.techniques)

    def _check_numbers(self) -> None:
        if self.lr is None:
            object.__setattr__(self, "lr", float(self.optimizer.default_lr))  # type: ignore[union-attr]
        if not (isinstance(self.lr, int | float) and 0 <= self.lr < math.inf):
            raise RecipeError(f"recipe: lr must be a number >= 0, got {self.lr!r}.")
        if not (isinstance(self.batch_size, int) and self.batch_size >= 1):
            raise RecipeError(f"recipe: batch_size must be a whole number >= 1, got {self.batch_size!r}.")
        if not (isinstance(self.epochs, int | float) and 0 < self.epochs < math.inf):
            raise RecipeError(f"recipe: epochs must be a number > 0, got {self.epochs!r}.")
        if self.seconds is not None and not self.seconds > 0:
            raise RecipeError(f"recipe: seconds must be > 0, got {self.seconds!r}.")
        if self.monitor not in ("val_loss", "val_metric"):
            raise RecipeError(f"recipe: monitor must be 'val_loss' or 'val_metric', got {self.monitor!r}.")

    def replace(self, **changes: Any) -> Recipe:
        """Return a copy with other fields. A new optimizer without a new lr takes that optimizer's default."""
        known = {f.name for f in dataclasses.fields(self)}
        for key in changes:
            if key not in known:
                other = f" Did you mean '{ALSO_CALLED[key]}'?" if key in ALSO_CALLED else ""
                near = other or did_you_mean(key, known) or f" It has: {', '.join(sorted(known))}."
                raise RecipeError(f"recipe has no field '{key}'.{near}")
        if "optimizer" in changes and "lr" not in changes:
            changes["lr"] = None
        return dataclasses.replace(self, **changes)

    def get(self, name: str) -> Technique | None:
        """Return the technique of this name, or None."""
        return next((t for t in self.techniques if t.name == name), None)

    def with_(self, *added: Technique | str) -> Recipe:
        """Return a copy with these techniques added; one of the same name or family is replaced."""
        now = list(self.techniques)
        for item in added:
            new = Technique.parse(item) if isinstance(item, str) else item
            if new.role != "technique":
                return self.replace(**{new.role: new}).with_(*added[added.index(item) + 1 :])
            now = [t for t in now if t.name != new.name and not (new.family and t.family == new.family)]
            now.append(new)
        return self.replace(techniques=tuple(now))

    def without(self, *names: str) -> Recipe:
        """Return a copy without these techniques; a name that is not in the recipe is an error."""
        for name in names:
            technique(name, "--without")
            if self.get(name) is None:
                have = ", ".join(t.name for t in self.techniques) or "none"
                raise RecipeError(f"--without {name}: the recipe has no '{name}' (it has: {have}).")
        return self.replace(techniques=tuple(t for t in self.techniques if t.name not in names))

    def active(self) -> tuple[Technique, ...]:
        """Return the techniques whose doses are not off."""
        return tuple(t for t in self.techniques if not t.is_off)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain data (JSON)."""
        assert isinstance(self.optimizer, Technique) and isinstance(self.schedule, Technique)
        return {
            "format": FORMAT,
            "model": {"family": self.model.family, **dict(self.model.params)},
            "optimizer": self.optimizer.to_dict(),
            "schedule": self.schedule.to_dict(),
            **{k: getattr(self, k) for k in ("lr", "batch_size", "epochs", "seconds", "monitor")},
            "techniques": [t.to_dict() for t in self.techniques],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "recipe.json") -> Recipe:
        """Make the recipe that `to_dict` described."""
        data = dict(data)
        if data.pop("format", FORMAT) > FORMAT:
            raise RecipeError(f"{where}: written by a newer trainwell; update to read it.")
        known = {f.name for f in dataclasses.fields(cls)}
        for key in data:
            if key not in known:
                raise RecipeError(f"{where}: unknown field '{key}'.{did_you_mean(key, known)}")
        if isinstance(data.get("model"), Mapping):
            data["model"] = ModelSpec.of(**data["model"])
        for role in ("optimizer", "schedule"):
            if isinstance(data.get(role), Mapping):
                data[role] = Technique.from_dict(data[role], f"{where}, {role}")
        listed: Iterable[Any] = data.pop("techniques", ())
        made = [
            Technique.from_dict(t, f"{where}, techniques[{i}]") if isinstance(t, Mapping) else t
            for i, t in enumerate(listed)
        ]
        return cls(**data, techniques=tuple(made))

    def hash(self) -> str:
        """Return 16 hexadecimal digits that depend on the content only."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    def diff(self, other: Recipe) -> list[str]:
        """Return one line per difference, `field: mine -> theirs`."""
        mine, theirs = self._fields(), other._fields()
        changed = [k for k in dict.fromkeys([*mine, *theirs]) if mine.get(k) != theirs.get(k)]
        lines = [f"{k}: {_shown(mine.get(k))} -> {_shown(theirs.get(k))}" for k in changed]
        a, b = {t.name: t for t in self.techniques}, {t.name: t for t in other.techniques}
        for name in dict.fromkeys([*a, *b]):
            if a.get(name) != b.get(name):
                lines.append(f"{a.get(name) or 'without ' + name} -> {b.get(name) or 'without ' + name}")
        return lines

    def _fields(self) -> dict[str, Any]:
        """Return all but the techniques, with the parameters of the model one by one."""
        model = {"model": self.model.family, **{f"model.{k}": v for k, v in self.model.params}}
        names = ("optimizer", "schedule", "lr", "batch_size", "epochs", "seconds", "monitor")
        return model | {name: getattr(self, name) for name in names}


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def _check_once(techniques: tuple[Technique, ...]) -> None:
    """Refuse two techniques of one name or of one exclusive family."""
    seen: dict[str, Technique] = {}
    for t in techniques:
        for key in filter(None, (t.name, t.family and f"family {t.family}")):
            if key in seen:
                raise RecipeError(f"recipe: '{seen[key]}' and '{t}' exclude each other; keep one.")
            seen[key] = t
        if t.role != "technique":
            raise RecipeError(f"recipe: '{t.name}' belongs into the field '{t.role}'.")

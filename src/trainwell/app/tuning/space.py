"""The space around a recipe, and the recipe of a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import trainwell.techniques  # noqa: F401  (fills the registry)
from trainwell.search.parameter import Parameter
from trainwell.search.space import Config, Space
from trainwell.values.dose import Dose, doses_of
from trainwell.values.errors import TrainwellError, UsageError, did_you_mean
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task
from trainwell.values.technique import REGISTRY, Technique

LIKELY = {
    "dropout.rate": (0.05, 0.5), "weight_decay.rate": (1e-5, 1e-1), "l1.rate": (1e-7, 1e-3), "l2.rate": (1e-6, 1e-2),
    "label_smoothing.amount": (0.02, 0.2),
}  # fmt: skip
"""Where practice finds the best dose. Source: ranges of arXiv:2106.11959 (tables), table 15; arXiv:1512.00567."""

NARROWED = {
    "dropout.rate": (0.02, 0.7), "weight_decay.rate": (1e-6, 1.0), "l1.rate": (1e-7, 1e-2),
    "label_smoothing.amount": (0.01, 0.3),
}  # fmt: skip
"""Ranges to search, inside those that a dose may have."""

ROLES = ("optimizer", "schedule", "norm")

SPACE_FILES = (".json", ".txt", ".space", ".yaml", ".toml")
"""Endings that tell the path of a file from the name of a dose."""


def default_space(recipe: Recipe, task: Task | None, *, own_model: bool, num_rows: int | None) -> Space:
    """Return what is searched around a recipe unless the user says otherwise.

    Sizes have few options, because networks of one size are trained together.

    Args:
        num_rows: that are learned from; None where a loader makes the batches.
    """
    from trainwell.models.backbones import BACKBONES

    lr = float(recipe.lr or 0.0) or 1e-3
    if recipe.model.family in BACKBONES:
        return _of_fine_tuning(recipe, lr)
    linear = recipe.model.family == "probe" and not recipe.model.get("depth", 0)
    found = [
        Parameter("lr", lr / 30, lr * 30, log=True, default=recipe.lr, likely=(lr / 8, lr * 8)),
        *(() if own_model or linear else _sizes(recipe)),
        *(() if num_rows is None else (_batch_sizes(recipe.batch_size, most=max(8, num_rows // 2)),)),
        *(() if linear else (dose_parameter("dropout.rate", recipe),)),
        dose_parameter("weight_decay.rate", recipe),
        dose_parameter("l1.rate", recipe),
        Parameter(
            "schedule", options=_words(recipe.schedule, ("cosine", "constant")), default=str(recipe.schedule)
        ),
    ]
    if task is not None and task.is_classification:
        found.append(dose_parameter("label_smoothing.amount", recipe))
    return Space(tuple(found))


def _of_fine_tuning(recipe: Recipe, lr: float) -> Space:
    """Return what is searched of fine-tuning: its rate, how much less is learned near the input, and the decay.

    Source: ranges of arXiv:1810.04805 (appendix A.3: rates within a factor of 2.5) and arXiv:1905.05583, section 5.4.
    """
    decay = dose_parameter("layer_decay.factor", recipe)
    rate = Parameter("lr", lr / 10, lr * 10, log=True, default=recipe.lr, likely=(lr / 3, lr * 3))
    return Space((rate, decay, dose_parameter("weight_decay.rate", recipe)))


def _sizes(recipe: Recipe) -> Iterator[Parameter]:
    from trainwell.models import FAMILIES

    family = FAMILIES.get(recipe.model.family)
    known = doses_of(family) if family else {}
    for name in ("width", "depth"):
        now: Any = recipe.model.get(name, known[name].default) if name in known else None
        if name in known and known[name].options:  # words, such as the depths of a ResNet
            words = known[name].options
            at = words.index(now)
            yield Parameter(
                f"model.{name}", options=words[max(0, at - 1) : at + 2], ordered=True, default=now
            )
        elif name in known:
            options = (now // 2, now, now * 2) if name == "width" else (now - 1, now, now + 1)
            low, high = known[name].low or 0, known[name].high or options[-1]
            kept = tuple(o for o in options if low <= o <= high)
            yield Parameter(f"model.{name}", options=kept, ordered=True, log=name == "width", default=now)


def _batch_sizes(now: int, *, most: int) -> Parameter:
    options = tuple(o for o in (now // 2, now, now * 2) if 8 <= o <= most or o == now)
    return Parameter("batch_size", options=options, ordered=True, log=True, default=now)


def _words(now: Any, others: Iterable[str]) -> tuple[str, ...]:
    """Return the technique of the recipe and others, as `--set` takes them."""
    return (str(now), *(o for o in others if o != now.name))


def dose_parameter(name: str, recipe: Recipe) -> Parameter:
    """Return the parameter of one dose: `dropout.rate`, `optimizer.beta1`, `model.width`.

    A technique that the recipe does not have counts as off.

    Raises:
        UsageError: there is no such dose.
    """
    head, _, field = name.partition(".")
    doses, holder = _holder(head, recipe)
    if field not in doses:
        raise UsageError(
            f"space: {head} has no dose '{field}' (it has: {', '.join(doses)}).{did_you_mean(field, doses)}"
        )
    spec = doses[field]
    if head == "model":
        now: Any = recipe.model.get(field, spec.default)
    else:
        now = spec.off if holder is None else getattr(holder, field)
    return _of_dose(name, spec, now)


def _holder(head: str, recipe: Recipe) -> tuple[Mapping[str, Dose], Technique | None]:
    """Return the doses of what is called `head`, and the technique that holds them in the recipe."""
    if head == "model":
        from trainwell.models import FAMILIES

        return doses_of(FAMILIES[recipe.model.family]) if recipe.model.family in FAMILIES else {}, None
    if head in ("optimizer", "schedule"):
        held: Technique = getattr(recipe, head)
        return held.doses(), held
    if head not in REGISTRY:
        raise UsageError(f"space: there is no technique '{head}'.{did_you_mean(head, REGISTRY)}")
    return REGISTRY[head].doses(), recipe.get(head)


def _of_dose(name: str, spec: Dose, now: Any) -> Parameter:
    if spec.options:
        return Parameter(name, options=spec.options, default=now)
    low, high = NARROWED.get(name, (spec.low or 0.0, 1.0 if spec.high is None else spec.high))
    off = spec.off if spec.off is not None and not low <= spec.off <= high else None
    if isinstance(now, int | float) and now != off:
        low, high = min(low, now), max(high, now)
    return Parameter(
        name,
        low,
        high,
        log=spec.log and low > 0,
        integer=spec.integer,
        off=off,
        default=now,
        likely=LIKELY.get(name),
    )


def make_space(
    recipe: Recipe, given: Space | str | Path | Iterable[str] | None, task: Task | None, *, own_model: bool,
    num_rows: int | None,
) -> Space:  # fmt: skip
    """Return the default space with the user's changes, or the user's own space.

    Args:
        given: a space; the path of a space file; or lines such as `lr=[1e-4, 0.1] log`, `model.depth=1|2|3`,
            `-l1.rate`, `clip_grad.max_norm` (the whole range of that dose).
        num_rows: that are learned from; None where a loader makes the batches.

    Raises:
        UsageError: there is no such thing here, or a recipe cannot have some of its values.
    """
    usual = default_space(recipe, task, own_model=own_model, num_rows=num_rows)
    if given is None:
        return usual
    made = _with_defaults(given if isinstance(given, Space) else _given(given, usual, recipe), recipe)
    if num_rows is None and "batch_size" in {p.name for p in made}:
        raise UsageError(
            "--space batch_size: a loader makes the batches here; pass tensors to search their size."
        )
    return made


def _given(given: str | Path | Iterable[str], space: Space, recipe: Recipe) -> Space:
    """Return the space of a file, or one with the changes of a file or of lines."""
    if isinstance(given, str | Path) and Path(given).is_file():
        text = Path(given).read_text()
        if text.lstrip().startswith("{"):
            return Space.read(given)
        given = [line.split("#")[0].strip() for line in text.splitlines()]
    lines = [str(line).strip() for line in ([given] if isinstance(given, str | Path) else given)]
    whole_first = sorted(filter(None, lines), key=lambda line: "." in line.partition("=")[0])
    for line in whole_first:  # which optimizers there are, before what only some of them have
        space = _changed(space, line, recipe)
    return space


def _changed(space: Space, line: str, recipe: Recipe) -> Space:
    if "=" not in line and Path(line).suffix in SPACE_FILES:
        raise UsageError(f"--space {line}: there is no such file.")
    if line == "-batch_size" and "batch_size" not in {p.name for p in space}:
        return space  # a loader makes the batches anyway
    if line.startswith("-"):
        return space.changed(line)
    name = line.partition("=")[0].strip()
    own_size = name.startswith("model.") and recipe.model.family == "module"
    is_dose = "." in name and not own_size
    if is_dose and name not in {p.name for p in space}:
        space = space.with_(_dose_among(space, name, recipe))
    return space if is_dose and "=" not in line else space.changed(line)


def _dose_among(space: Space, name: str, recipe: Recipe) -> Parameter:
    """Return the parameter of a dose; it counts only for those of the searched optimizers or schedules that have it."""
    head, _, field = name.partition(".")
    searched = next((p for p in space if p.name == head and head in ROLES and p.options), None)
    if searched is None:
        return dose_parameter(name, recipe)
    holders = [(o, _set(recipe, head, o)) for o in searched.options]
    having = [
        (o, r) for o, r in holders if head in ("optimizer", "schedule") and field in _holder(head, r)[0]
    ]
    if not having:
        return dose_parameter(name, recipe)
    found = dose_parameter(name, dict(having).get(str(getattr(recipe, head)), having[0][1]))
    if len(having) == len(holders):
        return found
    return dataclasses.replace(found, when=(head, tuple(o for o, _ in having)))


def _with_defaults(space: Space, recipe: Recipe) -> Space:
    """Return the space with the recipe's values as defaults, each moved to the nearest value that is searched."""
    fixed = []
    for p in space:
        now = p.default if p.default is not None else value_of(recipe, p.name)
        fixed.append(dataclasses.replace(p, default=_nearest(p, now)))
    made = Space(tuple(fixed))
    try_values(made, recipe)
    return made


def try_values(space: Space, recipe: Recipe) -> None:
    """Make sure that a recipe can have every option and both ends of every range.

    Raises:
        UsageError: it cannot.
    """
    for p in space:
        given = {} if p.when is None else {p.when[0]: p.when[1][0]}
        ends = p.options or (p.at(0.0), p.at(1.0), *([] if p.off is None else [p.off]))
        for value in ends:
            _try_value(recipe, given, p.name, value)


def _try_value(recipe: Recipe, given: Config, name: str, value: Any) -> None:
    head, _, field = name.partition(".")
    doses = _holder(head, recipe)[0] if head == "model" else {}
    try:
        recipe_of(recipe, {**given, name: value})
        if field in doses:
            doses[field].check(value, name)
    except TrainwellError as error:
        raise UsageError(f"--space {name}: {value} cannot be: {error}") from None


def _nearest(p: Parameter, now: Any) -> Any:
    try:
        return p.check(now)
    except UsageError:
        pass
    if p.options:
        numbers = [o for o in p.options if isinstance(o, int | float)]
        if isinstance(now, int | float) and numbers:
            return min(numbers, key=lambda o: abs(o - now))
        return p.options[0]
    if not isinstance(now, int | float) or not p.low < p.high:
        return p.off if p.off is not None else p.at(0.5)
    return p.at(p.place(max(p.low, min(p.high, now))))


def value_of(recipe: Recipe, name: str) -> Any:
    """Return what a recipe has of a parameter, None where it has nothing."""
    head, dot, field = name.partition(".")
    if head == "model":
        return recipe.model.get(field)
    if not dot:
        if head == "norm":
            return next((t.name for t in recipe.techniques if t.family == "norm"), "none")
        held = getattr(recipe, head, None)
        return str(held) if isinstance(held, Technique) else held
    technique = getattr(recipe, head) if head in ("optimizer", "schedule") else recipe.get(head)
    return getattr(technique, field, None)


def recipe_of(recipe: Recipe, config: Config) -> Recipe:
    """Return the recipe with the values of a configuration: whole parts before their doses, the rate last."""
    order = sorted(config, key=lambda n: (n == "lr", "." in n, n))
    for name in order:
        recipe = _set(recipe, name, config[name])
    return recipe


def _set(recipe: Recipe, name: str, value: Any) -> Recipe:
    head, dot, field = name.partition(".")
    if head == "model":
        return recipe.replace(model=recipe.model.replace(**{field: value}))
    if head == "norm" and not dot:
        kept = tuple(t for t in recipe.techniques if t.family != "norm")
        bare = recipe.replace(techniques=kept)
        return bare if value == "none" else bare.with_(str(value))
    if not dot:
        return recipe.replace(**{head: value})
    if head in ("optimizer", "schedule"):
        held: Technique = getattr(recipe, head)
        changes: dict[str, Any] = {head: held.replace(**{field: value})}
        return recipe.replace(**changes, lr=recipe.lr)
    now = recipe.get(head) or REGISTRY[head]()
    return recipe.with_(now.replace(**{field: value}))

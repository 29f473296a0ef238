"""The default recipes of tables: chosen by kind and size of the task, never by data set. docs/log.md has the trials."""

from __future__ import annotations

import dataclasses

from trainwell.values.errors import UsageError, did_you_mean
from trainwell.values.recipe import ModelSpec, Recipe
from trainwell.values.task import InputSpec, Task


@dataclasses.dataclass(frozen=True)
class Effort:
    """What a preset spends.

    Args:
        members, depth: of the TabM ensemble.
        epochs: passes over tables of 5,000 to 50,000 rows.
        rows: bound on rows x epochs, which shortens the training of larger tables.
        steps: least number of steps, which lengthens the training of small tables, up to 4 times `epochs`.
    """

    members: int
    depth: int
    epochs: int
    rows: float
    steps: int


PRESETS = {
    "quick": Effort(members=4, depth=2, epochs=10, rows=3e5, steps=200),
    "balanced": Effort(members=8, depth=2, epochs=24, rows=1.2e6, steps=600),
    "best": Effort(members=16, depth=3, epochs=36, rows=6e6, steps=1200),
}
LEAST_EPOCHS = 3
TECHNIQUES = ("dropout:rate=0.1", "weight_decay:rate=0.0003", "ema:decay=0.998")


def preset(name: str, task: Task, num_rows: int, inputs: InputSpec) -> Recipe:
    """Return the recipe of a preset: `quick`, `balanced` or `best`.

    Args:
        num_rows: rows of the training part.

    Raises:
        UsageError: there is no such preset.
    """
    if inputs.kind != "table":
        from trainwell.data.samples import KINDS

        return KINDS[inputs.kind].recipe(name, task, num_rows, inputs)
    check_preset(name)
    effort = PRESETS[name]
    batch_size = _batch_size(num_rows)
    return Recipe(
        model=_model(effort, inputs),
        optimizer="adam:beta2=0.99",
        schedule="cosine",
        lr=1e-2,
        batch_size=batch_size,
        epochs=_epochs(effort, num_rows, batch_size),
    ).with_(*TECHNIQUES)


def check_preset(name: str) -> None:
    """Refuse the name of a preset that there is not.

    Raises:
        UsageError: there is no such preset; the nearest name is suggested.
    """
    if name not in PRESETS:
        raise UsageError(
            f"--preset {name}: expected one of {', '.join(PRESETS)}.{did_you_mean(name, PRESETS)}"
        )


def _model(effort: Effort, inputs: InputSpec) -> ModelSpec:
    """Return the model; many numbers get fewer bins and narrower embeddings, so that a step stays affordable."""
    numbers = inputs.num_numeric
    bins, embedding = (128, 8) if numbers <= 64 else (32, 4) if numbers <= 256 else (0, 8)
    return ModelSpec.of("tabm", members=effort.members, depth=effort.depth, bins=bins, embedding=embedding)


def _batch_size(num_rows: int) -> int:
    """Return 256 for tables of 4,000 to 200,000 rows; smaller for small ones, larger for large ones."""
    size = 256 if num_rows <= 200_000 else 1024
    while size > 32 and size * 16 > num_rows:
        size //= 2
    return size


def _epochs(effort: Effort, num_rows: int, batch_size: int) -> int:
    steps_per_epoch = -(-num_rows // batch_size)
    most = max(LEAST_EPOCHS, int(effort.rows / max(1, num_rows)))
    wanted = max(effort.epochs, -(-effort.steps // steps_per_epoch))
    return min(wanted, most, 4 * effort.epochs)

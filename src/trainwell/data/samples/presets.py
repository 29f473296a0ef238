"""The default recipes of images, texts and sounds, by size of the task. docs/decisions/0010 has the trials."""

from __future__ import annotations

from typing import Any

from trainwell.values.errors import UsageError, did_you_mean
from trainwell.values.recipe import ModelSpec, Recipe
from trainwell.values.task import InputSpec, Task

IMAGES = {"quick": (8, 24), "balanced": (24, 32), "best": (60, 48)}
"""Per preset: epochs at 5,000 images of 32 pixels, and channels of the first stage."""
TEXTS = {"quick": (6, 64), "balanced": (12, 128), "best": (20, 256)}
"""Per preset: epochs, and numbers of an embedding."""
SOUNDS = {"quick": (10, 16), "balanced": (25, 24), "best": (60, 32)}
"""Per preset: epochs, and channels of the first stage."""


def effort_of(preset: str, table: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """Return what a preset spends.

    Raises:
        UsageError: there is no such preset.
    """
    if preset not in table:
        raise UsageError(
            f"--preset {preset}: expected one of {', '.join(table)}.{did_you_mean(preset, table)}"
        )
    return table[preset]


def smoothing_of(task: Task) -> list[str]:
    """Return what a task of classes has beside one of numbers."""
    return ["label_smoothing:amount=0.1"] if task.is_classification else []


def image_recipe(preset: str, task: Task, num_rows: int, spec: InputSpec) -> Recipe:
    """Return a small CNN with one cycle of the rate, flips (of colour images) and shifts."""
    epochs, width = effort_of(preset, IMAGES)
    batch = 128 if num_rows >= 4000 else 64 if num_rows >= 1000 else 32
    techniques: list[Any] = ["weight_decay:rate=0.05", *smoothing_of(task), "shift:share=0.125"]
    if spec.shape[0] == 3:
        techniques.append("flip")
    return Recipe(
        model=ModelSpec.of("cnn", width=width), optimizer="adam", schedule="one_cycle", lr=5e-3, batch_size=batch,
        epochs=epochs, techniques=tuple(techniques),
    )  # fmt: skip


def text_recipe(preset: str, num_rows: int) -> Recipe:
    """Return a bag of embeddings of words and pairs of words."""
    epochs, width = effort_of(preset, TEXTS)
    techniques: list[Any] = ["dropout:rate=0.3", "weight_decay:rate=0.01"]
    return Recipe(
        model=ModelSpec.of("bag", width=width), optimizer="adam", schedule="cosine", lr=3e-3,
        batch_size=64 if num_rows >= 2000 else 32, epochs=epochs, techniques=tuple(techniques),
    )  # fmt: skip


def sound_recipe(preset: str, task: Task, num_rows: int) -> Recipe:
    """Return a small CNN on spectra, with stripes of time and frequency left out."""
    epochs, width = effort_of(preset, SOUNDS)
    techniques: list[Any] = [
        "weight_decay:rate=0.05",
        *smoothing_of(task),
        "spec_augment",
        "dropout:rate=0.1",
    ]
    return Recipe(
        model=ModelSpec.of("cnn", width=width), optimizer="adam", schedule="one_cycle", lr=3e-3,
        batch_size=64 if num_rows >= 1000 else 32, epochs=epochs, techniques=tuple(techniques),
    )  # fmt: skip

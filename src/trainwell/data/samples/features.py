"""Features of a frozen network: no source is of this kind by itself; `fit --backbone` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from trainwell.data.samples.kind import Kind
from trainwell.data.samples.presets import effort_of
from trainwell.values.recipe import ModelSpec, Recipe
from trainwell.values.task import InputSpec, Task

EPOCHS = {"quick": (20, 0), "balanced": (40, 0), "best": (80, 0)}


class Features(Kind):
    """Rows of numbers that a backbone computed."""

    name: ClassVar[str] = "features"

    @classmethod
    def claims(cls, source: Any, target: str | None, options: Mapping[str, Any]) -> str:
        return ""

    @classmethod
    def recipe(cls, preset: str, task: Task, num_rows: int, spec: InputSpec) -> Recipe:
        """Return a linear probe; how strongly its weights decay is chosen on the validation part."""
        epochs, _ = effort_of(preset, EPOCHS)
        return Recipe(
            model=ModelSpec.of("probe"), optimizer="adam", schedule="cosine", lr=1e-3,
            batch_size=256 if num_rows >= 4000 else 64, epochs=epochs,
        ).with_("weight_decay:rate=0.1")  # fmt: skip

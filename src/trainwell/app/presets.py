"""The default recipes: by task and size, never by data set."""

from __future__ import annotations

from trainwell.values.errors import UsageError, did_you_mean
from trainwell.values.recipe import ModelSpec, Recipe
from trainwell.values.task import InputSpec, Task

PRESETS = ("quick", "balanced", "best")


def preset(name: str, task: Task, num_rows: int, inputs: InputSpec) -> Recipe:
    """Return the recipe of a preset: `quick`, `balanced` or `best`.

    Raises:
        UsageError: there is no such preset.
    """
    if name not in PRESETS:
        raise UsageError(
            f"--preset {name}: expected one of {', '.join(PRESETS)}.{did_you_mean(name, PRESETS)}"
        )
    epochs = {"quick": 20, "balanced": 50, "best": 150}[name]
    return Recipe(
        model=ModelSpec.of("mlp", width=256, depth=3), optimizer="adam", schedule="cosine", lr=1e-3,
        batch_size=min(256, max(16, num_rows // 20)), epochs=epochs,
    ).with_("dropout:rate=0.1")  # fmt: skip

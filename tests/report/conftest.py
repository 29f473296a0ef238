"""One short training whose folder the tests of the report read."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import trainwell as tw
from trainwell.app.reporting import write_report


def small_table(
    rows: int = 400, names: tuple[str, ...] = ("a", "b", "kind"), classes: tuple[str, ...] = ("no", "yes")
) -> pd.DataFrame:
    draws = np.random.default_rng(0)
    a, b = draws.normal(size=rows), draws.normal(size=rows)
    kind = draws.choice([f"{names[2]} {i}" for i in range(3)], rows)
    target = np.where(a + 0.5 * b + 0.3 * draws.normal(size=rows) > 0, classes[1], classes[0])
    return pd.DataFrame({names[0]: a, names[1]: b, names[2]: kind, "target": target})


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on a table that lies in a file."""
    folder = tmp_path_factory.mktemp("trained")
    small_table().to_parquet(folder / "table.parquet")
    recipe = tw.Recipe(model="mlp", epochs=4, batch_size=32)
    tw.fit(folder / "table.parquet", target="target", recipe=recipe, out=folder / "run")
    write_report(folder / "run")
    return folder / "run"


@pytest.fixture
def run_folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of that run which a test may damage."""
    return Path(shutil.copytree(trained, tmp_path / "run"))

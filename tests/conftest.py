"""What every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]


def shared_data(name: str) -> Path:
    """Return a file of the shared test data, or skip the test where it is absent.

    The folder is `$TRAINWELL_TEST_DATA`, or `../shared/data` beside the repository.
    """
    folder = Path(os.environ.get("TRAINWELL_TEST_DATA", REPO.parent / "shared" / "data"))
    path = folder / name
    if not path.exists():
        pytest.skip(f"{path} is absent: set TRAINWELL_TEST_DATA to the folder of the shared test data")
    return path

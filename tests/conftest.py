"""What every test may use."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
"""As many test processes as cores, of several threads each: threads that wait by spinning slow a test fiftyfold."""

REPO = Path(__file__).resolve().parents[1]
MEMORY = Path("/dev/shm")
"""A file system without a disk, where there is one. Runs are synced thousands of times, and a disk makes each wait."""


def pytest_configure() -> None:
    """Lay temporary files, those of started processes too, into memory if there is room; `TMPDIR` overrules it."""
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < 2**31:
        return
    if not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:  # else compiled layers could not be loaded from it
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


@pytest.fixture(autouse=True)
def _streams() -> None:
    """Begin every test at the same random numbers, whichever tests its process ran before."""
    import numpy
    import torch

    seed = int(os.environ.get("TRAINWELL_TEST_SEED", "0"))
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)


def shared_data(name: str) -> Path:
    """Return a file of the shared test data, or skip the test where it is absent.

    The folder is `$TRAINWELL_TEST_DATA`, or `../shared/data` beside the repository.
    """
    folder = Path(os.environ.get("TRAINWELL_TEST_DATA", REPO.parent / "shared" / "data"))
    path = folder / name
    if not path.exists():
        pytest.skip(f"{path} is absent: set TRAINWELL_TEST_DATA to the folder of the shared test data")
    return path

"""What every test of a technique starts from."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Make the modules that a test builds the same in every run."""
    torch.manual_seed(0)

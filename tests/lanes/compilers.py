"""The compilers with which compiled layers are tested."""

from __future__ import annotations

import platform
import shutil

import pytest
import torch

from trainwell.engine.lanes import native

needs_compiler = pytest.mark.skipif(
    isinstance(native.load(torch.float64), str), reason="there is no C compiler here"
)

COMMANDS = ["cc", "cc -march=x86-64", "cc -march=x86-64-v3", "clang"]
"""Those without AVX-512 and without AVX among them."""


def skip_unless_here(command: str) -> None:
    """Skip a test whose compiler is missing, or whose flags are those of another processor."""
    if shutil.which(command.split()[0]) is None:
        pytest.skip(f"{command} is not here")
    if "x86" in command and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip(f"this is {platform.machine()}")

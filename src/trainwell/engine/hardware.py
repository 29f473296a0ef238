"""Devices and threads: what is there, what is chosen, and what the choice rests on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from trainwell.values.errors import UsageError

SMALL_STEP_FLOPS = 2e9
"""Below this many operations a step, two threads cost more than they bring (docs/log.md, threads)."""


def choose_device(name: str | None) -> torch.device:
    """Return the named device, or the accelerator if there is one, else the CPU.

    Raises:
        UsageError: the device is unknown or not there.
    """
    if name in (None, "auto"):
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found or torch.device("cpu")
    try:
        device = torch.device(str(name))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        have = "cpu"
        if torch.accelerator.is_available():
            have += f", {torch.accelerator.current_accelerator()}"
        why = str(error).splitlines()[0]
        said = "" if "Expected one of" in why else f" {why}"  # torch's list of all that there might be
        raise UsageError(f"--device {name}: not available here (have: {have}).{said}") from None
    return device


def step_flops(num_params: int, rows: int) -> float:
    """Return the operations of one step of a dense network: 2 forward and 4 backward per weight and row."""
    return 6.0 * num_params * rows


@contextlib.contextmanager
def threads_for(flops: float, device: torch.device, threads: int | None = None) -> Iterator[int]:
    """Use the number of CPU threads that suits a step of this size; restore the user's afterwards.

    Args:
        threads: the number to use; `None` chooses: one for small steps, else what torch has.
    """
    before = torch.get_num_threads()
    chosen = threads or (1 if device.type == "cpu" and flops < SMALL_STEP_FLOPS else before)
    torch.set_num_threads(chosen)
    try:
        yield chosen
    finally:
        torch.set_num_threads(before)

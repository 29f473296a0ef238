"""What a run was computed with: versions, processor, threads, device."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainwell.values.version import version


def environment(device: str | torch.device = "cpu") -> dict[str, Any]:
    """Return what may change the numbers or the speed of a training, as plain data for `environment.json`."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "trainwell": version(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cpu": _processor(),
        "cpu_features": str(torch.backends.cpu.get_cpu_capability()),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "accelerator": _accelerator(torch.device(device)),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # no Linux: what Python knows will do
    return platform.processor() or platform.machine()


def _accelerator(device: torch.device) -> str | None:
    """Return the name of a GPU with its memory, or None for the CPU."""
    if device.type == "cpu":
        return None
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        return f"{found.name}, {found.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
    return device.type

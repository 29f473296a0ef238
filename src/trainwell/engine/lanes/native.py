"""Compiles the products of small networks once, with the C compiler of the machine, and loads them."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path

import torch

from trainwell.data.samples.store import folder
from trainwell.values.atomic import temporary_beside

SOURCES = tuple(Path(__file__).with_name(name) for name in ("block.c", "planes.c", "product.h"))

TUNED = "-mcpu=native" if platform.machine().lower() in ("arm64", "aarch64") else "-march=native"
"""For this very processor; not every compiler takes the second on ARM."""

FLAGS = ("-O3", TUNED, "-fno-trapping-math", "-shared", "-fPIC")
"""What is told the compiler, before the flags of `$CC`: of two that contradict each other the later counts."""

REALS = {torch.float32: ("float", "int"), torch.float64: ("double", "long long")}
"""The type of the numbers in C, and an integer of its size."""

LONGEST_S = 60.0
"""Seconds after which the compiler is given up; it takes one."""


def is_wanted(like: torch.Tensor) -> bool:
    """Tell whether layers of such tensors may be compiled: `TRAINWELL_NATIVE=0` forbids it."""
    return like.is_cpu and like.dtype in REALS and os.environ.get("TRAINWELL_NATIVE", "1") != "0"


@functools.cache
def load(dtype: torch.dtype) -> ctypes.CDLL | str:
    """Return the compiled functions for this dtype, or why there are none.

    They are kept in the cache folder under a name that depends on the source, the compiler and the processor.
    """
    command = shlex.split(os.environ.get("CC", "cc"))
    found = shutil.which(command[0]) if command else None
    if found is None:
        return f"there is no C compiler ('{' '.join(command)}')"
    types = [f"-D{name}={kind}" for name, kind in zip(("real", "whole"), REALS[dtype], strict=True)]
    about = "\n".join((*(s.read_text() for s in SOURCES), found, *command, *FLAGS, *types, _processor()))
    path = folder() / "native" / f"{hashlib.sha256(about.encode()).hexdigest()[:24]}.so"
    made = [command[0], *FLAGS, *command[1:], *types, *(str(s) for s in SOURCES if s.suffix == ".c")]
    try:
        return _loaded(path) or _typed(ctypes.CDLL(str(_compile(made, path))))
    except (OSError, AttributeError, subprocess.SubprocessError) as error:
        return f"the C compiler failed: {str(error).splitlines()[0]}"


def _loaded(path: Path) -> ctypes.CDLL | None:
    """Return what was compiled before; None where there is none, or a damaged one."""
    try:
        return _typed(ctypes.CDLL(str(path)))
    except (OSError, AttributeError):
        return None


def _compile(command: list[str], path: Path) -> Path:
    """Run the compiler; another process may do the same at the same time."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = temporary_beside(path)
    try:
        ran = subprocess.run([*command, "-o", str(made)], capture_output=True, text=True, timeout=LONGEST_S)
        if ran.returncode:
            raise OSError((ran.stderr.strip() or f"exit code {ran.returncode}").splitlines()[0])
        os.replace(made, path)
    finally:
        made.unlink(missing_ok=True)
    return path


def _processor() -> str:
    """Describe the processor: code for one may not run on another that shares the folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "\n".join(
            sorted({line for line in lines if line.startswith(("flags", "model name", "Features"))})
        )
    except OSError:
        return f"{platform.node()} {platform.machine()} {platform.processor()}"


def _typed(library: ctypes.CDLL) -> ctypes.CDLL:
    p, n = ctypes.c_void_p, ctypes.c_long
    library.forward.argtypes = [p, n, n, n, p, n, n, p, n, n, p, n]
    library.backward.argtypes = [p, n, n, n, p, n, n, n, p, p, n, p, n]
    library.masks.argtypes = [n, n, n, p, n, p, p, p]
    library.planes_forward.argtypes = [p, n, n, n, p, n, n, p, n]
    library.planes_backward.argtypes = [p, n, n, n, p, n, p, p, n, p, n]
    library.planes_space.argtypes, library.planes_space.restype = [p], n
    library.pool_forward.argtypes = library.pool_backward.argtypes = [n, n, n, n, p, p, p]
    for name in (
        "forward",
        "backward",
        "masks",
        "planes_forward",
        "planes_backward",
        "pool_forward",
        "pool_backward",
    ):
        getattr(library, name).restype = None
    return library

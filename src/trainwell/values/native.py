"""Compiles C sources of the package once, with the C compiler of the machine, and loads them."""

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
from typing import Any

from trainwell.values.atomic import temporary_beside
from trainwell.values.cache import folder

TUNED = "-mcpu=native" if platform.machine().lower() in ("arm64", "aarch64") else "-march=native"
"""For this very processor; not every compiler takes the second on ARM."""

FLAGS = ("-O3", TUNED, "-fno-trapping-math", "-fno-math-errno", "-shared", "-fPIC")
"""What is told the compiler, before the flags of `$CC`: of two that contradict each other the later counts."""

REALS = {"float32": ("float", "int"), "float64": ("double", "long long")}
"""By dtype the type of the numbers in C, `real`, and an integer of its size, `whole`."""

LONGEST_S = 60.0
"""Seconds after which the compiler is given up; it takes one."""

Signature = tuple[str, tuple[Any, ...], Any]
"""Name, types of the arguments and of the result of a function."""


def is_wanted(like: Any) -> bool:
    """Tell whether what is done to such tensors may be compiled: `TRAINWELL_NATIVE=0` forbids it."""
    return like.is_cpu and _is_real(like.dtype) and os.environ.get("TRAINWELL_NATIVE", "1") != "0"


@functools.cache
def _is_real(dtype: Any) -> bool:
    return dtype_name(dtype) in REALS


def dtype_name(dtype: Any) -> str:
    """Return the name of a dtype without the library that it is of."""
    return str(dtype).removeprefix("torch.")


@functools.cache
def load(sources: tuple[Path, ...], dtype: str, functions: tuple[Signature, ...]) -> ctypes.CDLL | str:
    """Return the functions of these sources, compiled for this dtype, or why there are none.

    They are kept in the cache folder under a name that depends on the source, the compiler and the processor.
    """
    command = shlex.split(os.environ.get("CC", "cc"))
    found = shutil.which(command[0]) if command else None
    if found is None:
        return f"there is no C compiler ('{' '.join(command)}')"
    types = [f"-D{name}={kind}" for name, kind in zip(("real", "whole"), REALS[dtype], strict=True)]
    about = "\n".join((*(s.read_text() for s in sources), found, *command, *FLAGS, *types, _processor()))
    path = folder() / "native" / f"{hashlib.sha256(about.encode()).hexdigest()[:24]}.so"
    files = [str(s) for s in sources if s.suffix == ".c"]
    try:
        return loaded(path, functions) or typed(
            compiled([command[0], *FLAGS, *command[1:], *types, *files, "-lm"], path), functions
        )
    except (OSError, AttributeError, subprocess.SubprocessError) as error:
        return f"the C compiler failed: {str(error).splitlines()[0]}"


def loaded(path: Path, functions: tuple[Signature, ...]) -> ctypes.CDLL | None:
    """Return what was compiled before; None where there is none, or a damaged one."""
    try:
        return typed(path, functions)
    except (OSError, AttributeError):
        return None


def compiled(command: list[str], path: Path) -> Path:
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


def typed(path: Path, functions: tuple[Signature, ...]) -> ctypes.CDLL:
    """Load a library and tell ctypes the types of its functions."""
    library = ctypes.CDLL(str(path))
    for name, arguments, result in functions:
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library


def _processor() -> str:
    """Describe the processor: code for one may not run on another that shares the folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "\n".join(
            sorted({line for line in lines if line.startswith(("flags", "model name", "Features"))})
        )
    except OSError:
        return f"{platform.node()} {platform.machine()} {platform.processor()}"

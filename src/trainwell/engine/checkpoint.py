"""Checkpoints: folders of safetensors and JSON, every byte under a checksum, replaced whole or not at all.

    last/weights.safetensors  optimizer.safetensors ...   the tensors, readable by any safetensors library
    last/state.json                                        plain numbers and words
    last/manifest.json                                     a checksum of each of them; written last

A new checkpoint is written to a temporary folder, synced and read back from the disk; then the old one is
renamed to `last.prev`, the new one to `last`, and `last.prev` removed. At every instant one of them is whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import glob
import os
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainwell.engine.tensorfile import fill, read_tensors, skim, write_tensors
from trainwell.values.atomic import sync_folder, temporary_beside
from trainwell.values.errors import RunError
from trainwell.values.journal import dumps, loads, seal, unseal

FORMAT = 1
"""Version of the manifest; a reader refuses a newer one."""

STATE, MANIFEST = "state.json", "manifest.json"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds, every byte of it verified.

    Args:
        tensors: tensors by name, by the stem of the file that they stand in.
        state: plain data; floats are exact.
        path: the folder that it was read from.
    """

    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]
    path: Path


def save_checkpoint(
    folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> None:
    """Replace the checkpoint in `folder`, which lives until the new one has been read back.

    Args:
        folder: e.g. `runs/x/last`; its parent must exist.
        tensors: tensors by name, by stem of file. Views and shared tensors are saved as tensors of their own.
        state: plain data, with the number of steps as `step`.

    Raises:
        OSError: the disk is full, fails or gives back other bytes; the old checkpoint is untouched.
        RunError: a tensor is of a kind that safetensors cannot hold.
    """
    folder = Path(folder)
    new = _make_temporary(folder)
    try:
        _write(new, tensors, state)
        try:
            verify_checkpoint(new)
        except RunError as error:
            raise OSError(errno.EIO, f"the disk gave back other bytes than were written: {error}") from error
        _swap_in(new, folder)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    for path in (_previous(folder), *_temporaries(folder)):
        if not _is_being_written(path):
            _remove(path)


def load_checkpoint(folder: Path, device: str | torch.device = "cpu") -> Checkpoint:
    """Read a checkpoint and verify every byte of it.

    Raises:
        RunError: something is missing or damaged; the message names the file and the tensor.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    tensors = {
        stem: {
            name: tensor.to(device)
            for name, tensor in read_tensors(folder / f"{stem}.safetensors", entry, fill)
            if tensor is not None
        }
        for stem, entry in manifest["files"].items()
    }
    return Checkpoint(tensors, _read_state(folder, manifest), folder)


def verify_checkpoint(folder: Path) -> None:
    """Read every byte of a checkpoint and compare the checksums, keeping nothing in memory.

    Raises:
        RunError: as `load_checkpoint`.
    """
    manifest = _read_manifest(folder)
    for stem, entry in manifest["files"].items():
        for _ in read_tensors(folder / f"{stem}.safetensors", entry, skim):
            pass
    _read_state(folder, manifest)


def newest_valid(folder: Path, device: str | torch.device = "cpu") -> tuple[Checkpoint | None, list[str]]:
    """Return the whole checkpoint of most steps among `folder`, its predecessor and what a kill left there.

    The second value says what was passed over and why, one sentence each. While another process saves into
    the folder the names may change under the reader; it then reads again.
    """
    folder = Path(folder)
    for _ in range(5):
        before = _identity(folder)
        found, notes = _newest_valid(folder, device)
        if not notes or _identity(folder) == before:
            break
    return found, notes


def _newest_valid(folder: Path, device: str | torch.device) -> tuple[Checkpoint | None, list[str]]:
    notes: list[str] = []
    ranked: list[tuple[float, int, Path]] = []
    # at equal steps the finished name comes first, then what was about to replace it, then its predecessor
    for rank, path in enumerate([folder, *_temporaries(folder), _previous(folder)]):
        if path != folder and not (path / MANIFEST).exists():
            continue  # never finished, or being removed
        if not path.exists():
            continue
        try:
            ranked.append((_read_state(path, _read_manifest(path)).get("step", 0), -rank, path))
        except RunError as error:
            notes.append(f"passed over: {error}")
    for step, _, path in sorted(ranked, reverse=True):
        try:
            found = load_checkpoint(path, device)
        except RunError as error:
            notes.append(f"passed over: {error}")
            continue
        if path != folder:
            notes.append(f"{folder} is taken from {path.name} (step {step}).")
        return found, notes
    return None, notes


def _write(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    """Write all files of a checkpoint, the manifest last, and wait for the disk."""
    files = {stem: write_tensors(folder / f"{stem}.safetensors", named) for stem, named in tensors.items()}
    text = dumps(dict(state), indent=1).encode() + b"\n"
    _write_synced(folder / STATE, text)
    about = {"bytes": len(text), "crc": f"{zlib.crc32(text):08x}"}
    _write_synced(folder / MANIFEST, seal({"format": FORMAT, "files": files, "state": about}) + b"\n")
    sync_folder(folder)


def _write_synced(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    data = _read_bytes(path)
    try:
        if data[-1:] != b"\n":
            raise ValueError("the end is missing")
        manifest = unseal(data[:-1])
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}).") from error
    if manifest["format"] > FORMAT:
        raise RunError(f"{path} was written by a newer trainwell; update to read it.")
    return manifest


def _read_state(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    path, about = folder / STATE, manifest["state"]
    data = _read_bytes(path)
    found = f"{zlib.crc32(data):08x}"
    if len(data) != about["bytes"]:
        raise RunError(f"{path} is damaged ({len(data)} bytes, expected {about['bytes']}).")
    if found != about["crc"]:
        raise RunError(f"{path} is damaged (checksum {found}, expected {about['crc']}).")
    state = loads(data)
    assert isinstance(state, dict)
    return state


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise RunError(f"{path} is missing.") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.") from error


def _swap_in(new: Path, folder: Path) -> None:
    """Rename the old checkpoint away and the new one into its place."""
    previous, had_one = _previous(folder), folder.exists()
    if had_one:
        _remove(previous)  # left by a kill; `folder` and `new` stand
        os.rename(folder, previous)
    try:
        os.rename(new, folder)
    except BaseException:
        if had_one:
            os.rename(previous, folder)
        raise
    sync_folder(folder.parent)


def _make_temporary(folder: Path) -> Path:
    while True:
        path = temporary_beside(folder)
        try:
            path.mkdir()
        except (
            FileExistsError
        ):  # left by a dead process of our number; it may be the only whole one, so it stays
            continue
        return path


def _previous(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.prev")


def _temporaries(folder: Path) -> list[Path]:
    return sorted(folder.parent.glob(f".{glob.escape(folder.name)}.tmp-*-*"))


def _is_being_written(path: Path) -> bool:
    """Tell whether a temporary folder belongs to another process that lives."""
    pid = path.name.rpartition(".tmp-")[2].partition("-")[0]
    if not pid.isdigit() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(folder: Path) -> None:
    """Remove a checkpoint, its manifest first, so that a kill leaves what is plainly unfinished."""
    with contextlib.suppress(OSError):  # what cannot be removed now is removed at the next save
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns

"""Write and read one safetensors file with a checksum per tensor, without a second copy of a tensor.

The format is that of the safetensors library (length of the header as 8 bytes, header in JSON, the numbers
without a gap), and a test reads our files with it. We write it ourselves because the library holds copies of
all tensors of a GPU at once, hides the kind of a disk's error, and has no checksum: of 300 bit flips it
noticed one.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from trainwell.values.errors import RunError

CODES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.complex64: "C64",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint64: "U64", torch.uint32: "U32", torch.uint16: "U16", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
"""The dtypes that the format holds, by torch dtype."""

DTYPES = {code: dtype for dtype, code in CODES.items()}

CHUNK_BYTES = 1 << 18
"""Bytes that are read and summed at a time: they stay in the cache (benchmarks/corruption.py)."""

Take = Callable[[BinaryIO, Mapping[str, Any]], tuple[int, Tensor | None]]
"""Read one tensor, described by its entry in the header; return its checksum and, if kept, the tensor."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Write a new file, wait for the disk, and return its entry for the manifest: sizes and checksums.

    Raises:
        OSError: the disk is full or cannot be written; a part of the file may be left.
        RunError: a tensor is not dense or of a dtype that the format lacks.
    """
    # the largest elements first: then every tensor begins at a multiple of its element's size
    names = sorted(tensors, key=lambda n: (-tensors[n].element_size(), n))
    head = _header(path, {name: tensors[name] for name in names})
    sums = {}
    with open(path, "xb", buffering=CHUNK_BYTES) as file:
        file.write(head)
        for name in names:
            data = _bytes_of(tensors[name].detach().cpu().contiguous())
            sums[name] = f"{zlib.crc32(data):08x}"
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
        if hasattr(os, "posix_fadvise"):  # forget the pages, so that reading back asks the disk
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    header = {"bytes": len(head), "crc": f"{zlib.crc32(head):08x}"}
    return {"bytes": size, "header": header, "tensors": sums}


def read_tensors(path: Path, entry: Mapping[str, Any], take: Take) -> Iterator[tuple[str, Tensor | None]]:
    """Read a file tensor by tensor and compare each with its checksum in the manifest.

    Args:
        entry: what `write_tensors` returned.
        take: `fill` to keep the tensors, `skim` to verify only.

    Raises:
        RunError: the file is missing, of another size or damaged; names the file and the tensor.
    """
    part = "header"
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size != entry["bytes"]:
                raise RunError(f"{path} is damaged ({size} bytes, expected {entry['bytes']}).")
            head = file.read(entry["header"]["bytes"])
            _compare(path, part, zlib.crc32(head), entry["header"]["crc"])
            for name, spec in json.loads(head[8:]).items():
                part = f"tensor '{name}'"
                found, tensor = take(file, spec)
                _compare(path, part, found, entry["tensors"][name])
                yield name, tensor
    except FileNotFoundError:
        raise RunError(f"{path} is missing.") from None
    except OSError as error:
        raise RunError(f"{path}: {part} cannot be read: {error.strerror or error}.") from error


def fill(file: BinaryIO, spec: Mapping[str, Any]) -> tuple[int, Tensor]:
    """Read one tensor into memory of its own; return its checksum and the tensor."""
    tensor = torch.empty(spec["shape"], dtype=DTYPES[spec["dtype"]])
    view, found = _bytes_of(tensor), 0
    for start in range(0, len(view), CHUNK_BYTES):
        found = _read_into(file, view[start : start + CHUNK_BYTES], found)
    return found, tensor


def skim(file: BinaryIO, spec: Mapping[str, Any]) -> tuple[int, None]:
    """Read one tensor and keep nothing; return its checksum."""
    start, stop = spec["data_offsets"]
    scratch, found, left = memoryview(bytearray(min(CHUNK_BYTES, stop - start))), 0, stop - start
    while left:
        part = scratch[:left]
        found = _read_into(file, part, found)
        left -= len(part)
    return found, None


def _read_into(file: BinaryIO, view: memoryview, checksum: int) -> int:
    """Fill the view from the file and return the checksum carried on over it."""
    done = 0
    while done < len(view):
        count = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise OSError("the file ends too early")
        done += count
    return zlib.crc32(view, checksum)


def _compare(path: Path, part: str, found: int, expected: str) -> None:
    if f"{found:08x}" != expected:
        raise RunError(f"{path}: {part} is damaged (checksum {found:08x}, expected {expected}).")


def _header(path: Path, tensors: Mapping[str, Tensor]) -> bytes:
    """Return the header of a file that holds these tensors in this order."""
    entries, offset = {}, 0
    for name, tensor in tensors.items():
        code = CODES.get(tensor.dtype)
        if code is None or tensor.layout != torch.strided:
            raise RunError(
                f"{path.name}: a checkpoint cannot hold '{name}', {tensor.layout} of {tensor.dtype}. "
                f"It holds dense tensors of {', '.join(str(d).removeprefix('torch.') for d in CODES)}."
            )
        stop = offset + tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": code, "shape": list(tensor.shape), "data_offsets": [offset, stop]}
        offset = stop
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _bytes_of(tensor: Tensor) -> memoryview:
    """Return the memory of a contiguous tensor of the CPU."""
    array: Any = tensor.resolve_conj().resolve_neg().reshape(-1).view(torch.uint8).numpy()
    return memoryview(array)

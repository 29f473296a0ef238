"""Checkpoints: what goes in comes out, damage is noticed and named, a failing disk or a kill is no loss."""

from __future__ import annotations

import errno
import json
import math
import os
import resource
import shutil
import string
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainwell.engine import checkpoint
from trainwell.engine.checkpoint import load_checkpoint, newest_valid, save_checkpoint, verify_checkpoint
from trainwell.engine.tensorfile import CODES, write_tensors
from trainwell.values.errors import RunError

REPOSITORY = Path(__file__).parents[2]
Tensors = dict[str, dict[str, torch.Tensor]]


def tensors_of(step: int) -> Tensors:
    return {"weights": {"a": torch.full((3, 4), float(step)), "b": torch.tensor(step)}, "empty": {}}


def save(folder: Path, step: int) -> None:
    save_checkpoint(folder, tensors_of(step), {"step": step})


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Compare bits, so that NaN equals itself and 0 differs from -0."""
    view = [t.contiguous().reshape(-1).view(torch.uint8) for t in (a, b)]
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(*view)


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
tensors = st.builds(
    lambda dtype, shape, seed: (
        torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
        if dtype is torch.bool
        else torch.randint(
            0,
            256,
            (math.prod(shape) * dtype.itemsize,),
            dtype=torch.uint8,
            generator=torch.Generator().manual_seed(seed),
        )
        .view(dtype)
        .reshape(shape)
    ),
    st.sampled_from(sorted(CODES, key=str)),
    shapes,
    st.integers(0, 99),
)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text(string.ascii_lowercase, min_size=1, max_size=8),
        st.dictionaries(words.filter(lambda w: w != "__metadata__"), tensors, max_size=4),
        max_size=3,
    ),
    st.dictionaries(st.text(max_size=6), plain, max_size=4),
)
def test_save_then_load_gives_the_same_bits(tmp_path: Path, given: Tensors, state: dict[str, Any]) -> None:
    folder = tmp_path / "last"
    save_checkpoint(folder, given, state)
    found = load_checkpoint(folder)
    assert found.state == state
    assert found.path == folder
    assert found.tensors.keys() == given.keys()
    for stem, named in given.items():
        assert found.tensors[stem].keys() == named.keys()
        assert all(same(found.tensors[stem][n], t) for n, t in named.items())
    assert names(tmp_path) == ["last"]


@pytest.mark.parametrize("dtype", CODES, ids=str)
def test_files_are_read_by_the_safetensors_library(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = torch.randn(3, 5).to(torch.float32 if dtype.is_floating_point else torch.int8).abs().to(dtype)
    given = {
        "x": tensor,
        "scalar": tensor[0, 0],
        "empty": tensor[:0],
        "odd": torch.ones(3, dtype=torch.uint8),
    }
    write_tensors(tmp_path / "x.safetensors", given)
    found = safetensors.torch.load_file(tmp_path / "x.safetensors")
    assert found.keys() == given.keys()
    assert all(same(found[n], t) for n, t in given.items())


def test_state_keeps_nan_inf_and_words_like_them(tmp_path: Path) -> None:
    state = {"a": math.inf, "b": [-math.inf, -0.0, 5e-324, 0.1], "c": "nan", "d": "\\inf", "n": math.nan}
    save_checkpoint(tmp_path / "last", {}, state)
    found = load_checkpoint(tmp_path / "last").state
    assert math.isnan(found.pop("n"))
    assert found == {k: v for k, v in state.items() if k != "n"}
    assert math.copysign(1, found["b"][1]) == -1
    json.loads(
        (tmp_path / "last" / "state.json").read_text(),
        parse_constant=lambda c: pytest.fail(f"{c} is no JSON"),
    )


def test_views_and_tied_tensors_become_tensors_of_their_own(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    given = {
        "all": base, "again": base, "part": base[1:, 1:], "turned": base.t(), "spread": base[0].expand(5, 4),
        "parameter": torch.nn.Parameter(base), "conj": torch.tensor([1 + 2j, 3j]).conj(),
        "last": torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
    }  # fmt: skip
    save_checkpoint(tmp_path / "last", {"weights": given}, {})
    found = load_checkpoint(tmp_path / "last").tensors["weights"]
    assert all(torch.equal(found[n], t) for n, t in given.items())
    assert len({t.untyped_storage().data_ptr() for t in found.values()}) == len(found)
    assert all(t.untyped_storage().nbytes() == t.nbytes for t in found.values())


@pytest.mark.parametrize(
    "bad", [torch.zeros(2, dtype=torch.complex128), torch.eye(2).to_sparse()], ids=["complex128", "sparse"]
)
def test_a_tensor_that_cannot_be_held_is_named_and_the_old_stays(tmp_path: Path, bad: torch.Tensor) -> None:
    save(tmp_path / "last", 1)
    with pytest.raises(RunError, match=r"weights.safetensors: a checkpoint cannot hold 'odd'"):
        save_checkpoint(tmp_path / "last", {"weights": {"odd": bad}}, {})
    assert load_checkpoint(tmp_path / "last").state == {"step": 1}
    assert names(tmp_path) == ["last"]


def test_every_byte_of_the_json_and_of_the_headers_is_watched(tmp_path: Path) -> None:
    folder = tmp_path / "last"
    save_checkpoint(folder, {"w": {"a": torch.tensor([1, 2], dtype=torch.int8)}}, {"step": 1})
    for file in folder.iterdir():
        for bit in range(0, 8 * file.stat().st_size, 7):  # every byte, and by turns every place in it
            flip(file, bit)
            with pytest.raises(RunError, match=file.name):
                load_checkpoint(folder)
            flip(file, bit)
    verify_checkpoint(folder)


def test_a_damaged_tensor_is_named(tmp_path: Path) -> None:
    save(tmp_path / "last", 1)
    path = tmp_path / "last" / "weights.safetensors"
    flip(path, 8 * path.stat().st_size - 1)
    with pytest.raises(RunError, match=r"weights.safetensors: tensor 'a' is damaged \(checksum \w{8}, exp"):
        load_checkpoint(tmp_path / "last")
    with pytest.raises(RunError, match="tensor 'a'"):
        verify_checkpoint(tmp_path / "last")


@pytest.mark.parametrize("name", ["weights.safetensors", "state.json", "manifest.json"])
def test_a_missing_short_or_long_file_is_named(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "last"
    save(folder, 1)
    path = folder / name
    whole = path.read_bytes()
    for data in (whole[:-1], whole + b"\0", b"", whole[1:]):
        path.write_bytes(data)
        with pytest.raises(RunError, match=f"{name} is damaged"):
            load_checkpoint(folder)
    path.unlink()
    with pytest.raises(RunError, match=f"{name} is missing"):
        load_checkpoint(folder)
    path.mkdir()
    with pytest.raises(RunError, match=rf"{name}.* cannot be read: Is a directory"):
        load_checkpoint(folder)


def test_a_newer_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    save(tmp_path / "last", 1)
    monkeypatch.undo()
    with pytest.raises(RunError, match="newer trainwell; update"):
        load_checkpoint(tmp_path / "last")


def test_newest_valid_passes_over_damage_and_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "last"
    assert newest_valid(folder) == (None, [])
    save(folder, 3)
    shutil.copytree(folder, tmp_path / "last.prev")
    save(tmp_path / "x", 4)
    (tmp_path / "x").rename(tmp_path / ".last.tmp-999999999-1")
    (tmp_path / ".last.tmp-999999999-2").mkdir()  # never finished: nothing to say
    found, notes = newest_valid(folder)
    assert found is not None
    assert found.state == {"step": 4}
    assert notes == [f"{folder} is taken from .last.tmp-999999999-1 (step 4)."]
    flip(found.path / "weights.safetensors", 900)
    found, notes = newest_valid(folder)
    assert found is not None
    assert found.path == folder
    assert len(notes) == 1
    assert "passed over" in notes[0]
    assert "weights.safetensors" in notes[0]
    flip(folder / "state.json", 9)
    found, notes = newest_valid(folder)
    assert found is not None
    assert found.path.name == "last.prev"
    assert len(notes) == 3
    flip(found.path / "manifest.json", 9)
    assert newest_valid(folder)[0] is None


def test_a_save_clears_what_kills_left_but_not_what_is_being_written(tmp_path: Path) -> None:
    mine, dead, living = (tmp_path / f".last.tmp-{pid}-0" for pid in (os.getpid(), 999999999, os.getppid()))
    for path in (mine, dead, living, tmp_path / "last.prev", tmp_path / ".lasting.tmp-999999999-0"):
        path.mkdir()
    save(tmp_path / "last", 1)
    assert names(tmp_path) == [living.name, ".lasting.tmp-999999999-0", "last"]


def test_a_reader_beside_a_writer_always_finds_one(tmp_path: Path) -> None:
    folder, stop, steps = tmp_path / "last", threading.Event(), [0]
    save(folder, 0)

    def write() -> None:
        while not stop.wait(0.003):  # no disk is faster; in memory it would save between any two reads
            steps.append(steps[-1] + 1)
            save(folder, steps[-1])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = -1
        for _ in range(150):
            found, _ = newest_valid(folder)
            assert found is not None
            assert found.state["step"] >= seen
            seen = found.state["step"]
            assert same(found.tensors["weights"]["b"], torch.tensor(seen))
    finally:
        stop.set()
        writer.join()


def fail_at(call: int, real: Callable[..., Any], code: int) -> Callable[..., Any]:
    """Return the function, but its `call`-th call raises OSError."""
    left = [call]

    def failing(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    return failing


def error_of(work: Callable[[], None]) -> OSError | None:
    try:
        work()
    except OSError as error:
        return error
    return None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("name", ["fsync", "rename", "mkdir"])
def test_a_failing_disk_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    folder = tmp_path / "last"
    save(folder, 1)
    old = content(folder)
    for call in range(1, 20):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail_at(call, getattr(os, name), code))
            failed = error_of(lambda: save(folder, 2))
        if failed is None:
            assert call > 1
            break
        assert failed.errno == code
        if content(folder) != old:  # only the last sync, of the renames, may fail after the new one stands
            assert name == "fsync"
            assert load_checkpoint(folder).state == {"step": 2}
            assert load_checkpoint(tmp_path / "last.prev").state == {"step": 1}
            save(folder, 1)
        assert names(tmp_path) == ["last"]
    assert load_checkpoint(folder).state == {"step": 2}
    assert names(tmp_path) == ["last"]


@pytest.mark.parametrize("limit", [0, 100, 5000, 100_000])
def test_a_disk_that_fills_up_leaves_the_old_checkpoint(tmp_path: Path, limit: int) -> None:
    folder = tmp_path / "last"
    save(folder, 1)
    old, before = content(folder), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            save_checkpoint(folder, {"w": {"big": torch.zeros(100_000)}}, {"step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert content(folder) == old
    assert names(tmp_path) == ["last"]


def test_a_disk_that_gives_back_other_bytes_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "last", 1)

    def damage(path: Path, named: Any) -> dict[str, Any]:
        entry = write_tensors(path, named)
        flip(path, 8 * path.stat().st_size - 5)
        return entry

    monkeypatch.setattr(checkpoint, "write_tensors", damage)
    with pytest.raises(OSError, match="gave back other bytes"):
        save(tmp_path / "last", 2)
    assert load_checkpoint(tmp_path / "last").state == {"step": 1}
    assert names(tmp_path) == ["last"]


def test_an_interrupt_in_the_middle_leaves_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "last", 1)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("fsync", "rename"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, interrupt)
            with pytest.raises(KeyboardInterrupt):
                save(tmp_path / "last", 2)
        assert names(tmp_path) == ["last"]
        assert load_checkpoint(tmp_path / "last").state == {"step": 1}


def test_flips_kills_and_cost_in_the_small() -> None:
    script = REPOSITORY / "benchmarks" / "corruption.py"
    words = ["--flips", "500", "--kills", "20", "--stride", "17", "--mb", "16", "--rounds", "1", "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), *words], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["flips"]["detected"]["trainwell"] == 500
    assert result["kills"]["saves"] > 0
    assert result["kills"]["wrong"] == []
    assert result["calls"]["calls"] > 300
    assert result["cost"]["save_extra_peak_mb"] < 4  # no second copy of the 16 MB

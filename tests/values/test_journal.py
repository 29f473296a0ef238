"""The journal: exact values, torn and damaged lines recognised, a full disk survived."""

from __future__ import annotations

import errno
import json
import math
import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainwell.values.errors import RunError
from trainwell.values.journal import Journal, dumps, epochs, loads, read_journal, seal, to_plain, unseal

words = st.text(max_size=8) | st.sampled_from(
    ["nan", "inf", "-inf", "\\nan", "\\\\inf", "Infinity", "\ud800"]
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=10,
)
in_one_folder = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(path: Path, count: int) -> list[dict[str, Any]]:
    with Journal(path) as journal:
        assert all(journal.append("epoch", epoch=i, val_loss=1 / (i + 1)) for i in range(count))
    return read_journal(path)[0]


@given(plain)
def test_values_survive_as_plain_json(value: Any) -> None:
    text = dumps(value)
    assert text.isascii()
    json.loads(text, parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    assert loads(text) == value


@given(st.floats())
def test_floats_keep_every_bit(value: float) -> None:
    found = loads(dumps([value]))[0]
    assert np.float64(found).tobytes() == np.float64(value).tobytes() or (
        math.isnan(found) and math.isnan(value)
    )


def test_scalars_and_tuples_become_plain() -> None:
    given = {
        "a": np.float32(0.1),
        "b": np.int64(3),
        "c": np.bool_(True),
        "d": (1, np.float64("nan")),
        "e": np.array(2),
    }
    assert loads(dumps(given)) == {
        "a": float(np.float32(0.1)), "b": 3, "c": True, "d": [1, pytest.approx(math.nan, nan_ok=True)], "e": 2
    }  # fmt: skip


@pytest.mark.parametrize("value", [{1: 2}, object(), b"x", {"a": [np.zeros(2)]}, {1, 2}])
def test_what_json_would_change_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        to_plain(value)


@given(st.dictionaries(words.filter(lambda w: w != "crc"), plain, min_size=1, max_size=4))
def test_seal_is_one_line_of_json_and_comes_back(value: dict[str, Any]) -> None:
    line = seal(value)
    assert b"\n" not in line
    assert "crc" in json.loads(line)
    assert unseal(line) == value


def test_every_bit_of_a_line_is_watched() -> None:
    line = bytearray(seal({"event": "epoch", "val_loss": 0.25, "note": "nan"}))
    for bit in range(8 * len(line)):
        line[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError):
            unseal(bytes(line))
        line[bit // 8] ^= 1 << bit % 8
    unseal(bytes(line))


@in_one_folder
@given(st.lists(st.dictionaries(st.text("abcd", min_size=1), plain, max_size=3), max_size=4))
def test_append_then_read_gives_the_same_events(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = tmp_path / "journal.jsonl"
    path.unlink(missing_ok=True)
    with Journal(path) as journal:
        assert all(journal.append("warning", **row) for row in rows)
        assert journal.sync()
    events, warnings = read_journal(path)
    assert warnings == []
    assert [{k: v for k, v in e.items() if k not in ("event", "time")} for e in events] == rows


def test_an_unknown_event_is_our_mistake(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal, pytest.raises(AssertionError, match="unknown event 'epcoh'"):
        journal.append("epcoh")


def test_a_journal_cut_at_every_byte_of_its_last_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    events = write(path, 3)
    data = path.read_bytes()
    last = data.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(data) + 1):
        path.write_bytes(data[:end])
        whole = 3 if end >= len(data) - 1 else 2  # without its newline the line is still whole
        torn = end - last if whole == 2 else 0
        found, warnings = read_journal(path)
        assert found == events[:whole]
        assert warnings == ([f"{path}: the last line was torn ({torn} bytes); skipped."] if torn else [])
        with Journal(path) as journal:
            assert len(journal.notes) == (torn > 0)
            assert journal.append("resumed", step=7)
        found, warnings = read_journal(path)
        assert (found[:-1], found[-1]["step"], warnings) == (events[:whole], 7, [])


@pytest.mark.parametrize("tail", [b"\0" * 512, b"{", b'{"event": "epoch"}', b"\xff\xfe"])
def test_a_tail_of_other_bytes_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    events = write(path, 2)
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    assert read_journal(path)[0] == events
    with Journal(path) as journal:
        assert journal.notes == [f"{path}: the last line was torn ({len(tail)} bytes); cut off."]
    assert path.read_bytes() == whole


def test_every_bit_of_a_journal_is_watched(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    events = write(path, 3)
    data = bytearray(path.read_bytes())
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        found, warnings = read_journal(path)
        assert warnings
        assert len(found) >= 1  # a flipped end of line joins two
        assert all(event in events for event in found)
        data[bit // 8] ^= 1 << bit % 8


def test_damaged_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    events = write(path, 20)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"0.5", b"0.6")
    path.write_bytes(b"".join(lines))
    assert read_journal(path) == (events[:1] + events[2:], [f"{path}: damaged and skipped: line 2."])
    path.write_bytes(b"".join(b"x" + line for line in lines))
    assert read_journal(path)[1] == [
        f"{path}: damaged and skipped: lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 10 more."
    ]


def test_a_journal_that_is_missing_or_cannot_be_read(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "no.jsonl") == ([], [f"{tmp_path}/no.jsonl is missing."])
    with pytest.raises(RunError, match="cannot be read: Is a directory"):
        read_journal(tmp_path)
    with pytest.raises(RunError, match="cannot be written: Is a directory"):
        Journal(tmp_path)
    with pytest.raises(RunError, match="cannot be written: No such file"):
        Journal(tmp_path / "no" / "journal.jsonl")


def test_a_full_disk_never_raises_and_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(path) as journal:
        assert journal.append("started", seed=1)
        size = path.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))  # room for a part of a line
        try:
            assert not journal.append("epoch", epoch=1)
            assert not journal.append("epoch", epoch=2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert journal.failure == "the disk is full"
        assert path.stat().st_size == size
        assert journal.append("epoch", epoch=3)
    events, warnings = read_journal(path)
    assert warnings == []
    assert [e.get("epoch") for e in events] == [None, 3]


def test_a_disk_that_refuses_even_to_cut_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.jsonl"
    real = os.write

    def refuse(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with Journal(path) as journal:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda handle, data: real(handle, data[:9]))
            patch.setattr(os, "ftruncate", refuse)
            assert not journal.append("epoch", epoch=1)
            assert not journal.append("epoch", epoch=2)
            assert path.stat().st_size == 9
        assert journal.append("epoch", epoch=3)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", refuse)
            patch.setattr(os, "fsync", refuse)
            assert not journal.append("epoch", epoch=4)
            assert not journal.sync()
        assert journal.failure == "the disk is full"  # the first reason
    events, warnings = read_journal(path)
    assert warnings == []
    assert [e["epoch"] for e in events] == [3]
    journal.close()


def test_epochs_are_the_last_rows_in_order() -> None:
    rows = [(1, 0.5), (2, 0.4), (3, 0.3), (2, 0.41), (3, 0.31)]
    events: list[dict[str, Any]] = [{"event": "epoch", "epoch": e, "val_loss": v} for e, v in rows]
    events.insert(3, {"event": "resumed", "epoch": 1})
    assert [(e["epoch"], e["val_loss"]) for e in epochs(events)] == [(1, 0.5), (2, 0.41), (3, 0.31)]
    assert epochs([]) == []

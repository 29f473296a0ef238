"""Run folders: made, found, locked, and whole whatever happens; names of any characters."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trainwell.values.atomic import atomic_write_bytes, atomic_write_text
from trainwell.values.errors import RunError, UsageError
from trainwell.values.runfolder import RunFolder, runs_in, safe_name

in_one_folder = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
traces = st.sampled_from([np.float32, np.float64, np.int64, np.bool_, ">f4"]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0))
)


def make(runs: Path, hint: str = "adult") -> RunFolder:
    run = RunFolder.create(None, hint, runs)
    run.write_json("recipe", {"lr": 0.1})
    return run


def test_create_names_the_run_and_points_latest_to_it(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first, second = make(runs, "data/adult.csv"), make(runs)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-\d{6}-data-adult-[0-9a-f]{4}", first.path.name)
    assert first.path.parent == runs
    assert os.readlink(runs / "latest") == second.path.name
    assert RunFolder.open("latest", runs) == second
    assert RunFolder.open(runs / "latest") == second
    assert RunFolder.open(first.path.name, runs) == first
    assert RunFolder.open(str(first.path)) == first
    assert not [p for p in runs.iterdir() if p.name.startswith(".")]


def test_the_name_of_a_packed_table_lends_its_first_part(tmp_path: Path) -> None:
    assert "-sales-" in RunFolder.create(None, "sales.csv", tmp_path / "runs").path.name


def test_create_at_a_given_place(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".DS_Store").touch()
    for name in ("empty", "deep/er"):
        run = RunFolder.create(tmp_path / name, "x", tmp_path / "runs")
        assert run.path == tmp_path / name
    assert not (tmp_path / "runs").exists()
    assert RunFolder.create(tmp_path / "runs" / "mine", "x", tmp_path / "runs").path.name == "mine"
    assert (tmp_path / "runs" / "latest").resolve() == tmp_path / "runs" / "mine"


def test_create_refuses_what_holds_something(tmp_path: Path) -> None:
    run = make(tmp_path / "runs")
    with pytest.raises(
        UsageError, match=r"holds a run already; give another folder, or go on with `trainwell resume"
    ):
        RunFolder.create(run.path, "x")
    spaced = RunFolder.create(tmp_path / "two words", "x", tmp_path / "runs")
    (spaced.path / "recipe.json").touch()
    with pytest.raises(UsageError, match=r"`trainwell resume '.*two words'`"):
        RunFolder.create(spaced.path, "x")
    with pytest.raises(UsageError, match=r"is not empty \(it holds 20.*, latest\)"):
        RunFolder.create(tmp_path / "runs", "x")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file; give the name of a new folder"):
        RunFolder.create(tmp_path / "file", "x")
    with pytest.raises(UsageError, match=r"run cannot be made: (File exists|Not a directory)"):
        RunFolder.create(tmp_path / "file" / "run", "x")


def test_open_says_what_is_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="there is no run in runs/ yet; `trainwell fit` makes one"):
        RunFolder.open("latest")
    run = make(Path("runs"))
    name = run.path.name
    near = name[:-1] + ("0" if name[-1] != "0" else "1")
    for spec, text in [
        (near, f"there is no run {near}. Did you mean '{name}'?"),
        (f"runs/{near}", f"there is no run runs/{near}. Did you mean '{name}'?"),
        ("latst", "Did you mean 'latest'?"),
        ("q", f"there is no run q. Runs in runs/: {name}."),
        ("runs", "runs is not a run: it has no recipe.json."),
        (f"runs/{name}/best", f"runs/{name}/best is a part of the run runs/{name}; give that."),
        ("other/q", "there is no run other/q. There are no runs in other/."),
    ]:
        with pytest.raises(RunError) as caught:
            RunFolder.open(spec)
        assert text in str(caught.value).replace("Did you mean 'latest'? ", "")


def test_a_lost_link_is_no_loss(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name in ("2026-01-01-000000-a-0000", "2026-01-02-000000-a-0000"):
        RunFolder.create(runs / name, "", runs).write_json("recipe", {})
    (runs / "latest").unlink()
    assert RunFolder.open("latest", runs).path.name == "2026-01-02-000000-a-0000"
    (runs / "latest").symlink_to("gone")
    assert RunFolder.open(runs / "latest").path.name == "2026-01-02-000000-a-0000"
    assert len(runs_in(runs)) == 2


def test_a_folder_called_latest_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "runs" / "latest" / "mine").mkdir(parents=True)
    make(tmp_path / "runs")
    assert [p.name for p in (tmp_path / "runs" / "latest").iterdir()] == ["mine"]


@given(
    st.text()
    | st.sampled_from(["../../etc/passwd", "a\0b\nc", ".hidden", "-rf", "\u202etxt", "données.csv", "~"])
)
def test_safe_name_is_one_harmless_word(text: str) -> None:
    name = safe_name(text)
    assert 0 < len(name) <= 40
    assert len(name.encode()) <= 160
    assert re.fullmatch(r"[\w.-]+", name)
    assert ".." not in name
    assert name[0] not in ".-"
    assert safe_name("Données 2024.csv") == "Données-2024.csv"


def test_json_is_exact_and_damage_is_named(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "")
    value = {"lr": 0.1, "max_norm": math.inf, "name": "nan", "of": [1, None]}
    run.write_json("data", value)
    assert run.read_json("data") == value
    with pytest.raises(RunError, match=r"recipe.json is missing: the run is incomplete"):
        run.read_json("recipe")
    for text, message in [("{", "is damaged or was edited"), ("[1]", "must hold an object, got list")]:
        (run.path / "recipe.json").write_text(text)
        with pytest.raises(RunError, match=message):
            run.read_json("recipe")
    (run.path / "environment.json").mkdir()
    with pytest.raises(RunError, match="cannot be read: Is a directory"):
        run.read_json("environment")


def test_the_journal_opens_once(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "")
    assert run.read_journal() == ([], [f"{run.path / 'journal.jsonl'} is missing."])
    assert run.journal is run.journal
    assert run.journal.append("started", seed=3)
    assert run.read_journal()[0][0]["seed"] == 3
    run.journal.close()


@in_one_folder
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=90), traces)
def test_traces_survive_under_any_name(tmp_path: Path, name: str, values: np.ndarray) -> None:
    run = (
        RunFolder.create(tmp_path / name[:0], "")
        if not (tmp_path / "traces").exists()
        else RunFolder(tmp_path)
    )
    run.save_trace(name, values)
    found = run.load_trace(name)
    assert found.shape == values.shape
    assert found.dtype.byteorder in "<=|"
    assert found.tobytes() == values.astype(values.dtype.newbyteorder("<")).tobytes()
    assert name in run.trace_names() or len(name.encode()) > 60
    assert all(p.parent == tmp_path / "traces" for p in tmp_path.rglob("*.npy"))


def test_traces_that_are_missing_or_damaged_are_named(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "")
    run.save_trace("grad_norm/layer0.weight", np.arange(4.0))
    assert run.trace_names() == ["grad_norm/layer0.weight"]
    with pytest.raises(
        RunError, match=r"has no trace 'grad_norm/layer1.weight'. Did you mean 'grad_norm/layer0"
    ):
        run.load_trace("grad_norm/layer1.weight")
    (path,) = (run.path / "traces").iterdir()
    whole = path.read_bytes()
    for position in range(128):  # the header: what cannot be read says so, nothing else escapes
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        try:
            run.load_trace("grad_norm/layer0.weight")
        except RunError as error:
            assert "is damaged" in str(error)  # noqa: PT017
    path.write_bytes(whole[:-1])
    with pytest.raises(RunError, match="is damaged"):
        run.load_trace("grad_norm/layer0.weight")


def test_traces_hold_no_objects(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "")
    with pytest.raises(ValueError, match="Object arrays"):
        run.save_trace("x", np.array([object()]))
    assert list(run.path.glob("traces/*")) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "recipe.json"
    atomic_write_text(path, "old é")
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(OSError, match="No space left"):
                atomic_write_bytes(path, b"new")
        assert path.read_text("utf-8") == "old é"
        assert list(tmp_path.iterdir()) == [path]
    atomic_write_bytes(path, b"new", durable=False)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_lock_keeps_a_second_out_and_clears_leftovers(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "")
    (run.path / ".recipe.json.tmp-1-0").touch()
    (run.path / ".last.tmp-1-0").mkdir()
    with run.lock():
        assert sorted(p.name for p in run.path.iterdir()) == [".last.tmp-1-0", "lock"]
        with (
            pytest.raises(
                RunError, match=rf"is being trained by process {os.getpid()}\. Wait for it or stop it"
            ),
            run.lock(),
        ):
            pass
    with run.lock():
        pass
    refused: list[str] = []

    def other() -> None:
        try:
            with run.lock():
                pass
        except RunError as error:
            refused.append(str(error))

    with run.lock():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(refused) == 1


HOLDER = """
import os, sys, time
from pathlib import Path
from trainwell.values.runfolder import RunFolder
with RunFolder(Path(sys.argv[1])).lock():
    child = os.fork()
    if child:
        print(child, flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_dead_process_is_no_obstacle_though_its_child_lives(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run.path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        with pytest.raises(RunError, match=f"by process {holder.pid}"), run.lock():
            pass
        holder.kill()
        holder.wait()
        time.sleep(0.05)
        os.kill(child, 0)  # it lives
        with run.lock():
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        holder.stdout.close()
        holder.kill()
        holder.wait()


def test_the_room_of_values_needs_no_torch() -> None:
    code = (
        "import sys, trainwell.values.runfolder; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_runs_of_one_second_draw_names_until_one_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter(["aaaa", "aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr("secrets.token_hex", lambda size: next(drawn))
    monkeypatch.setattr("time.strftime", lambda form: "2026-01-01-000000")
    first, second = (RunFolder.create(None, "sales", tmp_path / "runs").path.name for _ in range(2))
    assert (first, second) == ("2026-01-01-000000-sales-aaaa", "2026-01-01-000000-sales-bbbb")

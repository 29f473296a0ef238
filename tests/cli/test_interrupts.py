"""A signal ends the command in order: the state is saved, the exit code says which signal, `resume` goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Command, make_frame
from trainwell.app.cli import main, run_command

OPTIONS = ("--target", "y", "--preset", "quick", "--budget", "30ep", "--no-baseline")


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "trainwell", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the data, and a run on them that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    data, run = folder / "t.csv", folder / "run"
    make_frame().to_csv(data, index=False)
    assert run_command(["fit", str(data), *OPTIONS, "--out", str(run), "--quiet"]) == 0
    return data, run


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_saves_and_resume_ends_as_if_undisturbed(
    number: int, code: int, tmp_path: Path, trainwell: Command, whole: tuple[Path, Path]
) -> None:
    (data, undisturbed), cut = whole, tmp_path / "cut"
    process = start("fit", data, *OPTIONS, "--out", cut)
    assert process.stderr is not None
    assert process.stdout is not None
    for line in process.stderr:
        if line.startswith("epoch    3"):
            process.send_signal(number)
            break
    said = process.stderr.read()
    result = process.stdout.read()
    assert process.wait(60) == code, said
    assert f"Go on with: trainwell resume {cut}" in said
    assert "Traceback" not in said
    assert result.splitlines()[-1].endswith(str(cut))

    done = trainwell("predict", cut, data)
    assert (done.code, len(done.out.splitlines())) == (0, 241)
    done = trainwell("resume", cut, "--no-baseline", "--json")
    assert (done.code, done.json["epochs"], done.json["interrupted"]) == (0, 30, 0)
    for name in ("best/weights.safetensors", "last/weights.safetensors"):
        assert (cut / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_sigint_while_the_network_is_scored_keeps_it(
    tmp_path: Path, trainwell: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    data, run = tmp_path / "t.csv", tmp_path / "run"
    make_frame().to_csv(data, index=False)
    with monkeypatch.context() as patch:
        patch.setattr("trainwell.app.fit.finish", interrupt)
        done = trainwell("fit", data, *OPTIONS, "--out", run, "--quiet")
    assert done.code == 130
    assert f"`trainwell resume {run}` scores it" in done.err
    assert trainwell("resume", run, "--no-baseline", "--json").json["epochs"] == 30


def test_sigint_while_the_command_is_imported_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "trainwell.app.cli.entry":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "trainwell.app.cli.entry", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_outside_a_training_ends_in_order(number: int, code: int, tmp_path: Path) -> None:
    pipe = tmp_path / "rows.csv"
    os.mkfifo(pipe)
    # reading blocks on the pipe, so that the signal surely comes before any training
    process = start("fit", pipe, "--target", "y", "--out", tmp_path / "run")
    end = time.monotonic() + 60
    writer = None
    while writer is None and time.monotonic() < end:
        try:
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)  # succeeds once the command reads
        except OSError:
            time.sleep(0.05)
    assert writer is not None
    time.sleep(
        0.5
    )  # it reads: a signal between opening and reading is seen by Python only once the read is over
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    os.close(writer)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert "no training was in progress" in err
    assert out == ""
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv"]

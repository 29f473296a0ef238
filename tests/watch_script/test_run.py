"""A script under the watcher meets what it would meet alone, and ends as it would end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.watch_script.conftest import SCRIPTS, Watched, findings_of
from trainwell.app.cli import run_command

ENDING = SCRIPTS / "ending.py"
TELL = """
import json, os, sys
print(json.dumps([__name__, __file__, __package__, sys.argv, sys.path[0], os.getcwd(), __spec__ is None,
                  sys.modules["__main__"].__dict__ is globals(), __doc__]))
"""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("crash",), 1, "RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        (("exit", "7"), 7, ""),
        (("exit", "0"), 0, ""),
        (("text",), 1, "no more"),
        (("end",), 0, ""),
    ],
)
def test_exit_code_is_that_of_the_script(
    arguments: tuple[str, ...], code: int, said: str, watched: Watched
) -> None:
    found, err, folder = watched(ENDING, *arguments)
    assert found == code
    assert said in err
    if arguments[0] == "crash":
        first = err[err.index("Traceback") :].splitlines()[1]
        assert first.startswith(f'  File "{ENDING}", line 2'), "the traceback begins in the script"
    about = json.loads((folder / "script.json").read_text())
    assert (about["exit_code"], about["arguments"]) == (code, list(arguments))
    assert [t["steps"] for t in findings_of(folder)] == [30]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_the_script_and_keeps_its_findings(number: int, code: int, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "trainwell", "watch", "--out", "run", str(ENDING), "forever"],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "trained\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert ("KeyboardInterrupt" in said) == (number == signal.SIGINT)
    assert findings_of(tmp_path / "run")[0]["steps"] >= 30


def test_gate_gives_5_only_where_the_script_went_well(watched: Watched, tmp_path: Path) -> None:
    script = tmp_path / "forgets.py"
    text = ENDING.read_text().replace("        optimizer.zero_grad()\n", "").replace("train(30)", "train(60)")
    script.write_text(text)
    options = ("--out", str(tmp_path / "a"), "--fail-on", "missing_zero_grad", "--quiet")
    assert run_command(["watch", *options, str(script), "end"]) == 5
    options = ("--out", str(tmp_path / "b"), "--fail-on", "any", "--quiet")
    assert run_command(["watch", *options, str(script), "exit", "7"]) == 7


def test_script_sees_what_python_shows_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    script = folder / "tell.py"
    script.write_text('"""Told."""\n' + TELL)
    alone = subprocess.run(
        [sys.executable, str(script), "--out", "x", "-h", "--"], capture_output=True, text=True, cwd=tmp_path
    )
    capfd.readouterr()
    assert run_command(["watch", "--quiet", str(script), "--out", "x", "-h", "--"]) == 0
    assert json.loads(capfd.readouterr().out) == json.loads(alone.stdout)
    assert not (tmp_path / "runs").exists(), "without a training there is no run"


def test_module_and_folder_run_as_python_runs_them(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "other.py").write_text("")
    (package / "inner.py").write_text("from . import other\n" + TELL)
    (package / "__main__.py").write_text(TELL)
    for ours, python in (
        (["-m", "pack.inner"], ["-m", "pack.inner"]),
        (["-m", "pack"], ["-m", "pack"]),
        (["pack"], ["pack"]),
    ):
        alone = subprocess.run([sys.executable, *python, "a"], capture_output=True, text=True, cwd=tmp_path)
        capfd.readouterr()
        assert run_command(["watch", "--quiet", *ours, "a"]) == 0
        told, expected = json.loads(capfd.readouterr().out), json.loads(alone.stdout)
        assert told == expected, ours
        for name in [n for n in sys.modules if n.partition(".")[0] == "pack"]:
            del sys.modules[name]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("trian.py",), "there is no script trian.py. Did you mean 'train.py'?"),
        (("-m", "nosuchmodule"), "there is no such module"),
        ((".",), "is a folder without a __main__.py"),
        (("--fail-on", "overfiting", "train.py"), "Did you mean 'overfitting'?"),
        (("--out", "train.py", "train.py"), "train.py is a file; give the name of a new folder"),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    arguments: tuple[str, ...], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.py").write_text("print('it ran')\n")
    capfd.readouterr()
    assert run_command(["watch", *arguments]) == 2
    found = capfd.readouterr()
    assert said in found.err
    assert "it ran" not in found.out


def test_findings_come_while_the_script_runs(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainwell.watch.finder.LIVE_AFTER_S", 0.05)
    monkeypatch.setattr("trainwell.watch.finder.LIVE_SHARE", 10.0)
    script = Path("live.py")
    text = (
        ENDING.read_text().replace("        optimizer.zero_grad()\n", "").replace("train(30)", "train(900)")
    )
    script.write_text(text.replace('print("trained"', 'print("trained", file=sys.stderr'))
    code, said, _ = watched(script, "end")
    assert code == 0
    told = said.index("trainwell: Linear, after ")
    assert told < said.index("trained\n") < said.rindex("finding 1 missing zero grad")


def test_script_meets_no_library_and_its_settings_count(tmp_path: Path) -> None:
    """What is set before torch is imported counts under the watcher as it does without."""
    script = tmp_path / "threads.py"
    script.write_text(
        "import os, sys\n"
        "early = sorted({'numpy', 'torch'} & set(sys.modules))\n"
        "os.environ['OMP_NUM_THREADS'] = '1'\n"
        "import torch\n"
        "print(early, torch.get_num_threads(), 'trainwell.watch.finder' in sys.modules)\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    told = subprocess.run(
        [sys.executable, "-m", "trainwell", "watch", str(script)], cwd=tmp_path, env=environment, check=True,
        capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert told == "[] 1 True\n"


def test_a_watcher_that_cannot_start_leaves_the_script_alone(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise ValueError("no hook")

    monkeypatch.setattr("trainwell.watch.finder.Finder.start", broken)
    code, said, _ = watched(ENDING, "exit", "7")
    assert code == 7
    assert "trainwell: the watcher did not start, the script goes on (ValueError: no hook)" in said

"""A search in worker processes: the same whatever their number, and when one is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainwell as tw
from tests.app.test_tune import BASE, digits, perceptron
from trainwell.app.tuning import tune as tuning
from trainwell.app.tuning.group import train_group
from trainwell.launch.on_ray import OnRay
from trainwell.launch.processes import Processes
from trainwell.search import halving
from trainwell.search.halving import PILOTS
from trainwell.search.study import COMPLETE, RUNNING, STOPPED, read_study
from trainwell.values.errors import UsageError


def tuned(**options: Any) -> tw.Tuning:
    given = {"model": perceptron, "recipe": BASE.replace(epochs=3), "out": False, "trials": 34, "budget": "60s",
             "finalists": 1, "repeats": 2, "searcher": "random", "space": ["-batch_size"], **options}  # fmt: skip
    return tw.tune(digits(200), **given)


class InThisProcess:
    """A pool without processes, whose groups end in an order of its own.

    Args:
        press_after: groups after which Ctrl-C is pressed; None for never.
    """

    workers = 1

    def __init__(self, shared: Any, order: int, press_after: int | None = None) -> None:
        self._shared = ForkingPickler.loads(ForkingPickler.dumps(shared))
        self._order, self._left = order, press_after

    def run(
        self, groups: Sequence[Any], stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, Any]]:
        for index in list(range(len(groups)))[:: self._order]:
            if stopped():
                return
            yield index, train_group(self._shared, groups[index], stopped)
            if self._left is not None:
                self._left -= 1
                if self._left == 0:
                    os.kill(os.getpid(), signal.SIGINT)

    def close(self) -> None:
        pass


def tuned_here(
    monkeypatch: pytest.MonkeyPatch, order: int = 1, press_after: int | None = None, **options: Any
) -> Any:
    with monkeypatch.context() as patched:
        patched.setattr(
            tuning, "make_pool", lambda on, n, shared, say: InThisProcess(shared, order, press_after)
        )
        return tuned(**options)


def test_rungs_and_the_searcher_do_not_depend_on_which_group_ends_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(halving, "first_rung", lambda curves: (2, "as the test wants it"))
    given = {"searcher": "gp", "recipe": BASE.replace(epochs=8), "trials": 3 * PILOTS, "batch": PILOTS}
    one = tuned_here(monkeypatch, **given)
    other = tuned_here(monkeypatch, order=-1, **given)
    assert {t.state for t in one.trials} == {COMPLETE, STOPPED}
    assert [(t.config, t.value, t.state) for t in one.trials] == [
        (t.config, t.value, t.state) for t in other.trials
    ]
    np.testing.assert_array_equal(one.losses, other.losses)


def test_ctrl_c_with_workers_confirms_the_best_and_the_study_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = {"out": tmp_path / "study", "trials": 16}
    found = tuned_here(monkeypatch, press_after=2, **given)
    assert found.interrupted == signal.SIGINT
    assert found.losses.shape == (2, 2)
    assert [t.state for t in found.trials].count(COMPLETE) == 2
    again = tuned_here(monkeypatch, **given, resume=True)
    assert [t.config for t in again.trials[:4]] == [t.config for t in found.trials]
    assert len(again.trials) == 16
    with read_study(tmp_path / "study" / "study.jsonl") as study:
        assert all(t.state != RUNNING for t in study.trials)


def test_results_are_the_same_with_two_workers_of_which_one_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = tuned_here(monkeypatch)
    submitted, killed = Processes._submitted, list[int]()

    def kill_the_first(self: Processes, group: Any) -> Any:
        found = submitted(self, group)
        if not killed and self._executor is not None:
            killed.extend(self._executor._processes)
            threading.Timer(0.3, os.kill, (killed[0], signal.SIGKILL)).start()
        return found

    monkeypatch.setattr(Processes, "_submitted", kill_the_first)
    two = tuned(workers=2)
    assert killed
    assert [(t.config, t.value, t.state) for t in one.trials] == [
        (t.config, t.value, t.state) for t in two.trials
    ]
    np.testing.assert_array_equal(one.losses, two.losses)


def test_a_script_without_the_guard_of_main_is_told(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from trainwell.launch.processes import Processes\nlist(Processes(print, None, 1).run([1]))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("trainwell.values.errors.UsageError: worker processes die as they begin")
    assert "__main__" in last


def test_what_cannot_be_sent_is_told() -> None:
    with pytest.raises(UsageError, match="top of a module"):
        tuned(model=lambda recipe: perceptron(recipe), workers=2)
    with pytest.raises(UsageError, match="expected here, ray"):
        tuned(on="moon")


def test_ray_without_authentication_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setitem(sys.modules, "ray", sys)
    with pytest.raises(UsageError, match="before `import ray`"):
        OnRay(train_group, None)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(UsageError, match="token authentication only"):
        OnRay(train_group, None)


def test_a_group_is_trained_by_ray_as_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")  # Ray reads it once, as it is imported
    pytest.importorskip("ray", reason="Ray is an extra")
    given = {"trials": 8, "budget": "600s"}
    here, there = tuned_here(monkeypatch, **given), tuned(on="ray", workers=2, **given)
    assert [(t.config, t.value, t.state) for t in here.trials] == [
        (t.config, t.value, t.state) for t in there.trials
    ]
    np.testing.assert_array_equal(here.losses, there.losses)

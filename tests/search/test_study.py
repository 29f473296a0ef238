"""The study: kills, resumes, late answers, and its form in Optuna."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.search.spaces import MIXED, SMALL, loss
from trainwell.search.study import COMPLETE, DIVERGED, RUNNING, STOPPED, Study, read_study
from trainwell.values.errors import RunError, UsageError

WORKER = """
import sys
from pathlib import Path
from tests.search.spaces import MIXED, loss
from trainwell.search.study import Study
with Study(MIXED, "gp", seed=3, batch=8, path=Path(sys.argv[1]), first=[MIXED.default()]) as study:
    for _ in range(200):
        if sum(t.state == "complete" for t in study.trials) >= int(sys.argv[2]):
            break
        for trial in study.ask(3):
            study.tell(trial.number, loss(trial.config))
            print(trial.number, flush=True)
"""


def drive(study: Study, trials: int, at_a_time: int = 1) -> None:
    while len(study.trials) < trials or study._orphans:
        found = study.ask(at_a_time)
        if not found:
            break
        for t in found:
            study.tell(t.number, loss(t.config))


def test_25_and_25_trials_are_50(tmp_path: Path) -> None:
    whole = Study(MIXED, "gp", seed=1, batch=8)
    drive(whole, 50)
    for searcher in (25, 50):
        with Study(MIXED, "gp", seed=1, batch=8, path=tmp_path / "study.jsonl") as study:
            drive(study, searcher)
            kept = [t.config for t in study.trials]
    assert kept == [t.config for t in whole.trials]
    again = read_study(tmp_path / "study.jsonl")
    assert [t.value for t in again.trials] == [t.value for t in whole.trials]
    again.close()


def test_killed_studies_lose_nothing_and_propose_the_same(tmp_path: Path) -> None:
    whole = Study(MIXED, "gp", seed=3, batch=8, first=[MIXED.default()])
    drive(whole, 40)
    path = tmp_path / "study.jsonl"
    told = set[int]()
    for kill_after in (7, 20, 0):
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(path), "40"], stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[2], env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            told.add(int(line))
            if kill_after and len(told) >= kill_after:
                process.send_signal(signal.SIGKILL)
                break
        process.stdout.close()
        process.wait()
    study = read_study(path)
    assert all(study.trials[n].state == COMPLETE for n in told)
    assert [t.config for t in study.trials[:40]] == [t.config for t in whole.trials[:40]]
    assert not [t for t in study.trials[:40] if t.state == RUNNING]
    study.close()


def test_a_torn_tail_is_dropped_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "study.jsonl"
    with Study(MIXED, "random", path=path) as study:
        drive(study, 4)
    path.write_bytes(path.read_bytes()[:-20])
    with read_study(path) as study:
        assert "torn" in study.notes[0]
        assert [t.number for t in study.ask(2)] == [3, 4]


def test_states_reissues_and_late_answers() -> None:
    study = Study(MIXED, "random")
    a, b, c = study.ask(3)
    study.tell(a.number, 1.0, STOPPED)
    assert study.tell(a.number, 0.5)
    assert (a.state, a.value) == (COMPLETE, 0.5)
    assert not study.tell(a.number, 0.1)
    study.reissue(b.number)
    assert study.ask(1) == [b]
    assert study.tell(b.number, math.nan)
    assert b.state == DIVERGED
    assert study.tell(c.number, 2.0)
    assert study.best is a
    with pytest.raises(UsageError, match="no trial 9"):
        study.tell(9, 1.0)


def test_one_process_writes_and_another_space_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.jsonl"
    with Study(MIXED, path=path), pytest.raises(RunError, match="is being written"):
        Study(MIXED, path=path)
    with pytest.raises(RunError, match="another space"):
        Study(SMALL, path=path)
    with pytest.raises(RunError, match="another seed"):
        Study(MIXED, seed=4, path=path)


def test_an_exhausted_space_ends_the_asking() -> None:
    study = Study(SMALL, "grid")
    assert len(study.ask(20)) == 8
    assert study.ask(1) == []


def test_trials_are_written_fast(tmp_path: Path) -> None:
    """A tenth of what benchmarks/study.py shows for 100,000 trials, with room for a busy machine."""
    path = tmp_path / "study.jsonl"
    with Study(MIXED, "random", path=path) as study:
        asked = study.ask(500)
        start = time.process_time()
        for t in asked:
            study.tell(t.number, 1.0)
        assert (time.process_time() - start) / 500 < 1e-3


def test_optuna_takes_and_gives_studies(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="needs the extra [tune]")
    from trainwell.search.exchange import export_optuna, import_optuna

    study, storage = Study(MIXED, "random"), f"sqlite:///{tmp_path / 'o.db'}"
    drive(study, 12)
    study.tell(study.ask(1)[0].number, math.nan)
    study.tell(study.ask(1)[0].number, 2.0, STOPPED, curve=[2.5, 2.0])
    study.ask(1)
    found = export_optuna(study, storage)
    assert [t.state.name for t in found.trials] == ["COMPLETE"] * 12 + ["FAIL", "PRUNED"]
    assert found.trials[-1].intermediate_values == {1: 2.5, 2: 2.0}
    assert found.best_value == pytest.approx(study.best.value if study.best else None)
    assert len(export_optuna(study, storage).trials) == 14  # a newer copy in the place of the older
    with pytest.raises(UsageError, match="another study 'trainwell' already"):
        export_optuna(Study(MIXED, "gp"), storage)
    with pytest.raises(UsageError, match="no study 'other' there; there are: trainwell"):
        import_optuna(Study(MIXED), storage, "other")
    with pytest.raises(UsageError, match="cannot use this storage"):
        import_optuna(Study(MIXED), "nothing://here")
    path = tmp_path / "study.jsonl"
    with Study(MIXED, "gp", batch=8, path=path) as fresh:
        assert import_optuna(fresh, storage) == 12
        assert [t.config for t in fresh.trials] == [t.config for t in study.trials[:12]]
        undisturbed = [t.config for t in fresh.ask(4)]
    with read_study(path) as again:
        assert [t.config for t in again.ask(4)] == undisturbed


def test_a_study_of_optunas_own_is_taken_up(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna", reason="needs the extra [tune]")
    from trainwell.search.exchange import import_optuna
    from trainwell.search.optuna_form import ask, quiet

    storage = f"sqlite:///{tmp_path / 'o.db'}"
    with quiet():
        theirs = optuna.create_study(storage=storage, study_name="theirs", direction="maximize")
        theirs.optimize(lambda trial: -loss(ask(MIXED, trial)), n_trials=10)
    fresh = Study(MIXED, "gp", batch=4)
    assert import_optuna(fresh, storage, "theirs") == len(fresh.trials) <= 10
    assert fresh.best is not None
    assert fresh.best.value == pytest.approx(-theirs.best_value)

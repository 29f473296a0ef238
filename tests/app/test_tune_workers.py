"""A search in worker processes: the same whatever their number, and when one is killed."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import numpy as np
import pytest

import trainwell as tw
from tests.app.test_tune import BASE, digits, perceptron
from trainwell.launch.processes import Processes
from trainwell.values.errors import UsageError


def tuned(**options: Any) -> tw.Tuning:
    given = {"model": perceptron, "recipe": BASE.replace(epochs=3), "out": False, "trials": 34, "budget": "60s",
             "finalists": 1, "repeats": 2, "searcher": "random", "space": ["-batch_size"], **options}  # fmt: skip
    return tw.tune(digits(200), **given)


def test_results_are_the_same_with_two_workers_of_which_one_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = tuned(workers=1)
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


def test_what_cannot_be_sent_is_told() -> None:
    with pytest.raises(UsageError, match="top of a module"):
        tuned(model=lambda recipe: perceptron(recipe), workers=2)
    with pytest.raises(UsageError, match="expected here, ray"):
        tuned(on="moon")

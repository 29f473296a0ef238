"""scikit-learn's own checks of an estimator. None is skipped; one is held to the rounding of float32."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from tests.sklearn.common import Net, classifier, regressor
from trainwell.app.estimators import Classifier, Regressor

SUBSETS, FLOAT32 = "check_methods_subset_invariance", {"rtol": 1e-5, "atol": 1e-6}
"""A user's module runs in float32, where the batch that a row comes with moves its output by 1e-7."""
ARRAY_API = "check_array_api_input"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@parametrize_with_checks([classifier(), regressor(), classifier(model=Net), regressor(model=Net)])
def test_estimator_passes_the_checks_of_scikit_learn(
    estimator: Any, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = getattr(check, "func", check).__name__
    if name == ARRAY_API and "SCIPY_ARRAY_API" not in os.environ:
        return  # needs a variable set before scipy is imported: the next test
    if name == SUBSETS and estimator.model is not None:
        monkeypatch.setattr(estimator_checks, "assert_allclose", _close_in_float32)
    check(estimator)


def _close_in_float32(actual: Any, desired: Any, **told: Any) -> None:
    assert_allclose(actual, desired, **{**told, **FLOAT32})


def test_array_api_check_passes_in_a_process_with_its_variable() -> None:
    code = f"""
import json, warnings
warnings.simplefilter("error")
from sklearn.utils import estimator_checks as checks
from tests.sklearn.common import classifier, regressor
for estimator in (classifier(), regressor()):
    checks.{ARRAY_API}(type(estimator).__name__, estimator, "numpy", expect_only_array_outputs=False)
print(json.dumps("passed"))
"""
    env = {**os.environ, "SCIPY_ARRAY_API": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == "passed"


def test_defaults_construct_and_say_what_they_are() -> None:
    assert Classifier().get_params() == Regressor().get_params()
    assert repr(Classifier()) == "Classifier()"
    assert repr(Regressor(budget="5ep")) == "Regressor(budget='5ep')"

"""The environment of a run is plain data that names the versions that are really there."""

from __future__ import annotations

import platform

import torch

from trainwell.engine.environment import environment
from trainwell.values.journal import dumps, loads


def test_environment_is_plain_and_true() -> None:
    found = environment()
    assert loads(dumps(found)) == found
    assert found["torch"] == torch.__version__
    assert found["python"] == platform.python_version()
    assert found["threads"] == torch.get_num_threads()
    assert found["device"] == "cpu"
    assert found["accelerator"] is None
    assert found["cpu"]

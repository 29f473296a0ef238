"""`trainwell fit` under kill -9: the run stays readable, and its resume ends as if nothing had been."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_killed_at_random_moments_and_resumed_equals_undisturbed() -> None:
    script = REPOSITORY / "benchmarks" / "kill.py"
    done = subprocess.run(
        [sys.executable, str(script), "--kills", "8", "--fresh", "0", "--json"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},  # a forked process cannot use a GPU
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == {}
    assert found["equal"] == found["runs"] >= 4
    assert found["kills"] >= 8

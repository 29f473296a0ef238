"""Size and time of the report of a run with a million steps.

    python benchmarks/report.py [--steps 1000000] [--layers 40]

Makes a run folder as long as that (losses of every step, journal, watched traces at their limit), then writes its report
three times. Prints the bytes, the median seconds and the peak memory. The limits of the project: 8 MB, 5 s.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from trainwell.report.build import report_html
from trainwell.values.runfolder import RunFolder
from trainwell.values.signal import Traces


def make_run(path: Path, steps: int, layers: int) -> None:
    """Write a run folder of so many steps and layers."""
    draws, folder = np.random.default_rng(0), RunFolder(path)
    path.mkdir(parents=True)
    folder.write_json("recipe", {"model": {"family": "mlp"}, "lr": 0.001, "techniques": []})
    task = {"kind": "regression", "metric": "rmse", "metric_sign": -1}
    folder.write_json("data", {"kind": "table", "task": task, "notes": [], "seed": 0})
    losses = 1 / np.sqrt(1 + np.arange(steps) / 1000) + 0.1 * draws.normal(size=steps)
    folder.save_trace("train_loss", losses.astype(np.float32))
    per_epoch = max(1, steps // 1000)
    for i, end in enumerate(range(per_epoch, steps + 1, per_epoch), 1):
        loss = float(losses[end - per_epoch : end].mean())
        row = {
            "epoch": i,
            "step": end,
            "train_loss": loss,
            "val_loss": loss + 0.05,
            "val_metric": loss,
            "best": True,
        }
        folder.journal.append("epoch", **row, epoch_s=1.0, validation_s=0.1)
    folder.journal.close()
    traces = Traces({"modules": [{"name": f"layer.{k}", "kind": "Linear"} for k in range(layers)]})
    traces.extend("train_loss", range(steps - steps % 8, steps), losses[steps - steps % 8 :])
    at = np.unique(np.linspace(0, steps, 8000).astype(int))
    for signal in ("lr", "wait_s", "step_s"):
        traces.extend(signal, at.tolist(), draws.random(len(at)).tolist())
    looks = np.unique(np.geomspace(1, steps, 400).astype(int))
    for k in range(layers):
        for signal in ("grad_norm", "update_norm", "weight_norm"):
            traces.extend(
                signal, looks.tolist(), draws.lognormal(size=len(looks)).tolist(), f"layer.{k}.weight"
            )
        units = draws.random((len(looks), 256)) - 0.05
        traces.extend("unit_activity", looks.tolist(), list(np.clip(units, 0, 1)), f"layer.{k}")
    for step in range(per_epoch, steps + 1, per_epoch * 20):
        traces.add("val_losses", step, draws.random(4096))
    traces.save(path / "watch")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--layers", type=int, default=40)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long"
        make_run(path, chosen.steps, chosen.layers)
        times = []
        for _ in range(3):
            start = time.perf_counter()
            html = report_html(path)
            times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = {
        "steps": chosen.steps,
        "layers": chosen.layers,
        "bytes": len(html.encode()),
        "seconds": round(statistics.median(times), 3),
        "peak_MiB": round(peak),
        "machine": platform.machine(),
        "python": sys.version.split()[0],
    }
    print(json.dumps(told))
    sys.exit(told["bytes"] >= 8_000_000 or told["seconds"] >= 5)


if __name__ == "__main__":
    main()

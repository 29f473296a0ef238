"""Figures of transfer learning: CPU-seconds of a frozen backbone with its feature cache, beside the naive loop.

    python benchmarks/transfer.py images [--rows 2000] [--naive]     photographs at 224, EfficientNet-Lite0, 10 epochs
    python benchmarks/transfer.py texts [--rows 10000]               short texts, MiniLM
    python benchmarks/transfer.py images --peers lightning=PYTHON fastai=PYTHON

The naive loop computes the features anew in every epoch, in float32 and batches of 32; `--naive` measures it on 64 rows
and scales to all rows and epochs. `--peers` trains the documented recipes of other frameworks (transfer_peers.py) with
the interpreters in which they are installed: a fortieth of the steps of 10 epochs, scaled; what is not the fit (imports,
set-up) counts once. Printed is the ratio of their CPU-seconds to ours, from photographs on the disk to the last epoch.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("TRAINWELL_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def photographs(rows: int, folder: Path) -> Path:
    """Write photographs of 500 x 375 pixels into a folder per class: the clothing set, scaled up, then mirrored."""
    from PIL import Image, ImageOps

    archive = zipfile.ZipFile(DATA / "clothing10_small.zip")
    names = sorted(n for n in archive.namelist() if n.endswith(".jpg"))
    for i in range(rows):
        name = names[i % len(names)]
        image = Image.open(io.BytesIO(archive.read(name))).convert("RGB").resize((375, 500))
        image = ImageOps.mirror(image) if i >= len(names) else image
        home = folder / name.split("/")[-2]
        home.mkdir(exist_ok=True)
        image.save(home / f"{i:05d}.jpg", quality=90)
    return folder


def texts(rows: int) -> Any:
    """Return short texts with labels: banking intents."""
    import pandas as pd

    frame = pd.read_parquet(DATA / "banking77.parquet")
    return frame[frame["split"] == "train"].head(rows).drop(columns="split")


def cpu(run: Any) -> tuple[float, float, Any]:
    start, wall = time.process_time(), time.perf_counter()
    made = run()
    return time.process_time() - start, time.perf_counter() - wall, made


def measure(data: Any, target: str | None, backbone: str, extra: dict[str, Any]) -> dict[str, Any]:
    """Measure the first head from nothing, and a further one of another setting on the features that are there."""
    import trainwell.techniques  # noqa: F401
    from trainwell.app.fit import fit
    from trainwell.app.transfer import prepare_features, transfer

    how: dict[str, Any] = {"backbone": backbone, "preset": "quick", "out": False, "watch": False, **extra}
    first, first_wall, run = cpu(lambda: transfer(data, target, budget="10ep", **how))
    options = {"backbone": backbone, **extra}
    found, _, prepared = cpu(lambda: prepare_features(data, target, options))
    again, _, _ = cpu(
        lambda: fit(prepared, settings_={"lr": 3e-4, "epochs": 10}, with_=("weight_decay:rate=0.5",), preset="quick",
                    out=False, baseline=False, watch=False)
    )  # fmt: skip
    return {
        "first_head_cpu_s": round(first, 1), "first_head_wall_s": round(first_wall, 1),
        "features_found_again_cpu_s": round(found, 2), "further_head_cpu_s": round(again, 2),
        "score": round(run.score, 4), "rows": sum(len(p[1]) for p in prepared.parts.values()),
    }  # fmt: skip


def naive_images(folder: Path, rows: int, epochs: int = 10) -> float:
    """Return the CPU-seconds of decoding and computing all rows anew in every epoch, from 64 of them."""
    import torch
    from PIL import Image

    from trainwell.app.feature_cache import load_backbone
    from trainwell.models.backbones import resolve
    from trainwell.values.task import InputSpec

    net, _ = load_backbone(resolve("efficientnet_lite0"), InputSpec(kind="image", shape=(3, 224, 224)))
    files = sorted(folder.rglob("*.jpg"))[:64]

    def once() -> None:
        import numpy as np

        for start in range(0, 64, 32):
            pixels = [
                np.asarray(Image.open(f).convert("RGB").resize((224, 224))) for f in files[start : start + 32]
            ]
            with torch.no_grad():
                net.features(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2))

    once()
    return cpu(once)[0] / 64 * rows * epochs


FRACTION = 40
"""The peers take so much less of the steps of 10 epochs."""


def peers(named: list[str], folder: Path, home: Path, rows: int, epochs: int = 10) -> dict[str, float]:
    """Return the CPU-seconds of each peer for all steps, scaled from a fraction of them."""
    from safetensors.torch import save_file

    from trainwell.app.feature_cache import load_backbone
    from trainwell.models.backbones import resolve
    from trainwell.values.task import InputSpec

    net, _ = load_backbone(resolve("efficientnet_lite0"), InputSpec(kind="image", shape=(3, 224, 224)))
    weights = home / "body.safetensors"
    save_file({k: v.contiguous() for k, v in net.body.state_dict().items()}, weights)
    train, val = (round(share * rows * epochs / FRACTION) for share in (0.85, 0.15))
    found = {}
    for name, python in (word.split("=", 1) for word in named):
        words = [python, str(Path(__file__).with_name("transfer_peers.py")), name, str(folder), str(weights)]
        done = subprocess.run(
            [*words, str(train), str(val)], capture_output=True, text=True, check=False, cwd=home
        )
        if done.returncode:
            raise SystemExit(f"{name} failed: {done.stderr[-2000:]}")
        told = json.loads(done.stdout.strip().splitlines()[-1])
        found[name] = told["process_cpu_s"] + (FRACTION - 1) * told["fit_cpu_s"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("images", "texts"))
    parser.add_argument("--rows", type=int)
    parser.add_argument("--naive", action="store_true")
    parser.add_argument("--peers", nargs="+", default=[], metavar="NAME=PYTHON")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as home:
        os.environ["TRAINWELL_CACHE"] = f"{home}/cache"
        if options.what == "images":
            folder = Path(home) / "photographs"
            folder.mkdir()
            rows = options.rows or 2000
            found = measure(str(photographs(rows, folder)), None, "efficientnet_lite0", {})
            if options.naive:
                found["naive_cpu_s"] = round(naive_images(folder, rows))
            for name, seconds in (
                peers(options.peers, folder, Path(home), rows).items() if options.peers else ()
            ):
                found[f"{name}_cpu_s"] = round(seconds)
                found[f"{name}_ratio"] = round(seconds / found["first_head_cpu_s"], 1)
        else:
            found = measure(texts(options.rows or 10000), "category", "minilm", {"text": "text"})
    print(json.dumps({"what": options.what, "torch": torch.__version__, **found}))


if __name__ == "__main__":
    main()

"""Spoken digits of every speaker in turn, held out of the training: what the random tilt of spectra is worth.

    python benchmarks/speakers.py [--preset quick] [--arms none spectral_tilt]

Another speaker chooses the epoch, the remaining four train. Six speakers, one seed each, one thread.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch

import trainwell as tw
import trainwell.techniques  # fills the registry
from trainwell.data.samples.presets import sound_recipe

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def prepared(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the spectra of all clips as `fit` makes them, and the digits."""
    from trainwell.data.samples.audio import _transform
    from trainwell.data.samples.spectra import read_sound

    whole, rate = read_sound((DATA / "fsdd.flac").read_bytes())
    sounds = [(whole[o : o + n], rate) for o, n in zip(table["offset"], table["length"], strict=True)]
    transform, _ = _transform(sounds, "digit")
    return np.stack([transform.spectrum(s) for s in sounds]), table["digit"].to_numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--arms", nargs="+", default=["none", "spectral_tilt"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = pd.read_parquet(DATA / "fsdd_index.parquet")
    spectra, digits = prepared(table)
    x, y = torch.tensor(spectra), torch.tensor(digits).long()
    speakers = sorted(table["speaker"].unique())
    for arm in args.arms:
        scores = []
        for i, speaker in enumerate(speakers):
            own = (table["speaker"] == speaker).to_numpy()
            chooses = (table["speaker"] == speakers[(i + 1) % len(speakers)]).to_numpy()
            rest = ~own & ~chooses
            parts = {n: (x[m], y[m]) for n, m in (("train", rest), ("val", chooses), ("test", own))}
            scores.append(score(parts, arm, args.preset, i))
            print(f"{arm:24s} {speaker:10s} {scores[-1]:.3f}", flush=True)
        print(f"{arm:24s} mean       {np.mean(scores):.3f}", flush=True)


def score(parts: dict[str, tuple[torch.Tensor, torch.Tensor]], arm: str, preset: str, seed: int) -> float:
    """Train the default recipe of sounds, with or without a further technique; return the accuracy of the test part."""
    from trainwell.models import build_model
    from trainwell.values.task import InputSpec, Task

    rows = len(parts["train"][1])
    recipe = sound_recipe(preset, Task("multiclass", classes=tuple(range(10))), rows)
    bare = recipe.replace(techniques=tuple(t for t in recipe.techniques if t.name != "spectral_tilt"))
    recipe = bare if arm == "none" else bare.with_(arm)
    spec = InputSpec(kind="audio", shape=tuple(parts["train"][0].shape[1:]))
    net = build_model(recipe.model, spec, 10, torch.Generator().manual_seed(seed))
    run = tw.fit(
        (parts["train"], parts["val"]),
        test=parts["test"],
        model=net,
        recipe=recipe,
        seed=seed,
        out=False,
        watch=False,
    )
    return run.score


if __name__ == "__main__":
    main()

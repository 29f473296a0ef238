"""Does transfer help? Trials of `tw.prove`, paired by seed: evidence tables, whatever the verdict.

    python benchmarks/transfer_proofs.py --device cuda --minutes 3 --out proofs
    python benchmarks/transfer_proofs.py --trials questions-pretrained --out proofs
    timeout -s INT 150 python benchmarks/transfer_proofs.py --trials lp-ft-small --out p   on a CPU, again and again
    python benchmarks/transfer_proofs.py --trials --out proofs            prints what is there

    pretrained      photographs: EfficientNet-Lite0 with ImageNet weights against its drawn numbers, 50 a class
    lp-ft           photographs: the last layer alone first, then all, against all from the start, 50 a class
    l2-sp           photographs: two doses of L2-SP against fine-tuning without it, 10 a class
    ...-small       the two on fewer photographs of 64 pixels, for a CPU: 25 and 10 a class, one look at the end
    questions-...   the same three on TREC questions with MiniLM, 500 training questions (L2-SP: 100)

Every seed draws its training and its validation rows from those that are not of the test part, the first numbers and
the order; both arms of a pair share them. Accuracy on validation rows decides; the test part is looked at once.
A trial that was broken off goes on from its folder in `--out`: every run that has ended is kept there.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transfer_tables import DATA, machine

import trainwell as tw
from trainwell.app import proving
from trainwell.app.transfer import backbone_of
from trainwell.app.trial_runs import Arm, TrialRuns
from trainwell.models.backbones import resolve
from trainwell.values.evidence import EVIDENCE_FILE, Comparison, Evidence

RECIPE = tw.Recipe(
    optimizer="adam", schedule="one_cycle", lr=1e-3, batch_size=32, techniques=("clip_grad:max_norm=1",)
)
FINE = RECIPE.replace(lr=5e-4).with_("layer_decay:factor=0.85", "freeze_norms")
"""Low rates near the input; the new last layer learns at 5e-4. No weight decay: L2-SP stands in its place."""
TEXT_RATE = 3e-4
"""Peak rate of MiniLM, whose first layers bear less than those of a convolutional network."""
QUESTIONS = 2000
"""Training questions that a trial draws from, the first of the file: the others would only be validated on."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """What is compared.

    Args:
        backbone: `efficientnet_lite0` or `minilm`. weights: of the base.
        share: of the rows that are not of the test part, for validation.
        changes: as `tw.prove` takes them.
        size: side of the photographs; None for that of the pre-training.
        pool: photographs of each class that every seed draws its rows from; 0 for all.
        look_every: pairs before each look.
    """

    backbone: str
    weights: str
    recipe: tw.Recipe
    share: float
    epochs: int
    changes: tuple[Any, ...]
    size: int | None = None
    pool: int = 0
    look_every: int = 4


TRIALS = {
    "pretrained": Trial("efficientnet_lite0", "none", RECIPE, 0.5, 8, ({"model.weights": "package"},)),
    "lp-ft": Trial("efficientnet_lite0", "package", FINE, 0.5, 8, ("lp_ft:steps=32",)),
    "l2-sp": Trial("efficientnet_lite0", "package", FINE, 0.9, 12, ("l2_sp:rate=0.01", "l2_sp:rate=0.1")),
    "lp-ft-small": Trial("efficientnet_lite0", "package", FINE, 40 / 65, 8, ("lp_ft:steps=16",), 64, 65, 8),
    "l2-sp-small": Trial(
        "efficientnet_lite0", "package", FINE, 0.75, 12, ("l2_sp:rate=0.01", "l2_sp:rate=0.1"), 64, 40, 8
    ),
    "questions-pretrained": Trial("minilm", "none", RECIPE, 0.75, 4, ({"model.weights": "package"},)),
    "questions-lp-ft": Trial("minilm", "package", FINE, 0.75, 4, ("lp_ft:steps=16",)),
    "questions-l2-sp": Trial("minilm", "package", FINE, 0.95, 8, ("l2_sp:rate=0.01", "l2_sp:rate=0.1")),
}


class OneByOne(TrialRuns):
    """Trains one network after the other, so that what breaks a trial off costs one run, and no stack is measured."""

    def train(self, arms: Sequence[Arm], seeds: Iterable[int]) -> None:
        for seed in seeds:
            for arm in arms:
                super().train([arm], [seed])


def photographs(data: Path, home: Path, pool: int, smoke: bool) -> dict[str, Path]:
    """Return folders of the training and the test photographs, a folder per class in each.

    Args:
        pool: training photographs of each class; 0 for all.
    """
    archive = zipfile.ZipFile(io.BytesIO((data / "clothing10_small.zip").read_bytes()))
    taken: dict[str, int] = {}
    for name in sorted(n for n in archive.namelist() if n.endswith(".jpg")):
        part, label, file = name.split("/")[-3:]
        taken[part + label] = taken.get(part + label, 0) + 1
        most = 6 if smoke else pool if part == "train" else 0
        if most and taken[part + label] > most:
            continue
        (home / part / label).mkdir(parents=True, exist_ok=True)
        (home / part / label / file).write_bytes(archive.read(name))
    return {"train": home / "train", "test": home / "test"}


def questions(data: Path, smoke: bool) -> pd.DataFrame:
    """Return questions with their coarse class, and the part that is tested on."""
    frame = pd.read_parquet(data / "trec.parquet")[["text", "coarse", "split"]]
    train, test = (frame[frame["split"] == part] for part in ("train", "test"))
    return pd.concat([train[: 200 if smoke else QUESTIONS], test[: 50 if smoke else None]])


def prove(name: str, given: argparse.Namespace, home: Path, seconds: float) -> Evidence:
    """Run one trial for as long as there is time, in groups of four seeds."""
    trial, out = TRIALS[name], given.out / name
    model = resolve(trial.backbone, trial.weights if trial.weights != "package" else given.minilm_of(trial))
    options = backbone_of(resolve(trial.backbone, given.minilm_of(trial))).options()
    epochs = 1 if given.smoke else trial.epochs
    recipe = trial.recipe.replace(model=model, epochs=epochs)
    if trial.backbone == "minilm":
        recipe = recipe.replace(lr=TEXT_RATE)
        if recipe.get("freeze_norms") is not None:  # it has no batch norms
            recipe = recipe.without("freeze_norms")
        data, about = questions(given.data, given.smoke), {"target": "coarse", "text": "text"}
    else:
        folders = photographs(given.data, home / name, trial.pool, given.smoke)
        data, about = str(folders["train"]), {"test": str(folders["test"])}
        size = given.size or trial.size
        options |= {"size": size} if size else {}
    return tw.prove(
        data, change=trial.changes, base=recipe, seeds=2 if given.smoke else given.seeds,
        look_every=trial.look_every, budget=f"{max(1.0, seconds):.0f}s", device=given.device, out=out,
        val_fraction=trial.share, test_fraction=0.0, console=tw.Console.stderr(), **options, **about,
    )  # fmt: skip


def markdown(name: str, evidence: Evidence) -> Iterator[str]:
    """Yield the evidence of a trial as a table: every change's mean gain, interval, verdict and gains by seed."""
    first = evidence.comparisons[0]
    yield f"\n**{name}**: accuracy on validation rows ({evidence.split}), {len(evidence.seeds)} paired seeds\n"
    yield "| change | base | change | gain | interval | better on | verdict | test gain | gains by seed |"
    yield "|---" * 9 + "|"
    for c in evidence.comparisons:
        yield (
            f"| {c.name} | {mean(c.base)} | {mean(c.change)} | {c.effect:+.3f} | {c.low:+.3f} to {c.high:+.3f} "
            + (
                f"| {c.wins} of {len(c.gains)} | {c.verdict} | {tested(c)} | {' '.join(f'{g:+.3f}' for g in c.gains)} |"
            )
        )
    yield f"\n{evidence.stopped}; {evidence.seconds:.0f} s; {'; '.join(evidence.engine)}"
    if len(first.gains) < 6:
        yield "Few seeds: only what is plain can be proved."


def mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.3f}"


def tested(c: Comparison) -> str:
    kept = c.confirmation
    return "" if kept is None else f"{kept.effect:+.3f} ({kept.low:+.3f} to {kept.high:+.3f})"


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", nargs="*", choices=list(TRIALS), default=["pretrained", "lp-ft", "l2-sp"])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--minutes", type=float, default=1e4, help="after which no group of seeds is begun")
    parser.add_argument(
        "--minilm", help="the model.safetensors of a folder with MiniLM; else that of the package"
    )
    parser.add_argument("--size", type=int, help="side of the photographs; 224 without it")
    parser.add_argument("--out", type=Path, default=Path("proofs"))
    parser.add_argument("--smoke", action="store_true", help="tiny data, two seeds, one epoch: does it run?")
    given = parser.parse_args()
    given.size = 32 if given.smoke else given.size
    given.minilm_of = lambda trial: given.minilm if trial.backbone == "minilm" else None
    return given


def main() -> None:
    given = parsed()
    if given.device == "cpu":
        torch.set_num_threads(1)
        proving.TrialRuns = OneByOne  # type: ignore[misc]
    given.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory() as home:
        for i, name in enumerate(given.trials):
            left = (end - time.monotonic()) / (len(given.trials) - i)
            if left <= 0:
                print("the time is over", flush=True)
                break
            try:
                prove(name, given, Path(home), left)
            except Exception as error:  # the other trials are worth having
                print(f"{name}: {type(error).__name__}: {error}", flush=True)
    print(f"\n{machine(given.device)}, trainwell {tw.__version__}")
    for name in TRIALS:
        if (given.out / name / EVIDENCE_FILE).exists():
            print("\n".join(markdown(name, Evidence.load(given.out / name))))


if __name__ == "__main__":
    main()

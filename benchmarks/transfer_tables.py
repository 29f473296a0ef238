"""Accuracy tables of images, texts and sounds: pre-trained against from scratch, with published references beside.

    python benchmarks/transfer_tables.py --tables texts --out texts.json
    python benchmarks/transfer_tables.py --tables photographs cifar --device cuda --minutes 4 --out images.json
    python benchmarks/transfer_tables.py --tables --read texts.json images.json        prints what is there

Every cell is one training by `tw.fit`, as a user would call it: test accuracy of the weights of the best validation
epoch. First all cells of seed 0 are trained, then those of seed 1; what `--read` or `--out` holds already is left out.
The seed draws the training photographs, the first weights and the order; the validation rows stay.

Rows: `probe` is a linear layer on the cached features of a frozen backbone, as `trainwell fit --backbone` trains it;
`tuned` all layers from that probe on, by the recipe of the same command; the others train from random numbers with the
preset `balanced`. `--heads DIR` keeps the probes, so that another machine need not compute features.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
import torch
from safetensors.torch import save_file

import trainwell as tw

DATA = Path(os.environ.get("TRAINWELL_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
BACKBONES = {"photographs": "efficientnet_lite0", "texts": "minilm"}
PER_CLASS = ("10", "50", "100")
TEXTS = {
    "news": ("agnews_mini", "label"),
    "questions": ("trec", "coarse"),
    "intents": ("banking77", "category"),
}
PROSE = {"news": ("title", "description"), "questions": ("text",), "intents": ("text",)}
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
ROWS = {
    "photographs": ("probe", "tuned", "cnn"), "texts": ("probe", "tuned", "bag", "gru", "transformer"),
    "speech": ("cnn", "gru", "transformer"), "cifar": ("cnn", "resnet"),
}  # fmt: skip
COLUMNS = {"photographs": PER_CLASS, "texts": tuple(TEXTS), "speech": SPEAKERS, "cifar": ("8,500 images",)}
TITLES = {
    "photographs": "Clothing photographs, 10 classes, 372 test photographs; training photographs per class",
    "texts": "Texts: 6,000 news (4 classes), 5,452 questions (6), 10,003 intents (77); 15 % of them validate",
    "speech": "Spoken digits; the column's speaker is the test part, the next one validates, four train",
    "cifar": "CIFAR-10, 10,000 JPEG images (1,500 validate), 2,000 test images",
}
REFERENCES = {
    "photographs": "Published: Xception frozen + dense layer on all 3,068 photographs at 150 pixels .83 to .84, at 299"
    " with augmentation .889 (validation; mlbookcamp-code, chapter 7). Logistic regression on EfficientNet-Lite0 at 128"
    " pixels, 100 a class: .78 to .79.",
    "texts": "References on the same files: TF-IDF with logistic regression .861, .882, .893; MiniLM with logistic"
    " regression on 1,200 news .872, on 1,500 questions .86. Published, full data: questions CNN-rand .912,"
    " CNN-non-static .936 (Kim 2014); intents BERT tuned .937 (Casanueva 2020). The news are a new split of the"
    " official test part, to which published figures do not apply.",
    "speech": "References (speakers theo and yweweler held out, 1,200 clips): log-mel with logistic regression .443;"
    " frozen Google speech embedding .983. By index, with the speakers in both parts: .97 to .99.",
    "cifar": "Published, all 50,000 images: ResNet-20 .917, ResNet-56 .934 (akamaster); those weights on these JPEG"
    " test images .811 and .832. 286 of the 2,000 test images have a near duplicate in training.",
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What all cells share."""

    data: Path
    home: Path
    device: str
    heads: Path | None
    minilm: str | None
    smoke: bool


@dataclasses.dataclass(frozen=True)
class Cell:
    """One training of a table."""

    table: str
    row: str
    column: str
    seed: int

    @property
    def key(self) -> str:
        return f"{self.table}|{self.row}|{self.column}|{self.seed}"


Run = Callable[[Cell, Options], float]


# ---- data ----


def photographs(options: Options, per_class: int, seed: int) -> Path:
    """Return a folder per part and class; the seed draws the training photographs of each class."""
    home = options.home / f"photographs-{per_class}-{seed}"
    if home.exists():
        return home
    archive = zipfile.ZipFile(options.data / "clothing10_small.zip")
    by_folder: dict[str, list[str]] = {}
    for name in sorted(n for n in archive.namelist() if n.endswith(".jpg")):
        by_folder.setdefault(name.rpartition("/")[0], []).append(name)
    draw = np.random.default_rng(seed)
    for folder, names in by_folder.items():
        place = home / folder.partition("/")[2]
        place.mkdir(parents=True)
        most = per_class if "/train/" in folder else 4 if options.smoke else len(names)
        for i in sorted(draw.permutation(len(names))[:most]):
            (place / Path(names[i]).name).write_bytes(archive.read(names[i]))
    return home


def texts(options: Options, column: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the rows, whose `split` names the test part, and the options of `fit`."""
    file, target = TEXTS[column]
    frame = pd.read_parquet(options.data / f"{file}.parquet")
    frame = frame[[*PROSE[column], target, "split"]]
    return frame[::20] if options.smoke else frame, {"target": target, "text": PROSE[column]}


def speech(options: Options, speaker: str) -> Path:
    """Return a table of clips whose `split` holds one speaker out, beside the long file that it names."""
    home = options.home / "speech"
    home.mkdir(exist_ok=True)
    table = home / f"{speaker}_index.parquet"
    if not table.exists():
        frame = pd.read_parquet(options.data / "fsdd_index.parquet")
        following = SPEAKERS[(SPEAKERS.index(speaker) + 1) % len(SPEAKERS)]
        frame["split"] = frame["speaker"].map({speaker: "test", following: "val"}).fillna("train")
        frame = frame[frame["index"] < 3] if options.smoke else frame
        frame[["digit", "offset", "length", "split"]].to_parquet(table)
        (home / f"{speaker}.flac").symlink_to((options.data / "fsdd.flac").resolve())
    return table


# ---- cells ----


def source_of(cell: Cell, options: Options) -> tuple[Any, dict[str, Any]]:
    """Return the data of a cell as `fit` takes them, and its options."""
    if cell.table == "photographs":
        count = 2 if options.smoke else int(cell.column)
        return str(photographs(options, count, cell.seed)), {}
    if cell.table == "texts":
        return texts(options, cell.column)
    if cell.table == "speech":
        return str(speech(options, cell.column)), {"target": "digit"}
    if not options.smoke:
        return str(options.data / "cifar10_jpeg_10k.parquet"), {"target": "label"}
    frame = pd.read_parquet(options.data / "cifar10_jpeg_10k.parquet")[["split", "label", "jpeg"]]
    return frame[::40], {"target": "label"}


def scratch(cell: Cell, options: Options) -> float:
    """Train a network of the cell's family from random numbers; `gru` and `transformer` at a rate of 1e-3."""
    data, about = source_of(cell, options)
    rate = {"lr": 1e-3} if cell.row in ("gru", "transformer") else {}
    run = tw.fit(
        data, settings_={"model": cell.row, **widths(cell), **rate}, seed=cell.seed, device=options.device,
        out=False, baseline=False, watch=False, budget=1 if options.smoke else None, **about,
    )  # fmt: skip
    return float(run.scores["test"]["accuracy"])


def widths(cell: Cell) -> dict[str, Any]:
    """Return the width that the preset gives its own family, which a named family would lose."""
    return {"model.width": 32} if cell.row == "cnn" and cell.table != "speech" else (
        {"model.width": 24} if cell.row == "cnn" else {}
    )  # fmt: skip


def probe(cell: Cell, options: Options) -> float:
    """Train the head that `trainwell fit --backbone` trains; keep it as one linear layer on the features."""
    from trainwell.app.transfer import transfer

    data, about = source_of(cell, options)
    run = transfer(
        data, about.pop("target", None), backbone=BACKBONES[cell.table], weights=weights_of(cell, options),
        seed=cell.seed, out=False, watch=False, device="cpu", budget=1 if options.smoke else None, **about,
    )  # fmt: skip
    weight, bias = run.model.folded()
    np.savez(head_file(cell, options), weight=weight.numpy(), bias=bias.numpy())
    return float(run.scores["test"]["accuracy"])


def weights_of(cell: Cell, options: Options) -> str | None:
    return options.minilm if cell.table == "texts" else None


def head_file(cell: Cell, options: Options) -> Path:
    folder = options.heads or options.home
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{cell.table}-{cell.column}-{cell.seed}.npz"


def tuned(cell: Cell, options: Options) -> float:
    """Fine-tune all layers from the probe by the recipe of `trainwell fit --backbone`, preset `best` for photographs."""
    from trainwell.app.fine_tuning import fine_recipe
    from trainwell.app.transfer import backbone_of
    from trainwell.models.backbones import resolve

    if not head_file(cell, options).exists():
        probe(cell, options)
    model = resolve(BACKBONES[cell.table], weights_of(cell, options))
    data, about = source_of(cell, options)
    inputs = backbone_of(model).options()
    start = options.home / f"{cell.table}-start"
    file = start_file(cell, options, model, inputs, start)
    recipe = fine_recipe(model.replace(weights=str(file)), "best")
    recipe = recipe.replace(epochs=10 if cell.table == "photographs" else 4)
    if options.smoke:
        recipe, inputs = recipe.replace(epochs=1), {**inputs, **({"size": 32} if "size" in inputs else {})}
    run = tw.fit(
        data, recipe=recipe, seed=cell.seed, device=options.device, out=False, baseline=False, watch=False,
        **about, **inputs,
    )  # fmt: skip
    return float(run.scores["test"]["accuracy"])


def start_file(cell: Cell, options: Options, model: Any, inputs: dict[str, Any], home: Path) -> Path:
    """Write backbone and probe as the weights of one network, with what the backbone keeps beside them."""
    from trainwell.app.feature_cache import load_backbone
    from trainwell.app.transfer import backbone_of
    from trainwell.values.task import InputSpec

    home.mkdir(exist_ok=True)
    size = inputs.get("size", 0)
    shape = (3, size, size) if size else (inputs["longest"],)
    net, _ = load_backbone(model, InputSpec(kind="image" if size else "text", shape=shape))
    head = np.load(head_file(cell, options))
    tensors = dict(net.state_dict())
    tensors |= {f"head.{n}": torch.from_numpy(head[n]) for n in ("weight", "bias")}
    file = home / "model.safetensors"
    save_file({k: v.contiguous() for k, v in tensors.items()}, file)
    kept = getattr(backbone_of(model), "home", None)
    for name in ("config.json", "tokenizer.json") if kept is not None else ():
        (home / name).write_bytes((kept() / name).read_bytes())
    return file


RUNS: dict[str, Run] = {"probe": probe, "tuned": tuned}


def cells(tables: Sequence[str], rows: Sequence[str] | None, columns: Sequence[str] | None,
          seeds: int) -> Iterator[Cell]:  # fmt: skip
    """Yield all cells, one seed after the other."""
    for seed in range(seeds):
        for table in tables:
            for row in ROWS[table]:
                for column in COLUMNS[table]:
                    if (not rows or row in rows) and (not columns or column in columns):
                        yield Cell(table, row, column, seed)


class Results:
    """Scores by key of the cell, written after every cell."""

    def __init__(self, out: Path | None, read: Sequence[Path]) -> None:
        self.out, self.found = out, dict[str, dict[str, Any]]()
        for path in [*read, *([out] if out is not None and out.exists() else [])]:
            self.found |= json.loads(path.read_text())["cells"]

    def keep(self, key: str, value: dict[str, Any]) -> None:
        self.found[key] = value
        if self.out is not None:
            text = json.dumps({"cells": self.found}, indent=1)
            temporary = self.out.with_suffix(".part")
            temporary.write_text(text)
            temporary.replace(self.out)


def train(wanted: Iterator[Cell], options: Options, results: Results, end: float) -> None:
    """Train the cells that are not there yet, as long as there is time; a cell that fails is told and passed over."""
    for cell in wanted:
        if cell.key in results.found:
            continue
        if time.monotonic() > end:
            print("the time is over", flush=True)
            return
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            score = RUNS.get(cell.row, scratch)(cell, options)
        except Exception as error:  # the other cells are worth having
            print(f"{cell.key}: {type(error).__name__}: {error}", flush=True)
            continue
        taken = {"wall_s": round(time.perf_counter() - wall, 1), "cpu_s": round(time.process_time() - cpu, 1)}
        results.keep(cell.key, {"accuracy": score, **taken, "machine": machine(options.device)})
        print(f"{cell.key}: {score:.4f}  {taken['wall_s']} s, {taken['cpu_s']} CPU-s", flush=True)


def machine(device: str) -> str:
    name = torch.cuda.get_device_name() if device.startswith("cuda") else f"{platform.machine()}, CPU"
    return f"{name}, torch {torch.__version__}"


# ---- tables ----


def half_width(values: Sequence[float]) -> float:
    """Return half the width of the 95 % t interval of the mean."""
    if len(values) < 2:
        return float("nan")
    return float(scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values))


def shown(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean = f"{np.mean(values):.3f}"
    return f"{mean} ± {half_width(values):.3f}" if len(values) > 1 else f"{mean} (1 seed)"


def markdown(results: Results) -> Iterator[str]:
    """Yield a table for each kind of data: mean over seeds ± half of the 95 % t interval."""
    for table, title in TITLES.items():
        by_place: dict[tuple[str, str], dict[int, float]] = {}
        for key, value in results.found.items():
            name, row, column, seed = key.split("|")
            if name == table:
                by_place.setdefault((row, column), {})[int(seed)] = value["accuracy"]
        if not by_place:
            continue
        columns = COLUMNS[table]
        mean = ["mean"] if table == "speech" else []
        yield f"\n**{title}**\n"
        yield f"| row | {' | '.join([*columns, *mean])} |"
        yield "|---" * (1 + len(columns) + len(mean)) + "|"
        for row in ROWS[table]:
            found = [by_place.get((row, c), {}) for c in columns]
            if any(found):
                texts_ = [shown(list(f.values())) for f in found]
                seeds = set.intersection(*(set(f) for f in found))
                over = [shown([float(np.mean([f[s] for f in found])) for s in sorted(seeds)])] if mean else []
                yield f"| {row} | {' | '.join([*texts_, *over])} |"
        yield f"\n{REFERENCES[table]}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", nargs="*", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--rows", nargs="+")
    parser.add_argument("--columns", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--minutes", type=float, default=1e6, help="after which no cell is begun")
    parser.add_argument("--heads", type=Path, help="folder of the probes, kept and found again")
    parser.add_argument(
        "--minilm", help="the model.safetensors of a folder with MiniLM; else that of the package"
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--read", nargs="+", type=Path, default=[])
    parser.add_argument("--smoke", action="store_true", help="tiny data, one epoch: does it run?")
    given = parser.parse_args()
    if given.device == "cpu":
        torch.set_num_threads(1)
    results = Results(given.out, given.read)
    with tempfile.TemporaryDirectory() as home:
        options = Options(given.data, Path(home), given.device, given.heads, given.minilm, given.smoke)
        end = time.monotonic() + 60 * given.minutes
        train(cells(given.tables, given.rows, given.columns, given.seeds), options, results, end)
    print("\n".join(markdown(results)))


if __name__ == "__main__":
    main()

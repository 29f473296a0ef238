"""Accuracy of the default preset against scikit-learn's boosting and MLP on the same split, five seeds.

    python benchmarks/accuracy.py [--data adult churn california electricity electricity-time] [--seeds 5]
                                  [--preset balanced] [--folder ../shared/data] [--out accuracy.json]

Every side sees the same rows: a test part that no side trains on (adult: the official one; the others: one fixed
random fifth, `electricity-time`: the last fifth), and a validation part of 15 % of the rest, with which trainwell
chooses the epoch. The seed moves what is random in the training, not the split.

    hgb        HistGradientBoosting with its defaults on the training part
    hgb-val    the same, up to 1,000 trees, stopped early on the validation part
    hgb-all    the same with its defaults on training and validation part together
    mlp        MLPClassifier / MLPRegressor with their defaults on the training part, scaled and one-hot
    mlp-stop   the same with early_stopping=True on training and validation part together

Printed are the mean and the 95 % interval of the mean over the seeds (Student's t), and CPU-seconds of a training.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
import sklearn
import torch
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import trainwell as tw

SPLIT_SEED = 20240704
Parts = dict[str, pd.DataFrame]


def adult(folder: Path) -> tuple[Parts, str]:
    frame = pd.read_parquet(folder / "adult.parquet")
    test = frame.pop("split") == "test"
    return _with_validation(frame[~test], frame[test]), "target"


def churn(folder: Path) -> tuple[Parts, str]:
    frame = pd.read_parquet(folder / "churn_modelling.parquet")
    return _random(frame.drop(columns=["RowNumber", "CustomerId", "Surname"])), "Exited"


def california(folder: Path) -> tuple[Parts, str]:
    return _random(pd.read_parquet(folder / "california_housing.parquet")), "MedHouseVal"


def electricity(folder: Path) -> tuple[Parts, str]:
    return _random(pd.read_parquet(folder / "electricity.parquet")), "class"


def electricity_in_time(folder: Path) -> tuple[Parts, str]:
    frame = pd.read_parquet(folder / "electricity.parquet")
    a, b = int(0.68 * len(frame)), int(0.8 * len(frame))
    return {"train": frame[:a], "val": frame[a:b], "test": frame[b:]}, "class"


DATA: dict[str, Callable[[Path], tuple[Parts, str]]] = {
    "adult": adult, "churn": churn, "california": california, "electricity": electricity,
    "electricity-time": electricity_in_time,
}  # fmt: skip
IS_REGRESSION = {"california"}


def _random(frame: pd.DataFrame) -> Parts:
    order = np.random.default_rng(SPLIT_SEED).permutation(len(frame))
    cut = len(frame) // 5
    return _with_validation(frame.iloc[np.sort(order[cut:])], frame.iloc[np.sort(order[:cut])])


def _with_validation(rest: pd.DataFrame, test: pd.DataFrame) -> Parts:
    order = np.random.default_rng(SPLIT_SEED + 1).permutation(len(rest))
    cut = int(0.15 * len(rest))
    return {"train": rest.iloc[np.sort(order[cut:])], "val": rest.iloc[np.sort(order[:cut])], "test": test}


class Bench:
    """One data set, and each side's metric on its test part: accuracy, or RMSE."""

    def __init__(self, name: str, folder: Path, preset: str) -> None:
        self.parts, self.target = DATA[name](folder)
        self.regression, self.preset = name in IS_REGRESSION, preset
        text = [c for c in self.parts["train"] if not pd.api.types.is_numeric_dtype(self.parts["train"][c])]
        text = [c for c in text if c != self.target]
        whole = pd.concat(self.parts.values())
        self.frames: Parts = {}
        for key, part in self.parts.items():
            # the categories of all parts, so that codes agree; those without a training row teach nothing
            typed = {c: pd.Categorical(part[c], sorted(whole[c].dropna().unique())) for c in text}
            self.frames[key] = part.assign(**typed)
        self.all = pd.concat([self.parts["train"], self.parts["val"]]).assign(
            **{c: pd.concat([self.frames[k][c] for k in ("train", "val")]) for c in text}
        )

    def sides(self) -> dict[str, Callable[[int], float]]:
        return {
            "trainwell": self.trainwell,
            "hgb": lambda seed: self._hgb(seed, self.frames["train"]),
            "hgb-val": self._hgb_stopped,
            "hgb-all": lambda seed: self._hgb(seed, self.all),
            "mlp": lambda seed: self._mlp(seed, self.frames["train"]),
            "mlp-stop": lambda seed: self._mlp(seed, self.all, early_stopping=True),
        }

    def trainwell(self, seed: int) -> float:
        train, val, test = (self.parts[k] for k in ("train", "val", "test"))
        run = tw.fit(
            train, self.target, val=val, test=test, preset=self.preset, seed=seed, baseline=False,
            out=False, on_duplicates="warn", task="regression" if self.regression else None,
        )  # fmt: skip
        return float(run.scores["test"]["rmse" if self.regression else "accuracy"])

    def _hgb(self, seed: int, frame: pd.DataFrame) -> float:
        kind = HistGradientBoostingRegressor if self.regression else HistGradientBoostingClassifier
        return self._score(kind(random_state=seed).fit(*self._xy(frame)))

    def _hgb_stopped(self, seed: int) -> float:
        kind = HistGradientBoostingRegressor if self.regression else HistGradientBoostingClassifier
        model = kind(random_state=seed, max_iter=1000, early_stopping=True, n_iter_no_change=20)
        x, y = self._xy(self.frames["val"])
        return self._score(model.fit(*self._xy(self.frames["train"]), X_val=x, y_val=y))

    def _mlp(self, seed: int, frame: pd.DataFrame, **options: Any) -> float:
        columns = make_column_transformer(
            (StandardScaler(), make_column_selector(dtype_include="number")),
            (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
            sparse_threshold=0,
        )
        network = (MLPRegressor if self.regression else MLPClassifier)(random_state=seed, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return self._score(make_pipeline(columns, network).fit(*self._xy(frame)))

    def _xy(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
        return frame.drop(columns=self.target), frame[self.target].to_numpy()

    def _score(self, model: Any) -> float:
        x, y = self._xy(self.frames["test"])
        found = model.predict(x)
        return float(np.sqrt(np.mean((found - y) ** 2)) if self.regression else np.mean(found == y))


def interval(values: list[float]) -> float:
    """Return half the width of the 95 % interval of the mean."""
    if len(values) < 2:
        return float("nan")
    return float(scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values))


def measure(name: str, bench: Bench, seeds: int) -> dict[str, Any]:
    metric = "RMSE, lower is better" if bench.regression else "accuracy, higher is better"
    sizes = " / ".join(str(len(bench.parts[k])) for k in ("train", "val", "test"))
    print(f"\n{name}: test {metric}; rows {sizes}")
    found: dict[str, Any] = {}
    for side, run in bench.sides().items():
        values, seconds = [], []
        for seed in range(seeds):
            start = time.process_time()
            values.append(run(seed))
            seconds.append(time.process_time() - start)
        found[side] = {"values": values, "cpu_s": seconds}
        each = " ".join(f"{v:.4f}" for v in values)
        print(
            f"  {side:10s} {np.mean(values):.4f} +- {interval(values):.4f}"
            f"  {np.mean(seconds):6.1f} CPU-s   {each}",
            flush=True,
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--preset", default="balanced")
    parser.add_argument(
        "--folder", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    head = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, one thread",
        "versions": {m.__name__: m.__version__ for m in (tw, torch, sklearn, np)},
        "preset": options.preset,
        "seeds": list(range(options.seeds)),
    }
    print(json.dumps(head))
    results = {}
    for name in options.data:
        results[name] = measure(name, Bench(name, options.folder, options.preset), options.seeds)
    if options.out:
        options.out.write_text(json.dumps({**head, "results": results}, indent=1))


if __name__ == "__main__":
    main()

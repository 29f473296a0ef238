"""The error rate and the power of trials, in simulation and with real trainings; the wall time of a trial.

python benchmarks/trials.py simulate [--repetitions 10000]
python benchmarks/trials.py aa [--repetitions 200]         A/A trials of real trainings on digits
python benchmarks/trials.py time [--data digits churn]     8 seeds, 3 arms, against one plain run
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy import stats

from trainwell.trials.design import Design
from trainwell.trials.estimate import moments, two_sided
from trainwell.trials.verdict import judge

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
DRAWS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy-tailed (t, 2 degrees)": lambda rng, shape: rng.standard_t(2, size=shape),
    "skewed arms (exponential)": lambda rng, shape: rng.exponential(size=shape) - rng.exponential(size=shape),
    "skewed differences, skewness -1": lambda rng, shape: 4 - rng.gamma(4, size=shape),
    "skewed differences, skewness -2": lambda rng, shape: 1 - rng.exponential(size=shape),
}
"""Of differences with mean zero. Arms that differ by chance alone have symmetric differences, whatever their scores;
the last two break that: the change moves the shape and not the mean."""


def outcomes(
    gains: np.ndarray, design: Design, *, checked: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for every row whether it is proved and refuted, and the pairs it used: `judge` of finite gains, by rows.

    Args:
        checked: as `judge` does it; False takes t alone, for comparison.
    """
    proved, refuted = np.zeros(len(gains), bool), np.zeros(len(gains), bool)
    used = np.full(len(gains), design.seeds)
    for i, n in enumerate(design.looks):
        level = design.levels(design.looks[: i + 1], final=n == design.seeds)[-1]
        mean, *rest = moments(gains[:, :n])
        plain = 2 * stats.t.sf(np.abs(mean / rest[0]) * math.sqrt(n), n - 1)
        hit = ((two_sided(mean, *rest, n) if checked else plain) <= level) & ~(proved | refuted)
        proved |= hit & (mean > 0)
        refuted |= hit & (mean < 0)
        used[hit] = n
    return proved, refuted, used


def simulate(repetitions: int) -> None:
    """Print error rates and power of designs and spending functions."""
    rng = np.random.default_rng(20261126)
    designs = [
        Design(8),
        Design(8, 4),
        Design(16),
        Design(32),
        Design(8, 4, spending="pocock"),
        Design(32, spending="pocock"),
    ]
    for design in designs:
        print(f"\n{design.seeds} seeds, looks {design.looks}, {design.spending}")
        for name, draw in DRAWS.items():
            gains = draw(rng, (repetitions, design.seeds))
            (proved, refuted, _), (alone, *_) = (
                outcomes(gains, design),
                outcomes(gains, design, checked=False),
            )
            print(
                f"  A/A {name:34s} proved {proved.mean():.4f}  refuted {refuted.mean():.4f}  "
                f"(t alone: proved {alone.mean():.4f})"
            )
        for effect in (0.5, 1.0, design.detectable(0.8), 1.5, 2.5):
            gains = rng.normal(effect, 1, (repetitions, design.seeds))
            (proved, _, used), (alone, *_) = outcomes(gains, design), outcomes(gains, design, checked=False)
            print(
                f"  effect {effect:.2f} spreads: promised {design.power(effect):.3f}  proved {proved.mean():.3f}  "
                f"pairs {used.mean():.1f}  (t alone: {alone.mean():.3f})"
            )
    covered(rng, repetitions)


def covered(rng: np.random.Generator, repetitions: int) -> None:
    """Print how often the interval at the stop covers the effect, by `judge` itself, and Holm with three changes."""
    design, hits, family = Design(16), 0, 0
    count = min(repetitions, 2000)
    for _ in range(count):
        gains = rng.normal(0.6, 1, 16)
        for i, n in enumerate(design.looks):
            judged = judge({"x": gains[:n]}, {"x": design.looks[: i + 1]}, design, final=n == 16)["x"]
            if judged.verdict != "undecided":
                break
        hits += judged.low <= 0.6 <= judged.high
        base = rng.normal(size=8)  # the arms share the base, so their differences are correlated
        several = {name: rng.normal(size=8) - base for name in "abc"}
        found = judge(several, {name: [8] for name in several}, Design(8), final=True)
        family += any(j.verdict != "undecided" for j in found.values())
    print(f"\ninterval at the stop covers the effect in {hits / count:.4f} of {count} (promised >= 0.95)")
    print(f"any of three changes without effect is decided in {family / count:.4f} (promised <= 0.05)")


def aa(repetitions: int) -> None:
    """Print how often real trainings that differ by chance alone are declared proved."""
    import torch

    torch.set_num_threads(1)
    from trainwell.app.proving import BASE
    from trainwell.app.sources import prepare
    from trainwell.app.trial_runs import Arm, TrialRuns
    from trainwell.trials.estimate import differences_of
    from trainwell.values.recipe import ModelSpec, Recipe

    data = _digits()
    recipe = Recipe(model=ModelSpec.of("mlp", width=32, depth=1), lr=3e-3, batch_size=64, epochs=3)
    runs = TrialRuns(prepare(data, None, own_model=False, loss=None, options={}))
    start = time.perf_counter()
    runs.train([Arm(BASE, recipe), Arm("same", recipe, reseed=10**6)], range(8 * repetitions))
    seconds = time.perf_counter() - start
    for metric, sign in (("accuracy", 1), ("val_loss", -1)):
        verdicts = []
        for r in range(repetitions):
            seeds = range(8 * r, 8 * r + 8)
            gains = differences_of(*(runs.scores(n, seeds, metric) for n in (BASE, "same")), sign)
            verdicts.append(judge({"x": gains}, {"x": [8]}, Design(8), final=True)["x"].verdict)
        shares = {v: verdicts.count(v) / repetitions for v in ("proved", "refuted", "undecided")}
        print(f"A/A on digits, {repetitions} trials of 8 pairs, {metric}: {shares}")
    print(f"{16 * repetitions} trainings in {seconds:.1f} s; engine {runs.engines}")


def timed(names: Sequence[str]) -> None:
    """Print the wall time of a trial of 8 seeds and 3 arms against one plain run, in turn."""
    import torch

    torch.set_num_threads(1)
    from trainwell.app.fit import fit
    from trainwell.app.proving import BASE, arms_of
    from trainwell.app.sources import prepare
    from trainwell.app.trial_runs import Arm, TrialRuns
    from trainwell.values.recipe import ModelSpec, Recipe

    for name in names:
        data: Any = _digits() if name == "digits" else str(SHARED / "churn_modelling.parquet")
        target = None if name == "digits" else "Exited"
        for width in (64, 256):
            recipe = Recipe(model=ModelSpec.of("mlp", width=width), lr=1e-3, batch_size=32, epochs=10)
            ratios = []
            for _ in range(3):
                start = time.process_time()
                fit(data, target, recipe=recipe, out=False, watch=False, baseline=False)
                one = time.process_time() - start
                start = time.process_time()
                runs = TrialRuns(prepare(data, target, own_model=False, loss=None, options={}))
                arms = [Arm(BASE, recipe), *arms_of(recipe, ["dropout:rate=0.2", "lr=0.003"])]
                runs.train(arms, range(8))
                ratios.append((time.process_time() - start) / one)
            print(
                f"{name}, width {width}: one run {one:.2f} s, trial {np.median(ratios):.2f} times {np.round(ratios, 2)}"
            )


def _digits() -> tuple[Any, Any]:
    import torch
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.tensor(found.data / 16, dtype=torch.float32), torch.tensor(found.target)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("simulate", "aa", "time"))
    parser.add_argument("--repetitions", type=int)
    parser.add_argument("--data", nargs="+", default=["digits", "churn"])
    args = parser.parse_args()
    if args.what == "simulate":
        simulate(args.repetitions or 10_000)
    elif args.what == "aa":
        aa(args.repetitions or 200)
    else:
        timed(args.data)


if __name__ == "__main__":
    main()

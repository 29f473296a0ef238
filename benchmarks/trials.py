"""The error rate and the power of trials, in simulation and with real trainings; the wall time of a trial.

python benchmarks/trials.py simulate [--repetitions 10000]
python benchmarks/trials.py aa [--repetitions 200]         A/A trials of real trainings on digits
python benchmarks/trials.py time [--data digits churn] [--models 64 256 default]     8 seeds, 3 arms, against one run
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

import trainwell as tw
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
        low, high = stats.binomtest(verdicts.count("proved"), repetitions).proportion_ci()
        print(
            f"A/A on digits, {repetitions} trials of 8 pairs, {metric}: {shares}; proved in {low:.4f} to {high:.4f} "
            "(95 % interval of Clopper and Pearson)"
        )
    print(f"{16 * repetitions} trainings in {seconds:.1f} s; engine {runs.engines}")


def timed(names: Sequence[str], models: Sequence[str], rounds: int) -> None:
    """Print what a trial of 8 seeds and 3 arms costs against one plain run, in turn: CPU time, all included.

    The plain run is `tw.fit` as it stands, and, for comparison, without watcher and boosted baseline. "Products alone" is
    what the matrix products of the 24 trainings would take at the rate of a product 256 x 256 x 256.
    """
    import torch

    torch.set_num_threads(1)
    from trainwell.app.sources import prepare
    from trainwell.values.recipe import ModelSpec

    for name in names:
        data: Any = _digits() if name == "digits" else str(SHARED / "churn_modelling.parquet")
        target = None if name == "digits" else "Exited"
        for model in models:
            recipe = None
            if model != "default":
                spec = ModelSpec.of("mlp", width=int(model))
                recipe = tw.Recipe(model=spec, lr=1e-3, batch_size=32, epochs=10)
            sides = sides_of(data, target, recipe)
            run, _, evidence = [side() for side in sides]  # the first calls import what they need
            seconds = np.array([[_cpu_s(side) for side in sides] for _ in range(rounds)])
            least = products_s(run, prepare(data, target, own_model=False, loss=None, options={}))
            fit, bare, trial = np.median(seconds, 0)
            ratios, ratios_bare = seconds[:, 2] / seconds[:, 0], seconds[:, 2] / seconds[:, 1]
            print(
                f"{name}, {f'mlp of width {model}' if recipe else 'default recipe'}: fit {fit:.2f} s, bare {bare:.2f}, "
                f"trial {trial:.2f} ({'; '.join(evidence.engine)}): {np.median(ratios):.2f} times a fit "
                f"({ratios.min():.2f} to {ratios.max():.2f}), {np.median(ratios_bare):.2f} times a bare one "
                f"({ratios_bare.min():.2f} to {ratios_bare.max():.2f}); products alone {24 * least:.2f} s",
                flush=True,
            )


def sides_of(data: Any, target: str | None, recipe: Any) -> list[Callable[[], Any]]:
    """Return a fit, a fit without watcher and baseline, and a trial of 8 seeds and 3 arms, all of one recipe."""
    changes = ["dropout:rate=0.2", "lr=0.003"]
    return [
        lambda: tw.fit(data, target, recipe=recipe, out=False),
        lambda: tw.fit(data, target, recipe=recipe, out=False, watch=False, baseline=False),
        lambda: tw.prove(data, target, base=recipe, change=changes, seeds=8, out=False),
    ]


def products_s(run: Any, prepared: Any) -> float:
    """Return the time that the matrix products of a run would take at the rate of the fastest one."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    x, size = prepared.parts["train"][0], run.recipe.batch_size
    model = run.model.train()
    with FlopCounterMode(display=False) as counter:
        model(*(t[:size] for t in x)).sum().backward()
    model.eval()
    one = torch.randn(256, 256)
    rate = min(_cpu_s(lambda: [torch.mm(one, one) for _ in range(20)]) / 20 for _ in range(10))
    return float(counter.get_total_flops()) * run.history[-1]["step"] * rate / (2 * 256**3)


def _cpu_s(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


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
    parser.add_argument(
        "--models", nargs="+", default=["64", "default"], help="widths of an mlp, or `default`"
    )
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.what == "simulate":
        simulate(args.repetitions or 10_000)
    elif args.what == "aa":
        aa(args.repetitions or 200)
    else:
        timed(args.data, args.models, args.rounds)


if __name__ == "__main__":
    main()

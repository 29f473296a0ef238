"""Treat the cases of faultbench that a technique can treat: is the validation loss better, and by how much?

python benchmarks/treat.py [--root ../shared/faultbench] [--seeds 16] [names...]

A case is taken over as a recipe (optimizer, rate, batch, epochs), its module, its tensors and its loss; the doctor
watches the user's own loop, `treat` tries what it prescribes, and a second trial on new seeds measures the accepted
recipe.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

CASES = (
    "lrh_gru_subtle", "lrh_regression_sgd", "lrl_linreg", "lrl_mlp_subtle", "bts_friedman_b2", "exp_cnn_gain",
    "lbn_blobs_subtle", "ovf_diabetes_subtle", "sat_tanh_bigw", "van_sigmoid8_digits", "wdm_regression",
    "und_dropout09", "bn_batch2_cnn", "imb_cnn", "ini_embed_big_lm", "btl_lm", "ovf_gru_chars", "utr_friedman",
)  # fmt: skip
"""Faults of rate, batch, depth, units, initial numbers, fit and decay: what a recipe can change."""


def recipe_of(job: Any) -> Any:
    """Return the recipe that the optimizer and the loop of a case come to."""
    import trainwell as tw

    group, kind = job.optimizer.param_groups[0], type(job.optimizer).__name__
    decay = float(group.get("weight_decay", 0.0))
    if kind == "SGD":
        momentum = group.get("momentum", 0.0)
        optimizer = f"sgd:momentum={momentum}"
    else:
        optimizer = f"adam:beta1={group['betas'][0]},beta2={group['betas'][1]}"
    recipe = tw.Recipe(
        optimizer=optimizer, lr=group["lr"], batch_size=job.batch_size or 32, epochs=job.epochs
    )
    if decay:
        name = "weight_decay" if kind == "AdamW" else "l2"
        recipe = recipe.with_(f"{name}:rate={min(decay, 10.0)}")
    if job.clip:
        recipe = recipe.with_(f"clip_grad:max_norm={job.clip}")
    return recipe


def treated(case: Any, seeds: int) -> str:
    """Treat one case; return one line."""
    import torch

    import trainwell as tw
    from trainwell.app.proving import prove
    from trainwell.app.treating import metric_for
    from trainwell.values.errors import NonFiniteError, TrainwellError

    job = case.build(0)
    data = (job.train_xy, job.val_xy)
    start = time.perf_counter()
    about = {"loss": job.loss_fn}
    try:
        recipe = recipe_of(job)
        run = tw.fit(
            data, model=case.build(0).model, recipe=recipe, out=False, baseline=False, watch=False, **about
        )
    except NonFiniteError as error:
        run = error.run
    except TrainwellError as error:
        return f"cannot be taken over: {str(error)[:70]}"
    from faultbench import core  # type: ignore[import-not-found]

    from benchmarks.faultbench_adapter import findings

    run.findings = findings(core.Blind(case, 0))[0]
    found = [f.ailment for f in run.findings if f.is_alarm]

    def model() -> Any:
        """Make the network of the case with first weights of its own; called under a seed."""
        return case.build(torch.initial_seed() % 2**31).model

    metric = metric_for([f for f in run.findings if f.is_alarm]) or "val_loss"
    treatment = tw.treat(
        run, data, model=model, seeds=seeds, metric=metric, max_changes=3, out=False, **about
    )
    line = f"found {','.join(found) or '-':34s} tried {_tried(treatment)} "
    if not treatment.recipe.diff(recipe):
        return f"{line}NOT TREATED ({time.perf_counter() - start:.0f} s)"
    again = prove(
        data, base=recipe, change=treatment.recipe, model=model, seeds=seeds, metric=metric, out=False,
        first_seed=100, **about,
    ).comparisons[0]  # fmt: skip
    word = "BETTER" if again.low > 0 else "WORSE" if again.high < 0 else "OPEN"
    base = sum(again.base) / len(again.base)
    return (
        f"{line}{word} {metric} {base:.4f} gain {again.effect:.4f} ({again.low:.4f} to {again.high:.4f}) "
        f"({time.perf_counter() - start:.0f} s)"
    )


def _tried(treatment: Any) -> str:
    """Return the changes with their verdicts and intervals."""
    if treatment.evidence is None:
        return "nothing"
    return "; ".join(
        f"{c.name} {c.verdict} {c.effect:+.4g} ({c.low:+.4g} to {c.high:+.4g})"
        for c in treatment.evidence.comparisons
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=CASES)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument(
        "--root", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "faultbench"
    )
    args = parser.parse_args()
    sys.path[:0] = [str(args.root), str(Path(__file__).resolve().parents[1])]
    from faultbench import core  # type: ignore[import-not-found]

    core.one_thread()
    words: list[str] = []
    for case in core.load_cases(list(args.names)):
        line = treated(case, args.seeds)
        words.append(next((w for w in ("BETTER", "WORSE", "OPEN", "NOT TREATED") if w in line), "other"))
        print(f"{case.name:22s} {line}", flush=True)
    print({word: words.count(word) for word in sorted(set(words))})


if __name__ == "__main__":
    main()

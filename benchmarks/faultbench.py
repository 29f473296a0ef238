"""Score the doctor on faultbench, with what the runner does not print: is the first finding right?

python benchmarks/faultbench.py [--seeds 3] [--twins] [--root ../shared/faultbench] [--split dev] [names...]
With `--dump FOLDER` the traces of every run are kept, and `--read FOLDER` scores the rules on them without training.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import types
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--twins", action="store_true")
    parser.add_argument("--split", default="dev")
    parser.add_argument(
        "--root", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "faultbench"
    )
    parser.add_argument("--own", action="store_true", help="our own cases in place of faultbench's")
    parser.add_argument("--blind", action="store_true", help="cases written before the doctor saw them")
    parser.add_argument("--blind2", choices=("A", "B", "all"), help="a second such set, in two halves")
    parser.add_argument("--blind3", choices=("A", "B", "all"), help="a third such set, in two halves")
    parser.add_argument("--blind4", choices=("A", "B", "all"), help="a fourth such set, in two halves")
    parser.add_argument("--blind5", choices=("A", "B", "all"), help="a fifth such set, in two halves")
    parser.add_argument("--blind6", choices=("A", "B", "all"), help="a sixth such set, in two halves")
    parser.add_argument("--blind7", choices=("A", "B", "all"), help="a seventh such set, in two halves")
    parser.add_argument("--blind8", choices=("A", "B", "all"), help="an eighth such set, in two halves")
    parser.add_argument("--mutations", action="store_true", help="healthy trainings broken in one way each")
    parser.add_argument(
        "--wild", choices=("A", "B", "C", "all"), help="slips on real data, a third of them each"
    )
    parser.add_argument("--prove", action="store_true", help="only show by how much each repair helps")
    parser.add_argument("--dump", type=Path, help="a folder for the traces of every run")
    parser.add_argument("--read", type=Path, help="such a folder: ask the rules again, train nothing")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    sys.path.insert(0, str(args.root))
    from faultbench import core, runner  # type: ignore[import-not-found]

    core.one_thread()
    from benchmarks.cases import sets

    ours = sets.cases(args)
    cases = core.load_cases(args.names or runner.names_of(args.split)) if ours is None else ours
    if args.prove:
        _prove(cases, args.seeds)
        return
    rows: list[dict[str, Any]] = []
    start = time.process_time()
    for case in cases:
        for seed in range(args.seeds):
            for twin in (False, True) if args.twins and case.labels else (False,):
                found, traces = _findings(case, seed, twin, args, core)
                if traces is not None:
                    rows.append(_scored(case, seed, twin, found, traces, runner, rows))
    _report(rows, time.process_time() - start)
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1))


def _prove(cases: list[Any], seeds: int) -> None:
    """Show the mean gain of every repair by the measure of its case."""
    from faultbench import verify

    for case in cases:
        if not case.labels:
            _show(case, seeds)
            continue
        key, _, least = case.better
        gains = []
        for seed in range(seeds):
            bad, good = (verify.measure(build(seed)) for build in (case.build, case.build_fixed))
            gains.append(verify.gain(bad, good, case.better))
        mean = sum(gains) / len(gains)
        print(
            f"{case.name:24s} {key:20s} {mean:9.3f} (> {least}){'' if mean > least else ' NOT PROVED'}",
            flush=True,
        )


def _show(case: Any, seeds: int) -> None:
    """Print how a healthy case ends, and which standard remedies would better it."""
    from faultbench import verify

    plain = [verify.measure(case.build(seed)) for seed in range(seeds)]
    worth = {}
    for name, change in verify.PANEL.items():
        changed = [case.build(seed) for seed in range(seeds)]
        for job in changed:
            change(job)
        gains = [
            verify.measure(j)["test_score"] - m["test_score"] for j, m in zip(changed, plain, strict=True)
        ]
        worth[name] = sum(gains) / len(gains)
    last = {
        k: round(sum(m[k] for m in plain) / len(plain), 3) for k in ("train_score", "val_score", "val_loss")
    }
    better = {k: round(v, 3) for k, v in worth.items() if v > 0.02}
    print(f"{case.name:24s} healthy {last} {'remedies help ' + str(better) if better else ''}", flush=True)


def _findings(case: Any, seed: int, twin: bool, args: argparse.Namespace, core: Any) -> tuple[list[Any], Any]:
    """Train a case under the watcher, or read what it left; no traces where it left none."""
    place = f"{case.name}{'.twin' if twin else ''}.{seed}"
    if args.read:
        from trainwell.rules import diagnose
        from trainwell.values.signal import Traces

        if not (args.read / place).exists():
            return [], None
        traces = Traces.load(args.read / place)
        return diagnose(traces), traces
    from benchmarks.faultbench_adapter import findings

    job = case.build_fixed(seed) if twin else case.build(seed)
    test, job._test = job._test, None
    job.seed = seed
    found, watch = findings(types.SimpleNamespace(build=lambda: job))
    watch.traces.facts["clean_test"] = _tested(job, test)
    if args.dump:
        watch.traces.save(args.dump / place)
    return found, watch.traces


def _tested(job: Any, test: Any) -> dict[str, float]:
    """Return loss and score on clean test rows, which neither the loop nor the doctor saw."""
    import torch

    job.model.eval()
    try:
        with torch.no_grad():
            out = torch.cat([job.model(test[0][i : i + 256]) for i in range(0, len(test[0]), 256)])
            return {"loss": float(job.loss_fn(out, test[1])), "score": float(job.metric(out, test[1]))}
    except (RuntimeError, ValueError, IndexError):  # a fault of shapes shows here too
        return {}


def _harms(row: dict[str, Any], rows: list[dict[str, Any]]) -> bool:
    """Whether a slip costs on clean test rows, against the healthy run of its base; true where that cannot be told."""
    base = next(
        (r for r in rows if r["case"] == f"ok_{row['case'].partition('__')[2]}" and r["seed"] == row["seed"]),
        None,
    )
    if base is None or not row["has_measure"]:
        return True
    (bad, good), unit = (row["test"], base["test"]), base["base_loss"] or 1.0
    if not bad or not good:
        return True
    worse = good["score"] - bad["score"], (bad["loss"] - good["loss"]) / unit
    return not (worse[0] < 0.03 and worse[1] < 0.1)


def _scored(case: Any, seed: int, twin: bool, found: list[Any], traces: Any, runner: Any,
            rows: list[dict[str, Any]]) -> dict[str, Any]:  # fmt: skip
    """Hold findings against the labels of their case, print the line and return it as plain data."""
    error = next((traces.fact(k) for k in ("watch_error", "no_looks", "unmeasured") if traces.fact(k)), None)
    names = [f.ailment for f in found]
    right = set().union(*map(set, case.labels)) if case.labels and not twin else set()
    accepted = right | set(case.accept) if not twin else set()
    alarms = [n for n in names if n not in runner.INFO and (n not in runner.NEUTRAL or n in right)]
    symptoms = set(runner.SYMPTOMS) if case.labels and not twin else set()
    wrong = [n for n in alarms if n not in accepted | symptoms]
    hits = [g[0] for g in case.labels if set(g) & set(names)] if not twin else []
    row = {
        "case": case.name, "seed": seed, "twin": twin, "faulty": bool(case.labels) and not twin, "found": names,
        "wrong": wrong, "hits": len(hits), "labels": len(case.labels), "error": error,
        "top": bool(alarms) and alarms[0] in right, "test": traces.fact("clean_test") or {},
        "base_loss": traces.fact("base_loss"), "has_measure": bool(case.better),
    }  # fmt: skip
    row["faulty"] = row["faulty"] and ("__" not in case.name or _harms(row, rows))
    want = "twin" if twin else ",".join(case.canonical) or "healthy"
    folded = [c.ailment for f in found for c in f.consequences]
    harmless = bool(case.labels) and not twin and not row["faulty"]
    mark = (
        " harmless"
        if harmless
        else ""
        if not row["faulty"]
        else " MISSED"
        if not hits
        else ""
        if row["top"]
        else " not-top"
    )
    said = f"found {','.join(names) or '-':36s} [{','.join(folded)}]"
    said += f" WRONG {','.join(wrong)}" if wrong else ""
    said += f"{mark} ERROR {error}" if error else mark
    print(f"{case.name:24s} {seed} want {want:34s} {said}", flush=True)
    return row


def _report(rows: list[dict[str, Any]], seconds: float) -> None:
    faulty = [r for r in rows if r["faulty"]]
    others = {
        "healthy runs": [r for r in rows if not r["labels"] and not r["twin"]],
        "twins": [r for r in rows if r["twin"]],
    }
    share = lambda k, n: f"{100 * k / max(1, n):5.1f} % ({k}/{n})"  # noqa: E731
    hits, labels = sum(r["hits"] for r in faulty), sum(r["labels"] for r in faulty)
    wrong = sum(len(r["wrong"]) for r in rows if not r["twin"] and (r["faulty"] or not r["labels"]))
    print(
        f"\nright root cause in {share(sum(r['hits'] > 0 for r in faulty), len(faulty))} of the faulty runs"
    )
    print(f"label recall {share(hits, labels)}   precision {share(hits, hits + wrong)}")
    print(f"first finding right {share(sum(r['top'] for r in faulty), len(faulty))}")
    for name, group in others.items():
        print(f"false alarms on {share(sum(bool(r['wrong']) for r in group), len(group))} of the {name}")
    print(f"{sum(bool(r['error']) for r in rows)} errors, {seconds:.0f} CPU-s")


if __name__ == "__main__":
    main()

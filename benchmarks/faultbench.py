"""Score the doctor on faultbench, with what the runner does not print: is the first finding right?

python benchmarks/faultbench.py [--seeds 3] [--twins] [--root ../shared/faultbench] [--split dev] [names...]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
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
    parser.add_argument("--mutations", action="store_true", help="healthy trainings broken in one way each")
    parser.add_argument("--prove", action="store_true", help="only show by how much each repair helps")
    parser.add_argument("--dump", type=Path, help="a folder for the traces of every run")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    sys.path.insert(0, str(args.root))
    from faultbench import core, runner  # type: ignore[import-not-found]

    core.one_thread()
    cases = (
        _ours(args)
        if args.own or args.mutations
        else core.load_cases(args.names or runner.names_of(args.split))
    )
    if args.prove:
        _prove(cases, args.seeds)
        return
    rows: list[dict[str, Any]] = []
    start = time.process_time()
    for case in cases:
        for seed in range(args.seeds):
            rows.append(_run(case, seed, False, args.dump, runner, core))
            if args.twins and case.labels:
                rows.append(_run(case, seed, True, args.dump, runner, core))
    _report(rows, time.process_time() - start)
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1))


def _ours(args: argparse.Namespace) -> list[Any]:
    from benchmarks import mutations, own_faults, own_healthy

    assert own_healthy.healthy
    if args.mutations:
        return mutations.cases(args.names)
    return [case for case in own_faults.OWN if not args.names or case.name in args.names]


def _prove(cases: list[Any], seeds: int) -> None:
    """Show the mean gain of every repair by the measure of its case."""
    from faultbench import verify

    for case in cases:
        if not case.labels:
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


def _run(case: Any, seed: int, twin: bool, dump: Path | None, runner: Any, core: Any) -> dict[str, Any]:
    from benchmarks.faultbench_adapter import findings

    found, watch = findings(core.Blind(case, seed, twin))
    error = next(
        (watch.traces.fact(k) for k in ("watch_error", "no_looks", "unmeasured") if watch.traces.fact(k)),
        None,
    )
    if dump:
        watch.traces.save(dump / f"{case.name}{'.twin' if twin else ''}.{seed}")
    names = [f.ailment for f in found]
    right = set().union(*map(set, case.labels)) if case.labels and not twin else set()
    accepted = right | set(case.accept) if not twin else set()
    alarms = [n for n in names if n not in runner.INFO and n not in runner.NEUTRAL]
    symptoms = set(runner.SYMPTOMS) if case.labels and not twin else set()
    wrong = [n for n in alarms if n not in accepted | symptoms]
    hits = [g[0] for g in case.labels if set(g) & set(names)] if not twin else []
    row = {
        "case": case.name, "seed": seed, "twin": twin, "faulty": bool(case.labels) and not twin, "found": names,
        "wrong": wrong, "hits": len(hits), "labels": len(case.labels), "error": error,
        "top": bool(alarms) and alarms[0] in right,
    }  # fmt: skip
    want = "twin" if twin else ",".join(case.canonical) or "healthy"
    folded = [c.ailment for f in found for c in f.consequences]
    mark = "" if not row["faulty"] else " MISSED" if not hits else "" if row["top"] else " not-top"
    said = f"found {','.join(names) or '-':36s} [{','.join(folded)}]"
    said += f" WRONG {','.join(wrong)}" if wrong else ""
    said += f"{mark} ERROR {error}" if error else mark
    print(f"{case.name:24s} {seed} want {want:34s} {said}", flush=True)
    return row


def _report(rows: list[dict[str, Any]], seconds: float) -> None:
    faulty = [r for r in rows if r["faulty"]]
    others = {
        "healthy runs": [r for r in rows if not r["faulty"] and not r["twin"]],
        "twins": [r for r in rows if r["twin"]],
    }
    share = lambda k, n: f"{100 * k / max(1, n):5.1f} % ({k}/{n})"  # noqa: E731
    hits, labels = sum(r["hits"] for r in faulty), sum(r["labels"] for r in faulty)
    wrong = sum(len(r["wrong"]) for r in rows if not r["twin"])
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

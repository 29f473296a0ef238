"""Write docs/findings.md: every finding with what it means, a real case of it, its picture and what the cure did.

    python benchmarks/findings_guide.py [--root ../shared/faultbench] [ailments ...]

Trains the case of every ailment and its repaired twin (`findings_cases.py`), one thread, about two minutes. With names
only the pictures of those ailments are made, and the page is left as it is.
"""

from __future__ import annotations

import argparse
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainwell.app.prescriptions import prescriptions
from trainwell.report.words import capital
from trainwell.rules.rule import load_rules
from trainwell.values.finding import AILMENTS, Finding, title_of

DOCS = Path(__file__).parents[1] / "docs"
PICTURES = DOCS / "findings"


def loaded(root: Path) -> dict[str, Any]:
    """Return all cases by name."""
    sys.path.insert(0, str(root))
    from faultbench import core  # type: ignore[import-not-found]

    from benchmarks.cases import own_faults

    core.one_thread()
    others = core.load_cases(["cmp_launch_tiny", "bts_friedman_b2", "exp_cnn_gain", "cmp_float64_mlp"])
    return {c.name: c for c in (*own_faults.OWN, *others)}


def watched(job: Any) -> tuple[list[Finding], Any]:
    """Train a job under the watcher; return its findings, and its traces with the score on fresh rows."""
    import types

    from benchmarks.faultbench import _tested
    from benchmarks.faultbench_adapter import findings

    test, job._test = job._test, None
    found, watch = findings(types.SimpleNamespace(build=lambda: job))
    facts = watch.traces.facts
    facts["clean_test"] = _tested(job, test)
    if job.train_xy[0].is_floating_point() and job.train_xy[0].dim() == 2:
        facts["column_deviations"] = job.train_xy[0].std(0).tolist()
    return found, watch.traces


def case_lines(name: str, cases: dict[str, Any]) -> Iterator[str]:
    """Train a case and its cure, draw them, and yield what is to be read; nothing where the finding does not show."""
    from benchmarks import findings_cases, findings_pictures, findings_transfer

    own = findings_transfer.CASES.get(name)
    shown = own or findings_cases.CASES[name]
    (sick, sick_traces), (well, well_traces) = (
        findings_transfer.trained(name, cured) if own else watched(findings_cases.build(cases, shown, cured))
        for cured in (False, True)
    )
    everything = [g for f in sick for g in (f, *f.consequences)]
    found = next((f for f in everything if f.ailment == name), None)
    print(f"{name:20s} {[f.ailment for f in sick]} -> {[f.ailment for f in well]}", flush=True)
    if found is None:
        print(f"  {name} was not found")
        return
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / f"{name}.svg").write_text(
        findings_pictures.PICTURES[shown.picture](sick_traces, well_traces) + "\n"
    )
    yield f"**A case.** {shown.told}"
    yield ""
    yield f"> {found.meaning}"
    yield ">"
    yield f"> What shows it: {'; '.join(map(str, found.evidence[:3]))}."
    yield ""
    yield f"![{capital(title_of(name))}: the sick run beside its cure](findings/{name}.svg){{ .case }}"
    yield ""
    left = name in [f.ailment for f in well]
    scores = [t.fact("clean_test").get("score") for t in (sick_traces, well_traces)]
    told = ""
    if all(s is not None for s in scores):
        told = " Score on fresh rows {} before, {} after.".format(*map(score, scores))
    yield f"**Its cure.** {shown.cure}{told} The finding is {'still there' if left else 'gone'}."
    yield ""
    yield f"**What to change:** {found.fix}."
    yield ""
    yield from treatment(found)


def score(value: float) -> str:
    return f"{value:.2f}" if value > -1 else "far below that of a constant answer"


def treatment(found: Finding) -> Iterator[str]:
    """Yield what the techniques prescribe for a finding, with the line for a loop of one's own."""
    cures = [p for p in prescriptions(found) if p.options and "nan" not in p.options][:3]
    if cures:
        yield "| with `trainwell fit` | in a loop of one's own |"
        yield "|---|---|"
        yield from (f"| `{p.options}` | {f'`{p.code}`' if p.code else '-'} |" for p in cures)
        yield ""


def page(cases: dict[str, Any]) -> Iterator[str]:
    yield "# What each finding means"
    yield ""
    yield "Made by `python benchmarks/findings_guide.py` from the rules and from trainings; do not edit."
    yield ""
    yield "A finding names what ails a training, with the numbers that show it. `trainwell diagnose RUN` prints them,"
    yield "`trainwell report RUN` draws them. They stand here in the order in which the doctor looks: what comes first"
    yield "may explain what comes later. Each has a small training that has it, and the same training without it."
    yield ""
    rules = load_rules()
    for name, stage in AILMENTS.items():
        if name not in rules:
            continue
        rule = rules[name]
        yield f"## {capital(title_of(name))}"
        yield ""
        yield f"*{stage}* · {first_line(rule)}"
        yield ""
        yield from case_lines(name, cases)
        if rule.explains:
            yield f"May explain: {', '.join(title_of(e) for e in rule.explains)}."
            yield ""
        yield f"Source: {rule.source}"
        yield ""


def first_line(rule: type) -> str:
    return inspect.cleandoc(rule.__doc__ or "").split("\n\n")[0].replace("\n", " ")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*")
    parser.add_argument(
        "--root", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "faultbench"
    )
    args = parser.parse_args()
    cases = loaded(args.root)
    if args.names:
        for name in args.names:
            print("\n".join(case_lines(name, cases)))
        return
    (DOCS / "findings.md").write_text("\n".join(page(cases)).rstrip() + "\n")


if __name__ == "__main__":
    main()

"""Write docs/findings.md: every finding with its rule, and for some a real case, its picture and what the cure did.

    python benchmarks/findings_guide.py

Trains small networks on scikit-learn's digits and on the adult data with a fault put in and with the cure, one thread,
about a minute. The pictures are those of the report, taken from a headless Chromium.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from sklearn.datasets import load_digits

import trainwell as tw
from trainwell.app.prescriptions import prescriptions
from trainwell.report.build import report_html
from trainwell.report.words import ailment, capital
from trainwell.rules.rule import load_rules
from trainwell.values.finding import AILMENTS, Finding

OUT = Path(__file__).parents[1] / "docs" / "findings.md"
ADULT = Path(__file__).parents[2] / "shared" / "data" / "adult.parquet"


@dataclasses.dataclass(frozen=True)
class Case:
    """A training with a fault, and the same with its cure."""

    ailment: str
    data: str
    told: str
    sick: tw.Recipe
    cure: str
    well: tw.Recipe


def cases() -> list[Case]:
    """Return the cases; what they show is measured when the page is made."""
    plain = tw.Recipe(model="mlp", optimizer="adam", lr=1e-3, epochs=20, batch_size=32)
    wide = plain.replace(model=tw.ModelSpec.of("mlp", depth=3, width=256), epochs=40)
    deep = plain.replace(model=tw.ModelSpec.of("mlp", depth=8, width=64))
    against = ("weight_decay:rate=0.1", "dropout:rate=0.5", "early_stopping:patience=5")
    return [
        Case("overfitting", "adult", "A wide network on 1,200 rows of the adult data, for 40 epochs.", wide,
             "Weight decay, dropout and early stopping.", wide.replace(techniques=against)),
        Case("vanishing_gradient", "digits", "Eight layers whose weights begin at a tenth of their usual size.",
             deep.replace(techniques=("he:gain=0.1",)), "He's own size.", deep.replace(techniques=("he",))),
        Case("lr_too_high", "digits", "SGD with a rate of 2.", plain.replace(optimizer="sgd", lr=2.0),
             "A rate of 0.01.", plain.replace(optimizer="sgd", lr=0.01)),
        Case("batch_too_large", "digits", "Batches of 1,024 of the 1,258 rows, for five epochs.",
             plain.replace(batch_size=1024, epochs=5), "Batches of 32.", plain.replace(epochs=5)),
        Case("weight_decay_misuse", "digits", "A decoupled weight decay of 5 at a rate of 0.05.",
             plain.replace(lr=0.05, techniques=("weight_decay:rate=5",)), "A decay of 0.01 at a rate of 0.001.",
             plain.replace(techniques=("weight_decay:rate=0.01",))),
    ]  # fmt: skip


def trained(case: Case, recipe: tw.Recipe, folder: Path) -> tw.Run:
    """Train; of a training that diverged the run is what it left."""
    if case.data == "digits":
        data, options = load_digits(as_frame=True).frame, {"task": "multiclass"}
    else:
        data = pd.read_parquet(ADULT).drop(columns="split").sample(6000, random_state=0)
        options = {"val_fraction": 0.4, "test_fraction": 0.4}
    try:
        return tw.fit(data, target="target", recipe=recipe, out=folder, baseline=False, **options)
    except tw.TrainingError as error:
        run: tw.Run = error.run  # type: ignore[attr-defined]
        return run


def reached(run: tw.Run) -> str:
    return f"{run.score:.3f}" if run.scores else "none, for it diverged"


def picture(folder: Path, scratch: Path) -> str:
    """Return the first picture of the findings of a report as SVG; empty where there is no Chromium."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        return ""
    page = scratch / "page.html"
    page.write_text(report_html(folder))
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={scratch / 'profile'}",
               "--window-size=900,900", "--virtual-time-budget=3000", "--dump-dom", page.as_uri()]  # fmt: skip
    document = subprocess.run(command, capture_output=True, timeout=60, check=True).stdout.decode()
    section = re.search(r'<section id="findings".*?</section>', document, re.DOTALL)
    found = re.search(r"<figure>.*?</figure>", section[0] if section else "", re.DOTALL)
    if found is None:
        return ""
    legend = re.search(r'<div class="legend">.*?</div>', found[0], re.DOTALL)
    title = re.search(r"<figcaption>(.*?)</figcaption>", found[0])
    drawn = re.search(r"<svg.*?</svg>", found[0], re.DOTALL)
    assert title is not None and drawn is not None
    svg = re.sub(r"\n\s*", " ", drawn[0])
    return (
        f'<figure class="case"><figcaption>{title[1]}</figcaption>{legend[0] if legend else ""}{svg}</figure>'
    )


def lines_of(case: Case, scratch: Path) -> Iterator[str]:
    """Train both and yield what is to be read; nothing where the finding does not show."""
    sick = trained(case, case.sick, scratch / f"{case.ailment}-sick")
    well = trained(case, case.well, scratch / f"{case.ailment}-well")
    found = next((f for f in sick.findings if f.ailment == case.ailment), None)
    if found is None:
        print(f"{case.ailment}: not found, but {[f.ailment for f in sick.findings]}")
        return
    left = [f.ailment for f in well.findings if f.is_alarm]
    print(f"{case.ailment}: {reached(sick)} -> {reached(well)}, {left}")
    yield f"**A real case.** {case.told} {found.meaning}"
    yield ""
    yield f"What shows it: {'; '.join(map(str, found.evidence[:3]))}."
    yield ""
    yield picture(scratch / f"{case.ailment}-sick", scratch)
    yield ""
    still = any(f.ailment == case.ailment for f in well.findings)
    yield (
        f"**Its cure.** {case.cure} Test accuracy {reached(sick)} before, {reached(well)} after; the finding "
        f"{'is still there' if still else 'is gone'}."
    )
    yield ""


def page(scratch: Path) -> Iterator[str]:
    yield "# What each finding means"
    yield ""
    yield "Made by `python benchmarks/findings_guide.py` from the rules and from trainings; do not edit."
    yield ""
    yield "A finding names what ails a training, with the numbers that show it. `trainwell diagnose RUN` prints them,"
    yield "`trainwell report RUN` draws them. They stand here in the order in which the doctor looks: what comes first"
    yield "may explain what comes later."
    yield ""
    rules, made = load_rules(), {case.ailment: case for case in cases()}
    for name, stage in AILMENTS.items():
        if name not in rules:
            continue
        rule = rules[name]
        yield f"## {capital(ailment(name))}"
        yield ""
        yield f"*{stage}* · {first_line(rule)}"
        yield ""
        cures = [
            p.options
            for p in prescriptions(Finding(name, "warning", 1.0, "S", ""))
            if p.options and "nan" not in p.options
        ][:4]
        if cures:
            yield "Treated by: " + ", ".join(f"`{c}`" for c in cures) + "."
            yield ""
        if rule.explains:
            yield f"May explain: {', '.join(ailment(e) for e in rule.explains)}."
            yield ""
        if name in made:
            yield from lines_of(made[name], scratch)


def first_line(rule: type) -> str:
    return inspect.cleandoc(rule.__doc__ or "").split("\n\n")[0].replace("\n", " ")


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        OUT.write_text("\n".join(page(Path(scratch))).rstrip() + "\n")


if __name__ == "__main__":
    main()

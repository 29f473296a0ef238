"""`treat`: try in a trial what the doctor prescribes for a run, keep what is proved, and train with it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainwell.app import settings
from trainwell.app.ablating import Again, told_again
from trainwell.app.console import Console
from trainwell.app.evidence_lines import evidence_lines
from trainwell.app.findings import read_findings
from trainwell.app.fit import fit
from trainwell.app.outcome import load_run
from trainwell.app.prescriptions import Prescription, prescriptions
from trainwell.app.proving import prove
from trainwell.app.returning import START, Begin, begin_of, is_better, rest_of
from trainwell.app.run import Run
from trainwell.app.trial_runs import Arm
from trainwell.engine.compose import check_places
from trainwell.engine.losses import objective_of
from trainwell.engine.streams import derive, kept_streams, seeded
from trainwell.trials.design import Design
from trainwell.values.errors import NonFiniteError, RecipeError
from trainwell.values.evidence import Comparison, Evidence
from trainwell.values.finding import Finding, title_of
from trainwell.values.recipe import Recipe
from trainwell.values.runfolder import RunFolder
from trainwell.values.task import Task

MAX_CHANGES = 4
"""Prescriptions that are tried, the most promising of each finding first: every further one costs the others power."""


@dataclasses.dataclass(frozen=True)
class Treatment:
    """What became of a case.

    Args:
        findings: what ailed the run, in words.
        tried: of each change the ailment that it was prescribed for.
        evidence: of the changes one by one; None where nothing could be prescribed.
        combined: of the proved changes together against the best of them; None where fewer than two were proved.
        recipe: the accepted one; that of the run where nothing was proved.
        run: trained with it; None where nothing was proved.
        before, after: the scores of the run and of the treated run, by part.
        metric: what decided. begun: where the treated run began and why, in words; empty where nothing was proved.
        refused: prescriptions that the network or the recipe does not allow, and why.
    """

    findings: tuple[str, ...]
    tried: Mapping[str, str]
    evidence: Evidence | None
    combined: Evidence | None
    recipe: Recipe
    run: Run | None
    before: Mapping[str, Mapping[str, float]]
    after: Mapping[str, Mapping[str, float]]
    metric: str | None = None
    begun: str = ""
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join(treatment_lines(self))

    def __repr__(self) -> str:
        kept = ", ".join(c.name for c in self.kept) or "nothing"
        return f"<Treatment of {', '.join(self.findings) or 'no finding'}: {kept} proved of {len(self.tried)} tried>"

    @property
    def kept(self) -> tuple[Comparison, ...]:
        """The changes that were proved."""
        return self.evidence.named("proved") if self.evidence is not None else ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        verdicts = {} if self.evidence is None else {c.name: c.verdict for c in self.evidence.comparisons}
        return {
            "findings": list(self.findings), "tried": dict(self.tried), "verdicts": verdicts,
            "evidence": self.evidence.to_dict() if self.evidence else None,
            "combined": self.combined.to_dict() if self.combined else None,
            "recipe": self.recipe.to_dict(), "run": str(self.run.path) if self.run and self.run.path else None,
            "before": {k: dict(v) for k, v in self.before.items()},
            "after": {k: dict(v) for k, v in self.after.items()},
            "metric": self.metric, "begun": self.begun, "refused": dict(self.refused),
        }  # fmt: skip


def treat(
    run: Run | str | Path,
    data: Any = None,
    *,
    model: Any = None,
    loss: Any = None,
    seeds: int = 8,
    budget: str | float | None = None,
    smallest: float = 0.0,
    metric: str | None = None,
    max_changes: int = MAX_CHANGES,
    out: str | Path | bool | None = None,
    console: Console | None = None,
    **data_options: Any,
) -> Treatment:
    """Try the prescriptions of a run's findings with paired seeds; train what is proved.

    The treated training begins at the weights of the best epoch where these are older than the fault, else at the start.

    Args:
        run: a run, its folder, or `latest`.
        data, loss, data_options: again what was given to `fit`, where the folder does not say it.
        model: of a run of the user's own module: the module before its training, or a function that makes it.
        seeds, budget, smallest: as for `prove`.
        metric: what decides, as for `prove`; without it the balanced accuracy where classes are out of balance.
        max_changes: prescriptions to try at most.
        out: folder of the treated run; None makes `runs/...`, False writes nothing, neither run nor trial.

    Raises:
        RunError: the data or the module are needed.
    """
    console = console or Console.silent()
    Design(seeds)  # refuses what is out of range before anything is read
    settings.check(budget=budget, out=out)
    recipe, again = told_again(run, data, dict(data_options), own_model=model is not None, loss=loss)
    about = run if isinstance(run, Run) else _told(run, model)
    alarms = [f for f in about.findings if f.is_alarm]
    names = tuple(f.title for f in alarms)
    refused: dict[str, str] = {}
    arms = arms_for(
        alarms, recipe, max_changes, lambda changed: _why_not(changed, about, model, loss), refused
    )
    metric = metric or metric_for(alarms)
    before = {k: dict(v) for k, v in about.scores.items()}
    case = Treatment(names, {}, None, None, recipe, None, before, {}, metric, "", refused)
    if not arms:
        return case
    rest: dict[str, Any] = {
        **again.options, "model": model, "loss": loss, "seeds": seeds, "budget": budget, "smallest": smallest,
        "metric": metric or again.options.get("metric"), "out": False if out is False else None, "console": console,
    }  # fmt: skip
    changes = [Arm(name, p.apply(recipe)) for name, p in arms.items()]
    evidence = prove(again.of_trial, again.target, base=recipe, change=changes, **rest)
    proved = sorted(evidence.named("proved"), key=lambda c: -c.effect)
    tried = {name: title_of(p.ailment) for name, p in arms.items()}
    case = dataclasses.replace(case, tried=tried, evidence=evidence)
    if not proved:
        return case
    kept = [arms[c.name] for c in proved]
    accepted, combined = _accepted(recipe, kept, again, seeds, rest)
    used = kept if combined is not None and combined.verdict == "proved" else kept[:1]
    treated, begun = _train(about, again, accepted, begin_of(about, alarms, used), model, loss, out, console)
    case = dataclasses.replace(
        case, combined=combined, recipe=accepted, run=treated, after=treated.scores, begun=begun
    )
    if treated.path is not None:
        origin = str(about.path) if about.path else None
        RunFolder(treated.path).write_json("treatment", {"of": origin, **case.to_dict()})
    return case


def metric_for(alarms: Sequence[Finding]) -> str | None:
    """Return what shows whether these findings are treated; None for the metric of the task.

    Accuracy and loss count rows: they reward a network that leaves a rare class alone.
    """
    return "balanced_accuracy" if any(f.ailment == "class_imbalance" for f in alarms) else None


def _accepted(
    recipe: Recipe, kept: Sequence[Prescription], again: Again, seeds: int, rest: Mapping[str, Any]
) -> tuple[Recipe, Evidence | None]:
    """Return the recipe with what was proved: all of it where together it is proved better than the best alone."""
    best = kept[0].apply(recipe)
    together = _together(recipe, kept)
    if not together.diff(best):
        return best, None
    change = Arm("all that was proved", together)
    # new seeds: the best of several has been lucky on the old ones
    combined = prove(again.of_trial, again.target, base=best, change=change, first_seed=seeds, **rest)
    return together if combined.verdict == "proved" else best, combined


def _why_not(recipe: Recipe, about: Run, model: Any, loss: Any) -> str:
    """Return why a recipe does not fit the network or the user's own loss; empty where it does."""
    wraps = [t.name for t in recipe.active() if hasattr(t, "loss") or hasattr(t, "batch")]
    if loss is not None and wraps and objective_of(Task("regression"), loss).each is None:
        return f"{wraps[0]} needs the loss of each row, and the given loss returns only a mean"
    if model is None:  # that of the run holds already what its recipe asks for
        held = about.recipe.techniques
        recipe = recipe.replace(techniques=tuple(t for t in recipe.techniques if t not in held))
    with kept_streams(torch.device("cpu")):
        own = about.model if model is None else model
        network = copy.deepcopy(own) if isinstance(own, nn.Module) else own()
        try:
            check_places(network, recipe)
        except RecipeError as error:
            return str(error)
    return ""


def arms_for(
    alarms: Sequence[Finding],
    recipe: Recipe,
    most: int,
    why_not: Callable[[Recipe], str] = lambda recipe: "",
    refused: dict[str, str] | None = None,
) -> dict[str, Prescription]:
    """Return the changes to try by name: of every finding the first, then of every finding the second, and so on.

    Args:
        why_not: says why a recipe cannot be trained; empty where it can.
        refused: takes in the names of those that cannot, and why.
    """
    lists = [prescriptions(f, recipe) for f in alarms]
    found: dict[str, Prescription] = {}
    recipes: list[Recipe] = [recipe]
    for rank in range(max(map(len, lists), default=0)):
        for prescription in (made[rank] for made in lists if rank < len(made)):
            try:
                changed = prescription.apply(recipe)
            except RecipeError:  # it does not fit this recipe
                continue
            if len(found) >= most or not all(changed.diff(other) for other in recipes):
                continue
            reason = why_not(changed)
            if reason and refused is not None:
                refused[_name(prescription)] = reason
            if not reason:
                found[_name(prescription)] = prescription
                recipes.append(changed)
    return found


def treatment_lines(case: Treatment) -> Iterator[str]:
    """Yield the case as lines."""
    yield f"case      {', '.join(case.findings) or 'no finding that asks for a change'}"
    for name, reason in case.refused.items():
        yield f"not tried {name}: {reason}"
    if case.evidence is None:
        fits = "nothing that fits is prescribed; see `trainwell diagnose` for what to mend"
        yield f"treated   nothing: {fits if case.findings else 'there is nothing to mend'}"
        return
    for name, ailment in case.tried.items():
        yield f"tried     {name} for {ailment}"
    yield from evidence_lines(case.evidence)
    if case.combined is not None:
        word = "kept" if case.combined.verdict == "proved" else "not kept"
        yield f"together  the proved changes against the best of them: {case.combined.verdict}, {word}"
    for word, verdict in (("kept", "proved"), ("refused", "refuted"), ("open", "undecided")):
        names = [c.name for c in case.evidence.named(verdict)]
        if names:
            yield f"{word:9s} {', '.join(names)}"
    for part in ("val", "test"):
        metric = case.evidence.metric
        a, b = (scores.get(part, {}).get(metric) for scores in (case.before, case.after))
        if a is not None and b is not None:
            yield f"{part:9s} {metric} {a:.4f} -> {b:.4f} ({b - a:+.4f})"
    if case.begun:
        yield f"begun     at {case.begun}"
    if case.run is None:
        yield "treated   nothing: no change was proved; the run stays as it is"
    elif case.run.path is not None:
        yield f"run       {case.run.path}"


def _told(run: str | Path, model: Any) -> Run:
    """Read a run with its findings; of a module of the user's only what its folder tells."""
    folder = RunFolder.open(run)
    module = model if isinstance(model, nn.Module) or model is None else model()
    if isinstance(module, nn.Module) and module is model:
        module = copy.deepcopy(module)  # the best weights are loaded into it
    found = load_run(folder.path, module)
    found.findings = read_findings(folder.path)
    return found


def _name(prescription: Prescription) -> str:
    parts = [f"{k}={v:.4g}" for k, v in prescription.fields.items()]
    return " + ".join([*parts, *([str(prescription.technique)] if prescription.technique else [])])


def _together(recipe: Recipe, proved: Sequence[Prescription]) -> Recipe:
    """Return the recipe with all proved changes, the best last, so that it wins where two exclude each other."""
    for prescription in reversed(proved):
        recipe = prescription.apply(recipe)
    return recipe


def _train(
    about: Run, again: Again, recipe: Recipe, begin: Begin, model: Any, loss: Any, out: str | Path | bool | None,
    console: Console,
) -> tuple[Run, str]:  # fmt: skip
    """Train the accepted recipe from where it begins, with the seed of the run; return also where that was, and why.

    Good weights are no promise: where the run from there ends no better than the run that is treated, it is trained
    from the start as well.
    """

    def train(recipe: Recipe, begin: Begin, out: str | Path | bool | None) -> Run:
        return fit(
            again.data, again.target, model=_own_network(about, model), loss=loss, recipe=recipe, seed=about.seed,
            out=out, baseline=False, start_from=begin.weights, console=console, **again.options,
        )  # fmt: skip

    if begin.weights is None:
        return train(recipe, begin, out), f"{begin.where}: {begin.why}"
    try:
        run = train(rest_of(recipe, begin), begin, out)
        if is_better(run, about):
            return run, f"{begin.where}: {begin.why}"
        failed = "the run from there was no better"
    except NonFiniteError:
        failed = "the run from there diverged"
    beside = f"{out}-from-the-start" if isinstance(out, str | Path) else out
    run = train(recipe, Begin(START, ""), beside)
    return run, f"{START}: {begin.why}, but {failed}"


def _own_network(about: Run, model: Any) -> Any:
    """Return the user's own network as it was before its training; None where the recipe makes it."""
    if model is not None and not isinstance(model, nn.Module):
        with seeded(derive(about.seed, "init")):
            return model()
    return None if model is None else copy.deepcopy(model)

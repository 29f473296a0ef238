"""`ablate`: what each technique of a recipe is worth on these data, by leaving one out at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainwell.app import settings
from trainwell.app.console import Console
from trainwell.app.evidence_lines import evidence_lines
from trainwell.app.proving import prove
from trainwell.app.run import Run
from trainwell.app.sources import Prepared, same_data
from trainwell.trials.design import Design
from trainwell.values.errors import RunError
from trainwell.values.evidence import Comparison, Evidence
from trainwell.values.recipe import Recipe
from trainwell.values.runfolder import RunFolder
from trainwell.values.technique import Technique


def ablate(
    run: Run | str | Path,
    data: Any = None,
    *,
    model: Any = None,
    loss: Any = None,
    seeds: int = 8,
    budget: str | float | None = None,
    metric: str | None = None,
    out: str | Path | bool | None = None,
    console: Console | None = None,
    **data_options: Any,
) -> Evidence:
    """Return what every technique of the run's recipe is worth: the loss without it, with an interval.

    Args:
        run: a run, its folder, or `latest`.
        data, model, loss, data_options: again what was given to `fit`, where the folder does not say it.
        seeds, budget, metric, out: as for `prove`.

    Raises:
        RunError: the recipe has no technique, or its data are needed.
    """
    Design(seeds)  # refuses what is out of range before anything is read
    settings.check(budget=budget)
    recipe, again = told_again(run, data, data_options, own_model=model is not None, loss=loss)
    changes = [leave_out(recipe, t) for t in recipe.active()]
    if not changes:
        raise RunError("the recipe of this run has no technique: there is nothing to leave out.")
    return prove(
        again.of_trial, again.target, base=recipe, change=changes, model=model, loss=loss, seeds=seeds, budget=budget,
        out=out, console=console, **{**again.options, "metric": metric or again.options.get("metric")},
    )  # fmt: skip


def ablation_lines(evidence: Evidence) -> Iterator[str]:
    """Yield what each technique is worth: the gain of leaving it out with its sign turned."""
    turned = tuple(sorted(map(_turned, evidence.comparisons), key=lambda c: -c.effect))
    yield "worth     of each technique: the recipe with it against the recipe without it"
    yield from evidence_lines(dataclasses.replace(evidence, comparisons=turned))


def _turned(c: Comparison) -> Comparison:
    verdict = {"proved": "refuted", "refuted": "proved"}.get(c.verdict, c.verdict)
    test = c.confirmation
    if test is not None:
        test = dataclasses.replace(
            test, base=test.change, change=test.base, effect=0.0 - test.effect, low=-test.high, high=-test.low
        )
    return dataclasses.replace(
        c, name=c.name.removeprefix("-"), base=c.change, change=c.base, gains=tuple(0.0 - g for g in c.gains),
        verdict=verdict, effect=0.0 - c.effect, low=-c.high, high=-c.low, benefit=1 - c.benefit, confirmation=test,
        cost=None, claims=(),
    )  # fmt: skip


def leave_out(recipe: Recipe, technique: Technique) -> str:
    """Return the change that takes a technique away."""
    assert technique in recipe.techniques
    return f"-{technique.name}"


@dataclasses.dataclass(frozen=True)
class Again:
    """The data of a run once more: what `prepare` takes.

    Args:
        prepared: the same, read and found to be those of the run; None where they were given anew.
    """

    data: Any
    target: str | None
    options: dict[str, Any]
    prepared: Prepared | None = None

    @property
    def of_trial(self) -> Any:
        return self.data if self.prepared is None else self.prepared


def told_again(
    run: Run | str | Path, data: Any, given: dict[str, Any], *, own_model: bool = False, loss: Any = None
) -> tuple[Recipe, Again]:
    """Return the recipe of a run and its data, as they were given to `fit`.

    A run under a budget of time is taken with the epochs that it made: its networks cannot share a clock.

    Raises:
        RunError: the data were passed from Python and are not given again.
        DataError: the file is no longer the one that the run was trained on.
    """
    folder = RunFolder(run.path) if isinstance(run, Run) and run.path else None
    if not isinstance(run, Run):
        folder = RunFolder.open(run)
    if folder is None:
        assert isinstance(run, Run)
        if data is None:
            raise RunError("the run was not written, so its data are not known; give them again: data=.")
        return _without_clock(run.recipe, len(run.history)), Again(data, given.pop("target", None), given)
    about = folder.read_json("data")
    known = about["source"]
    recipe = Recipe.from_dict(folder.read_json("recipe"), str(folder.path / "recipe.json"))
    again = [f"{name}=..." for name in known["again"] if name not in given]
    if again or (data is None and "data" not in known):
        words = ", ".join(["run", *["data"] * ("data" not in known and data is None), *again])
        raise RunError(f"{folder.path}: its data were passed from Python; give them again: ({words}).")
    kept = {k: tuple(v) if isinstance(v, list) else v for k, v in known["options"].items()}
    made = 0
    if recipe.seconds is not None and (folder.path / "results.json").is_file():
        made = int(folder.read_json("results")["epochs"])
    prepared = (
        None if data is not None or given else same_data(folder, about, None, loss, {}, own_model=own_model)
    )
    target = given.pop("target", None) or known.get("target")
    recipe = _without_clock(recipe, made)
    return recipe, Again(known["data"] if data is None else data, target, {**kept, **given}, prepared)


def _without_clock(recipe: Recipe, epochs: int) -> Recipe:
    if recipe.seconds is None:
        return recipe
    return recipe.replace(seconds=None, epochs=min(recipe.epochs, max(1, epochs)))

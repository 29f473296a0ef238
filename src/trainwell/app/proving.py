"""`prove`: does a change of the recipe help on these data? A trial of paired seeds, and its evidence."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainwell.app import settings
from trainwell.app.console import Console
from trainwell.app.recipes import placed, recipe_for
from trainwell.app.scoring import scores
from trainwell.app.sources import Prepared, prepare
from trainwell.app.transfer import to_search
from trainwell.app.trial_cost import costs
from trainwell.app.trial_runs import Arm, TrialRuns
from trainwell.engine.hardware import choose_device
from trainwell.trials.design import GROUP, Design
from trainwell.trials.estimate import differences_of, interval
from trainwell.trials.verdict import PROVED, REFUTED, UNDECIDED, Judgement, judge
from trainwell.values.errors import Interrupted, RecipeError, RunError, UsageError, did_you_mean
from trainwell.values.evidence import NOT_MEASURED, Claim, Comparison, Confirmation, Evidence
from trainwell.values.journal import dumps
from trainwell.values.recipe import Recipe
from trainwell.values.runfolder import RunFolder
from trainwell.values.technique import Technique, technique

Change = Technique | str | Recipe | Mapping[str, Any] | Arm
TRIALS = Path("trials")
BASE = "base"
BUDGET_GROUP = 4
"""Pairs of a group where a budget may end the trial between two groups."""

SMALLER_IS_BETTER = ("loss", "rmse", "mae")


def prove(
    data: Any,
    target: str | None = None,
    *,
    change: Change | Sequence[Change],
    base: Recipe | None = None,
    seeds: int = 8,
    look_every: int | None = None,
    budget: str | float | None = None,
    smallest: float = 0.0,
    metric: str | None = None,
    model: Any = None,
    loss: Any = None,
    preset: str = "balanced",
    settings_: Mapping[str, Any] | None = None,
    with_: Iterable[str | Technique] = (),
    without: Iterable[str] = (),
    first_seed: int = 0,
    device: str | None = None,
    out: str | Path | bool | None = None,
    console: Console | None = None,
    **data_options: Any,
) -> Evidence:
    """Compare changes of a recipe with the recipe, paired by seed, and return the evidence.

    Args:
        data, target, model, loss, preset, settings_, with_, without, device, data_options: as for `fit`; `model` may
            also be a function that makes a network, so that its first weights vary with the seed. With `backbone` the
            trial is of heads on its features, with `settings_={"model": backbone}` of its fine-tuning.
        change: a technique, a text (`"dropout:rate=0.3"`, `"lr=0.01"`, `"-ema"` to take away, several joined by `+`),
            fields to set, a whole recipe, or an `Arm`, which is a recipe with a name; a sequence compares each with the
            base and corrects for their number.
        base: what the changes are compared with; None takes that of the preset.
        seeds: pairs at most. look_every: pairs that are added before each look; 8, or 4 under a budget.
        budget: time (`"5m"`) after which no further group begins, and epochs (`"20ep"`) of every training.
        smallest: the gain that a change must exceed, in the unit of the metric.
        metric: what decides, on validation rows: the metric of the task, or another of it, or `val_loss`.
        out: folder of the trial; None makes `trials/...`, False writes nothing. A trial that was broken off goes on.

    Raises:
        UsageError, DataError, RecipeError: something the message says how to mend.
        Interrupted: SIGINT; what was trained is kept in the folder.
    """
    console = console or Console.silent()
    _check_changes(change)
    Design(seeds, GROUP if look_every is None else look_every)  # refuses early what is out of range
    is_old = isinstance(out, str | Path) and (Path(out) / "trial.json").is_file()
    settings.check(settings=settings_, budget=budget, out=None if is_old else out)
    chosen = choose_device(device)
    if model is None and data_options.get("backbone") is not None:
        data, base, settings_ = to_search(data, target, base, preset, settings_, data_options)
        data_options = {}
    prepared = prepare(data, target, own_model=model is not None, loss=loss, options=data_options)
    console.data(prepared)
    held = recipe_for(prepared, base, preset, model, None)
    with_ = tuple(settings.several(with_))
    held = settings.apply(held, settings=settings_, with_=with_, without=without)
    if base is None and model is None:
        held = placed(held, prepared, settings_, with_, console.say)
    limit = settings.parse_budget(budget) if budget is not None else {}
    held = held.replace(seconds=None, **{k: v for k, v in limit.items() if k == "epochs"})
    arms = arms_of(held, change)
    seconds = limit.get("seconds")
    design = Design(seeds, look_every if look_every is not None else BUDGET_GROUP if seconds else GROUP)
    plan = Plan(held, arms, design, smallest, _checked(metric, prepared), first_seed, seconds)
    runs = TrialRuns(prepared, model=model, loss=loss, device=chosen, wanted=_wanted(plan), say=console.say)
    for arm in (Arm(BASE, held), *arms):
        runs.try_out(arm)
    folder = _folder(plan, prepared, out)
    runs.keep_in(folder)
    for line in _foretold(plan):
        console.say(line)
    evidence = conduct(plan, runs, console, folder)
    if folder is not None:
        evidence.save(folder)
    return evidence


def _foretold(plan: Plan) -> Iterator[str]:
    """Yield what a trial of this size cannot show, before it costs anything."""
    design, count = plan.design, len(plan.arms)
    least = design.least_seeds(count)
    if design.seeds >= least:
        return
    if design.seeds < design.least_seeds():
        yield (
            f"warning   {design.seeds} seeds are too few to prove anything: in {2 ** (1 - design.seeds):.0%} of such "
            f"trials all gains have one sign by chance. Give --seeds {least} or more."
        )
        return
    found = design.detectable(0.8, count)
    enough = dataclasses.replace(design, seeds=least, group=least).detectable(0.8, count)
    changes = "1 change takes" if count == 1 else f"{count} changes take"
    yield (
        f"warning   {design.seeds} seeds are few: four times in five they find a gain of {found:.2g} times its spread "
        f"over seeds, {least} seeds one of {enough:.2g} times. Where a run diverges, {changes} {least} to prove "
        f"anything: give --seeds {least} or more."
    )


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a trial compares, and how.

    Args:
        arms: the changes. seconds: after which no further group begins.
    """

    base: Recipe
    arms: tuple[Arm, ...]
    design: Design
    smallest: float
    metric: str
    first_seed: int
    seconds: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return what decides the trainings, plain data; how many there are may change when it goes on."""
        arms = {arm.name: arm.recipe.to_dict() for arm in self.arms}
        return {"base": self.base.to_dict(), "arms": arms, "metric": self.metric}


def arms_of(base: Recipe, change: Change | Sequence[Change]) -> tuple[Arm, ...]:
    """Return the arms of the changes.

    Raises:
        RecipeError: a change leaves the base as it is, two are the same, or one is of no kind that is known.
    """
    several: Sequence[Any] = change if isinstance(change, list | tuple) else [change]
    arms = tuple(Arm(*_changed(base, one)) for one in several)
    if not arms:
        raise UsageError("change= is empty: give at least one change, e.g. 'dropout:rate=0.3'.")
    for i, arm in enumerate(arms):
        if not base.diff(arm.recipe):
            raise RecipeError(
                f"the change '{arm.name}' leaves the recipe as it is: there is nothing to prove."
            )
        if any(not arm.recipe.diff(other.recipe) or arm.name == other.name for other in arms[:i]):
            raise RecipeError(f"the change '{arm.name}' is given twice.")
    return arms


def _changed(base: Recipe, change: Any) -> tuple[str, Recipe]:
    """Return the name of a change and the recipe with it."""
    if isinstance(change, Arm):
        return change.name, change.recipe
    if isinstance(change, Recipe):
        return "; ".join(base.diff(change)) or "no change", change
    if isinstance(change, Technique):
        return str(change), _applied(base, change)
    if isinstance(change, Mapping):
        return " + ".join(f"{k}={v}" for k, v in change.items()), settings.apply(base, settings=change)
    if not isinstance(change, str):
        raise RecipeError(f"a change is a technique, text, fields to set or a recipe, got {change!r}.")
    recipe = base
    for kind, part in _parts(change):
        if kind == "without":
            recipe = recipe.without(part)
        elif kind == "field":
            recipe = settings.apply(recipe, settings=dict([part]))
        else:
            recipe = _applied(recipe, Technique.parse(part, "--against"))
    return change.strip(), recipe


def _parts(change: str) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a change that is given as text: `without` a name, a `field` with its value, a `technique`."""
    for part in filter(None, (p.strip() for p in change.split("+"))):
        head, equals, value = part.partition("=")
        if part.startswith("-"):
            yield "without", part[1:].strip()
        elif equals and ":" not in head:
            yield "field", (head.strip(), value.strip())
        else:
            yield "technique", part


def _check_changes(change: Change | Sequence[Change]) -> None:
    """Refuse before the data are read what no recipe could hold."""
    for one in change if isinstance(change, list | tuple) else [change]:
        for kind, part in _parts(one) if isinstance(one, str) else ():
            if kind == "without":
                technique(part, "--against")
            elif kind == "field":
                settings.check(settings=dict([part]))
            else:
                Technique.parse(part, "--against")


def _applied(recipe: Recipe, technique: Technique) -> Recipe:
    """Add a technique; another optimizer or schedule keeps the rate, so that one thing changes at a time."""
    if technique.role == "technique":
        return recipe.with_(technique)
    return recipe.replace(**{technique.role: technique, "lr": recipe.lr})


def conduct(plan: Plan, runs: TrialRuns, console: Console, folder: Path | None = None) -> Evidence:
    """Train group after group of seeds until every change is decided or the seeds or the budget end."""
    start, design = time.perf_counter(), plan.design
    base, open_arms = Arm(BASE, plan.base), list(plan.arms)
    sizes: dict[str, list[int]] = {arm.name: [] for arm in plan.arms}
    looks: list[int] = []
    judged: dict[str, Judgement] = {}
    stopped = ""
    for look in design.looks:
        seeds = range(plan.first_seed, plan.first_seed + look)
        console.say(f"trial     seeds {seeds[0]} to {seeds[-1]}, {1 + len(open_arms)} arms")
        begun = time.perf_counter()
        _train(runs, [base, *open_arms], seeds, folder)
        looks.append(look)
        for arm in open_arms:
            sizes[arm.name].append(look)
        now = time.perf_counter()
        ended = look >= design.seeds
        if not ended and plan.seconds is not None and now - start + (now - begun) > plan.seconds:
            ended, stopped = True, f"the budget of {plan.seconds:g} s"
        final = {arm.name: ended and arm in open_arms for arm in plan.arms}
        gains = {arm.name: _gains(plan, runs, arm, sizes[arm.name][-1]) for arm in plan.arms}
        judged = judge(gains, sizes, design, final=final, margin=plan.smallest)
        open_arms = [a for a in open_arms if judged[a.name].verdict == UNDECIDED]
        if ended or not open_arms:
            break
    stopped = stopped or (
        "every change is decided" if not open_arms else f"all {design.seeds} seeds are used"
    )
    seconds = time.perf_counter() - start
    price = costs(runs, base, list(plan.arms))
    comparisons = tuple(
        _comparison(plan, runs, arm, judged[arm.name], price[arm.name], sizes[arm.name][-1])
        for arm in plan.arms
    )
    source = runs.prepared.source
    return Evidence(
        str(source.get("data") or runs.prepared.kind), runs.prepared.fingerprint, plan.metric, _sign(plan.metric),
        plan.base.to_dict(), comparisons, tuple(range(plan.first_seed, plan.first_seed + looks[-1])), tuple(looks),
        design.seeds, design.alpha, plan.smallest, runs.split, stopped, design.detectable(0.8, len(plan.arms)),
        seconds, tuple(runs.engines), folder,
    )  # fmt: skip


def _train(runs: TrialRuns, arms: list[Arm], seeds: range, folder: Path | None) -> None:
    try:
        runs.train(arms, seeds)
    except (KeyboardInterrupt, Interrupted) as error:
        where = f"; go on with the same command and --out {folder}" if folder else ""
        signal = error.exit_code - 128 if isinstance(error, Interrupted) else 2
        raise Interrupted(f"interrupted; the finished runs are kept{where}.", signal) from None


def _gains(plan: Plan, runs: TrialRuns, arm: Arm, count: int) -> Any:
    seeds = range(plan.first_seed, plan.first_seed + count)
    a, b = (runs.scores(name, seeds, plan.metric) for name in (BASE, arm.name))
    return differences_of(a, b, _sign(plan.metric))


def _comparison(
    plan: Plan, runs: TrialRuns, arm: Arm, judged: Judgement, cost: Any, count: int
) -> Comparison:
    seeds = range(plan.first_seed, plan.first_seed + count)
    a, b = (tuple(runs.scores(name, seeds, plan.metric)) for name in (BASE, arm.name))
    return Comparison(
        arm.name, arm.recipe.to_dict(), tuple(plan.base.diff(arm.recipe)), a, b,
        tuple(_gains(plan, runs, arm, count).tolist()), judged.verdict, judged.effect, judged.low, judged.high,
        judged.p_value, judged.adjusted, judged.benefit, judged.method,
        _claims(plan, runs, arm, judged.level, seeds), _confirmation(plan, runs, arm, seeds), cost,
    )  # fmt: skip


def _wanted(plan: Plan) -> set[str]:
    """Return what the metric and the claims of the changes need to be measured."""
    return {plan.metric, *(signal for arm in plan.arms for signal in _said(plan, arm))}


def _said(plan: Plan, arm: Arm) -> dict[str, str]:
    """Return what the techniques that a change adds or doses anew are said to do."""
    held = (*plan.base.techniques, plan.base.optimizer, plan.base.schedule)
    added = [t for t in (*arm.recipe.techniques, arm.recipe.optimizer, arm.recipe.schedule) if t not in held]
    return {signal: sign for t in added if isinstance(t, Technique) for signal, sign in t.expects.items()}


def _claims(plan: Plan, runs: TrialRuns, arm: Arm, level: float, seeds: range) -> tuple[Claim, ...]:
    """Check what the techniques that the change adds or doses anew are said to do."""
    claims = []
    for signal, sign in _said(plan, arm).items():
        a, b = (np.array(runs.scores(name, seeds, signal)) for name in (BASE, arm.name))
        if np.isnan(a).all() or np.isnan(b).all():
            claims.append(Claim(signal, sign, NOT_MEASURED))
            continue
        direction = 1 if sign == "+" else -1
        moved = differences_of(a.tolist(), b.tolist(), direction)
        low, high = interval(moved, level)
        verdict = PROVED if low > 0 else REFUTED if high < 0 else UNDECIDED
        ends = sorted((direction * low, direction * high))
        claims.append(Claim(signal, sign, verdict, float(direction * np.mean(moved)), *ends))
    return tuple(claims)


def _confirmation(plan: Plan, runs: TrialRuns, arm: Arm, seeds: range) -> Confirmation | None:
    """Compare on the test part, once, now that nothing more is decided."""
    metric = plan.metric
    a, b = (tuple(runs.results[n, s].test.get(metric, float("nan")) for s in seeds) for n in (BASE, arm.name))
    if not (np.isfinite(a).any() or np.isfinite(b).any()):
        return None
    gains = differences_of(a, b, _sign(metric))
    return Confirmation(a, b, float(np.mean(gains)), *interval(gains, plan.design.alpha))


def _checked(metric: str | None, prepared: Prepared) -> str:
    """Return the metric that decides.

    Raises:
        UsageError: these data have no such metric.
    """
    task = prepared.task
    if metric is None:
        return task.metric if task is not None else "val_loss"
    known = {"train_loss", "val_loss", "epochs"}
    if task is not None and task.is_classification:
        known |= set(scores(task, np.arange(task.num_outputs), np.eye(task.num_outputs)))
    elif task is not None:
        known |= set(scores(task, np.arange(3.0), np.arange(3.0)))
    if metric not in known:
        hint = did_you_mean(metric, known)
        raise UsageError(f"--metric must be one of {', '.join(sorted(known))}, got '{metric}'.{hint}")
    return metric


def _sign(metric: str) -> int:
    return -1 if metric.endswith(SMALLER_IS_BETTER) or metric == "epochs" else 1


def _folder(plan: Plan, prepared: Prepared, out: str | Path | bool | None) -> Path | None:
    """Make the folder of the trial, or find that of the same trial again.

    Raises:
        RunError: the folder holds another trial.
    """
    if out is False:
        return None
    about = {**plan.to_dict(), "fingerprint": prepared.fingerprint, "source": dict(prepared.source)}
    mark = hashlib.sha256(dumps({k: v for k, v in about.items() if k != "source"}).encode()).hexdigest()[:16]
    path = None if out in (None, True) else Path(str(out))
    if path is not None and (path / "trial.json").is_file():
        if RunFolder(path).read_json("trial").get("mark") != mark:
            raise RunError(f"{path} holds a trial of other data, recipes or metric; give another folder.")
        return path
    hint = f"{Path(str(prepared.source.get('data', prepared.kind))).stem}"
    folder = RunFolder.create(path, hint, TRIALS)
    folder.write_json("trial", {"mark": mark, **about})
    return folder.path

"""Where the treated training begins: at the last good weights of the run, or at the start."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from torch import Tensor

from trainwell.app.prescriptions import Prescription
from trainwell.app.run import Run
from trainwell.engine.training import monitored
from trainwell.values.finding import AILMENTS, Finding
from trainwell.values.recipe import Recipe

RETURNS = {"instability", "rate", "schedule", "units", "symptom"}
"""Stages of a training whose faults throw away what was learned before them. Where the data, the loss or the first
weights are at fault, or a network learns rows by heart, the weights before it are no better a start than new ones."""

START = "the start"


@dataclasses.dataclass(frozen=True)
class Begin:
    """Where to begin.

    Args:
        where, why: in words.
        epoch: of the weights; 0 for the start.
        weights: of that epoch, by name; None for the start.
    """

    where: str
    why: str
    epoch: int = 0
    weights: Mapping[str, Tensor] | None = None


def begin_of(run: Run, alarms: Sequence[Finding], kept: Sequence[Prescription]) -> Begin:
    """Return the weights of the best epoch where they are older than every fault that is treated, else the start.

    Args:
        alarms: the findings of the run. kept: what was proved.
    """
    changes = [p.name for p in kept if p.when == "start"]
    if changes:
        return Begin(START, f"{changes[0]} changes how a network is built or begins")
    held = [t.name for t in run.recipe.active() if hasattr(t, "model")]
    if held:
        return Begin(START, f"{held[0]} has changed the network before its first step")
    treated = {p.ailment for p in kept}
    faults = [f for f in alarms if f.ailment in treated]
    for fault in faults:
        if fault.span is None or fault.span[0] <= 0:
            return Begin(START, f"the {fault.title} is there from the first step")
        if AILMENTS[fault.ailment] not in RETURNS:
            return Begin(START, f"weights from before the {fault.title} are no better a start than new ones")
    since = min((f.span[0] for f in faults if f.span is not None), default=0)
    step = _step_of(run)
    if not step or step > since:
        return Begin(START, f"no good weights are older than step {since:,}, where the fault begins")
    weights = {k: v.detach().clone() for k, v in run.model.state_dict().items()}
    why = f"the {faults[0].title} begins later, at step {since:,}"
    return Begin(f"epoch {run.best_epoch} (step {step:,})", why, run.best_epoch, weights)


def rest_of(recipe: Recipe, begin: Begin) -> Recipe:
    """Return the recipe for the epochs that are left."""
    return recipe.replace(epochs=max(1, recipe.epochs - begin.epoch)) if begin.epoch else recipe


def is_better(new: Run, old: Run) -> bool:
    """Whether the best epoch of one run is better than that of another, by what chooses the best epoch."""
    values = [
        min(monitored(dict(row), run.recipe, run.task) for row in run.history)
        if run.history
        else float("inf")
        for run in (new, old)
    ]
    return values[0] < values[1]


def _step_of(run: Run) -> int:
    """Return the step of the best epoch; 0 where it is not known."""
    row = next((row for row in run.history if row["epoch"] == run.best_epoch), None)
    return int(row["step"]) if row is not None else 0

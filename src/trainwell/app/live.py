"""What live treatment prescribes: changes that a training can take over while it runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from trainwell.app.prescriptions import Prescription, prescriptions
from trainwell.engine.live import Treatment
from trainwell.engine.trouble import LEAST, RECENT, TIMES, Trouble
from trainwell.values.errors import UsageError
from trainwell.values.finding import Finding
from trainwell.values.recipe import Recipe

LIVE_SITES = {"grads"}
"""Techniques of these sites begin and end with a step; the others have built the model, the groups or the schedule."""

MUCH = 10.0
"""By what the rate is divided where a third of it is not enough: everything else has been tried, or the trouble came in
the first steps, before there was a reference to hold it against."""


def checked_number(treat: int) -> int:
    """Return the number of treatments that a user allows.

    Raises:
        UsageError: it is no whole number >= 0.
    """
    if isinstance(treat, bool) or not isinstance(treat, int) or treat < 0:
        raise UsageError(f"--treat-live is how often a run may be treated, >= 0; got {treat!r}.")
    return treat


def prescribe(trouble: Trouble, recipe: Recipe, treatments: Sequence[Treatment]) -> tuple[str, Recipe] | None:
    """Return what is changed next, in words, and the recipe with it: what was not tried yet, else a much lower rate.

    A run that fails in its first steps, or learns nothing after a treatment, has a rate that is far off, and gets a much
    lower one each time.

    Source: Chowdhery et al. 2022, arXiv:2204.02311, section 5.1, and Zhang et al. 2022, arXiv:2205.01068, section 2.5:
    large trainings return to a checkpoint before the spike, and go on with a lower rate or limit.
    """
    much_lower = recipe.replace(lr=(recipe.lr or 0.0) / MUCH)
    words = f"lr {recipe.lr:.3g} -> {much_lower.lr:.3g}"
    if recipe.lr and (trouble.kind == "dead" or trouble.step <= LEAST + RECENT):
        return words, much_lower
    exploded = trouble.kind == "explosion" or trouble.rise > TIMES
    ailments = ("exploding_gradient", "lr_too_high") if exploded else ("lr_too_high", "exploding_gradient")
    measured = {"lr": float(recipe.lr or 0.0)}
    if math.isfinite(trouble.grad_norm):
        measured["grad_norm.q90"] = trouble.grad_norm
    choices: dict[str, Prescription] = {}
    for ailment in ailments:
        finding = Finding(ailment, "critical", 0.9, "S", trouble.text, measured=measured)
        for p in prescriptions(finding, recipe):
            if _is_live(p):
                choices.setdefault(p.name, p)
    tried = {t["change"].partition(" ")[0].partition(":")[0] for t in treatments}
    held = {
        t.family for t in recipe.techniques if t.name in tried
    }  # it would take the place of what was given
    fresh = [
        p for n, p in choices.items() if n not in tried and not (p.technique and p.technique.family in held)
    ]
    if fresh:
        changed = fresh[0].apply(recipe)
        return _words(recipe, changed, fresh[0]), changed
    return (words, much_lower) if recipe.lr else None


def _is_live(p: Prescription) -> bool:
    if p.technique is None:
        return set(p.fields) == {"lr"}
    return p.technique.role == "technique" and set(type(p.technique).sites()) <= LIVE_SITES


def _words(before: Recipe, after: Recipe, p: Prescription) -> str:
    if p.technique is None:
        return f"lr {before.lr:.3g} -> {after.lr:.3g}"
    return str(p.technique)

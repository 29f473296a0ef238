"""Refuses options of a search that cannot be meant, before anything is read, printed or begun. No torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainwell.app import settings
from trainwell.values.errors import UsageError, did_you_mean

FIDELITIES = ("auto", "full")

LEAST = {"trials": 1, "finalists": 1, "repeats": 2, "batch": 1, "workers": 1}
"""The least that each count may be; where it is None, it is chosen."""

WHERE = ("here", "ray")


def check_options(
    options: Mapping[str, Any], *, out: str | Path | bool | None = None, resume: bool = False
) -> None:
    """Check what does not depend on the data.

    Args:
        options: any of searcher, budget, trials, fidelity, folds, finalists, repeats, batch, workers, on, optuna_from,
            optuna_to.

    Raises:
        UsageError: one of them cannot be.
    """
    for name, least in LEAST.items():
        value = options.get(name)
        if value is not None and (not isinstance(value, int) or value < least):
            raise UsageError(f"--{name} {value}: expected a whole number, {least} or more.")
    parse_time(options.get("budget", "10m"))
    parse_folds(str(options.get("folds", "auto")))
    _check_words(options)
    if options.get("optuna_from") or options.get("optuna_to"):
        from trainwell.search.optuna_form import require_optuna

        require_optuna()
    if resume and (out in (None, True, False) or not Path(str(out)).is_dir()):
        raise UsageError("--resume needs --out FOLDER, the folder of the study.")


def _check_words(options: Mapping[str, Any]) -> None:
    import trainwell.search.searchers  # noqa: F401  (fills the registry)
    from trainwell.search.parameter import Parameter
    from trainwell.search.searcher import SEARCHERS, make_searcher
    from trainwell.search.space import Space

    fidelity, name = options.get("fidelity", "auto"), options.get("searcher", "auto")
    if fidelity not in FIDELITIES:
        raise UsageError(f"--fidelity {fidelity}: expected auto or full.{did_you_mean(fidelity, FIDELITIES)}")
    head, colon, inner = name.partition(":")
    known = ("auto", *SEARCHERS)
    if head not in known or (colon and (head != "optuna" or not inner)):
        raise UsageError(f"--searcher {name}: expected one of {', '.join(known)}.{did_you_mean(head, known)}")
    if inner:  # whether Optuna is there and has such a sampler
        make_searcher(name, Space((Parameter("lr", 0.0, 1.0),)))
    place, _, address = options.get("on", "here").partition(":")
    if place not in WHERE or (place == "here" and address):
        raise UsageError(
            f"--on {options['on']}: expected here, ray, or ray:ADDRESS.{did_you_mean(place, WHERE)}"
        )


def check_honest(folds: int, options: Mapping[str, Any]) -> None:
    """Check the options of an outer cross-validation."""
    if folds < 2:
        raise UsageError(f"--honest {folds}: expected 2 or more outer folds.")
    if options.get("test") is not None:
        raise UsageError("--honest draws its own test parts; leave --test away.")
    if options.get("resume") or options.get("out"):
        raise UsageError("--honest keeps no study that could be resumed; leave --out and --resume away.")
    if options.get("optuna_from") or options.get("optuna_to"):
        raise UsageError("--honest makes several studies; leave --optuna-from and --optuna-to away.")


def parse_time(budget: str | float) -> float:
    """Return a budget of time in seconds."""
    fields = {"seconds": float(budget)} if isinstance(budget, int | float) else settings.parse_budget(budget)
    if set(fields) != {"seconds"} or not 0 < fields["seconds"] < math.inf:
        raise UsageError(
            f"--budget {budget}: tune takes a time, e.g. 90s, 10m or 1h; --trials counts trainings."
        )
    return fields["seconds"]


def parse_folds(asked: str) -> tuple[int, int]:
    """Return how many folds, 0 for `auto`, and how many times."""
    if asked == "auto":
        return 0, 1
    found = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", asked)
    if not found:
        raise UsageError(f"--folds {asked}: expected auto, a number of folds, or e.g. 5x2 for 5 folds twice.")
    return int(found[1]), int(found[2] or 1)

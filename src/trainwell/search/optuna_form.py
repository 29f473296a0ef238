"""Our spaces and trials in the form of Optuna, and back."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

from trainwell.search.parameter import Parameter
from trainwell.search.searcher import Told
from trainwell.search.space import Config, Space
from trainwell.values.errors import UsageError

SWITCH = ":on"
"""A parameter with an off value becomes two of Optuna's: whether it is on, and its value where it is."""


def require_optuna() -> None:
    """Raise UsageError where Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise UsageError(f"this needs Optuna: pip install 'trainwell[tune]' ({error}).") from None


def distribution(p: Parameter) -> Any:
    """Return the distribution of a parameter."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if p.options:
        return CategoricalDistribution(p.options)
    if p.integer:
        return IntDistribution(int(p.low), int(p.high), log=p.log)
    return FloatDistribution(p.low, p.high, log=p.log)


def distributions(space: Space) -> dict[str, Any]:
    """Return the distributions of a space by name, with a switch for each parameter that can be off."""
    from optuna.distributions import CategoricalDistribution

    found = {p.name: distribution(p) for p in space}
    found.update(
        {p.name + SWITCH: CategoricalDistribution((False, True)) for p in space if p.off is not None}
    )
    return found


def ask(space: Space, trial: Any) -> Config:
    """Return what a trial of Optuna's suggests, one parameter after the other."""
    found: Config = {}
    for p in space:
        if p.when is not None and found.get(p.when[0]) not in p.when[1]:
            continue
        if p.off is not None and not trial.suggest_categorical(p.name + SWITCH, (False, True)):
            found[p.name] = p.off
        else:
            found[p.name] = _suggest(trial, p)
    return found


def _suggest(trial: Any, p: Parameter) -> Any:
    if p.options:
        return trial.suggest_categorical(p.name, p.options)
    if p.integer:
        return trial.suggest_int(p.name, int(p.low), int(p.high), log=p.log)
    return trial.suggest_float(p.name, p.low, p.high, log=p.log)


def to_frozen(space: Space, told: Told, spaces: dict[str, Any], **about: Any) -> Any:
    """Return a trial as Optuna keeps it."""
    from optuna.trial import TrialState, create_trial

    params: dict[str, Any] = {}
    for name, value in told.config.items():
        p = space[name]
        if p.off is not None:
            params[name + SWITCH] = value != p.off
            if value == p.off:
                continue
        params[name] = value
    state = (
        TrialState.RUNNING if told.value is None else TrialState.COMPLETE if told.is_good else TrialState.FAIL
    )
    return create_trial(
        state=about.pop("state", state), value=told.value if told.is_good else None, params=params,
        distributions={n: spaces[n] for n in params}, **about,
    )  # fmt: skip


def config_of(space: Space, params: dict[str, Any]) -> Config:
    """Return the configuration of a trial that Optuna kept."""
    found: Config = {}
    for p in space:
        if p.off is not None and params.get(p.name + SWITCH) is False:
            found[p.name] = p.off
        elif p.name in params:
            found[p.name] = params[p.name]
    return found


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's log lines and its warnings about experimental features out of ours."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)

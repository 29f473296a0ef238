"""Studies to Optuna's storage and back, so that its dashboard shows them."""

from __future__ import annotations

import contextlib
import math
from typing import Any

from trainwell.search.optuna_form import config_of, distributions, quiet, require_optuna, to_frozen
from trainwell.search.searcher import Told
from trainwell.search.space import Config, same
from trainwell.search.study import COMPLETE, DIVERGED, ERROR, STOPPED, Study
from trainwell.values.errors import UsageError


def export_optuna(study: Study, storage: str, name: str = "trainwell") -> Any:
    """Write the trials that ended into Optuna's storage, and return its study.

    Args:
        storage: e.g. `sqlite:///study.db`; `optuna-dashboard sqlite:///study.db` then shows it.

    Raises:
        UsageError: Optuna is not installed, or the storage has a study of this name.
    """
    require_optuna()
    import optuna
    from optuna.trial import TrialState

    states = {COMPLETE: TrialState.COMPLETE, STOPPED: TrialState.PRUNED}
    try:
        with quiet():
            found = optuna.create_study(storage=storage, study_name=name, direction="minimize")
    except optuna.exceptions.DuplicatedStudyError:
        raise UsageError(f"{storage} has a study '{name}' already; give another name or storage.") from None
    spaces = distributions(study.space)
    for t in study.trials:
        if t.state in (COMPLETE, STOPPED, DIVERGED, ERROR):
            state = states.get(t.state, TrialState.FAIL)
            curve = {i + 1: float(v) for i, v in enumerate(t.about.get("curve", ())) if math.isfinite(v)}
            attributes = {"number": t.number, "state": t.state}
            told = Told(t.number, t.config, t.value)
            found.add_trial(
                to_frozen(
                    study.space, told, spaces, state=state, intermediate_values=curve, user_attrs=attributes
                )
            )
    return found


def import_optuna(study: Study, storage: str, name: str = "trainwell") -> int:
    """Add the complete trials of Optuna's study that lie in the space, each once, as the first trials; return how many.

    The study must be fresh: its own proposals then build on them.

    Raises:
        UsageError: Optuna is not installed, has no such study, or it has several objectives.
    """
    require_optuna()
    import optuna

    try:
        found = optuna.load_study(storage=storage, study_name=name)
    except KeyError:
        raise UsageError(f"{storage}: Optuna keeps no study '{name}' there.") from None
    if len(found.directions) > 1:
        raise UsageError(f"{storage}: the study '{name}' has several objectives; expected one.")
    sign = -1.0 if found.direction == optuna.study.StudyDirection.MAXIMIZE else 1.0
    done: dict[Any, tuple[Config, float]] = {}
    for t in found.trials:
        if t.state == optuna.trial.TrialState.COMPLETE:
            with contextlib.suppress(UsageError):  # outside of the space
                config = study.space.check(config_of(study.space, t.params))
                done.setdefault(same(config), (config, sign * t.value))
    study.begin_with([config for config, _ in done.values()])
    asked = study.ask(len(done), eager=True)  # their results are known, so that no generation waits
    for mine, (_, value) in zip(asked, done.values(), strict=True):
        study.tell(mine.number, value)
    return len(done)

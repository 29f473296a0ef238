"""Studies to Optuna's storage and back, so that its dashboard shows them."""

from __future__ import annotations

import math
from typing import Any

from trainwell.search.optuna_form import config_of, distributions, require_optuna, to_frozen
from trainwell.search.searcher import Told
from trainwell.search.study import COMPLETE, DIVERGED, ERROR, STOPPED, Study


def export_optuna(study: Study, storage: str, name: str = "trainwell") -> Any:
    """Write the trials that ended into Optuna's storage, and return its study.

    Args:
        storage: e.g. `sqlite:///study.db`; `optuna-dashboard sqlite:///study.db` then shows it.

    Raises:
        UsageError: Optuna is not installed.
    """
    require_optuna()
    import optuna
    from optuna.trial import TrialState

    states = {COMPLETE: TrialState.COMPLETE, STOPPED: TrialState.PRUNED}
    found = optuna.create_study(storage=storage, study_name=name, direction="minimize")
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
    """Add the complete trials of Optuna's study that lie in the space, as the first trials; return how many.

    The study must be fresh: its own proposals then build on them.
    """
    require_optuna()
    import optuna

    assert not study.trials, "only a fresh study takes trials from elsewhere"
    found = optuna.load_study(storage=storage, study_name=name)
    done = [t for t in found.trials if t.state == optuna.trial.TrialState.COMPLETE]
    configs = [study.space.check(config_of(study.space, t.params)) for t in done]
    study.first[:0] = configs
    for mine, theirs in zip(study.ask(len(configs)), done, strict=True):
        study.tell(mine.number, theirs.value)
    return len(done)

"""Studies to Optuna's storage and back, so that its dashboard shows them."""

from __future__ import annotations

import contextlib
import json
import math
import zlib
from typing import Any

from trainwell.search.optuna_form import config_of, distributions, quiet, require_optuna, to_frozen
from trainwell.search.searcher import Told
from trainwell.search.space import Config, same
from trainwell.search.study import COMPLETE, DIVERGED, ERROR, STOPPED, Study
from trainwell.values.errors import UsageError

MARK = "trainwell"
"""Attribute of Optuna's study that says which of ours it is a copy of."""


def named(text: str) -> tuple[str, str | None]:
    """Return the storage and the name of the study of `sqlite:///study.db#name`; None where no name is given."""
    storage, _, name = text.partition("#")
    return storage, name or None


def export_optuna(study: Study, storage: str, name: str | None = None) -> Any:
    """Write the trials that ended into Optuna's storage, and return its study; an older copy of this study is replaced.

    Args:
        storage: e.g. `sqlite:///study.db`; `optuna-dashboard sqlite:///study.db` then shows it.
        name: of Optuna's study; None for `trainwell`.

    Raises:
        UsageError: Optuna is not installed, the storage cannot be used, or it has another study of this name.
    """
    from optuna.trial import TrialState

    found = reserve(study, storage, name)
    states = {COMPLETE: TrialState.COMPLETE, STOPPED: TrialState.PRUNED}
    spaces, copied = distributions(study.space), []
    for t in study.trials:
        if t.state in (COMPLETE, STOPPED, DIVERGED, ERROR):
            state = states.get(t.state, TrialState.FAIL)
            curve = {i + 1: float(v) for i, v in enumerate(t.about.get("curve", ())) if math.isfinite(v)}
            attributes, told = {"number": t.number, "state": t.state}, Told(t.number, t.config, t.value)
            copied.append(
                to_frozen(
                    study.space, told, spaces, state=state, intermediate_values=curve, user_attrs=attributes
                )
            )
    with quiet():
        found.add_trials(copied)
    return found


def reserve(study: Study, storage: str, name: str | None = None) -> Any:
    """Make an empty study of Optuna's for this one, in the place of an older copy, so that nothing is in the way later.

    Raises:
        UsageError: see `export_optuna`.
    """
    require_optuna()
    import optuna

    begun = {**study.header, "first": study.first}  # with what came from elsewhere it is another study
    name, mark = name or "trainwell", zlib.crc32(json.dumps(begun, sort_keys=True).encode())
    with quiet(), _told(storage):
        if name in optuna.get_all_study_names(storage):
            held = optuna.load_study(study_name=name, storage=storage)
            if held.user_attrs.get(MARK) != mark:
                raise UsageError(f"{storage} has another study '{name}' already; name yours: {storage}#NAME.")
            optuna.delete_study(study_name=name, storage=storage)
        found = optuna.create_study(storage=storage, study_name=name, direction="minimize")
        found.set_user_attr(MARK, mark)
    return found


def import_optuna(study: Study, storage: str, name: str | None = None) -> int:
    """Add the complete trials of Optuna's study that lie in the space as the first trials; return how many.

    A configuration that was tried several times comes once, with the mean of its values. The study must be fresh: its
    own proposals then build on them.

    Args:
        name: of Optuna's study; None for the only one in the storage.

    Raises:
        UsageError: Optuna is not installed, has no such study, or it has several objectives.
    """
    require_optuna()
    import optuna

    with quiet(), _told(storage):
        names = optuna.get_all_study_names(storage)
        if (name or "") not in names and (name is not None or len(names) != 1):
            have = f"there are: {', '.join(names)}" if names else "there is none"
            raise UsageError(f"{storage}: Optuna keeps no study '{name or 'of that name'}' there; {have}.")
        found = optuna.load_study(study_name=name or names[0], storage=storage)
    if len(found.directions) > 1:
        raise UsageError(f"{storage}: the study '{found.study_name}' has several objectives; expected one.")
    sign = -1.0 if found.direction == optuna.study.StudyDirection.MAXIMIZE else 1.0
    done: dict[Any, tuple[Config, list[float]]] = {}
    for t in found.trials:
        if t.state == optuna.trial.TrialState.COMPLETE:
            with contextlib.suppress(UsageError):  # outside of the space
                config = study.space.check(config_of(study.space, t.params))
                done.setdefault(same(config), (config, []))[1].append(sign * t.value)
    if not done:
        return 0
    study.begin_with([config for config, _ in done.values()])
    asked = study.ask(len(done), eager=True)  # their results are known, so that no generation waits
    for mine, (_, values) in zip(asked, done.values(), strict=True):
        study.tell(mine.number, sum(values) / len(values))
    return len(done)


@contextlib.contextmanager
def _told(storage: str) -> Any:
    """Turn what a storage raises into a mistake that is told."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # SQLAlchemy, redis, a path: whatever the storage is made of
        raise UsageError(f"{storage}: Optuna cannot use this storage: {str(error).splitlines()[0]}") from None

"""trainwell trains neural networks well, finds what ails a training, and proves the cure.

Names are imported when they are first used, so that `import trainwell` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainwell.app.ablating import ablate
    from trainwell.app.console import Console
    from trainwell.app.estimators import Classifier, Regressor
    from trainwell.app.export import export_run as export
    from trainwell.app.export import load
    from trainwell.app.findings import Diagnosis
    from trainwell.app.findings import diagnose_run as diagnose
    from trainwell.app.fit import fit, resume
    from trainwell.app.outcome import evaluate_run as evaluate
    from trainwell.app.probing import Probe, probe
    from trainwell.app.proving import prove
    from trainwell.app.run import Run
    from trainwell.app.soup import soup
    from trainwell.app.transfer import transfer
    from trainwell.app.treating import treat
    from trainwell.app.tuning.report import Tuning
    from trainwell.app.tuning.tune import tune
    from trainwell.values.dose import Dose, choice, dose
    from trainwell.values.errors import (
        DataError,
        DoseError,
        GateError,
        Interrupted,
        NonFiniteError,
        RecipeError,
        RunError,
        TrainingError,
        TrainwellError,
        UsageError,
    )
    from trainwell.values.recipe import ModelSpec, Recipe
    from trainwell.values.task import Task
    from trainwell.values.technique import Technique
    from trainwell.watch.loop import watch
    from trainwell.watch.probe import lr_probe
    from trainwell.watch.probe_size import batch_size_probe

_HOMES = {
    "app.ablating": ("ablate",),
    "app.console": ("Console",),
    "app.estimators": ("Classifier", "Regressor"),
    "app.export": ("export_run as export", "load"),
    "app.findings": ("Diagnosis", "diagnose_run as diagnose"),
    "app.fit": ("fit", "resume"),
    "app.outcome": ("evaluate_run as evaluate",),
    "app.probing": ("Probe", "probe"),
    "app.proving": ("prove",),
    "app.run": ("Run",),
    "app.soup": ("soup",),
    "app.transfer": ("transfer",),
    "app.treating": ("treat",),
    "app.tuning.tune": ("tune",),
    "app.tuning.report": ("Tuning",),
    "values.dose": ("Dose", "choice", "dose"),
    "values.errors": (
        "DataError", "DoseError", "GateError", "Interrupted", "NonFiniteError", "RecipeError", "RunError",
        "TrainingError", "TrainwellError", "UsageError",
    ),
    "values.recipe": ("ModelSpec", "Recipe"),
    "values.task": ("Task",),
    "values.technique": ("Technique",),
    "watch.probe": ("lr_probe",),
    "watch.probe_size": ("batch_size_probe",),
}  # fmt: skip
_WHERE = {name.split()[-1]: (home, name.split()[0]) for home, names in _HOMES.items() for name in names}
__all__ = [
    "Classifier", "Console", "DataError", "Diagnosis", "Dose", "DoseError", "GateError", "Interrupted",
    "ModelSpec", "NonFiniteError", "Probe", "Recipe", "RecipeError", "Regressor", "Run", "RunError", "Task",
    "Technique", "TrainingError", "TrainwellError", "Tuning", "UsageError", "ablate", "batch_size_probe",
    "choice", "diagnose", "dose", "evaluate", "export", "fit", "load", "lr_probe", "probe", "prove", "resume",
    "soup", "transfer", "treat", "tune", "watch",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from trainwell.values.version import version

        return version()
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "watch":  # the room itself, which can be called: an import of it puts it here as well
        return import_module(f"{__name__}.watch")
    home, inner = _WHERE[name]
    if inner in ("Recipe", "Technique"):
        import_module("trainwell.techniques")  # so that names of techniques are known wherever they are given
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), inner)
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]

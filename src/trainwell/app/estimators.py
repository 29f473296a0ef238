"""`Classifier` and `Regressor`: the training of trainwell behind scikit-learn's contract."""

from __future__ import annotations

import dataclasses
import numbers
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted
from torch import nn

import trainwell.techniques  # noqa: F401  (fills the registry)
from trainwell.app import features, settings
from trainwell.app.console import Console
from trainwell.app.features import Array, InputError
from trainwell.app.fit import Setup
from trainwell.app.frozen import Model, freeze, make_network, thaw
from trainwell.app.outcome import finish
from trainwell.app.predictor import Predictor
from trainwell.app.presets import preset as preset_recipe
from trainwell.app.run import Run
from trainwell.app.sources import Prepared
from trainwell.data import Note, Table, TableTransform
from trainwell.data.notes import info
from trainwell.data.target import Target, encode_target, make_task
from trainwell.engine.feed import XY
from trainwell.engine.hardware import choose_device, threads_for
from trainwell.engine.streams import derive, seeded
from trainwell.engine.training import Row, Training, Watcher
from trainwell.values.errors import Interrupted, UsageError
from trainwell.values.recipe import ModelSpec, Recipe
from trainwell.values.task import BINARY, MULTICLASS, REGRESSION, InputSpec, Task
from trainwell.values.technique import Technique


class _Estimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What the classifier and the regressor share; see `Classifier`."""

    def __init__(
        self,
        preset: str = "balanced",
        *,
        recipe: Recipe | None = None,
        settings: Mapping[str, Any] | None = None,
        with_: Iterable[str | Technique] = (),
        without: Iterable[str] = (),
        budget: str | float | None = None,
        model: Model = None,
        loss: Any = None,
        metric: str | None = None,
        categorical: Sequence[str | int] = (),
        validation_fraction: float | None = 0.15,
        random_state: Any = None,
        device: str | None = None,
        verbose: int = 0,
    ) -> None:
        self.preset, self.recipe, self.settings = preset, recipe, settings
        self.with_, self.without, self.budget = with_, without, budget
        self.model, self.loss, self.metric, self.categorical = model, loss, metric, categorical
        self.validation_fraction, self.random_state = validation_fraction, random_state
        self.device, self.verbose = device, verbose

    def fit(self, X: Any, y: Any, *, eval_set: tuple[Any, Any] | None = None) -> Self:
        """Train on X and y; the weights of the best epoch are kept.

        Args:
            X: a frame of pandas or polars, an array or lists, (N, F).
            y: labels or numbers, (N,).
            eval_set: rows (X, y) that choose the best epoch; without it a part of X does.
        Raises:
            InputError: X or y is at fault; names row and column. It is a ValueError, as scikit-learn's own are.
            UsageError: a parameter is wrong. Parameters are looked at here, not when they are set.
            NonFiniteError: the training broke down.
        """
        self.__dict__.pop("run_", None)
        seed = _seed_of(self.random_state)
        with features.input_errors():
            prepared = self._prepare(X, y, eval_set, seed)
        for note in prepared.notes:
            if note.severity == "warning":
                warnings.warn(f"X: {note.message}.", UserWarning, stacklevel=2)
        self._model = self.model
        self._row = tuple(prepared.parts["train"][0][0].shape[1:])
        return self._keep(_train(self._setup(prepared, seed)))

    def _read_target(self, y: Any) -> tuple[Array, str]:
        """Return y and the kind of the task."""
        raise NotImplementedError

    def _prepare(self, X: Any, y: Any, eval_set: Any, seed: int) -> _Arrays:
        """Read X and y, split them, and fit the transform on the rows that train."""
        own = self.model is not None
        source = self._read(X, own=own, reset=True)
        target, kind = self._read_target(y)
        check_consistent_length(X, target)
        fraction = None if eval_set is not None else self.validation_fraction
        train, val = features.split_rows(target, fraction, seed, classes=kind != REGRESSION)
        task = make_task(Target(target, kind, ""), train, self.metric)
        transform, notes = None, tuple[Note, ...]()
        if isinstance(source, Table):
            transform, notes = features.fit_transform(source, train, self.categorical)
        x, y = _tensors(source, target, transform, task)
        parts = {"train": (tuple(t[train] for t in x), y[train])}
        if eval_set is not None:
            parts["val"] = self._given(eval_set, transform, task)
        elif len(val):
            parts["val"] = (tuple(t[val] for t in x), y[val])
        elif fraction:
            said = f"all {len(train)} rows train, to the last epoch: too few to set a validation part apart"
            notes = (*notes, info("no_validation", said))
        return _Arrays("tensors" if own else "table", task, parts, notes=notes, fitted=transform)

    def _given(self, eval_set: Any, transform: TableTransform | None, task: Task) -> XY:
        """Return the rows that the user gave to choose the epoch."""
        if not (isinstance(eval_set, tuple | list) and len(eval_set) == 2):
            raise UsageError("eval_set must be a pair (X, y).")
        source = self._read(eval_set[0], own=transform is None, reset=False)
        read = features.read_labels if task.is_classification else features.read_numbers
        target = read(eval_set[1])
        check_consistent_length(eval_set[0], target)
        return _tensors(source, target, transform, task, where="eval_set")

    def _read(self, X: Any, *, own: bool, reset: bool) -> Table | Array:
        read = features.read_array if own else features.read_table
        return read(self, X, reset=reset)

    def _setup(self, prepared: _Arrays, seed: int) -> Setup:
        """Make the recipe and the network."""
        assert prepared.task is not None
        recipe = self._recipe(prepared)
        network = make_network(self.model, recipe, prepared.inputs, self._row, prepared.task, seed)
        if self.model is not None:
            _check_outputs(network, prepared.parts["train"][0], prepared.task)
        console = Console.stderr() if self.verbose else Console.silent()
        device = choose_device(self.device)
        return Setup(prepared, recipe, network, self.loss, None, seed, device, False, console)

    def _recipe(self, prepared: _Arrays) -> Recipe:
        recipe = self.recipe
        if recipe is not None and not isinstance(recipe, Recipe):
            raise UsageError(f"recipe must be a Recipe of trainwell, got {type(recipe).__name__}.")
        if self.model is not None:
            recipe = (recipe or Recipe()).replace(model=ModelSpec("module"))
        elif recipe is None or recipe.model.family == "module":
            assert prepared.task is not None and prepared.inputs is not None
            default = preset_recipe(self.preset, prepared.task, prepared.num_rows, prepared.inputs)
            recipe = default if recipe is None else recipe.replace(model=default.model)
        with_, without = self.with_ or (), self.without or ()
        return settings.apply(
            recipe, settings=self.settings, with_=with_, without=without, budget=self.budget
        )

    def _keep(self, run: Run) -> Self:
        """Keep what was learned, and a network for predictions."""
        self.run_, self.history_, self.n_iter_ = run, list(run.history), len(run.history)
        self._predictor = Predictor(run.model, run.task)
        first = next(run.model.parameters(), torch.empty(0))
        if self._model is None and first.device.type == "cpu":
            # in float64 a row gets the same prediction whichever rows it comes with
            double = thaw(freeze(run), None, self._row).model.double()
            self._predictor = Predictor(double, run.task)
        return self

    def _x(self, X: Any) -> tuple[torch.Tensor, ...]:
        """Return the rows of X as the network takes them."""
        check_is_fitted(self)
        transform = self.run_.predictor.transform
        source = self._read(X, own=transform is None, reset=False)
        with features.input_errors():
            return _inputs(source, transform)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "run_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.model is None
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "run_" in state:
            state["run_"] = freeze(state["run_"])
            del state["_predictor"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "run_" in state:
            self._keep(thaw(state["run_"], self._model, self._row))


class Classifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
    """Train a network to tell classes apart, behind scikit-learn's contract.

    It is `tw.fit` for pipelines, grid searches and cross-validation: the same presets, recipes, techniques and
    engine, nothing written to disk. It helps where the rest of a project speaks scikit-learn. It keeps no run
    folder, so a long training cannot be resumed; and it has no test part of its own: scikit-learn's splitters
    make one.

    Columns are typed as in `tw.fit` (numbers, categories, dates, missing cells), with four differences that
    scikit-learn's contract asks for: columns that count the rows are kept, duplicates and leaks are not looked
    for, X without any column that varies is learned from (the shares of the classes), and where little data are
    given (fewer than 200 rows at the default fraction) all of them train. One class only is an error here too.
    `sample_weight` is not accepted, because the engine weighs no rows; `with_=("class_weights",)` weighs classes.

    A fitted estimator goes through pickle, joblib and `copy.deepcopy` as plain data and comes back on the CPU.
    A `model` of yours is pickled by its own means, its weights as safetensors.

    Args:
        preset: `quick`, `balanced` or `best`.
        recipe: what to train; None takes that of the preset.
        settings: fields to set, e.g. {"lr": 3e-4, "model.width": 128, "dropout.rate": 0.1}.
        with_, without: techniques to add (`"ema"`, `"clip_grad:max_norm=1"`) and names to take away.
        budget: `"20ep"`, `"5m"`, or a number of epochs.
        model: a torch module (it is copied), or a callable (num_features, num_outputs) that makes one. It is given
            X as float32 as it is, of any shape (N, F, ...), and returns one output per class, or one number.
        loss: your own loss (outputs, target) -> scalar; targets are class indices (N,), or standardised (N, 1).
        metric: what chooses the epoch where the recipe's monitor is `val_metric`; accuracy or rmse when None.
        categorical: names or positions of columns that hold categories although they are numbers.
        validation_fraction: share of the rows that choose the best epoch; 0 trains on all, to the last epoch.
        random_state: seed of everything drawn, a number, a RandomState, or None for another one every time.
        device: `cpu`, `cuda` ...; None takes an accelerator if there is one.
        verbose: above 0 tells every epoch on standard error.

    Attributes:
        classes_: the labels, sorted. Regressor: none.
        n_features_in_, feature_names_in_: of X.
        n_iter_: finished epochs.
        history_: one row per epoch: `train_loss`, `val_loss`, `val_metric`, `best` ...
        run_: the `Run`: recipe, task, model, notes on the columns.
    """

    def predict(self, X: Any) -> Array:
        """Return the most probable label of each row, (N,)."""
        x = self._x(X)
        best = self._predictor.outputs(x).argmax(1)
        return np.asarray(self.classes_[best])

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, (N, C), in the order of `classes_`."""
        x = self._x(X)
        return self._predictor.predict_proba(x)

    def decision_function(self, X: Any) -> Array:
        """Return the outputs of the network, (N, C); for two classes the second less the first, (N,)."""
        x = self._x(X)
        outputs = self._predictor.outputs(x).astype(np.float64)
        return np.asarray(outputs[:, 1] - outputs[:, 0]) if len(self.classes_) == 2 else outputs

    def _read_target(self, y: Any) -> tuple[Array, str]:
        labels = features.read_labels(y)
        self.classes_ = np.unique(labels)
        if len(self.classes_) < 2:
            raise InputError(
                f"y holds one class only, {self.classes_.tolist()[0]!r}: there is nothing to learn."
            )
        return labels, BINARY if len(self.classes_) == 2 else MULTICLASS


class Regressor(RegressorMixin, _Estimator):  # type: ignore[misc]
    """Train a network to predict a number, behind scikit-learn's contract.

    The target is standardised inside. Everything else is as in `Classifier`.
    """

    def predict(self, X: Any) -> Array:
        """Return the predicted number of each row, (N,)."""
        x = self._x(X)
        return self._predictor.predict(x)

    def _read_target(self, y: Any) -> tuple[Array, str]:
        return features.read_numbers(y), REGRESSION


@dataclasses.dataclass(frozen=True)
class _Arrays(Prepared):
    """X and y as tensors, with the transform that made them; for a module of the user's there is none."""

    fitted: TableTransform | None = None

    @property
    def inputs(self) -> InputSpec | None:
        return self.fitted.spec if self.fitted is not None else None

    @property
    def columns(self) -> Sequence[str]:
        if self.fitted is None:
            return ()
        numbers, onehot, _ = self.fitted.feature_names()
        return (*numbers, *onehot)

    @property
    def transform(self) -> TableTransform | None:
        return self.fitted


def _seed_of(random_state: Any) -> int:
    """Return a number itself, and one drawn from anything else that scikit-learn takes."""
    source = check_random_state(random_state)
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(source.randint(2**31 - 1))


def _inputs(source: Table | Array, transform: TableTransform | None) -> tuple[torch.Tensor, ...]:
    """Return the rows as the network takes them."""
    if transform is None:
        return (torch.tensor(source),)
    assert isinstance(source, Table)
    return tuple(torch.from_numpy(part) for part in transform.encode(transform.cells(source)))


def _tensors(
    source: Table | Array,
    target: Array,
    transform: TableTransform | None,
    task: Task,
    where: str = "the data",
) -> XY:
    y = encode_target(task, target, Table({}, where), "y", np.arange(len(target)))
    return _inputs(source, transform), torch.from_numpy(y)


@torch.no_grad()
def _check_outputs(network: nn.Module, x: tuple[torch.Tensor, ...], task: Task) -> None:
    """Try a module of the user's on a few rows before it is trained.

    Raises:
        UsageError: it cannot take X, or its outputs have another shape than the task needs.
    """
    rows = tuple(t[:2] for t in x)
    expected, given = (len(rows[0]), task.num_outputs), list(rows[0].shape)
    device = next(network.parameters(), torch.empty(0)).device
    try:
        outputs = network.eval()(*(t.to(device) for t in rows))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise UsageError(f"model cannot take X as float32 of shape {given}: {error}") from error
    found = tuple(getattr(outputs, "shape", ()))
    if found != expected:
        raise UsageError(
            f"model must return outputs of shape {expected} for X of shape {given} (one output per class, or one "
            f"number), got {found or type(outputs).__name__}."
        )


class _Verbose(Watcher):
    def __init__(self, console: Console) -> None:
        self.on_row = console.epoch

    def on_epoch(self, training: Training, row: Row) -> None:
        self.on_row(training, row)


def _train(setup: Setup) -> Run:
    """Train in memory and score.

    Raises:
        KeyboardInterrupt, SystemExit: a signal came. An ordinary exception would let a grid search go on.
    """
    console, prepared = setup.console, setup.prepared
    with seeded(derive(setup.seed, "torch"), setup.device), threads_for(setup.flops(), setup.device):
        console.data(prepared)
        training = setup.training()
        training.watcher = _Verbose(console)
        console.start(setup.recipe, training, None)
        try:
            training.run()
        except Interrupted as error:
            raise (KeyboardInterrupt if error.exit_code == 130 else SystemExit(error.exit_code)) from error
        return finish(setup, training, None, interrupted=0, failure=None)

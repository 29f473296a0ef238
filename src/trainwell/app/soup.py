"""Model soup: the mean of the weights of trainings that began alike, chosen on the validation part."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainwell.app.export import export_run, load
from trainwell.app.fine_tuning import losses_of
from trainwell.app.fit import fit
from trainwell.app.outcome import in_unit
from trainwell.app.predictor import Predictor
from trainwell.app.run import Run
from trainwell.app.scoring import interval, scores
from trainwell.app.sources import Prepared, prepare, same_data
from trainwell.app.transfer import to_search
from trainwell.app.tuning.report import Tuning
from trainwell.app.tuning.space import recipe_of
from trainwell.engine.streams import derive, seeded
from trainwell.search.study import COMPLETE
from trainwell.techniques._modules.frozen import adapt_norm_statistics
from trainwell.values.errors import UsageError, did_you_mean
from trainwell.values.recipe import Recipe
from trainwell.values.runfolder import RunFolder

WAYS = ("greedy", "uniform")
NORM_ROWS = 4096
"""Training rows from which the statistics of batch norms are measured anew, where the ingredients differ in them."""

Weights = Mapping[str, Tensor]


@dataclasses.dataclass(frozen=True)
class Soup:
    """An average of weights.

    Attributes:
        run: with the averaged weights and their scores; its recipe is that of the best ingredient.
        taken: positions of the runs that are in it, the best first.
        losses: mean validation loss of every run. loss: of the average.
    """

    run: Run
    taken: tuple[int, ...]
    losses: tuple[float, ...]
    loss: float

    def lines(self) -> list[str]:
        """Return what a person reads."""
        best, task = min(self.losses), self.run.task
        name = "mean squared error" if task is not None and not task.is_classification else "validation loss"
        found = [f"run {i + 1:<6d} {name} {v:.4f}{'  in the soup' * (i in self.taken)}"
                 for i, v in enumerate(self.losses)]  # fmt: skip
        found.append(f"soup       {name} {self.loss:.4f} ({self.loss - best:+.4f} against the best run)")
        for part, values in self.run.scores.items():
            assert self.run.task is not None
            found.append(f"{part:10s} {self.run.task.metric} {values[self.run.task.metric]:.4f}")
        return found


def soup(
    runs: Sequence[Run | str | Path] | Tuning,
    data: Any = None,
    target: str | None = None,
    *,
    way: str = "greedy",
    top: int = 5,
    model: Callable[[Recipe], nn.Module] | None = None,
    out: str | Path | None = None,
    **data_options: Any,
) -> Soup:
    """Average the weights of trainings that began from the same weights.

    Helps fine-tunings of one pre-trained network, which lie in one basin: no cost at prediction, unlike an ensemble.
    Harms trainings that ended in different basins; the greedy way then keeps the best run alone.

    Args:
        runs: runs or their folders, of one network, data and start; or a tuning, whose best trials are trained again.
        data, target, data_options: again those of `fit`, where they are no path that the runs hold.
        way: `greedy` adds a run, the best first, where the average does not get worse on the validation part;
            `uniform` takes all.
        top: trials of a tuning. model: makes the network of a recipe, as was given to `tune`.
        out: a new folder, which `predict`, `evaluate` and `load` take.
    Raises:
        UsageError: the runs are of different networks, data or starts.
    Source: Wortsman et al. 2022, arXiv:2203.05482, recipe 1; chosen here by the loss, which is finer than accuracy.
    """
    if way not in WAYS:
        raise UsageError(f"way={way}: expected {' or '.join(WAYS)}.{did_you_mean(way, WAYS)}")
    if isinstance(runs, Tuning):
        made, prepared = _trained_again(runs, data, target, top, model, data_options)
    else:
        made = [run if isinstance(run, Run) else load(run) for run in runs]
        prepared = _data_of(made, data, target, data_options)
    _check(made)
    losses = [float(losses_of(run, prepared).mean()) for run in made]
    weights = [{n: t.detach().clone() for n, t in run.model.state_dict().items()} for run in made]
    best = made[int(np.argmin(losses))]
    pot = _Pot(best, prepared, weights)
    taken = (
        _greedy(pot, losses) if way == "greedy" else tuple(int(i) for i in np.argsort(losses, kind="stable"))
    )
    loss = pot.loss(taken)
    result = Soup(pot.run(), taken, tuple(losses), loss)
    if out is not None:
        export_run(result.run, out)
        result.run.path = Path(out).expanduser().resolve()
    return result


class _Pot:
    """One network that holds the average of some of the weights."""

    def __init__(self, best: Run, prepared: Prepared, weights: Sequence[Weights]) -> None:
        assert best.task is not None
        # the network of the best run holds the averages; its own weights are among those that were copied
        self._best, self._prepared, self._weights = best, prepared, weights
        norms = [n for n in weights[0] if n.endswith(("running_mean", "running_var"))]
        self._drifts = any(not torch.equal(w[n], weights[0][n]) for w in weights[1:] for n in norms)

    @property
    def model(self) -> nn.Module:
        return self._best.model

    def loss(self, taken: Sequence[int]) -> float:
        """Put the average of the runs into the network, and return its mean validation loss."""
        self.model.load_state_dict(average([self._weights[i] for i in taken]))
        if self._drifts and len(taken) > 1:
            (x, _), device = self._prepared.parts["train"], next(self.model.parameters()).device
            adapt_norm_statistics(self.model, tuple(t[:NORM_ROWS].to(device) for t in x))
        return float(losses_of(self._best, self._prepared).mean())

    def run(self) -> Run:
        """Return the network as a run with its scores."""
        task, found, bounds = self._best.task, {}, None
        assert task is not None
        for part in ("val", "test"):
            if part in self._prepared.parts:
                x, y = self._prepared.parts[part]
                shown, truth = Predictor(self.model, task).scored(x), in_unit(task, y.numpy())
                found[part], bounds = scores(task, truth, shown), interval(task, truth, shown)
        return dataclasses.replace(
            self._best, scores=found, interval=bounds, path=None, history=(), findings=(), stop_reason="soup"
        )


def average(weights: Sequence[Weights]) -> dict[str, Tensor]:
    """Return the mean of every tensor; of whole numbers the first."""
    first = weights[0]
    return {
        n: torch.stack([w[n].double() for w in weights]).mean(0).to(t.dtype) if t.is_floating_point() else t
        for n, t in first.items()
    }


def _greedy(pot: _Pot, losses: Sequence[float]) -> tuple[int, ...]:
    """Return the runs that are taken: each, the best first, that does not raise the validation loss."""
    order = [int(i) for i in np.argsort(losses, kind="stable")]
    taken: tuple[int, ...] = (order[0],)
    least = losses[order[0]]
    for i in order[1:]:
        loss = pot.loss((*taken, i))
        if loss <= least:
            taken, least = (*taken, i), loss
    return taken


def _check(runs: Sequence[Run]) -> None:
    if len(runs) < 2:
        raise UsageError(f"a soup needs two runs or more, got {len(runs)}.")
    first = runs[0]
    places = [run.path.resolve() if run.path is not None else id(run) for run in runs]
    twice = next((p for i, p in enumerate(places) if p in places[:i]), None)
    if twice is not None:
        named = "a run in memory" if isinstance(twice, int) else twice
        raise UsageError(f"{named} is given twice; a soup averages different runs, and takes each once.")
    shapes = {n: t.shape for n, t in first.model.state_dict().items()}
    for run in runs:
        where = run.path or "a run in memory"
        if run.task is None:
            raise UsageError(
                f"{where}: a run with a loss of one's own cannot be chosen on the validation part."
            )
        if {n: t.shape for n, t in run.model.state_dict().items()} != shapes:
            raise UsageError(
                f"{where}: its network is another than that of {first.path}; weights of one are averaged."
            )
        if run.fingerprint != first.fingerprint:
            raise UsageError(f"{where}: trained on other data, or another split, than {first.path}.")
        given = dict(run.recipe.model.params).get("weights", "none")  # a file brings the last layer too
        loaded = given not in ("none", "package") and run.recipe.model == first.recipe.model
        drawn = (
            run.recipe.model.family != "module" and not loaded
        )  # where a module began only its owner knows
        if drawn and run.seed != first.seed:
            raise UsageError(
                f"{where}: began from other weights than {first.path} (seed {run.seed}, not {first.seed}); averages of "
                "such networks are worse than each. Train with one seed, or from one pre-trained network."
            )


def _data_of(runs: Sequence[Run], data: Any, target: str | None, options: Mapping[str, Any]) -> Prepared:
    """Return the data of the runs, read again."""
    path = next((run.path for run in runs if run.path is not None), None)
    if isinstance(data, Prepared):
        return data
    if path is None:
        return prepare(
            data, target, own_model=runs[0].recipe.model.family == "module", loss=None, options=options
        )
    folder = RunFolder.open(path)
    own = runs[0].recipe.model.family == "module"
    return same_data(folder, folder.read_json("data"), data, None, options, own_model=own)


def _trained_again(
    tuning: Tuning,
    data: Any,
    target: str | None,
    top: int,
    model: Callable[[Recipe], nn.Module] | None,
    options: Mapping[str, Any],
) -> tuple[list[Run], Prepared]:
    """Train the best trials of a tuning from the same weights."""
    if options.get("backbone") is not None:
        prepared = to_search(data, target, tuning.recipe, "quick", None, options)[0]
    else:
        prepared = prepare(data, target, own_model=model is not None, loss=None, options=options)
    seed = tuning.run.seed if tuning.run is not None else 0
    order = sorted((t for t in tuning.trials if t.state == COMPLETE), key=lambda t: t.value)
    recipes = list(dict.fromkeys(recipe_of(tuning.recipe, t.config) for t in order))
    alike = [r for r in recipes if r.model == recipes[0].model][:top]
    runs = []
    for recipe in alike:
        with seeded(derive(seed, "init")):
            network = model(recipe) if model is not None else None
        runs.append(
            fit(prepared, model=network, recipe=recipe, seed=seed, out=False, baseline=False, watch=False)
        )
    return runs, prepared

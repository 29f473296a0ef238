"""Small trainings through the real engine."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainwell.engine.assemble import Source, assemble
from trainwell.engine.checkpoint import load_checkpoint
from trainwell.engine.recorder import Recorder
from trainwell.engine.training import Training, Watcher
from trainwell.values.errors import NoPlaceError
from trainwell.values.recipe import Recipe
from trainwell.values.runfolder import RunFolder
from trainwell.values.task import Task
from trainwell.values.technique import Technique

TASK = Task("multiclass", (0, 1, 2), (80, 40, 20))
Part = tuple[tuple[Tensor, ...], Tensor]


def recipe_with(technique: Technique | None, **fields: Any) -> Recipe:
    """Return a recipe that holds the technique in the place of its role."""
    if technique is None:
        return Recipe(**fields)
    if technique.role == "technique":
        return Recipe(**fields, techniques=(technique,))
    return Recipe(**{**fields, technique.role: technique})


def classes(rows: int, seed: int, kind: str = "table") -> Part:
    """Return rows of 8 numbers and one of three classes that depends on two of them.

    Shapes: (N, 8); of images and sounds (N, 2, 8, 8), every number 16 times; of texts tokens (N, 8) that end in filling.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 8, generator=generator)
    return (formed(x, kind),), (x[:, 0] > 0.2).long() + (x[:, 1] > 0.5).long()


def formed(x: Tensor, kind: str) -> Tensor:
    """Return rows of 8 numbers (*lanes, B, 8) in the form of a kind of data."""
    if kind in ("image", "audio"):
        return x.unflatten(-1, (2, 2, 2)).repeat_interleave(4, -2).repeat_interleave(4, -1)
    if kind == "text":
        length = 2 + (x[..., :1] > 0).long() + 3 * (x[..., 1:2] > 0).long()
        return ((x > 0).long() + 1) * (torch.arange(8) < length)
    return x


class Numbers(nn.Module):
    """Reads rows of any form as rows of numbers."""

    def forward(self, x: Tensor) -> Tensor:
        numbers = x[..., ::4, ::4] if x.ndim == 4 else x
        return numbers.flatten(1).float()


def perceptron(seed: int = 0, kind: str = "table") -> nn.Sequential:
    """Return a network with two hidden layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 3)
    return nn.Sequential(*layers) if kind == "table" else nn.Sequential(Numbers(), *layers)


class Furnished(nn.Module):
    """The same with batch norms, and with a residual branch in whose place a technique may put its own module."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        first, activation, second, _, last = perceptron(seed)
        self.body = nn.Sequential(first, nn.BatchNorm1d(24), activation, second, nn.BatchNorm1d(16))
        self.branch, self.last = nn.Identity(), last
        self.branch_slots = [(self, "branch")]

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(x)
        return self.last(hidden + self.branch(hidden.relu()))


Network = Callable[[], nn.Module]


def kind_for(technique: Technique | None) -> str:
    """Return the kind of data on which the technique is tried."""
    return technique.kinds[0] if technique is not None and technique.kinds else "table"


def network_for(technique: Technique | None) -> Network:
    """Return what makes the network of the suite that has a place for the technique."""
    plain = functools.partial(perceptron, kind=kind_for(technique))
    try:
        training(technique, model=plain)
    except NoPlaceError:
        return Furnished
    return plain


def training(
    technique: Technique | None,
    watcher: Watcher | None = None,
    model: Network | None = None,
    kind: str = "",
    **fields: Any,
) -> Training:
    """Return a short training with the technique; 70 steps an epoch, so that it pauses within.

    Args:
        model: makes the network; None for the one that has a place for the technique.
        kind: of the data; empty for one that the technique acts on.
    """
    kind = kind or kind_for(technique)
    fields = {"optimizer": "sgd", "epochs": 1.15, "batch_size": 2, **fields}
    model, own = (model or network_for(technique))(), None
    if technique is not None and technique.role == "optimizer" and not hasattr(technique, "direction"):
        own = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    source = Source(classes(140, 1, kind), classes(40, 2, kind))
    return assemble(
        model, recipe_with(technique, **fields), source, task=TASK, watcher=watcher, optimizer=own
    )


def outcome(run: Training) -> tuple[Tensor, list[dict[str, Any]], str]:
    """Return what two equal trainings share: weights and states, the history without times, why they ended."""
    kept = [t for state in run.step.states.values() for k, t in state.items() if not k.startswith("_")]
    tensors = [t.detach().flatten().double() for t in (*run.model.state_dict().values(), *kept)]
    history = [{k: v for k, v in row.items() if not k.endswith("_s")} for row in run.state.history]
    return torch.cat(tensors), history, run.state.stop_reason


def differs(first: Training, second: Training) -> str:
    """Say in what two finished trainings differ, bit for bit; empty if in nothing."""
    (weights, history, reason), (others, story, end) = outcome(first), outcome(second)
    if weights.shape != others.shape or not torch.equal(weights, others):
        return f"weights by up to {float((weights - others).abs().max()):.3g}"
    if history != story:
        return f"history, {history} and {story}"
    return "" if reason == end else f"reason of the end, '{reason}' and '{end}'"


class Photographer(Recorder):
    """Saves the training at every pause, and keeps a copy of the run folder as it is then."""

    def __init__(self, root: Path) -> None:
        self.root, self.photos = root, list[RunFolder]()
        super().__init__(RunFolder.create(root / "run", "law"), lambda text: None, lambda training, row: None)

    def on_pause(self, training: Training, forced: bool) -> None:
        if not forced and not training.state.stop_reason:
            self.save(training)
            copy = self.root / str(training.state.step)
            shutil.copytree(self.folder.path, copy)
            self.photos.append(RunFolder(copy))


@contextmanager
def photographed(technique: Technique) -> Iterator[tuple[Training, list[RunFolder]]]:
    """Train to the end; yield the training and the run folder as it was at every pause."""
    with tempfile.TemporaryDirectory() as root:
        watcher = Photographer(Path(root))
        run = training(technique, watcher)
        run.run()
        yield run, watcher.photos


def resumed(technique: Technique, folder: RunFolder) -> Training:
    """Return a new training that was put back to a checkpoint and went on to its end."""
    run = training(technique)
    recorder = Recorder(folder, lambda text: None, lambda training, row: None)
    recorder.restore(run, load_checkpoint(folder.path / "last"))
    run.run()
    return run

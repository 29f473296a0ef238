"""A trained network with all that turns a row into a prediction; needs no optimizer and no training data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from trainwell.engine.assemble import evaluation_rows
from trainwell.engine.feed import evaluation_batches, from_numpy, split_batch
from trainwell.values.errors import UsageError
from trainwell.values.task import Task

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Predictor:
    """Network, task and, for tables, the fitted transform.

    Args:
        model: the network with its best weights.
        task: what was learned; `None` for a user's own loss.
        transform: brings a source into the form of the inputs; `None` for tensors and loaders.
    """

    model: nn.Module
    task: Task | None
    transform: Any = None

    def outputs(self, data: Any) -> Array:
        """Return the raw outputs, (N, C).

        Args:
            data: a source of the kind that was trained on (a path, a frame); else a tensor, an array, a tuple of
                inputs, or a loader of (x, y).
        """
        self.model.eval()
        parts = [self._forward(x) for x in self._inputs(data)]
        return np.asarray(torch.cat(parts).numpy())

    def predict_proba(self, data: Any) -> Array:
        """Return the probability of every class, (N, C), in the order of `task.classes`."""
        self.check_probabilities()
        return self.probabilities(self.outputs(data))

    def predict(self, data: Any) -> Array:
        """Return the predicted label, or the number in the unit of the target, (N,)."""
        return self.decided(self.outputs(data))

    def scored(self, data: Any) -> Array:
        """Return what `scores` takes: probabilities or numbers in the unit of the target."""
        outputs = self.outputs(data)
        assert self.task is not None
        return self.probabilities(outputs) if self.task.is_classification else self.decided(outputs)

    def probabilities(self, outputs: Array) -> Array:
        """Return the probability of every class from the raw outputs, (N, C).

        Raises:
            UsageError: numbers are predicted.
        """
        self.check_probabilities()
        probabilities = torch.from_numpy(outputs).double().softmax(-1).numpy()
        return np.asarray(probabilities)

    def check_probabilities(self) -> None:
        """Refuse a run that has no probabilities.

        Raises:
            UsageError: it predicts numbers.
        """
        if self.task is None or not self.task.is_classification:
            raise UsageError("probabilities (--proba) are for classification; this run predicts numbers.")

    def decided(self, outputs: Array) -> Array:
        """Return the predicted label or number from the raw outputs, (N,)."""
        if self.task is None:
            return outputs
        if self.task.is_classification:
            return np.asarray(self.task.classes)[outputs.argmax(1)]
        numbers = outputs.astype(np.float64) * self.task.scale + self.task.mean
        return numbers[:, 0] if numbers.ndim == 2 and numbers.shape[1] == 1 else numbers

    def _inputs(self, data: Any) -> Iterable[tuple[Tensor, ...]]:
        if self.transform is not None:
            none = np.zeros(0, np.float32)
            return (from_numpy(rows, none)[0] for rows in self.transform.batches(data))
        if isinstance(data, np.ndarray):
            data = torch.from_numpy(data)
        if isinstance(data, Tensor):
            return [(data,)]
        if isinstance(data, tuple | list):
            return [tuple(torch.as_tensor(part) for part in data)]
        return (split_batch(b, torch.device("cpu"))[0] for b in data)

    @torch.no_grad()
    def _forward(self, x: tuple[Tensor, ...]) -> Tensor:
        """Run the network in batches on its own device; return the outputs on the CPU."""
        first = next(self.model.parameters(), torch.empty(0))
        floats = [t.to(first.dtype) if t.is_floating_point() else t for t in x]
        rows = torch.empty(len(floats[0]), 0)
        batches = evaluation_batches(tuple(floats), rows, evaluation_rows(floats[0], first.device))
        outputs = [self.model(*(t.to(first.device) for t in part)).float().cpu() for part, _ in batches]
        return torch.cat(outputs) if outputs else torch.empty(0, self.task.num_outputs if self.task else 1)

"""A Keras model on torch as a module of torch, and its losses as functions of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST = 1e-7
"""Keras keeps probabilities this far from 0 and 1 before it takes the logarithm."""


def _indices(target: Tensor, outputs: Tensor) -> Tensor:
    return target.reshape(outputs.shape[:-1]).long()


def _hot(target: Tensor, outputs: Tensor) -> Tensor:
    return target.argmax(-1)


def _alike(target: Tensor, outputs: Tensor) -> Tensor:
    return target.reshape(outputs.shape).to(outputs.dtype)


LOSSES: dict[str, tuple[str, str, Callable[[Tensor, Tensor], Tensor]]] = {
    "SparseCategoricalCrossentropy": ("cross_entropy", "nll_loss", _indices),
    "CategoricalCrossentropy": ("cross_entropy", "nll_loss", _hot),
    "BinaryCrossentropy": ("binary_cross_entropy_with_logits", "binary_cross_entropy", _alike),
    "MeanSquaredError": ("mse_loss", "mse_loss", _alike),
    "MeanAbsoluteError": ("l1_loss", "l1_loss", _alike),
    "Huber": ("huber_loss", "huber_loss", _alike),
}
"""Losses of Keras: the function of torch for raw outputs, that for probabilities, and how the target is written."""


class Loss:
    """The loss of a compiled model as a function of torch.

    Attributes:
        name: the function of `torch.nn.functional`; empty where the loss is another, or several.
        takes_log: whether it is given the logarithm of the outputs.
    """

    def __init__(self, found: Any) -> None:
        entry = LOSSES.get(type(found).__name__)
        raw = bool(getattr(found, "from_logits", True))
        names = entry[:2] if entry is not None else ("", "")
        self.name = names[0 if raw else 1]
        self.takes_log = self.name == "nll_loss"
        self._function = getattr(F, self.name, None)
        self._target = entry[2] if entry is not None else _alike

    def target(self, y: Tensor, outputs: Tensor) -> Tensor:
        """Return a target as the function takes it."""
        return self._target(y, outputs)

    def __call__(self, outputs: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
        assert self._function is not None
        value: Tensor = self._function(outputs, target, reduction=reduction)
        return value


class Part(nn.Module):
    """The variables of one layer."""


class Network(nn.Module):
    """Show the variables of a Keras model as parameters and buffers; a copy calls the model with its own.

    Args:
        model: built.
        takes_log: whether to answer with the logarithm of the outputs.
    """

    def __init__(self, model: Any, takes_log: bool) -> None:
        super().__init__()
        for variable in model.trainable_variables:
            part, leaf = self._place(variable.path)
            part.register_parameter(leaf, variable.value)
        for variable in model.non_trainable_variables:
            part, leaf = self._place(variable.path)
            part.register_buffer(leaf, variable.value.detach())
        learning = [self._path(v.path) for v in model.trainable_variables]
        fixed = [self._path(v.path) for v in model.non_trainable_variables]

        def call(own: nn.Module, x: Any) -> Tensor:
            """Call the model with the variables of this copy: a function is not copied along."""
            params, buffers = dict(own.named_parameters()), dict(own.named_buffers())
            outputs, _ = model.stateless_call(
                [params[n] for n in learning], [buffers[n] for n in fixed], x, training=own.training
            )
            return own.seen(outputs)  # type: ignore[operator]

        self._call, self._takes_log = call, takes_log

    def forward(self, *x: Tensor) -> Tensor:
        """Return the outputs as the loss takes them."""
        return self._call(self, x[0] if len(x) == 1 else list(x))

    def seen(self, outputs: Tensor) -> Tensor:
        """Return outputs of the model as the loss takes them."""
        return torch.log(outputs.clamp(LEAST, 1)) if self._takes_log else outputs

    @staticmethod
    def _path(path: str) -> str:
        return path.replace(".", "_").replace("/", ".")

    def _place(self, path: str) -> tuple[nn.Module, str]:
        *layers, leaf = self._path(path).split(".")
        part: nn.Module = self
        for layer in layers:
            if layer not in part._modules:
                part.add_module(layer, Part())
            part = part._modules[layer]  # type: ignore[assignment]
        return part, leaf

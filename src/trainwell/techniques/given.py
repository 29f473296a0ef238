"""The place of a user's own optimizer in a recipe."""

from __future__ import annotations

from dataclasses import dataclass

from trainwell.values.technique import Technique


@dataclass(frozen=True)
class Given(Technique):
    """Let the `torch.optim` optimizer that was passed to `fit` move the weights.

    `lr` of the recipe is then the factor, 1 by default, of the rates of its parameter groups. Helps to bring a tuned
    optimizer along; harms nothing, but its numbers are not searched.
    Source: https://docs.pytorch.org/docs/stable/optim.html
    """

    role = "optimizer"
    default_lr = 1.0

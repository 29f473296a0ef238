from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from trainwell.values.dose import dose
from trainwell.values.errors import NoPlaceError
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import nn

    from trainwell.engine.parts import Build


@dataclasses.dataclass(frozen=True)
class StochasticDepth(Technique):
    """Leave out residual branches at random, row by row, the later the more often.

    Helps deep residual networks against overfitting, and fine-tuning on small data.
    Harms shallow networks and short budgets.
    Args:    rate: of the last branch; it grows linearly from the first.
    Source:  Huang et al. 2016, arXiv:1603.09382, with the linear rule; row by row as in arXiv:1905.11946.
    """

    calls = 1  # per branch; the law counts on one

    rate: float = dose(0.1, low=0.01, high=0.8, off=0.0, unit="share of rows")

    def model(self, model: nn.Module, build: Build) -> nn.Module:
        from trainwell.models.layers import DropBranch

        slots = getattr(model, "branch_slots", [])
        if not slots:
            raise NoPlaceError(
                self.name,
                "stochastic_depth found no residual branches in this network to leave out: leave it out.",
            )
        for i, (parent, attribute) in enumerate(slots, 1):
            setattr(parent, attribute, DropBranch(self.rate * i / len(slots), build.dropout))
        return model

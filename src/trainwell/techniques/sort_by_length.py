from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SHARE = 8
"""A pool is at most this part of an epoch, so that the rows of a batch change from epoch to epoch."""


@dataclasses.dataclass(frozen=True)
class SortByLength(Technique):
    """Put texts of like length into one batch, so that little of it is filling.

    Helps networks that read a text token by token on a CPU: half of what they compute on shuffled texts is filling.
        Other inputs keep their order, and so does an epoch of fewer than 16 batches.
    Harms where the label goes with the length, as of questions: a batch then holds few classes. It is in no preset.
    Args:    pool: batches whose rows are sorted together, out of the shuffled epoch; at most an eighth of it. The
                 batches are shuffled again.
    Source:  Khomenko et al. 2016, arXiv:1708.05604 (bucketing); docs/log-transfer.md has what it saves.
    """

    kinds = ("text",)

    pool: int = dose(16, low=2, high=256, log=True, off=1, unit="batches", integer=True)

    def data(
        self, order: Tensor, x: tuple[Tensor, ...], batch_size: int, generator: torch.Generator
    ) -> Tensor:
        import torch

        tokens, count = x[0], len(order) // batch_size
        pool = min(self.pool, count // SHARE)
        if tokens.is_floating_point() or tokens.dtype == torch.uint8 or tokens.ndim != 2 or pool < 2:
            return order
        whole = count * batch_size
        length = (tokens != 0).sum(1)[order[:whole]]
        pools = torch.arange(whole, device=order.device) // (pool * batch_size)
        by_length = torch.argsort(pools * (tokens.shape[1] + 1) + length, stable=True)
        batches = order[:whole][by_length].view(-1, batch_size)
        mixed = torch.randperm(count, generator=generator).to(order.device)
        return torch.cat([batches[mixed].flatten(), order[whole:]])

"""Tells which module an optimizer trains."""

from __future__ import annotations

import gc
from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer

WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def learning(optimizer: Optimizer) -> set[int]:
    """Return the identities of the tensors that an optimizer moves."""
    return {id(p) for group in optimizer.param_groups for p in group["params"] if p.requires_grad}


def covers(module: nn.Module, optimizers: Sequence[Optimizer]) -> bool:
    """Whether a module holds all that these optimizers move."""
    moved = set().union(*map(learning, optimizers))
    return bool(moved) and moved <= {id(p) for p in module.parameters()}


def bare(module: nn.Module) -> nn.Module:
    """Return what data-parallel wrappers hold: a forward of the copy must not wait for other processes."""
    while isinstance(module, WRAPPERS):
        module = module.module
    return module


def reason_not_to_copy(module: nn.Module) -> str:
    """Return why a model cannot be watched in this process alone; empty where it can."""
    if any(type(p).__name__ == "DTensor" or type(m).__name__ == "FullyShardedDataParallel"
           for m in module.modules() for p in m.parameters(recurse=False)):  # fmt: skip
        return "the model is sharded over processes, which cannot be watched yet; the script goes on"
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    if together and any(isinstance(m, nn.SyncBatchNorm) for m in module.modules()):
        return "the model's batch norms wait for other processes, which cannot be watched yet; the script goes on"
    return ""


def likely_model(optimizer: Optimizer, called: Sequence[nn.Module]) -> nn.Module | None:
    """Return the model of an optimizer that no single forward covered.

    Modules that were called are taken first, the outermost of them; several become a list, of which only weights and
    losses can be seen. Where none was called, the smallest module in memory that holds everything is taken.
    """
    moved = learning(optimizer)
    inner = {id(part) for module in called for part in module.modules() if part is not module}
    outer = [m for m in called if id(m) not in inner and any(id(p) in moved for p in m.parameters())]
    if len(outer) == 1:
        return outer[0]
    if outer:
        return nn.ModuleList(outer)
    # `type`, not `isinstance`: some objects answer to their class only after an import
    held = [o for o in gc.get_objects() if issubclass(type(o), nn.Module) and "_parameters" in o.__dict__]
    whole = [
        (sum(p.numel() for p in m.parameters()), i) for i, m in enumerate(held) if covers(m, [optimizer])
    ]
    return held[min(whole)[1]] if whole else None

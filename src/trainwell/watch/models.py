"""Tells which module an optimizer trains."""

from __future__ import annotations

import gc
import sys
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

    Modules that were called are taken first, the outermost of them. Of several, and where none was called, the smallest
    module in memory is taken that holds everything; several that no module holds are put together.
    """
    moved = learning(optimizer)
    inner = {id(part) for module in called for part in module.modules() if part is not module}
    outer = [m for m in called if id(m) not in inner and any(id(p) in moved for p in m.parameters())]
    if len(outer) == 1:
        return outer[0]
    return _smallest_around(outer, optimizer, _in_memory()) or (together(outer) if outer else None)


def whole_of(optimizer: Optimizer, part: nn.Module) -> nn.Module | None:
    """Return what holds all that an optimizer moves, of which a part is being called.

    That is the smallest module in memory with the part in it, or the part with others that are moved whole; None where
    some of what is moved is in none.
    """
    held, taken = _in_memory(), [part]
    around = _smallest_around(taken, optimizer, held)
    if around is not None:
        return around
    rest = learning(optimizer) - {id(p) for p in part.parameters()}
    for module in sorted(held, key=lambda m: -sum(1 for _ in m.parameters())):
        own = {id(p) for p in module.parameters()}
        if own and own <= rest:
            taken.append(module)
            rest -= own
    return None if rest else together(taken)


def _in_memory() -> list[nn.Module]:
    # `type`, not `isinstance`: some objects answer to their class only after an import
    return [o for o in gc.get_objects() if issubclass(type(o), nn.Module) and "_parameters" in o.__dict__]


def _smallest_around(
    parts: Sequence[nn.Module], optimizer: Optimizer, held: Sequence[nn.Module]
) -> nn.Module | None:
    inside = {*map(id, parts)}
    around = [m for m in held if covers(m, [optimizer]) and inside <= {*map(id, m.modules())}]
    return min(around, key=lambda m: sum(p.numel() for p in m.parameters()), default=None)


def moves_in(module: nn.Module, optimizer: Optimizer) -> bool:
    """Whether an optimizer moves anything of a module."""
    return not learning(optimizer).isdisjoint(id(p) for p in module.parameters())


def together(parts: Sequence[nn.Module]) -> nn.Module:
    """Return a module that holds some, by the names that they have in the script; it cannot be called."""
    names = {id(v): k for k, v in vars(sys.modules["__main__"]).items() if isinstance(v, nn.Module)}
    whole = nn.Module()
    for i, part in enumerate(parts):
        name = names.get(id(part), type(part).__name__.lower())
        whole.add_module(f"{name}_{i}" if hasattr(whole, name) else name, part)
    return whole

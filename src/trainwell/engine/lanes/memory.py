"""How many networks of a structure fit into memory together, told before they are stacked."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from trainwell.engine.flat import flatten
from trainwell.engine.lanes.lane import Lane

SHARE = 0.7
"""Share of the free memory that lanes may take; the rest is for the data of an evaluation and for others."""

FLAT_BUFFERS = 5
"""Weights, gradients, best weights, their scratch in a step, and the raw weights during an evaluation."""

ACTIVATION_COPIES = 3
"""An output of a module, its gradient, and what autograd or a link keeps beside it."""


def affordable(lane: Lane, device: torch.device) -> tuple[int, str]:
    """Return how many networks like this one fit into the free memory, at least 1, and the numbers in words."""
    free, each = free_bytes(device), lane_bytes(lane)
    if free is None:
        return 2**31, ""
    count = max(1, int(SHARE * free) // max(1, each))
    return count, f"a network takes about {_words(each)}, of {_words(free)} that are free"


def lane_bytes(lane: Lane) -> int:
    """Estimate what one network needs in a stack: weights, states, best weights, activations and batches."""
    params, _ = flatten(lane.groups, (1,))  # of a stack of one: the module keeps its own
    states = [t for state in lane.sites.init_states(params).values() for t in state.values()]
    kept = FLAT_BUFFERS * _bytes(params.flat) + sum(map(_bytes, states))
    kept += 2 * sum(map(_bytes, lane.model.buffers()))
    batch = min(lane.recipe.batch_size, lane.feed.num_rows)
    rows = lane.feed.sample(min(2, lane.feed.num_rows))
    passing = ACTIVATION_COPIES * output_bytes(lane.model, rows) + 2 * sum(map(_bytes, rows))
    return kept + passing * batch // max(1, len(rows[0])) // lane.plan.micro_batches


def output_bytes(model: nn.Module, x: tuple[Tensor, ...]) -> int:
    """Return the bytes of the outputs of all innermost modules in a forward pass."""
    return sum(_bytes(t) for _, output in _outputs(model, x) for t in output)


def products_of(model: nn.Module, x: tuple[Tensor, ...]) -> float:
    """Return the multiplications of weights in a forward pass, of modules that have one called `weight`."""
    total = 0.0
    for module, output in _outputs(model, x):
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim > 1 and output:
            total += output[0].numel() / weight.shape[0] * weight.numel()
    return total


@torch.no_grad()
def _outputs(model: nn.Module, x: tuple[Tensor, ...]) -> list[tuple[nn.Module, list[Tensor]]]:
    """Return the innermost modules and their outputs in a forward pass."""
    found, was = list[tuple[nn.Module, list[Tensor]]](), model.training

    def hook(module: nn.Module, inputs: object, output: object) -> None:
        parts = output if isinstance(output, tuple) else (output,)
        found.append((module, [t for t in parts if isinstance(t, Tensor)]))

    handles = [m.register_forward_hook(hook) for m in model.modules() if not any(True for _ in m.children())]
    try:
        model.eval()(*x)
    finally:
        model.train(was)
        for handle in handles:
            handle.remove()
    return found


def free_bytes(device: torch.device) -> int | None:
    """Return the memory that can still be had on the device, or None where nothing tells."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    found = [n for n in (_of_machine(), _of_group()) if n is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return None


def _of_group() -> int | None:
    """Return what the control group of a container leaves."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = int((folder / "memory.max").read_text())
        return max(0, limit - int((folder / "memory.current").read_text()))
    except (OSError, ValueError):
        return None


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _words(number: float) -> str:
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.1f} MiB"

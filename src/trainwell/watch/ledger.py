"""Keeps values on their device and brings them over in blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainwell.values.signal import Traces

BLOCK = 512
"""Tensors that are held before they are fetched in one copy."""


class Ledger:
    """Writes what the families measure into the traces."""

    def __init__(self, traces: Traces) -> None:
        self.traces = traces
        self._pending: list[tuple[str, str | None, int, Any]] = []
        self._losses: list[Any] = []
        self._loss_steps: list[int] = []

    def at(self, step: int) -> Callable[..., None]:
        """Return the `record` function of one step; on a CPU values are read at once, as losses are."""

        def record(signal: str, value: Any, layer: str | None = None) -> None:
            if isinstance(value, Tensor):
                value = _read(value.detach()) if value.is_cpu else value.detach()
            self._pending.append((signal, layer, step, value))

        return record

    def loss(self, step: int, value: Tensor) -> None:
        """Note one training loss.

        A small tensor that is held between the large ones of the loop takes them off the memory that lies in the cache:
        on a CPU the number is read at once, elsewhere that would be a synchronisation.
        """
        self._losses.append(value.item() if value.is_cpu else value.detach())
        self._loss_steps.append(step)

    def replace(self, value: Tensor) -> None:
        """Put another number in the place of the loss that was noted last."""
        if self._losses:
            self._losses[-1] = value.item() if value.is_cpu else value

    @property
    def is_full(self) -> bool:
        """Whether a block is held."""
        return len(self._losses) >= BLOCK or len(self._pending) >= 4 * BLOCK

    def flush_if_full(self) -> None:
        """Fetch what is held once it is a block."""
        if self.is_full:
            self.flush()

    def flush(self) -> None:
        """Fetch everything that is held."""
        if self._losses:
            held = self._losses
            is_read = not any(isinstance(v, Tensor) for v in held)
            steps, values = self._loss_steps, held if is_read else _fetch([torch.as_tensor(v) for v in held])
            self._loss_steps, self._losses = [], []
            self._add_losses(steps, values)
        pending, self._pending = self._pending, []
        tensors = [v for *_, v in pending if isinstance(v, Tensor)]
        fetched = iter(_fetch(tensors))
        for signal, layer, step, value in pending:
            self.traces.add(signal, step, next(fetched) if isinstance(value, Tensor) else value, layer)

    def _add_losses(self, steps: list[int], values: list[Any]) -> None:
        """Average the losses of one window: with accumulation a step has several."""
        marks = np.asarray(steps)
        numbers = np.asarray(values, np.float64)
        unique, place = np.unique(marks, return_inverse=True)
        means = np.bincount(place, numbers) / np.bincount(place)
        self.traces.extend("train_loss", unique.tolist(), means.tolist())


def _read(value: Tensor) -> Any:
    """Return the number, or the array, of a tensor on the CPU."""
    return value.item() if value.dim() == 0 else value.float().numpy().copy()


def _fetch(tensors: list[Tensor]) -> list[Any]:
    """Return numbers and arrays in the order of the tensors, with one copy from each device."""
    if not tensors:
        return []
    devices = [t.device for t in tensors]
    if len(set(devices)) > 1:
        found: list[Any] = [None] * len(tensors)
        for device in set(devices):
            places = [i for i, own in enumerate(devices) if own == device]
            for i, value in zip(places, _fetch([tensors[i] for i in places]), strict=True):
                found[i] = value
        return found
    flat = torch.cat([t.reshape(-1).float() for t in tensors]).cpu().numpy()
    if len(flat) == len(tensors) and all(t.dim() == 0 for t in tensors):
        return flat.tolist()
    ends = np.cumsum([t.numel() for t in tensors])
    parts = np.split(flat, ends[:-1])
    return [
        float(p[0]) if t.dim() == 0 else p.reshape(t.shape).copy()
        for p, t in zip(parts, tensors, strict=True)
    ]

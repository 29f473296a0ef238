"""How often each unit is active, or stuck in the flat part of its activation."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from trainwell.signals.family import Family, Record
from trainwell.signals.scene import Look, Scene, thinned
from trainwell.values.signal import Signal

RECTIFIERS = (nn.ReLU, nn.ReLU6)
SHRINKERS = (nn.Threshold, nn.Hardshrink, nn.Softshrink)
"""Those that give one number for a whole range of inputs and then have no slope, wherever the range lies."""

SQUASHERS = (nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Hardsigmoid)
EDGE = 0.03
"""A unit is in its flat part within this distance of a bound of its activation (half of it for tanh's width 2)."""


class Units(Family):
    """Measure per unit (or channel) the share of samples in which a rectifier is on or a squasher is flat."""

    signals: ClassVar = (
        Signal("unit_activity", "share of samples", per_layer=True, cost="one comparison per activation"),
        Signal("unit_saturation", "share of samples", per_layer=True, cost="two comparisons per activation"),
    )

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], Tensor] = {}

    def prepare(self, scene: Scene) -> None:
        convolutions = any(isinstance(m, nn.Conv1d) for m in scene.replica.modules.values())
        for name, module in scene.replica.modules.items():
            if isinstance(module, RECTIFIERS):
                module.register_forward_hook(self._hook(name, "unit_activity", _is_on, convolutions))
            elif isinstance(module, SHRINKERS):
                idle = float(getattr(module, "value", 0.0))
                module.register_forward_hook(
                    self._hook(name, "unit_activity", functools.partial(_differs, idle), convolutions)
                )
            elif isinstance(module, (nn.Tanh, nn.Hardtanh)) or (
                type(module) is nn.RNN and module.nonlinearity == "tanh"
            ):
                module.register_forward_hook(self._hook(name, "unit_saturation", _is_flat_tanh, convolutions))
            elif isinstance(module, SQUASHERS):
                module.register_forward_hook(
                    self._hook(name, "unit_saturation", _is_flat_sigmoid, convolutions)
                )

    def _hook(self, name: str, signal: str, test: Any, convolutions: bool) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            out = output[0] if isinstance(output, tuple) else output
            if not torch.is_grad_enabled() or not isinstance(out, Tensor) or out.dim() < 2:
                return
            channel = 1 if out.dim() > 3 or (out.dim() == 3 and convolutions) else out.dim() - 1
            others = [d for d in range(out.dim()) if d != channel]
            self._seen[name, signal] = test(thinned(out.detach())).float().mean(others)

        return hook

    def look(self, look: Look, record: Record) -> None:
        look.scene.facts.setdefault("look_rows", sum(f.rows for f in look.window))
        for (name, signal), value in self._seen.items():
            record(signal, value, layer=name)
        self._seen.clear()


def _is_on(out: Tensor) -> Tensor:
    return out > 0


def _differs(idle: float, out: Tensor) -> Tensor:
    return out != idle


def _is_flat_tanh(out: Tensor) -> Tensor:
    return out.abs() > 1 - EDGE


def _is_flat_sigmoid(out: Tensor) -> Tensor:
    return (out - 0.5).abs() > 0.5 - EDGE

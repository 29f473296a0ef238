"""The scale of activations on their way up and of their gradients on the way down, layer by layer."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from trainwell.signals.family import Family, Record
from trainwell.signals.scene import Look, Scene, thinned
from trainwell.values.signal import Signal

SILENT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Flatten, nn.Identity, nn.Unflatten)


class Propagation(Family):
    """Measure root mean squares of outputs and of their gradients in the copy."""

    signals: ClassVar = (
        Signal("act_rms", "root mean square", per_layer=True, cost="one pass over the activations"),
        Signal(
            "back_rms",
            "root mean square of the gradient",
            per_layer=True,
            cost="one pass over their gradients",
        ),
        Signal(
            "back_time", "root mean square of the gradient per time step", per_layer=True, cost="as back_rms"
        ),
    )

    def __init__(self) -> None:
        self._acts: dict[str, Tensor] = {}
        self._backs: dict[str, Tensor] = {}
        self._times: dict[str, Tensor] = {}
        self._active = True

    def prepare(self, scene: Scene) -> None:
        self._guarded = scene.guarded
        for name, module in scene.replica.modules.items():
            if next(module.children(), None) is None and not isinstance(module, SILENT):
                module.register_forward_hook(self._hook(name))
                if isinstance(module, nn.RNNBase):
                    module.register_forward_pre_hook(self._time_hook(name))
        self._kinds = {n: type(m).__name__ for n, m in scene.replica.modules.items()}

    def _hook(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            out = output[0] if isinstance(output, tuple) else output
            if torch.is_grad_enabled() and isinstance(out, Tensor) and out.is_floating_point():
                self._acts[name] = _rms(out.detach())
                if out.requires_grad:
                    out.register_hook(lambda g: self._guarded(self._note_back, name, g))

        return hook

    def _note_back(self, name: str, grad: Tensor) -> None:
        self._backs[name] = _rms(grad.detach())

    def _time_hook(self, name: str) -> Any:
        def hook(module: nn.RNNBase, inputs: tuple[Any, ...]) -> Any:
            x = inputs[0]
            if not (torch.is_grad_enabled() and isinstance(x, Tensor) and x.dim() == 3):
                return None
            x = x if x.requires_grad else x.detach().requires_grad_()
            axis = (0, 2) if module.batch_first else (1, 2)
            x.register_hook(
                lambda g: self._times.__setitem__(name, g.detach().float().pow(2).mean(axis).sqrt())
            )
            return (x, *inputs[1:])

        return hook

    def look(self, look: Look, record: Record) -> None:
        facts = look.scene.facts
        if "modules" not in facts:
            facts["modules"] = [{"name": n, "kind": self._kinds[n]} for n in self._acts]
        for signal, values, scale in (
            ("act_rms", self._acts, 1.0),
            ("back_rms", self._backs, look.scale),
            ("back_time", self._times, look.scale),
        ):
            for name, value in values.items():
                record(signal, value / scale, layer=name)
            values.clear()


def _rms(x: Tensor) -> Tensor:
    x = thinned(x)
    narrow = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else None
    return torch.linalg.vector_norm(x, dtype=narrow) / max(1, x.numel()) ** 0.5

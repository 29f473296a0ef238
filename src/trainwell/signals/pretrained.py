"""What becomes of weights that were trained before: how far they move, and what moves although it is frozen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from torch import Tensor, nn

from trainwell.signals.family import Family, Record
from trainwell.signals.scene import Scene
from trainwell.values.signal import Signal

SAMPLE = 2048
"""Numbers of a matrix whose way is followed, evenly spaced: the relative distance is then known to a few percent."""

Norm = nn.modules.batchnorm._BatchNorm


class Pretrained(Family):
    """Measure how far matrices end from where they began, and how far the statistics of frozen batch norms drift."""

    signals: ClassVar = (
        Signal(
            "distance", "relative to the norm at the start", cadence="once", cost="2,048 numbers a matrix"
        ),
        Signal("norm_drift", "deviations of the channel", cadence="once", cost="a copy of the statistics"),
    )

    def start(self, scene: Scene, record: Record) -> None:
        optimized = {id(p) for group in scene.optimizer.param_groups for p in group["params"]}
        learning = {id(p) for p in scene.model.parameters() if p.requires_grad and id(p) in optimized}
        self._norms = {name: (norm, _statistics(norm)) for name, norm in frozen_norms(scene.model, learning)}
        self._starts = {
            name: _sampled(p) for name, p in scene.model.named_parameters() if id(p) in learning and p.dim() > 1
        }  # fmt: skip

    def close(self, scene: Scene, record: Record) -> None:
        drifts = {name: _drift(before, _statistics(norm)) for name, (norm, before) in self._norms.items()}
        scene.facts["norm_drift"] = [{"layer": n, "drift": d} for n, d in drifts.items()]
        ends = {name: _sampled(p) for name, p in scene.model.named_parameters() if name in self._starts}
        scene.facts["distance"] = {
            name: float((end - self._starts[name]).norm() / self._starts[name].norm().clamp(min=1e-30))
            for name, end in ends.items()
        }


def frozen_norms(model: nn.Module, learning: set[int]) -> Iterator[tuple[str, Norm]]:
    """Yield the batch norms with filled statistics before which, and in which, nothing learns."""
    modules = dict(model.named_modules())
    seen: set[str] = set()
    weighs = False
    for name, param in model.named_parameters():
        layer = name.rpartition(".")[0]
        if id(param) in learning:
            return
        module = modules[layer]
        if not isinstance(module, Norm):
            weighs = True
        elif weighs and layer not in seen and _is_filled(module) and not _learns(module, learning):
            seen.add(layer)
            yield layer, module


def _learns(module: nn.Module, learning: set[int]) -> bool:
    return any(id(p) in learning for p in module.parameters())


def _is_filled(norm: Norm) -> bool:
    """Whether the running statistics are those of some data."""
    mean, counter = norm.running_mean, norm.num_batches_tracked
    filled = counter is None or int(counter) > 0 or (mean is not None and bool(mean.any()))
    return norm.track_running_stats and mean is not None and filled


def _statistics(norm: Norm) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.running_mean.detach().double().clone(), norm.running_var.detach().double() + norm.eps


def _drift(before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]) -> float:
    """Return the larger of the root mean squares of moved means, in deviations, and of logarithms of variances."""
    means = (after[0] - before[0]) / before[1].sqrt()
    spreads: Any = 0.5 * (after[1] / before[1]).log()
    return max(float(v.square().mean().sqrt()) for v in (means, spreads))


def _sampled(param: Tensor) -> Tensor:
    flat = param.detach().reshape(-1)
    return flat[:: max(1, flat.numel() // SAMPLE)][:SAMPLE].double().clone()

"""What the loop promises: gradients cleared, modes right, every learning parameter moved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from trainwell.signals.family import Family, Record
from trainwell.signals.scene import Look, Scene, Validation, thinned
from trainwell.values.signal import Signal

NORMS = (nn.modules.batchnorm._BatchNorm,)
DROPOUTS = (nn.modules.dropout._DropoutNd,)

FEW, MOST, WIDE = 8, 4096, 4096
"""Units of a layer among which copies are sought, and numbers of each that are compared."""

MANY, ONE_SIDED = 64, 0.95
"""Values of a matrix from which their signs tell, and share of one sign that none has that was drawn about zero."""


class Contracts(Family):
    """Measure the contracts of the loop; each is true or false and needs no threshold."""

    signals: ClassVar = (
        Signal("stale_grad", "1 when gradients of the step before were still there", cost="a few norms"),
        Signal("loss_scale", "what the loss is multiplied by before it is minimised", cost="none"),
        Signal("norms_in_eval", "share of batch norms in eval mode in training", cost="none"),
        Signal("dropouts_in_eval", "share of dropouts in eval mode in training", cost="none"),
        Signal("val_in_train_mode", "1 when a layer was in training mode in validation", cadence="epoch"),
        Signal("params", "facts of every parameter", cadence="once", cost="one pass over the weights"),
        Signal("layers", "facts of every module", cadence="once", cost="none"),
    )

    def start(self, scene: Scene, record: Record) -> None:
        optimized = _optimized(scene)
        own = {id(p) for p in scene.model.parameters()}
        modules = dict(scene.model.named_modules())
        facts: list[dict[str, Any]] = []
        for name, param in scene.model.named_parameters():
            layer, _, leaf = name.rpartition(".")
            entry = {
                "name": name, "layer": layer, "leaf": leaf, "kind": type(modules[layer]).__name__,
                "shape": list(param.shape), "learns": param.requires_grad, "optimized": id(param) in optimized,
                "dtype": str(param.dtype).removeprefix("torch."),
            }  # fmt: skip
            facts.append(entry | _look_of(param.detach(), modules[layer]))
        scene.facts["params"] = facts
        scene.facts["foreign_params"] = sum(i not in own for i in optimized)
        scene.facts["layers"] = [_layer_facts(n, m) for n, m in modules.items() if n or not any(m.children())]
        scene.facts["hidden_modules"] = _hidden_modules(scene.model)
        self._plain = {name: (t, _checksum(t)) for name, t in _plain_tensors(scene.model)}
        self._sums = [_checksum(p) for p in scene.model.parameters()]
        self._received: list[bool | None] = [None] * len(self._sums)

    def look(self, look: Look, record: Record) -> None:
        if look.stale is not None:
            record("stale_grad", look.stale)
        record("loss_scale", look.minimised)
        for i, param in enumerate(look.scene.replica.params):
            if param.requires_grad:  # a layer may be unfrozen later
                self._received[i] = bool(self._received[i]) or param.grad is not None
        modules = list(look.scene.replica.model.modules())
        for signal, kinds in (("norms_in_eval", NORMS), ("dropouts_in_eval", DROPOUTS)):
            states = [not m.training for m in modules if isinstance(m, kinds) and getattr(m, "p", 1) > 0]
            if states:
                record(signal, sum(states) / len(states))

    def validation(self, phase: Validation, record: Record) -> None:
        record("val_in_train_mode", float(phase.training))

    def close(self, scene: Scene, record: Record) -> None:
        optimized = _optimized(scene)
        for i, param in enumerate(scene.model.parameters()):
            entry = scene.facts["params"][i]
            # layers may be unfrozen, and given to the optimizer, on the way
            entry["learns"] = entry["learns"] or param.requires_grad
            entry["optimized"] = entry["optimized"] or id(param) in optimized
            entry["moved"] = bool(_checksum(param) != self._sums[i])
            entry["rms_end"] = float(param.detach().float().pow(2).mean().sqrt())
            entry["received"] = self._received[i]
            if entry["leaf"].startswith("weight") and entry["kind"] != "Embedding":
                entry["copies"] = _copies(param.detach())
        # what an optimizer has, or the loop moves by hand, does learn
        scene.facts["plain_tensors"] = [
            name for name, (t, was) in self._plain.items() if id(t) not in optimized and _checksum(t) == was
        ]


def _optimized(scene: Scene) -> set[int]:
    return {id(p) for group in scene.optimizer.param_groups for p in group["params"]}


def _layer_facts(name: str, module: nn.Module) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": name, "kind": type(module).__name__}
    if isinstance(module, NORMS):
        counter = module.num_batches_tracked
        facts |= {
            "norm": "batch", "momentum": module.momentum, "tracked": int(counter) if counter is not None else None,
            "running": module.track_running_stats, "filled": _is_filled(module),
        }  # fmt: skip
    elif isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
        facts |= {"norm": "other"}
    if isinstance(module, DROPOUTS):
        facts |= {"dropout": float(module.p)}
    if isinstance(module, nn.RNNBase):
        facts |= {"recurrent": True}
    return facts


def _is_filled(norm: Any) -> bool:
    """Whether the running statistics are those of some data; files of weights often leave the counter out."""
    mean, var = norm.running_mean, norm.running_var
    return mean is not None and var is not None and bool((mean != 0).any() or (var != 1).any())


def _checksum(param: Tensor) -> tuple[float, float]:
    values, exact = param.detach(), torch.float64
    values = values if values.is_floating_point() else values.double()
    return float(values.sum(dtype=exact)), float(torch.linalg.vector_norm(values, dtype=exact))


def _copies(weight: Tensor) -> float:
    """Return the share of a layer's units whose weights are those of another unit, and not zero."""
    if weight.dim() < 2 or not FEW <= weight.shape[0] <= MOST or not weight.is_floating_point():
        return 0.0
    rows = weight.flatten(1)[:, :WIDE].double()
    # equal rows fall on equal places of a line, others hardly ever
    line = torch.randn(rows.shape[1], dtype=rows.dtype, generator=torch.Generator().manual_seed(0))
    places = (rows @ line.to(rows.device)).sort().values
    near = 1e-6 * rows.norm(dim=1).median() * line.norm()
    places = places[places.abs() > near]
    same = places.diff() <= 1e-3 * near
    return float((same.sum() / weight.shape[0]).item())


def _look_of(weight: Tensor, module: nn.Module) -> dict[str, Any]:
    """Tell what a weight looks like: its scale, whether its units are alike, whether it is fresh from the default."""
    values = thinned(weight).double()
    rms = float(values.pow(2).mean().sqrt()) if values.numel() else 0.0
    facts: dict[str, Any] = {"rms": rms}
    if weight.dim() < 2 or weight.shape[0] < 2:
        return facts
    spread = float(values.flatten(1).std(0).max())
    facts["symmetric"] = spread <= 1e-6 * max(rms, 1e-30) or rms == 0.0
    if values.numel() >= MANY:
        # zeros, as of an identity or of a layer that begins as nothing, have no sign
        shares = [float(side.double().mean()) for side in (values > 0, values < 0)]
        facts["one_sided"] = max(shares) > ONE_SIDED
    facts["fresh"] = _is_default(values, module) or _is_noise(values.flatten(1))
    return facts


def _is_default(values: Tensor, module: nn.Module) -> bool:
    """Whether the values are uniform within torch's default bound 1/sqrt(fan_in), or N(0, 1) of an embedding."""
    if values.numel() < 32:
        return False
    if isinstance(module, nn.Embedding):
        return bool(
            abs(float(values.std()) - 1) < 4 / values.numel() ** 0.5 and abs(float(values.mean())) < 0.1
        )
    bound = float(module.hidden_size if isinstance(module, nn.RNNBase) else values[0].numel()) ** -0.5
    top = float(values.abs().max())
    kurtosis = float(values.pow(4).mean() / values.pow(2).mean().pow(2).clamp(min=1e-300))
    # the largest of n uniform draws lies below bound * 0.9 with probability 0.9**n
    return 0.9 * bound <= top <= bound * (1 + 1e-6) and abs(kurtosis - 1.8) < 0.25


def _is_noise(matrix: Tensor) -> bool:
    """Whether a matrix has the spectrum of independent draws: trained ones have directions that stand out."""
    rows, columns = matrix.shape
    if min(rows, columns) < 8 or matrix.numel() > 4_000_000:
        return False
    scale = float(matrix.std())
    if scale == 0:
        return False
    kurtosis = float((matrix - matrix.mean()).pow(4).mean() / matrix.var().pow(2))
    if not min(abs(kurtosis - 1.8), abs(kurtosis - 3.0)) < 6 * (24 / matrix.numel()) ** 0.5:
        return False
    narrow = (matrix if rows >= columns else matrix.T).float()
    # twenty times cheaper than singular values, and the largest is exact to six digits
    top = float(torch.linalg.eigvalsh(narrow.T @ narrow)[-1]) ** 0.5
    return top < 1.05 * scale * (rows**0.5 + columns**0.5)


def _hidden_modules(model: nn.Module) -> list[str]:
    """Name the modules with parameters that lie in plain lists or dictionaries, where torch does not see them."""
    registered = {id(p) for p in model.parameters()}
    return [
        f"{name}.{place}" if name else place
        for name, module in model.named_modules()
        for place, member in _in_containers(module)
        if any(id(p) not in registered for p in member.parameters())
    ]


def _plain_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the attributes that ask for gradients and are no parameters, of any size but one number, and their names."""
    registered = {id(p) for p in model.parameters()}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            wanted = isinstance(value, Tensor) and value.is_leaf and value.requires_grad and value.numel() > 1
            if wanted and id(value) not in registered:
                yield f"{name}.{key}" if name else key, value


def _in_containers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules in the lists, tuples and dictionaries that are attributes of a module, and where they lie."""
    for key, value in vars(module).items():
        if key.startswith("_") and key != "_":
            continue
        values = value.values() if isinstance(value, dict) else value
        if isinstance(value, dict | list | tuple):
            yield from ((f"{key}[{i}]", v) for i, v in enumerate(values) if isinstance(v, nn.Module))

"""What if the rate were another? Short continuations of the training on copies, from where it stands."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from trainwell.signals.scene import Batch, Scene
from trainwell.watch.replica import Replica

STEPS, COOL = 24, 12
"""Steps of a branch at its rate, and of the linear cool-down to zero that all branches share: without it a
lower rate always looks better over a short horizon (Wu et al. 2018, arXiv:1803.02021)."""

FACTORS = (1.0, 10.0)

FEW_ROWS, FEW_STEPS, FEW_RATE = 64, 120, 1e-2
"""Rows to be learned by heart, and the steps of Adam for it: any network that is large enough does it."""


@dataclasses.dataclass(frozen=True)
class Branch:
    """One continuation.

    Args:
        factor: what the rates were multiplied by.
        start, hot, end: losses per probe row before the branch, before and after its cool-down.
        q: prediction ratio of every step before the cool-down.
    """

    factor: float
    start: Tensor
    hot: Tensor
    end: Tensor
    q: tuple[float, ...]


def copied_optimizer(optimizer: Optimizer, own: Sequence[Tensor], other: Sequence[Tensor]) -> Optimizer:
    """Copy an optimizer with its state, so that it moves `own` in place of `other`."""
    # the copy must not drag the watcher, schedulers or foreign tensors along: only class, groups and state
    twin = copy.copy(optimizer)
    place = {id(o): p for o, p in zip(other, own, strict=True)}
    twin.__dict__ = {k: v for k, v in optimizer.__dict__.items() if k != "step"}
    twin.param_groups = [
        {
            k: [place[id(p)] for p in v if id(p) in place] if k == "params" else copy.deepcopy(v)
            for k, v in g.items()
        }
        for g in optimizer.param_groups
    ]
    twin.state = type(optimizer.state)(
        optimizer.state.default_factory, {place[id(p)]: _cloned(s) for p, s in optimizer.state.items() if id(p) in place}
    )  # fmt: skip
    for hooks in ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"):
        setattr(twin, hooks, type(getattr(optimizer, hooks))())
    return twin


def _cloned(state: Any) -> Any:
    return {k: v.clone() if isinstance(v, Tensor) else copy.deepcopy(v) for k, v in state.items()}


def grow(
    scene: Scene, factor: float, probe: Sequence[Batch], batches: Sequence[Batch], steps: int, cool: int
) -> Branch:
    """Train a copy on from where the model stands, at its rates times `factor`, then cool down."""
    replica: Replica = scene.replica
    replica.take(scene.model)
    for module, training in zip(replica.model.modules(), scene.train_modes, strict=False):
        module.training = training
    optimizer = copied_optimizer(scene.optimizer, replica.params, list(scene.model.parameters()))
    rates = [float(g["lr"]) * factor for g in optimizer.param_groups]
    start = _losses(scene, probe)
    qs: list[Tensor] = []
    hot = start
    for i in range(steps + cool):
        share = 1.0 if i < steps else 1 - (i - steps + 0.5) / cool
        if i == steps:
            hot = _losses(scene, probe)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * share
        ratio = _step(scene, optimizer, batches[i % len(batches)], want_q=i < steps)
        if ratio is not None:
            qs.append(ratio)
    end = _losses(scene, probe)
    found = torch.stack(qs).float().cpu().tolist() if qs else []
    return Branch(factor, start, hot, end, tuple(found))


def _step(scene: Scene, optimizer: Optimizer, batch: Batch, want_q: bool) -> Tensor | None:
    replica: Replica = scene.replica
    for param in replica.params:
        param.grad = None
    with torch.enable_grad():
        before = scene.loss_of(batch)
        before.backward()
    old = [p.detach().clone() for p in replica.params] if want_q else []
    grads = [p.grad for p in replica.params]
    buffers = [b.clone() for b in replica.buffers] if want_q else []
    optimizer.step()
    if not want_q:
        return None
    with torch.no_grad():
        along = torch.stack([
            (g * (p - o)).sum().float() for g, p, o in zip(grads, replica.params, old, strict=True) if g is not None
        ]).sum()  # fmt: skip
        after = scene.loss_of(batch)
        for own, value in zip(replica.buffers, buffers, strict=True):
            own.copy_(value)
    return (after - before.detach()) / along


def _losses(scene: Scene, probe: Sequence[Batch]) -> Tensor:
    """Losses of the probe rows, one by one, in evaluation mode."""
    with torch.no_grad(), scene.replica.mode(training=False):
        return torch.cat([scene.evaluate(b)["each"] for b in probe])  # type: ignore[misc]


def branch_facts(scene: Scene, factors: Sequence[float] = FACTORS, budget_s: float = 1.0) -> dict[str, Any]:
    """Return what branches at several rates gain over the rate as it is, per probe row.

    `branch_gain`: for every factor the mean fall of the probe loss, in units of the loss of the best constant answer;
    `branch_z`: its paired difference to factor 1 in standard errors; `branch_cool`: what the cool-down alone gains.
    """
    whole = [b for b in scene.train if b.forward.output is not None or b.forward.inside]
    if len(whole) < 2 or scene.replica is None or scene.evaluate is None:
        return {}
    probe, rows = [], 0
    for batch in whole:
        probe.append(batch)
        rows += batch.forward.rows
        if rows >= 256:
            break
    began = time.perf_counter()
    branches: list[Branch] = []
    for factor in sorted(factors, key=lambda f: (f != 1.0, -f)):
        branches.append(grow(scene, factor, probe, whole, STEPS, COOL))
        if time.perf_counter() - began > budget_s:
            break
    base = float(scene.facts.get("base_loss") or 1.0)
    one = branches[0]
    facts: dict[str, Any] = {"branch_q": [float(v) for v in one.q]}
    facts["branch_cool"] = float((one.hot - one.end).mean()) / base
    facts["branch_hot"] = float((one.start - one.hot).mean()) / base
    facts["branch_gain"] = {f"{b.factor:g}": float((b.start - b.end).mean()) / base for b in branches}
    facts["branch_z"] = {f"{b.factor:g}": _paired_z(one.end, b.end) for b in branches[1:]}
    return facts


def few_facts(scene: Scene, budget_s: float = 1.0) -> dict[str, Any]:
    """Return how far a copy gets on a few rows, without dropout, decay and noise: `few_way`, 1 is perfect."""
    batches, rows = [], 0
    for batch in scene.train:
        if rows >= FEW_ROWS or not (batch.forward.output is not None or batch.forward.inside):
            break
        batches.append(batch)
        rows += batch.forward.rows
    replica = scene.replica
    learning = [p for p in replica.params if p.requires_grad]
    if rows < 16 or not learning or scene.evaluate is None or scene.loss_of is None:
        return {}
    replica.take(scene.model)
    optimizer = torch.optim.Adam(learning, FEW_RATE)
    began, done = time.perf_counter(), 0
    with replica.mode(training=False):
        for i in range(FEW_STEPS):
            optimizer.param_groups[0]["lr"] = FEW_RATE * min(1.0, 2 * (1 - i / FEW_STEPS))
            optimizer.zero_grad()
            for batch in batches:
                with torch.enable_grad():
                    (scene.loss_of(batch) / len(batches)).backward()
            optimizer.step()
            done = i + 1
            if time.perf_counter() - began > budget_s:
                break
        with torch.no_grad():
            results = [scene.evaluate(b) for b in batches]
    if done < FEW_STEPS // 2:
        return {}
    if all("hit" in r for r in results):
        right, label = (torch.cat([r[k] for r in results]) for k in ("hit", "label"))
        base = float(label.unique(return_counts=True)[1].max()) / len(label)
        return {"few_way": (float(right.float().mean()) - base) / max(1e-9, 1 - base)}
    base = float(scene.facts.get("base_loss") or 0.0)
    return {"few_way": 1 - float(torch.cat([r["each"] for r in results]).mean()) / base} if base else {}


def _paired_z(a: Tensor, b: Tensor) -> float:
    d = (a - b).double().cpu().numpy()
    error = float(np.std(d) / np.sqrt(max(1, d.size)))
    return float(d.mean() / error) if error > 0 else 0.0

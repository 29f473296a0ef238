"""What is known or kept of a loop before anything is measured: its settings, its batches, the best constant answer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from trainwell.signals.data import target_facts
from trainwell.watch.losses import WEIGHED_MEANS, LossCall
from trainwell.watch.replica import Forward, mapped, relation
from trainwell.watch.shelf import Shelf


def static_facts(optimizer: Optimizer, task: str | None, train_data: Any) -> dict[str, Any]:
    """Return what is known before the first step."""
    group = optimizer.param_groups[0]
    numbers = {
        k: [float(v) for v in group[k]] if isinstance(group[k], tuple) else float(group[k])
        for k in ("lr", "momentum", "weight_decay", "betas", "eps", "initial_lr")
        if k in group and group[k] is not None
    }
    facts: dict[str, Any] = {
        "optimizer": type(optimizer).__name__, "hyper": numbers, "task": task,
        "lrs": [float(g["lr"]) for g in optimizer.param_groups],
        "decoupled_decay": type(optimizer).__name__ in ("AdamW", "NAdamW") or bool(group.get("decoupled_weight_decay")),
        "device": str(group["params"][0].device.type) if group["params"] else "cpu",
    }  # fmt: skip
    try:
        facts["steps_per_epoch"] = len(train_data)
        facts["rows_per_epoch"] = len(getattr(train_data, "dataset", None) or train_data.x)
    except (TypeError, AttributeError):
        pass
    return facts


def kept(forward: Forward, calls: Sequence[LossCall], shelf: Shelf) -> Forward:
    """Return a forward that can be held: copies of the inputs, no graph, and no outputs, which may be large."""
    args, kwargs = mapped(shelf.keep, forward.args), mapped(shelf.keep, forward.kwargs)
    kept = Forward(
        args, kwargs, forward.training, shelf.keep(forward.rng), forward.device_rng, forward.autocast
    )
    kept.inside, kept.edits = forward.inside, forward.edits
    kept.route, kept.by_hand = forward.route, forward.by_hand
    if forward.inside == 0:
        with contextlib.suppress(LookupError):
            kept.relations = [relation(call.input, forward.output) for call in calls]
    kept.repeatable = (bool(kept.relations) or forward.inside > 0) and not forward.by_hand
    nothing = calls[0].input.new_zeros(0)
    kept.calls = [
        LossCall(call.name, call.function, nothing, shelf.keep(call.target), call.args, call.kwargs, nothing)
        for call in calls
    ]
    return kept


def samples(call: LossCall, facts: dict[str, Any]) -> int:
    """Guess the batch size where the forward was not seen: a sample may have several targets."""
    per_sample = int(facts.get("targets_per_sample", 1))
    total = call.target.shape[0] if call.target.dim() else 0
    return total // per_sample if per_sample and total % per_sample == 0 else total


def facts_of_targets(calls: Sequence[LossCall], facts: dict[str, Any]) -> dict[str, Any]:
    """Return what the targets seen so far show, and the loss of the best constant answer."""
    shapes = {c.target.shape[1:] for c in calls}
    if not calls or len(shapes) > 1 or calls[0].target.dim() == 0:
        return {}
    targets = torch.cat([c.target.detach() for c in calls])
    out = [o for c in calls if (o := c.left_out) is not None]
    if len(out) == len(calls) and may_leave_out(calls[0], int(facts.get("targets_per_sample", 1))):
        targets = targets[~torch.cat(out)]
    if not targets.numel():
        return {}
    found = target_facts(targets, facts["loss_kind"])
    weights = class_weights(calls[0], found)
    if weights:
        found["class_weights"] = weights
    return found | {"base_loss": base_loss(calls[0], targets, facts | found)}


def may_leave_out(call: LossCall, per_sample: int) -> bool:
    """Whether targets that the loss passes over are padding, or have no label; else they are a class like any other."""
    return per_sample > 1 or call.target.dim() > 1 or call.ignore_index < 0


def class_weights(call: LossCall, facts: dict[str, Any]) -> dict[str, float]:
    """Return what a row of each class counts in the loss; nothing where all count alike, or where it is not known."""
    classes = [int(k) for k in facts.get("class_counts", ())]
    weight, yes = call.kwargs.get("weight"), call.kwargs.get("pos_weight")
    if call.name in WEIGHED_MEANS and isinstance(weight, Tensor) and weight.numel() > max(classes, default=0):
        found = {str(k): float(weight[k]) for k in classes}
    elif isinstance(yes, Tensor) and yes.numel() == 1:
        found = {str(k): float(yes) if k else 1.0 for k in classes}
    else:
        return {}
    return found if len(set(found.values())) > 1 else {}


def base_loss(call: LossCall, targets: Tensor, facts: dict[str, Any]) -> float | None:
    """Return the loss of the best constant answer: class shares, or the mean target."""
    with torch.no_grad():
        if facts["loss_kind"] in ("classification", "binary") and facts.get("class_counts"):
            counts = torch.tensor(list(facts["class_counts"].values()), dtype=torch.float64)
            weights = torch.tensor(
                [facts.get("class_weights", {}).get(k, 1.0) for k in facts["class_counts"]]
            )
            share = counts * weights / (counts * weights).sum()
            loss = -(share * share.clamp(min=1e-12).log()).sum()
            # the mean of a binary loss divides by the rows, not by what they count
            return float(
                loss * (1 if call.name in WEIGHED_MEANS else (counts * weights).sum() / counts.sum())
            )
        if facts["loss_kind"] == "similarity":
            return float(1 - F.normalize(targets.double(), dim=-1).mean(0).norm())
        # the loss of counts is negative where it is good: a share of the way to zero means nothing there
        if (
            facts["loss_kind"] == "regression"
            and targets.is_floating_point()
            and call.name != "poisson_nll_loss"
        ):
            mean = targets.double().mean(0, keepdim=True).expand_as(targets).to(targets.dtype)
            return float(call.again(mean, targets, reduction="mean"))
    return None

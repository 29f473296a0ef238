"""How one step moves the weights and the loss: gradient, weight and update norms, and the prediction ratio q."""

from __future__ import annotations

from typing import ClassVar

import torch

from trainwell.signals.family import Family, Record
from trainwell.signals.scene import Look
from trainwell.values.signal import Signal


class Geometry(Family):
    """Measure a sampled step on its own batch.

    q = (loss after - loss before) / (gradient . movement): 1 where the loss is linear along the step, 1/2 at the
    minimum along its line, 0 and below where it overshoots; free of the scale of loss, weights and optimizer.
    """

    signals: ClassVar = (
        Signal("q", "ratio", cost="one more forward"),
        Signal("descent", "cosine between movement and negative gradient", cost="one pass over the weights"),
        Signal("look_loss", "loss", cost="none"),
        Signal("grad_norm", "L2 norm", per_layer=True, cost="one pass over the gradients"),
        Signal("weight_norm", "L2 norm", per_layer=True, cost="one pass over the weights"),
        Signal("update_norm", "L2 norm", per_layer=True, cost="one pass over the weights"),
    )

    def look(self, look: Look, record: Record) -> None:
        replica = look.scene.replica
        named = [(n, p, m) for (n, p), m in zip(replica.model.named_parameters(), look.moved, strict=True)]
        learning = [(n, p, m) for n, p, m in named if p.grad is not None]
        if any(f.calls for f in look.window):
            record("look_loss", look.recorded)
        if not learning:
            return
        grads = [p.grad for _, p, _ in learning]
        moved = [m for _, _, m in learning]
        along = torch.stack([(g * m).sum() for g, m in zip(grads, moved, strict=True)]).sum()
        grad, update = (torch._foreach_norm(v) for v in (grads, moved))
        weight = torch._foreach_norm([p.detach() for _, p, _ in learning])
        total = {"grad_norm": grad, "update_norm": update, "weight_norm": weight}
        for name, norms in total.items():
            record(name, torch.stack(norms).norm())
        for i, (name, param, _) in enumerate(learning):
            if param.dim() >= 2:
                for signal, norms in total.items():
                    record(signal, norms[i], layer=name)
        record("descent", -along / (torch.stack(grad).norm() * torch.stack(update).norm()).clamp(min=1e-30))
        # the copy must have repeated what the loop computed, or q would compare two different losses
        same = (look.before - look.recorded).abs() <= 1e-3 * look.recorded.abs() + 1e-6
        q = (look.after - look.before) / along
        record("q", torch.where(same, q, torch.full_like(q, torch.nan)))

"""fastai: `Learner(..., cbs=[WatchCallback()])`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer

from trainwell.watch.attach.attached import Attached, framework, guarded
from trainwell.watch.attach.standin import StandIn

Callback = framework("Callback", "fastai.callback.core")


class WatchCallback(Attached, Callback):  # type: ignore[misc,valid-type]
    """Watch each `learn.fit(...)`, but no search for a rate, and end it with findings.

    ```python
    from trainwell.watch.attach.fastai import WatchCallback

    learn = Learner(dls, model, loss_func=nn.CrossEntropyLoss(), cbs=[WatchCallback(folder="runs/net")])
    learn.fit_one_cycle(10)
    learn.watch.findings
    ```

    Args: see `Attached`.
    """

    order = 100  # sees a step as all others left it
    _stand_in: StandIn | None = None

    @guarded
    def before_fit(self) -> None:
        """Look out for the first call of the model."""
        learn = self.learn
        if hasattr(learn, "lr_finder") or hasattr(learn, "gather_preds"):
            return
        own = getattr(learn.opt, "opt", None)
        self._stand_in = None if isinstance(own, Optimizer) else stand_in(learn.opt)
        self.begin(learn.model, self._stand_in or own)

    @guarded
    def after_step(self) -> None:
        """Tell of a step of an optimizer of fastai's own."""
        if self._stand_in is not None:
            self._stand_in.stepped()

    @guarded
    def after_fit(self) -> None:
        """End the watch."""
        self.close()


def stand_in(optimizer: Any) -> StandIn:
    """Return how an optimizer of fastai's own reads in the words of torch."""
    is_adam = "sqr_mom" in optimizer.hypers[0]

    def settings(hypers: Mapping[str, Any]) -> dict[str, Any]:
        mom, decay = float(hypers.get("mom", 0.0)), float(hypers.get("wd") or 0.0)
        found = {"lr": float(hypers["lr"]), "weight_decay": decay, "decoupled_weight_decay": True}
        return found | ({"betas": (mom, float(hypers["sqr_mom"]))} if is_adam else {"momentum": mom})

    return StandIn(
        lambda: [(p, settings(h)) for p, h in zip(optimizer.param_lists, optimizer.hypers, strict=True)],
        "AdamW" if is_adam else "SGD",
    )

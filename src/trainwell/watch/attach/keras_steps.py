"""What a fit of Keras tells the watcher of its steps: its loss is heard where the model computes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from trainwell.watch.attach.keras_network import Loss, Network
from trainwell.watch.attach.standin import StandIn
from trainwell.watch.told import LOOKS, Planned, ToldWatch

BLOCK = 64
"""Steps whose losses are fetched at once."""


FREE_S = 0.2
"""Seconds of looks that every fit may cost: twice those of other loops, for a call of Keras costs more."""


class Freely(Planned):
    """Choose looks as planned, but let every fit have these seconds of them, however short it is."""

    def affords(self, step: int, elapsed_s: float) -> bool:
        wanted, affordable = self.next, super().affords(step, elapsed_s)
        self._allowed_s = max(self._allowed_s, FREE_S / LOOKS)
        if not affordable and self._left() >= 1:
            self.next = wanted
            return True
        return affordable


class Steps:
    """Follow one fit.

    Args:
        params: as Keras gives them to callbacks: `epochs` and `steps`.
        say: where lines of the watcher go.
        give_up: called with the reason where the watching has to end.
    """

    def __init__(
        self,
        model: Any,
        params: Mapping[str, Any],
        say: Callable[[str], None],
        give_up: Callable[[str], None],
    ) -> None:
        if model.jit_compile:
            raise RuntimeError(
                "a model that Keras compiles is not watched, the watcher would be compiled along"
            )
        self.model, self.give_up, self.loss = model, give_up, Loss(_single_loss(model))
        self.network = Network(model, self.loss.takes_log)
        self.optimizer = _stand_in(model)
        per_epoch = int(params.get("steps") or 0)
        total = int(params.get("epochs") or 1) * (per_epoch or 1000)
        facts = {"model_name": type(model).__name__, "optimizer": self.optimizer.kind, "reduction": "mean"}
        self.watch = ToldWatch(
            self.network, self.optimizer, loss=self.loss, loss_name=self.loss.name, minimised=self.loss,
            total_steps=total, first_step=0, facts=facts | ({"steps_per_epoch": per_epoch} if per_epoch else {}), say=say,
        )  # fmt: skip
        self.watch._schedule = Freely(total, 0)
        self._losses: list[Tensor] = []
        self._moment: Any = None
        self._left, self._start = self.watch.steps_to_look(), time.perf_counter()
        self._wants_batches, self._is_validation = True, False
        self._compute_loss = model.compute_loss
        model.__dict__["compute_loss"] = self._heard

    def let_go(self) -> None:
        """Note the last steps, and give the model its own method back."""
        self.model.__dict__.pop("compute_loss", None)
        self._note()

    def begin(self) -> None:
        """A step begins."""
        if self._left == 0 and self.loss.name:
            self.watch.begin_look()
            self._moment = self.watch.moment(None)

    def end(self) -> None:
        """A step has been taken."""
        self._left -= 1
        if self._moment is not None:
            self._moment = None
            self.watch.end_look()
            self._note()
        elif self._left == 0 or len(self._losses) >= BLOCK:
            self._note()

    def begin_validation(self) -> None:
        """A validation begins."""
        self._note()
        self._is_validation, self.network.training = True, False

    def end_validation(self, loss: float) -> None:
        """A validation has ended with this mean loss."""
        self._is_validation, self.network.training = False, True
        self.watch.saw_validation(loss)
        self._start = time.perf_counter()

    # ------------------------------------------------------------------ inside

    def _heard(self, *args: Any, **kwargs: Any) -> Tensor:
        """Compute the loss as the model does, and listen."""
        value: Tensor = self._compute_loss(*args, **kwargs)
        try:
            given = dict(zip(("x", "y", "y_pred", "sample_weight"), args, strict=False)) | kwargs
            self._hear(value, given["x"], given["y"], given["y_pred"])
        except Exception as error:
            self.give_up(f"the watcher stopped, the training goes on ({type(error).__name__}: {error})")
        return value

    def _hear(self, value: Tensor, x: Any, y: Any, outputs: Any) -> None:
        if not self._is_validation:
            self._losses.append(value.detach())
        inputs = list(x) if isinstance(x, list | tuple) else [x]
        if not self.loss.name or not all(isinstance(t, Tensor) for t in (*inputs, y, outputs)):
            return
        if self._is_validation:
            with torch.no_grad():
                seen = self.network.seen(outputs)
                self.watch.saw_validation_batch(inputs, seen, self.loss.target(y, seen))
            return
        if self._moment is None and not self._wants_batches:
            return
        seen = self.network.seen(outputs.detach())
        target = self.loss.target(y, seen)
        if self._wants_batches:
            self._first(seen, target)
            self._wants_batches = self.watch.keep_batch(inputs, target)
        if self._moment is not None:
            # what the model adds, penalties and weights of samples, stays as it was in this step
            rest = value.detach() - self.loss(seen, target)
            again = lambda outputs: self.loss(outputs, target) + rest  # noqa: E731
            self.watch.saw_forward(self._moment, inputs, seen, target, again, value)

    def _first(self, outputs: Tensor, target: Tensor) -> None:
        facts = self.watch.traces.facts
        facts.setdefault("batch_size", len(target))
        facts.setdefault("out_shape", list(outputs.shape))
        facts.setdefault("target_shape", list(target.shape))
        facts.setdefault("target_integer", not target.is_floating_point())

    def _note(self) -> None:
        if self._losses:
            values = torch.stack(self._losses).float().cpu().tolist()
            rate = self.optimizer.param_groups[0]["lr"]
            self.watch.saw_steps(values, [rate] * len(values), self._start)
        self._losses, self._start = [], time.perf_counter()
        self._left = self.watch.steps_to_look()


def _single_loss(model: Any) -> Any:
    import keras

    loss = model.loss
    return keras.losses.get(loss) if isinstance(loss, str) else loss


def _stand_in(model: Any) -> StandIn:
    optimizer, params = model.optimizer, [v.value for v in model.trainable_variables]
    settings: dict[str, Any] = {"weight_decay": float(getattr(optimizer, "weight_decay", None) or 0.0)}
    if hasattr(optimizer, "beta_1"):
        settings["betas"] = (float(optimizer.beta_1), float(optimizer.beta_2))
    elif hasattr(optimizer, "momentum"):
        settings["momentum"] = float(optimizer.momentum)
    kind = {"Adam": "AdamW", "Nadam": "NAdamW"}.get(type(optimizer).__name__, type(optimizer).__name__)
    return StandIn(lambda: [(params, {"lr": float(optimizer.learning_rate), **settings})], kind)

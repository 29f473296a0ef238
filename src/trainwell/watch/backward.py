"""Hears the backward passes of a loop, for losses that no function of torch computed."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from trainwell.watch.patches import first
from trainwell.watch.watcher import Watch


class HearsBackward(Watch):
    """A `Watch` that notes what `Tensor.backward` is called on, until a loss of a function of torch is heard."""

    _noting: Any = None

    def _attach(self, loss: Any) -> None:
        super()._attach(loss)
        self._backward = Tensor.backward
        self._noting = Tensor.backward = first(self._note_backward, Tensor.backward)  # type: ignore[method-assign]

    def _note_backward(self, loss: Tensor) -> None:
        """Note a loss written by hand, which no function of torch computed."""
        if self._closed or self._heard_step == self._step:
            self._stop_noting()  # what is minimised is heard
        elif self._alive and not self._probing and isinstance(loss, Tensor) and loss.dim() == 0:
            self._guarded(self.note_loss, loss)

    def _unhook(self) -> None:
        super()._unhook()
        self._stop_noting()

    def _stop_noting(self) -> None:
        """Give torch its own function back; who patched it after us keeps ours, which is then an empty shell."""
        if self._noting is not None and Tensor.backward is self._noting:
            Tensor.backward = self._backward  # type: ignore[method-assign]

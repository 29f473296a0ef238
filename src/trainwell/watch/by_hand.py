"""Hears losses that a loop writes by hand, by what reaches the output of the network when they are minimised."""

from __future__ import annotations

import functools
import time
import weakref
from typing import Any

import torch
from torch import Tensor

from trainwell.values.signal import Traces
from trainwell.watch.forwards import Forwards
from trainwell.watch.ledger import Ledger
from trainwell.watch.losses import KINDS, LossCall
from trainwell.watch.recognised import recognised
from trainwell.watch.replica import Forward, tensors_of

MOST_OUTPUTS = 4
"""Tensors of one output that are waited at; a loss follows from a few."""

TRIES = 3
"""Losses in a row that are not recognised, after which no more is tried."""


class ByHand(Forwards):
    """Recognises what a loop minimises where no function of torch computed it."""

    traces: Traces
    _ledger: Ledger
    _capturing: bool
    _stale_armed: bool
    _step: int
    _going_back: Tensor | None = None
    """The loss of the backward pass that is under way, until a gradient has reached an output."""
    _tries = TRIES
    _form: tuple[str, int, torch.dtype] | None = None
    """Function and kind of targets of the losses that were recognised: one loop has one."""

    def note_loss(self, loss: Tensor) -> None:
        """Note a training loss that none of torch's functions computed, before its backward pass."""
        self._ledger.loss(self._step, loss.detach())
        self._going_back = loss.detach() if self._tries and self._since_backward == 1 else None
        self._since_backward = 0

    def _await_loss(self, forward: Forward, output: Any) -> None:
        facts = self.traces.facts
        if not self._tries or ("loss_name" in facts and "loss_by_hand" not in facts):
            return
        outputs = [t for t in tensors_of(output) if t.requires_grad and t.is_floating_point() and t.dim()]
        for tensor in outputs if len(outputs) <= MOST_OUTPUTS else ():
            # neither may hold the other: a hook is part of the graph, which nobody would find
            come = functools.partial(
                self._on_grad, weakref.ref(forward), weakref.ref(tensor), tensor._version
            )
            tensor.register_hook(come)

    def _on_grad(
        self, forward: weakref.ref[Forward], output: weakref.ref[Tensor], version: int, grad: Tensor
    ) -> None:
        """Take the gradient that reaches an output first: the one from which the loss was computed."""
        value, self._going_back = self._going_back, None
        if value is not None and self._alive and not self._probing:
            seen, tensor = forward(), output()
            if seen is not None and not seen.calls and tensor is not None and tensor._version == version:
                self._guarded(self._recognise, seen, tensor, grad, value)

    def _recognise(self, forward: Forward, output: Tensor, grad: Tensor, value: Tensor) -> None:
        start, facts = time.process_time(), self.traces.facts
        with torch.no_grad(), torch.autocast(output.device.type, enabled=False):
            call = recognised(output, grad, value)
        form = None if call is None else (call.name, call.target.dim(), call.target.dtype)
        if call is None or (self._form or form) != form:
            self._tries -= 1
            return
        self._tries, self._form = TRIES, form
        if "loss_name" not in facts:
            facts["loss_by_hand"] = True
            self._first_loss(call)
        forward.calls.append(call)
        if self._capturing:
            self._capture(forward, call)
        if self._looking and self._own is not None:
            self._own.follow_whole()
            self._own.cost_s += time.process_time() - start
        if self._looking and not self._stale_armed:
            self._stale_armed = True
            self._note_stale()

    def _first_loss(self, call: LossCall) -> None:
        facts = self.traces.facts
        facts["loss_name"], facts["loss_kind"] = call.name, KINDS[call.name]
        if self._open is not None:
            facts["batch_size"] = self._open.rows

    def _capture(self, forward: Forward, call: LossCall) -> None:
        """Keep a batch for the checks of the data."""
        raise NotImplementedError

    def _note_stale(self) -> None:
        """Look whether gradients of the step before are still there."""
        raise NotImplementedError

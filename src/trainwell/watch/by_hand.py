"""Hears losses that a loop writes by hand, by what reaches the output of the network when they are minimised."""

from __future__ import annotations

import dataclasses
import functools
import time
import weakref
from typing import Any

import torch
from torch import Tensor

from trainwell.values.signal import Traces
from trainwell.watch.formula import Formula, formula_of
from trainwell.watch.forwards import Forwards
from trainwell.watch.ledger import Ledger
from trainwell.watch.losses import KINDS, LossCall
from trainwell.watch.recognised import Recognised, recognised
from trainwell.watch.replica import Forward, tensors_of

MOST_OUTPUTS = 4
"""Tensors of one output that are waited at; a loss follows from a few."""

TRIES = 3
"""Losses in a row that are not recognised, after which no more is tried."""


@dataclasses.dataclass
class _GoingBack:
    """A loss whose backward pass is under way.

    Args:
        outputs: of the network, the latest first where its parts are called.
        parts: the outputs that its gradient has reached, and the gradient, by their number.
    """

    outputs: list[Tensor]
    formula: Formula
    parts: dict[int, tuple[Tensor, Tensor]] = dataclasses.field(default_factory=dict)

    def has_come(self, output: Tensor, grad: Tensor) -> bool:
        """Note a gradient; return whether it was the last that was waited for."""
        number = next((i for i, own in enumerate(self.outputs) if own is output), -1)
        reached = self.formula.reached
        if reached and number not in reached:
            return False  # an output from which another one follows
        self.parts[number] = (output.detach(), grad.detach())
        return len(self.parts) >= max(1, len(reached))


class ByHand(Forwards):
    """Recognises what a loop minimises where no function of torch computed it."""

    traces: Traces
    _ledger: Ledger
    _capturing: bool
    _stale_armed: bool
    _stale: Tensor | None
    _step: int
    _going_back: _GoingBack | None = None
    """The loss of the backward pass that is under way, until its gradient has reached the outputs."""
    _tries = TRIES
    _form: list[tuple[str, int, torch.dtype]] | None = None
    """Functions and kinds of targets of the losses that were recognised: one loop has one."""
    _recognised: Recognised | None = None
    """What the loss was recognised as last."""

    def note_loss(self, loss: Tensor) -> None:
        """Note a training loss that none of torch's functions computed, before its backward pass."""
        forward = self._open
        self._ledger.loss(self._step, self._in_its_unit(loss.detach()))
        self._going_back = None
        if self._tries and self._since_backward:
            self._tries -= 1  # until it is recognised
            if self._since_backward == 1 and forward is not None and not forward.calls:
                outputs = _outputs(forward.output)
                self._going_back = _GoingBack(outputs, formula_of(loss, outputs))
        self._since_backward = 0

    def _await_loss(self, forward: Forward, output: Any) -> None:
        facts = self.traces.facts
        if not self._tries or ("loss_name" in facts and "loss_by_hand" not in facts):
            return
        for tensor in _outputs(output):
            # neither may hold the other: a hook is part of the graph, which nobody would find
            come = functools.partial(
                self._on_grad, weakref.ref(forward), weakref.ref(tensor), tensor._version
            )
            tensor.register_hook(come)

    def _on_grad(
        self, forward: weakref.ref[Forward], output: weakref.ref[Tensor], version: int, grad: Tensor
    ) -> None:
        """Take the gradients that reach outputs: those from which the loss was computed, before any behind them."""
        back, seen, tensor = self._going_back, forward(), output()
        if back is None or not self._alive or self._probing:
            return
        if (
            seen is None
            or seen.calls
            or seen is not self._open
            or tensor is None
            or tensor._version != version
        ):
            self._going_back = None
            return
        if self._looking and not self._stale_armed and not back.parts:
            self._guarded(self._note_stale)  # before any gradient of this pass has reached a weight
        if back.has_come(tensor, grad):
            self._going_back = None
            self._guarded(self._recognise, seen, back)

    def _recognise(self, forward: Forward, back: _GoingBack) -> None:
        start, facts = time.process_time(), self.traces.facts
        parts = [back.parts[i] for i in sorted(back.parts)]
        with torch.no_grad(), torch.autocast(parts[0][0].device.type, enabled=False):
            found = recognised(parts, back.formula)
        form = None if found is None else [(c.name, c.target.dim(), c.target.dtype) for c in found.calls]
        if found is None or (self._form or form) != form:
            self._stale = self._stale if self._stale_armed else None
            return
        self._tries, self._form = TRIES, form
        self._recognised = found
        self._ledger.replace(self._in_its_unit(back.formula.value))
        if "loss_name" not in facts:
            facts["loss_by_hand"] = True
            self._first_loss(found.calls[0])
        forward.calls += found.calls
        if self._capturing:
            self._capture(forward, *found.calls)
        if self._looking and self._own is not None:
            self._own.follow_whole(found.factor, len(found.calls))
            self._own.cost_s += time.process_time() - start
        self._stale_armed = self._stale_armed or self._looking

    def _in_its_unit(self, value: Tensor) -> Tensor:
        return value if self._recognised is None else self._recognised.in_its_unit(value)

    def _first_loss(self, call: LossCall) -> None:
        facts = self.traces.facts
        facts["loss_name"], facts["loss_kind"] = call.name, KINDS.get(call.name, "similarity")
        if self._open is not None:
            facts["batch_size"] = self._open.rows

    def _capture(self, forward: Forward, *calls: LossCall) -> None:
        """Keep a batch for the checks of the data."""
        raise NotImplementedError

    def _note_stale(self) -> None:
        """Look whether gradients of the step before are still there."""
        raise NotImplementedError


def _outputs(output: Any) -> list[Tensor]:
    """Return the tensors of an output from which a loss may follow; none of one that has very many."""
    found = [t for t in tensors_of(output) if t.requires_grad and t.is_floating_point() and t.dim()]
    return found if len(found) <= MOST_OUTPUTS else []

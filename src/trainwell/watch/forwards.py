"""Hears the forwards of a training loop: those of its network, or of the parts that it calls in its place."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainwell.signals.scene import Scene
from trainwell.watch.losses import is_transformed
from trainwell.watch.own_step import OwnStep, may_listen
from trainwell.watch.parts import Parts
from trainwell.watch.replica import Forward, tensors_of


class Forwards:
    """Keeps what the network was called with: the last forward, and those of a step that is looked at."""

    model: nn.Module
    scene: Scene
    _guarded: Callable[..., Any]
    """Calls ours so that no error reaches the loop."""
    _clock: Callable[[], float]
    _parts: Parts
    _alive, _probing, _looking = True, False, False
    _own: OwnStep | None = None
    _open: Forward | None = None
    _edits = False
    """Whether the model was seen to edit its inputs in place."""
    _by_hand = False
    """Whether the loop was seen to compute with what the parts of its model return."""
    _since_backward = 0
    """Forwards that were heard since the last backward pass of a loss written by hand."""
    _t_forward = _t_clock = 0.0
    _t_look = _t_open = _forward_s = 0.0
    """CPU time at which the step that is looked at began, and its forward, and what its forwards took."""

    def __init__(self) -> None:
        self._root_handles: list[Any] = []
        self._window: list[Forward] = []

    def _arm(self) -> None:
        if not self._root_handles:
            for module in self._parts.to_hear():
                self._root_handles += self._hooks_of(module)

    def _may_seek(self) -> bool:
        """Whether parts of the model may be called in its place, and be heard."""
        return may_listen(self.model)

    def _hooks_of(self, module: nn.Module) -> list[Any]:
        return [
            module.register_forward_pre_hook(self._before_forward, with_kwargs=True),
            module.register_forward_hook(self._after_forward, with_kwargs=True),
        ]

    def _disarm(self) -> None:
        for handle in self._root_handles:
            handle.remove()
        self._root_handles = []

    def _before_forward(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if self._alive and not self._probing and not is_transformed():
            self._guarded(self._enter, module, args, kwargs)

    def _after_forward(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self._alive and not self._probing and self._open is not None:
            self._guarded(self._leave, module, args, kwargs, output)

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        parts, sought = self._parts, self._parts.seeking
        if not parts.enter(module):
            return
        if module is parts.whole:
            if sought:  # no part of it need be heard
                for handle in self._root_handles[2:]:
                    handle.remove()
                self._root_handles, self._window = self._root_handles[:2], []
            self._open_forward(Forward(args, kwargs, self.model.training, torch.get_rng_state()))
        elif self._open is None or self._open.is_over(parts.name(module)):
            new = Forward((), {}, self.model.training, torch.get_rng_state(), route=(), by_hand=self._by_hand)
            self._open_forward(new, tensors_of((args, kwargs)))
        elif self._window and self._open is self._window[-1]:
            self._hear_own()
        if self._open is not None and self._open.route is not None:
            self._open.enter((args, kwargs))

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        forward = self._open
        if not self._parts.leave(module) or forward is None:
            return
        if forward.route is None:
            forward.output = output
        else:
            forward.add(self._parts.name(module), args, kwargs, output)
            self._by_hand = forward.by_hand and not self._parts.late
        forward.inside = len(forward.calls)
        if self._own is not None and self._window and forward is self._window[-1]:
            self._own.leave()
            self._forward_s += time.process_time() - self._t_open
        if torch.is_grad_enabled():
            self._await_loss(forward, output)

    def _await_loss(self, forward: Forward, output: Any) -> None:
        """Called when an output has been computed from which a loss may follow."""

    def _open_forward(self, forward: Forward, given: Sequence[Tensor] = ()) -> None:
        now = time.perf_counter()
        training = torch.is_grad_enabled()
        self._since_backward += training
        if training and not self._window and not self._t_forward:
            self._t_forward = now
        self._open = forward
        if self._edits:
            forward.own_inputs()
        if torch.cuda.is_initialized():
            forward.device_rng = torch.cuda.get_rng_state()
        given = given or forward.tensors
        device = given[0].device.type if given else "cpu"
        if torch.is_autocast_enabled(device):
            forward.autocast = (device, torch.get_autocast_dtype(device))
        if training and self._looking:
            self._open_seen()

    def _open_seen(self) -> None:
        """Begin a forward of a step that is looked at."""
        assert self._open is not None
        replica = self.scene.replica
        if not self._window:
            self._t_look, self._forward_s, self._t_clock = time.process_time(), 0.0, self._clock()
            if replica is not None:
                replica.take(self.model)
                self.scene.train_modes = [m.training for m in replica.all_modules]
        self._window.append(self._open)
        self._hear_own()

    def _hear_own(self) -> None:
        if self._own is not None:
            self._own.open()
        self._t_open = time.process_time()

    def _is_edited(self, forward: Forward) -> bool:
        """Whether the inputs are no longer what the model was called with; later ones are copied in time."""
        self._edits = self._edits or forward.is_edited
        return forward.is_edited

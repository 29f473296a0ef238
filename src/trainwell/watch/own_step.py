"""What a step of the loop's own shows: its activations, its gradients, and how its losses were scaled."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainwell.watch.replica import Forward, Replica
from trainwell.watch.shelf import Shelf

EQUAL = 1e-5
"""Losses of one step are scaled alike where their scales differ by less than this share."""

BUFFERED = 4_000_000
"""Numbers of a gradient up to which the memory of its copy is kept from look to look; a larger one gets memory of its own
from the system in any case."""


class OwnStep:
    """Listens in the loop's own network while a step is looked at, so that the copy need not repeat it.

    Hooks hang in the network only during a forward, and nothing that they return reaches it.

    Args:
        model: the loop's own.
        replica: the copy, into which the families have hung what listens.
        guarded: calls ours so that no error reaches the loop.
        shelf: where gradients are put.

    Attributes:
        cost_s: CPU-seconds spent in the loop's step since `end`.
    """

    def __init__(self, model: nn.Module, replica: Replica, guarded: Callable[..., Any], shelf: Shelf) -> None:
        own = dict(model.named_modules())
        heard = {name: replica.listeners(name) for name in replica.modules}
        self._parts = [(own[name], self._passing(hooks)) for name, hooks in heard.items() if hooks]
        self._model, self._replica, self._guarded = model, replica, guarded
        self._handles: list[Any] = []
        self._held: list[Any] = []
        self._on_copy: list[Tensor] = []
        self._grads: list[Tensor | None] = []
        self._come: dict[int, Tensor] = {}
        self._scales: list[Tensor | None] = []
        self._buffers: dict[int, Tensor] = {}
        self._hooked: list[nn.Parameter] = []
        self._shelf = shelf
        self.cost_s = 0.0
        self.needs_copy = any(isinstance(m, nn.RNNBase) for m in replica.modules.values())

    # ------------------------------------------------------------------ during the step

    def open(self) -> None:
        """Hang in before a forward of the step."""
        if torch.compiler.is_compiling():
            return
        if not self._handles:
            self._handles = [module.register_forward_hook(hear) for module, hear in self._parts]
        if not self._held:
            pairs = list(zip(self._replica.params, self._model.parameters(), strict=True))
            self._on_copy = [own for own, other in pairs if other.requires_grad]
            learning = [other for _, other in pairs if other.requires_grad]
            self._grads = [None] * len(learning)
            self._come = {}
            self._hooked = learning
            for place, param in enumerate(learning):
                come, take = (
                    functools.partial(self._guarded, f, place) for f in (self._note_grad, self._take)
                )
                self._held += [param.register_hook(come), param.register_post_accumulate_grad_hook(take)]

    def leave(self) -> None:
        """Take the hooks of a forward away."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def follow(self, loss: Tensor) -> None:
        """See how a loss of the step is scaled in what is minimised."""
        if self._held:
            place = len(self._scales)
            self._scales.append(None)
            self._held.append(loss.register_hook(functools.partial(self._guarded, self._note_scale, place)))

    def follow_whole(self, scale: float, parts: int) -> None:
        """Take a loss of the step, of so many parts, as all that is minimised, so many times."""
        if self._held:
            self._scales += [torch.tensor(scale)] * parts

    def end(self) -> None:
        """Forget the step."""
        self.leave()
        for handle in self._held:
            handle.remove()
        for param in self._hooked:
            if not param._backward_hooks:
                param._backward_hooks = None  # an empty table is still asked in every later backward pass
        self._held, self._grads, self._scales, self.cost_s = [], [], [], 0.0
        self._come, self._hooked = {}, []

    # ------------------------------------------------------------------ after the step

    @property
    def has_come(self) -> bool:
        """Whether a backward pass of the step has given gradients."""
        return any(g is not None for g in self._grads)

    def mean_grads(self, window: Sequence[Forward]) -> tuple[list[Tensor | None], Tensor | float] | None:
        """Return the gradient of the mean loss of the forwards, and what the loop's own was scaled by.

        `None` where it does not follow from the loop's own: losses of different weights, or one that was not minimised.
        """
        there = [g for g in self._grads if g is not None]
        if not there or len(self._scales) != sum(len(f.calls) for f in window):
            return None
        scale = _common(self._scales)
        if scale is None:
            return None
        scale = scale * len(window)
        if len(window) > 1 and not bool(torch.stack(torch._foreach_norm(there)).isfinite().all()):
            return None  # a scaler left the step out
        if not (isinstance(scale, float) and scale == 1.0):
            torch._foreach_div_(there, scale)
        return list(self._grads), scale

    def unheard_grads(self) -> list[Tensor | None] | None:
        """Return the gradients as they came, of a loss that was not heard; `None` where they are no numbers."""
        there = [g for g in self._grads if g is not None]
        if not there or not bool(torch.stack(torch._foreach_norm(there)).isfinite().all()):
            return None  # a scaler left the step out
        return list(self._grads)

    def put_on_copy(self, grads: Sequence[Tensor | None]) -> None:
        """Let the copy have these gradients."""
        for param in self._replica.params:
            param.grad = None
        for own, grad in zip(self._on_copy, grads, strict=True):
            own.grad = grad

    def apart(self, grads: Sequence[Tensor | None]) -> float | None:
        """Return how far the gradients of the copy are from these, as a share of its own; `None` for no numbers."""
        theirs = [p.grad for p in self._on_copy]
        if [g is None for g in grads] != [t is None for t in theirs]:
            return float("inf")
        mine, known = ([v for v in values if v is not None] for values in (grads, theirs))
        if not mine:
            return None
        apart = float(torch.stack(torch._foreach_norm(torch._foreach_sub(mine, known))).norm())
        size = float(torch.stack(torch._foreach_norm(known)).norm())
        if not size < float("inf"):
            return None
        return apart / size if size else (float("inf") if apart else 0.0)

    # ------------------------------------------------------------------ inside

    def _passing(self, hooks: Sequence[Callable[..., Any]]) -> Callable[..., None]:
        """Return a hook that lets listeners of the copy hear the loop's own module; what they return is dropped."""

        def hear(module: nn.Module, inputs: Any, output: Any) -> None:
            start = time.thread_time()
            for hook in hooks:
                self._guarded(hook, module, inputs, output)
            self.cost_s += 2 * (time.thread_time() - start)  # and as much for the gradient on its way back

        return hear

    def _note_grad(self, place: int, grad: Tensor) -> None:
        """Keep a gradient on its way: `torch.autograd.grad` asks for it as well, and what that gives is no step's."""
        self._come[place] = grad.detach()

    def _take(self, place: int, param: Tensor) -> None:
        """Add up what the backward passes of the step give, before anything edits it."""
        start = time.thread_time()
        grad = self._come.pop(place, None)
        if grad is None:
            return  # the step was taken within the backward pass
        old = self._grads[place]
        self._grads[place] = self._kept(place, grad) if old is None else old.add_(grad)
        self.cost_s += time.thread_time() - start

    def _kept(self, place: int, grad: Tensor) -> Tensor:
        """Return a copy of a gradient, on the CPU in memory that serves every look: see `Shelf`."""
        if not Shelf.fits(grad) or grad.numel() > BUFFERED:
            return grad.clone()
        own = self._buffers.get(place)
        if own is not None and own.shape == grad.shape and own.dtype == grad.dtype:
            return own.copy_(grad)
        self._buffers[place] = self._shelf.keep(grad)
        return self._buffers[place]

    def _note_scale(self, place: int, grad: Tensor) -> None:
        self._scales[place] = grad.detach()


def may_listen(model: nn.Module) -> bool:
    """Whether hooks in a model change nothing: a compiled one would be compiled anew."""
    return not any(
        isinstance(m, torch.jit.ScriptModule)
        or hasattr(m, "_orig_mod")
        or getattr(m, "_compiled_call_impl", None) is not None
        for m in model.modules()
    )


def _common(scales: Sequence[Tensor | None]) -> Tensor | float | None:
    """Return the one scale of all losses, below zero where it drives them up; a loss per sample is taken for its mean."""
    if len(scales) == 1 and scales[0] is not None and scales[0].dim() == 0 and not scales[0].is_cpu:
        return scales[0]  # without waiting for the device
    values: list[float] = []
    for scale in scales:
        if scale is None or not scale.numel():
            return None
        ends = (scale,) if scale.dim() == 0 else (scale.min(), scale.max())
        values += [float(v) * scale.numel() for v in ends]
    high = max(values, key=abs, default=0.0)
    apart = max(values, default=0.0) - min(values, default=0.0)
    return high if high and apart <= EQUAL * abs(high) < float("inf") else None

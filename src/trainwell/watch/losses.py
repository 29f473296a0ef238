"""Sees every call of torch's loss functions while a watcher listens.

`nn.CrossEntropyLoss` and its kin call `torch.nn.functional` by name, so that replacing the functions there
sees modules and functions alike. The call itself is passed on unchanged.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

KINDS = {
    "cross_entropy": "classification", "nll_loss": "classification", "multi_margin_loss": "classification",
    "binary_cross_entropy": "binary", "binary_cross_entropy_with_logits": "binary", "soft_margin_loss": "binary",
    "multilabel_soft_margin_loss": "binary",
    "mse_loss": "regression", "l1_loss": "regression", "smooth_l1_loss": "regression",
    "huber_loss": "regression", "kl_div": "distribution", "poisson_nll_loss": "regression",
}  # fmt: skip
"""The loss functions that are seen, and the task that each stands for."""

IGNORED = -100
"""What cross-entropy takes, where nothing else is said, for the class of a target that it passes over."""

WEIGHED_MEANS = ("cross_entropy", "nll_loss")
"""Those that average with the weights of the classes."""


@dataclasses.dataclass
class LossCall:
    """One call of a loss function.

    Args:
        name: its name in `torch.nn.functional`.
        function: the original function.
        input, target: its first two arguments.
        args, kwargs: the others; of torch's functions all are in `kwargs`, named or not.
        value: what it returned.
    """

    name: str
    function: Callable[..., Tensor]
    input: Tensor
    target: Tensor
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    value: Tensor

    def again(self, input: Tensor, target: Tensor | None = None, **changes: Any) -> Tensor:
        """Call the function again on another input."""
        kwargs = self.kwargs | changes
        result: Tensor = self.function(input, self.target if target is None else target, *self.args, **kwargs)
        return result

    @property
    def ignore_index(self) -> int:
        return int(self.kwargs.get("ignore_index", IGNORED))

    @property
    def left_out(self) -> Tensor | None:
        """Which targets the loss passes over (`ignore_index`); shape of the target, `None` if it never does."""
        if self.name not in WEIGHED_MEANS or self.target.is_floating_point():
            return None
        return self.target == self.ignore_index

    def each(self, rows: int) -> Tensor:
        """Return the loss of each sample, averaged over positions where a sample has several.

        Where the mean of the loss divides by weights, or by the targets that are not left out, so does theirs.
        """
        losses, out = self.again(self.input.detach(), reduction="none").detach().float(), self.left_out
        if self.name in WEIGHED_MEANS and self.kwargs.get("weight") is not None:
            mean = self.again(self.input.detach(), reduction="mean").detach().float()
            losses = losses * (mean / losses.mean().clamp(min=1e-30))
        elif out is not None:
            losses = losses / (1 - out.float().mean()).clamp(min=1 / max(1, out.numel()))
        return losses.reshape(rows, -1).mean(1) if rows and losses.numel() % rows == 0 else losses.reshape(-1)


Listener = Callable[[LossCall], None]
Quick = Callable[[Tensor], bool]
_LISTENERS: dict[Listener, Quick] = {}
_HEARING: tuple[tuple[Listener, Quick], ...] = ()
"""The same, made anew at every change: who hears a loss may leave."""
_ORIGINALS: dict[str, Callable[..., Tensor]] = {}


_level = torch._C._functorch.maybe_current_level


def is_transformed() -> bool:
    """Whether `torch.func` is at work, whose tensors are gone when its function returns."""
    return _level() is not None


def _wrap(name: str, original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    names = _names(original)

    @functools.wraps(original)
    def seen(*args: Any, **kwargs: Any) -> Tensor:
        value = original(*args, **kwargs)
        if not torch.compiler.is_compiling() and _level() is None:
            others = None
            for listener, quick in _HEARING:
                if not quick(value):
                    others = [*(others or ()), listener]
            if others:
                _tell(others, name, original, names, args, kwargs, value)
        return value

    return seen


def _names(function: Callable[..., Tensor]) -> tuple[str, ...]:
    """Return what the arguments of a loss after the first two are called; nothing of a function that does not say."""
    try:
        names = tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # e.g. one that a script has put in the place of torch's
        return ()
    return names[2:] if names[:2] == ("input", "target") else ()


def _tell(
    listeners: list[Listener], name: str, original: Callable[..., Tensor], names: tuple[str, ...],
    args: tuple[Any, ...], kwargs: dict[str, Any], value: Tensor,
) -> None:  # fmt: skip
    more = args[2:]
    rest = dict(zip(names, more, strict=False)) | kwargs
    pair = list(args[:2])
    for key in ("input", "target")[len(pair) :]:
        if key in rest:
            pair.append(rest.pop(key))
    if len(pair) == 2:
        call = LossCall(name, original, pair[0], pair[1], () if names else more, rest, value)
        for listener in listeners:
            listener(call)


def _never(value: Tensor) -> bool:
    return False


def listen(listener: Listener, quick: Quick = _never) -> None:
    """Let a listener hear of every loss from now on.

    Args: quick: takes the value alone, and returns whether that was all the listener needs.
    """
    if not _LISTENERS:
        for name in KINDS:
            _ORIGINALS[name] = getattr(F, name)
            setattr(F, name, _wrap(name, _ORIGINALS[name]))
    _LISTENERS[listener] = quick
    _note_change()


def original(name: str) -> Callable[..., Tensor]:
    """Return torch's own function, which nobody hears."""
    function: Callable[..., Tensor] = _ORIGINALS.get(name) or getattr(F, name)
    return function


def unlisten(listener: Listener) -> None:
    """Stop it; with the last listener torch gets its own functions back."""
    if listener in _LISTENERS:
        del _LISTENERS[listener]
        _note_change()
        if not _LISTENERS:
            for name, original in _ORIGINALS.items():
                setattr(F, name, original)
            _ORIGINALS.clear()


def _note_change() -> None:
    global _HEARING
    _HEARING = tuple(_LISTENERS.items())

"""A watch that sees every argument of a network's calls, by hooks that stay behind when the network is copied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from torch import nn

from trainwell.watch.backward import HearsBackward
from trainwell.watch.listening import Listening
from trainwell.watch.unseen import UnseenWatch


class Ear:
    """A hook of a module; a copy of the module, or a saved one, has one that hears nothing."""

    def __init__(self, hear: Callable[..., None] | None = None) -> None:
        self.hear = hear

    def __call__(self, *args: Any) -> None:
        if self.hear is not None:
            self.hear(*args)

    def __deepcopy__(self, memo: Any) -> Self:
        return type(self)()

    def __reduce__(self) -> Any:
        return type(self), ()


class HookedWatch(HearsBackward, UnseenWatch):
    """Watch a network through hooks of its own, which a copy of it does not have."""

    def see_forward(self, args: Any, kwargs: Any = None) -> None:
        self._before(self.model, args, kwargs)

    def _arm(self) -> None:
        if getattr(self.model, "_compiled_call_impl", None) is None:
            Listening._arm(self)

    def _hooks_of(self, module: nn.Module) -> list[Any]:
        return [
            module.register_forward_pre_hook(Ear(self._before), with_kwargs=True),
            module.register_forward_hook(Ear(self._after), with_kwargs=True),
        ]

    def _before(self, module: nn.Module, args: Any, kwargs: Any = None) -> None:
        self._before_forward(module, args, kwargs or {})

    def _after(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self._after_forward(module, args, kwargs, output)

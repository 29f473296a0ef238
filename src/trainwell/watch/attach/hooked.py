"""A watch that sees every argument of a network's calls, by hooks that stay behind when the network is copied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from torch import nn

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


class HookedWatch(UnseenWatch):
    """Watch a network through one of its modules, which the framework calls.

    Args:
        called: that module.
        model: what the watcher takes for the network: the module, or one that holds it and changes its outputs as the
            framework does before they reach the loss.
    """

    def __init__(self, called: nn.Module, model: nn.Module, optimizer: Any, **options: Any) -> None:
        self.called = called
        super().__init__(model, optimizer, **options)

    def see_forward(self, args: Any, kwargs: Any = None) -> None:
        self._before(self.called, args, kwargs or {})

    def _arm(self) -> None:
        compiled = getattr(self.called, "_compiled_call_impl", None) is not None
        if not compiled:
            Listening._arm(self)

    def _may_seek(self) -> bool:
        return self.called is self.model and super()._may_seek()

    def _hooks_of(self, module: nn.Module) -> list[Any]:
        heard = self.called if module is self.model else module
        return [
            heard.register_forward_pre_hook(Ear(self._before), with_kwargs=True),
            heard.register_forward_hook(Ear(self._after), with_kwargs=True),
        ]

    def _before(self, module: nn.Module, args: Any, kwargs: Any = None) -> None:
        if module is self.called and self.model is not module:
            self.model.training = module.training
        self._before_forward(self._known(module), args, kwargs or {})

    def _after(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self._after_forward(self._known(module), args, kwargs, output)

    def _known(self, module: nn.Module) -> nn.Module:
        return self.model if module is self.called else module

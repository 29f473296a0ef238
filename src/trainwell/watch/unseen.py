"""A watch that leaves no trace on the objects of a script that does not know of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from trainwell.values.finding import Finding
from trainwell.watch.watcher import Watch


class UnseenWatch(Watch):
    """Watch one training of a script.

    Hooks on a module would go along into `copy.deepcopy(model)` and `torch.save(model)`, so the hooks of the forward
    are torch's global ones, which look for the module by identity.
    """

    def see_forward(self, args: Any, called: nn.Module | None = None) -> None:
        """Note a forward, of the model or of a part of it, whose hooks were asked before this watch was made."""
        self._before(called or self.model, args)

    @property
    def is_probing(self) -> bool:
        """Whether the copy is at work, and not the script."""
        return self._probing

    def began_late(self) -> None:
        """Note that parts of the model were called before the watch began."""
        self._parts.late = True

    def abandon(self) -> None:
        """Let go of the loop without a last measurement."""
        self._alive, self._closed = False, True
        self._unhook()

    def close(self) -> list[Finding]:
        """As `Watch.close`; after an error of the watcher's own, which was told, nothing more is said."""
        if not self._alive:
            self.say = _in_silence
        return super().close()

    def _attach(self, loss: Any) -> None:
        with torch.no_grad(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            super()._attach(loss)  # it may be made inside of the script's forward
        replica = self.scene.replica
        if replica is not None and is_compiled(self.model):
            replica.model.forward = (
                replica.model._orig_mod.__call__
            )  # a second compilation would cost seconds

    def _arm(self) -> None:
        if is_compiled(self.model):
            super()._arm()  # global hooks would be traced into the graph
        elif not self._root_handles and getattr(self.model, "_compiled_call_impl", None) is None:
            register = nn.modules.module
            self._root_handles = [
                register.register_module_forward_pre_hook(self._before),
                register.register_module_forward_hook(self._after, with_kwargs=True),
            ]

    def _disarm(self) -> None:
        handles = self._root_handles
        super()._disarm()
        _forget(handles)

    def _unhook(self) -> None:
        handles = self._root_handles
        super()._unhook()
        _forget(handles)

    def _before(self, module: nn.Module, args: Any) -> None:
        if self._parts.hears(module):
            self._before_forward(module, args, {})

    def _after(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if not self._parts.hears(module):
            return
        forward = self._open
        if kwargs and forward is not None and module is self.model and not self._probing:
            forward.kwargs = kwargs  # the hook before a forward is not shown them
            device = forward.tensors[0].device.type if forward.tensors else "cpu"
            if torch.is_autocast_enabled(device):
                forward.autocast = (device, torch.get_autocast_dtype(device))
        self._after_forward(module, args, kwargs, output)


def _forget(handles: list[Any]) -> None:
    """Clear what torch 2.11 to 2.14 leave behind of a global hook with keywords, and then take for a hook."""
    left = getattr(nn.modules.module, "_global_forward_hooks_with_kwargs", {})
    for handle in handles:
        left.pop(handle.id, None)


def _in_silence(line: str) -> None:
    pass


def is_compiled(model: nn.Module) -> bool:
    """Whether the module is what `torch.compile` returned."""
    return hasattr(model, "_orig_mod")

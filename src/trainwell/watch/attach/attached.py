"""What all adapters share: begin when the network is first called, end with findings, never harm."""

from __future__ import annotations

import atexit
import functools
import importlib
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn
from torch.optim import Optimizer

from trainwell.values.errors import UsageError
from trainwell.values.finding import Finding
from trainwell.values.signal import Traces
from trainwell.watch.attach.hooked import Ear, HookedWatch
from trainwell.watch.attach.outcome import TRACES, Watched, lines_of, write_outcome
from trainwell.watch.attach.standin import StandIn
from trainwell.watch.models import bare, covers, reason_not_to_copy
from trainwell.watch.several import Several
from trainwell.watch.unseen import is_compiled
from trainwell.watch.watcher import Watch

IN_TURN = "networks are trained in turn, and the rules are for one network; the watcher stopped, the training goes on"

Say = Callable[[str], None]
Trains = Callable[[nn.Module], Sequence[Optimizer]]
"""Returns the optimizers that train a module which is being called."""


def to_stderr(line: str) -> None:
    """Print a line where it does not mix with results."""
    print(line, file=sys.stderr)


def needed(attribute: str, *modules: str) -> Any:
    """Return an attribute of the first of these modules that is there; what the user has imported comes first.

    Raises:
        UsageError: none can be imported.
    """
    reasons = []
    for name in sorted(modules, key=lambda name: name not in sys.modules):
        try:
            return getattr(importlib.import_module(name), attribute)
        except Exception as error:  # a package beside it may be broken, which shows as any error
            reasons.append(f"{type(error).__name__}: {error}")
    package = modules[0].partition(".")[0]
    raise UsageError(
        f"WatchCallback needs {package}, which cannot be imported ({reasons[0]}). "
        "Install it: pip install 'trainwell[attach]'"
    )


def framework(attribute: str, *modules: str) -> Any:
    """Return the base class of a framework's callbacks; where there is none, one that says so when it is made."""
    try:
        return needed(attribute, *modules)
    except UsageError as error:
        message = str(error)

    class Absent:
        """Stands for a class of a framework that cannot be imported."""

        def __new__(cls, *_: Any, **__: Any) -> Self:
            raise UsageError(message)

    return Absent


def guarded(method: Callable[..., Any]) -> Callable[..., None]:
    """Return a hook of an adapter so that no error in it reaches the framework: it ends the watching with one line."""

    @functools.wraps(method)
    def hook(self: Any, *args: Any, **kwargs: Any) -> None:
        if torch.compiler.is_compiling():
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self.give_up(f"the watcher stopped, the training goes on ({type(error).__name__}: {error})")

    return hook


def bottom(optimizer: Any) -> Any:
    """Return the optimizer inside of a framework's wrappers."""
    while isinstance(getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = optimizer.optimizer
    return optimizer


def abandon(watch: Watch) -> None:
    """Let go of a training without a last measurement."""
    watch._alive, watch._closed = False, True
    watch._unhook()


class Attached:
    """Keep a watch on each training of a framework, one after the other.

    Args:
        folder: of the run, to be read with `trainwell diagnose`; None writes nothing.
        say: where lines go; the standard error output where it is None.

    Attributes:
        findings: what ails the last training, the gravest first; can be read while it goes on.
        traces: what was measured of it.
    """

    def __init__(self, folder: str | Path | None = None, say: Say | None = None) -> None:
        super().__init__()
        self.folder, self.say = folder, say
        self._watch: Watch | None = None
        self._ended: list[Watched] = []
        self._handles: list[Any] = []

    @property
    def findings(self) -> list[Finding]:
        if self._watch is not None:
            return self._watch.findings
        return self._ended[-1].findings if self._ended else []

    @property
    def traces(self) -> Traces:
        if self._watch is not None:
            return self._watch.traces
        return self._ended[-1].traces if self._ended else Traces()

    def close(self, error: BaseException | None = None) -> list[Finding]:
        """End the watch on the training in hand, print its findings and write them; return them.

        Args:
            error: what ended the training, where it did not come to its end.
        """
        self._stop_seeking()
        watch, self._watch = self._watch, None
        if watch is not None:
            atexit.unregister(self.close)
            self._end(watch, error)
        return self.findings

    # ------------------------------------------------------------------ for the adapters

    def begin(self, root: nn.Module, *optimizers: Any) -> None:
        """Watch, from its first call with gradients on, the part of a network that holds all that these move."""
        members = [bottom(o) for o in optimizers]

        def stepped(self: Attached, *_: Any) -> None:
            """Where no such part was called, watch what can be seen of the network from now on."""
            if len(members) > 1:
                self.give_up(IN_TURN)
            else:
                self._begin(bare(root), members)

        parts = [root] if is_compiled(root) else list(bare(root).modules())
        parts = [m for m in parts if covers(m, members)]
        self.begin_where(parts, lambda module: members)
        if members:
            hook = functools.partial(guarded(stepped), self)
            self._handles.append(members[-1].register_step_post_hook(hook))

    def begin_where(self, modules: Sequence[nn.Module], trains: Trains) -> None:
        """Watch that of some modules which is first called with gradients on."""
        self.close()

        def called(self: Attached, module: nn.Module, args: Any, kwargs: Any) -> None:
            optimizers = trains(module) if torch.is_grad_enabled() else ()
            if optimizers:
                self._begin(module, optimizers).see_forward(args, kwargs)

        hook = Ear(functools.partial(guarded(called), self))
        self._handles += [m.register_forward_pre_hook(hook, with_kwargs=True) for m in modules]

    def give_up(self, why: str) -> None:
        """Let go of the training in hand, with one line."""
        self._stop_seeking()
        watch, self._watch = self._watch, None
        if watch is not None:
            abandon(watch)
        self._say(f"trainwell: {why}")

    # ------------------------------------------------------------------ inside

    def _say(self, line: str) -> None:
        (self.say or to_stderr)(line)

    def _stop_seeking(self) -> None:
        handles, self._handles = self._handles, []
        for handle in handles:
            handle.remove()

    def _begin(self, module: nn.Module, optimizers: Sequence[Optimizer]) -> HookedWatch:
        self._stop_seeking()
        if why := reason_not_to_copy(module):
            raise RuntimeError(why)
        optimizer = optimizers[0] if len(optimizers) == 1 else Several(optimizers)
        watch = HookedWatch(module, optimizer, say=self._say)
        watch.traces.facts["model_name"] = type(module).__name__
        if isinstance(optimizer, Several | StandIn):
            watch.traces.facts["optimizer"] = optimizer.kind
        self._take(watch)
        return watch

    def _take(self, watch: Watch) -> None:
        self._watch = watch
        atexit.register(self.close)  # of a training that ends with its process

    def _end(self, watch: Watch, error: BaseException | None) -> None:
        watch.__exit__(type(error) if error is not None else None, error, None)
        number = len(self._ended) + 1
        name = "" if self.folder is None else TRACES if number == 1 else f"{TRACES}-{number}"
        self._ended.append(Watched(name, watch.traces, watch.findings))
        for line in lines_of(self._ended[-1]):
            self._say(line)
        if self.folder is not None:
            try:
                write_outcome(Path(self.folder), self._ended)
            except OSError as failed:
                self._say(f"trainwell: the findings could not be written ({failed})")
            else:
                self._say(f"trainwell: more by `trainwell diagnose {shlex.quote(str(self.folder))}`")

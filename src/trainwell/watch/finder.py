"""Finds every training of this process, without a word from its script, and keeps a watch on it."""

from __future__ import annotations

import dataclasses
import functools
import os
import time
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from trainwell.values.finding import Finding
from trainwell.watch import losses
from trainwell.watch.losses import LossCall
from trainwell.watch.models import (
    bare,
    covers,
    likely_model,
    moves_in,
    reason_not_to_copy,
    together,
    whole_of,
)
from trainwell.watch.patches import first, scriptable, then
from trainwell.watch.several import Several
from trainwell.watch.unseen import UnseenWatch

FEW_STEPS = 8
"""Networks of which each is stepped within so many steps of the other are trained in turn, as adversaries are."""

MAX_TRAININGS, MAX_SHARE = 20, 0.05
"""A script that trains more networks one after the other, or so short ones that watching them costs more than this
share of the time, has only the first of them watched."""

IN_TURN = (
    "networks are trained in turn, and the rules are for one network; the watcher stopped, the script goes on"
)

SEARCH_STEPS = 64
"""So many steps after an optimizer was made its model is no longer looked for, until the optimizer steps."""

LIVE_AFTER_S, LIVE_SHARE = 20.0, 0.005
"""Findings are looked at while the script runs: first after so long, then at most for this share of the time."""

Tell = Callable[["Found"], None]
Say = Callable[[str], None]


@dataclasses.dataclass
class Found:
    """One training that was found.

    Args:
        name: class of its model.
        number: 1 for the first training of the script.
        steps: optimizer steps so far.
        findings: what ails it, the gravest first.
        over: whether it has ended, and the findings are the last word.
        error: why the watch ended before the training did; empty where it did not.
    """

    name: str
    number: int
    steps: int = 0
    findings: list[Finding] = dataclasses.field(default_factory=list)
    over: bool = False
    error: str = ""


class Finder:
    """Watches what this process trains, from `start` to `stop`.

    Args:
        folder: gives the folder for the traces of a training by its number from 1 on; None for nowhere.
        tell: called now and then with the training in hand and its findings so far, and when it has ended.
        say: where a line goes that tells of an error or a limit of the watcher.

    Attributes:
        trainings: what was found, in order.
    """

    def __init__(self, folder: Callable[[int], Path | None], tell: Tell, say: Say) -> None:
        self.folder, self.tell, self.say = folder, tell, say
        self.trainings: list[Found] = []
        self._watch: UnseenWatch | None = None
        self._steppers: list[Optimizer] = []  # the optimizers of the training in hand
        self._left: weakref.WeakSet[Optimizer] = weakref.WeakSet()  # those of trainings that are over
        self._tries: weakref.WeakKeyDictionary[Optimizer, int] = weakref.WeakKeyDictionary()
        self._sought: weakref.WeakSet[Optimizer] = weakref.WeakSet()  # whose parts were looked for
        self._made: list[
            tuple[weakref.ref[Optimizer], int]
        ] = []  # unwatched ones, and the steps done when made
        self._called: dict[int, weakref.ref[nn.Module]] = {}
        self._handles: list[Any] = []
        self._search: Any = None
        self._busy = self._heard = self._over = self._went_back = False
        self._are_joined = False  # whether several networks are watched as one
        self._stepped: weakref.WeakSet[Optimizer] = weakref.WeakSet()  # before the others of their step
        self._loss: Tensor | None = None  # the last one, as long as no training is in hand
        self._started = time.perf_counter()
        self._live_at, self._cost_s = self._started + LIVE_AFTER_S, 0.0
        self._patches: list[tuple[Any, str, Any, Any]] = []

    # ------------------------------------------------------------------ from start to stop

    def start(self) -> None:
        """Hang in: from now on optimizers, losses and backward passes are seen."""
        losses.listen(self._on_loss, self._on_value)
        for name in losses.KINDS:
            setattr(torch.nn.functional, name, scriptable(getattr(torch.nn.functional, name)))
        self._patch(Optimizer, "__init__", then(Optimizer.__init__, self._guard(self._on_made)))
        self._patch(Tensor, "backward", first(self._guard(self._on_backward), Tensor.backward))
        self._handles = [
            register_optimizer_step_pre_hook(self._guard(self._before_step)),
            register_optimizer_step_post_hook(self._guard(self._after_step)),
        ]
        # torch warns of hooks around a compiled module, which ours are on purpose
        warnings.filterwarnings("ignore", message="Using `torch.compile.module.` when there are global hooks")
        os.register_at_fork(after_in_child=self._let_go)  # workers of a loader, trainings in other processes

    def stop(self, error: BaseException | None = None) -> list[Found]:
        """Let go of everything, measure the training in hand to its end, and return all that were found."""
        self._unhook()
        self._guard(self._close)(error)
        return self.trainings

    def _patch(self, owner: Any, name: str, ours: Any) -> None:
        self._patches.append((owner, name, getattr(owner, name), ours))
        setattr(owner, name, ours)

    def _unhook(self) -> None:
        for owner, name, original, ours in self._patches:
            if getattr(owner, name) is ours:  # who patched it after us keeps what is then an empty shell
                setattr(owner, name, original)
        self._end_search()
        for handle in self._handles:
            handle.remove()
        self._patches, self._handles = [], []
        losses.unlisten(self._on_loss)

    def _let_go(self) -> None:
        """Let go of everything at once, without a word on the training in hand."""
        self._over = True
        self._unhook()
        watch, self._watch, self._steppers = self._watch, None, []
        if watch is not None:
            watch.abandon()

    def _guard(self, function: Callable[..., None]) -> Callable[..., None]:
        """Return ours so that no error in it reaches the script: it ends the watching with one line."""

        @functools.wraps(function)
        def guarded(*args: Any) -> None:
            if self._busy or self._over or torch.compiler.is_compiling():
                return
            self._busy = True
            try:
                function(*args)
            except Exception as error:
                self._give_up(f"the watcher stopped, the script goes on ({type(error).__name__}: {error})")
            finally:
                self._busy = False

        return guarded

    def _give_up(self, why: str) -> None:
        if self._watch is not None:
            self.trainings[-1].error = why
        self._let_go()
        self.say(f"trainwell: {why}")

    # ------------------------------------------------------------------ what is seen

    def _on_loss(self, call: LossCall) -> None:
        """Never called: the value is enough."""

    def _on_value(self, value: Tensor) -> bool:
        self._heard = self._heard or value.requires_grad
        return True

    def _on_backward(self, loss: Any) -> None:
        if self._watch is None:
            self._loss = loss.detach() if isinstance(loss, Tensor) and loss.dim() == 0 else None
        elif self._watch.is_probing:
            return None  # that was the copy
        elif self._are_joined and self._stepped:
            return self._give_up(IN_TURN)
        elif not self._heard and isinstance(loss, Tensor) and loss.dim() == 0:
            self._watch.note_loss(loss)
        self._went_back = True
        return None

    def _on_made(self, optimizer: Optimizer) -> None:
        self._made.append((weakref.ref(optimizer), self._steps))
        if self._search is None and self._may_watch_more():
            self._search = register_module_forward_pre_hook(self._guard(self._on_forward))

    def _on_forward(self, module: nn.Module, args: Any) -> None:
        """Look whether this forward begins a training: the outermost module is called before its parts."""
        known = self._called.get(id(module))
        if not torch.is_grad_enabled() or (known is not None and known() is module):
            return None
        self._called[id(module)] = weakref.ref(module)
        made = [o for o in (ref() for ref, _ in self._made) if o is not None]
        steppers = [o for o in made if covers(module, [o])]
        if steppers:
            return self._begin(module, steppers, args)
        for optimizer in made:
            if optimizer not in self._sought and moves_in(module, optimizer):
                self._sought.add(optimizer)  # the whole memory is searched: once
                whole = whole_of(optimizer, module)
                if whole is not None:
                    return self._begin(whole, [optimizer], args, module)
        return None

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Begin with an optimizer whose model was not recognised by its forward, while the weights are fresh."""
        if optimizer in self._steppers or optimizer in self._left or self._tries.get(optimizer, 0) > 1:
            return
        self._tries[optimizer] = self._tries.get(optimizer, 0) + 1
        called = [m for m in (r() for r in self._called.values()) if m is not None]
        to_come = self._tries[optimizer] == 1 and _has_closure(args, kwargs)  # its forward
        model = None if to_come else likely_model(optimizer, called)
        if model is not None:
            self._begin(model, [optimizer], None)
        elif all(ref() is not optimizer for ref, _ in self._made):
            self._on_made(optimizer)  # made unseen, or long ago: its next forward will tell

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._heard = False
        if optimizer in self._left:
            self._give_up(IN_TURN)
        if self._watch is None:
            return
        self._stepped.add(optimizer)
        if len(self._stepped) == len(self._steppers):
            self._stepped.clear()
        if optimizer is not self._steppers[-1]:
            return
        self.trainings[-1].steps += 1
        if self._search is not None and self._steps % SEARCH_STEPS == 0:
            self._end_search()
        if time.perf_counter() >= self._live_at:
            self._tell_so_far()

    # ------------------------------------------------------------------ one training after the other

    @property
    def _steps(self) -> int:
        """Steps of the training in hand."""
        return self.trainings[-1].steps if self._watch is not None else 0

    def _may_watch_more(self) -> bool:
        if len(self.trainings) < 3:
            return True
        spent = time.perf_counter() - self._started
        return len(self.trainings) < MAX_TRAININGS and self._cost_s < MAX_SHARE * spent

    def _begin(
        self, module: nn.Module, steppers: list[Optimizer], args: Any, called: nn.Module | None = None
    ) -> None:
        early = any(ref() in steppers and made == 0 for ref, made in self._made)
        if self._watch is not None and early and self._steps < FEW_STEPS:
            return self._give_up(IN_TURN) if self._went_back else self._join(module, steppers, args)
        self._close(None)
        self._went_back = False
        self._stepped.clear()
        self._made = [(ref, n) for ref, n in self._made if ref() is not None and ref() not in steppers]
        model, why = bare(module), reason_not_to_copy(module)
        if why:
            return self._give_up(why)
        start, optimizer = time.perf_counter(), steppers[0] if len(steppers) == 1 else Several(steppers)
        number = len(self.trainings) + 1
        watch = UnseenWatch(model, optimizer, out=self.folder(number), say=self.say)
        watch.traces.facts["model_name"] = type(model).__name__
        if isinstance(optimizer, Several):
            watch.traces.facts["optimizer"] = optimizer.kind
        self._watch, self._steppers = watch, steppers
        self.trainings.append(Found(type(model).__name__, number))
        if args is not None and model is module:
            watch.see_forward(args, called)
        elif args is None and self._loss is not None:
            watch.note_loss(self._loss)
        self._loss = None
        self._cost_s += time.perf_counter() - start
        if not self._made:
            self._end_search()
        return None

    def _join(self, module: nn.Module, steppers: list[Optimizer], args: Any) -> None:
        """Watch networks as one that are called one after the other before anything is minimised.

        Each has an optimizer of its own. Where one steps and there is another backward pass before the others step, they
        are trained in turn after all.
        """
        watch, known = self._watch, self._steppers
        assert watch is not None
        parts = list(watch.model.children()) if self._are_joined else [watch.model]
        watch.abandon()
        self._watch, self._are_joined = None, True
        self.trainings.pop()
        self._begin(together([*parts, module]), [*known, *steppers], args, module)
        if self._watch is not None:
            self._watch.began_late()

    def _end_search(self) -> None:
        if self._search is not None:
            self._search.remove()
        self._search, self._made = None, []
        self._called.clear()

    def _close(self, error: BaseException | None) -> None:
        watch, self._watch = self._watch, None
        if watch is None:
            return
        start, found = time.perf_counter(), self.trainings[-1]
        watch.__exit__(type(error) if error is not None else None, error, None)
        found.findings, found.error = watch.findings, str(watch.traces.fact("watch_error") or "")
        found.over = True
        self._left.update(self._steppers)
        self._steppers, self._are_joined = [], False
        self._cost_s += time.perf_counter() - start
        self.tell(found)

    def _tell_so_far(self) -> None:
        assert self._watch is not None
        start = time.perf_counter()
        self.trainings[-1].findings = self._watch.findings
        self.tell(self.trainings[-1])
        now = time.perf_counter()
        self._live_at = now + max(LIVE_AFTER_S, (now - start) / LIVE_SHARE)


def _has_closure(args: Any, kwargs: Any) -> bool:
    """Whether a step computes its loss itself, as those of LBFGS and of Lightning do."""
    return kwargs.get("closure") is not None or (len(args) > 1 and args[1] is not None)

"""The parts of a network that a loop calls one by one, where it never calls the network itself.

`loss(decoder(encoder(x)), x)`: what the parts were called with is kept as a route, which the copy can go again.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

TRIES = 3
"""Steps after which a network of which nothing was called is no longer searched for its parts."""

MOST_CALLS = 64
"""Calls of parts in one step whose results are kept."""


class Parts:
    """Tells which modules the loop itself calls: the whole network, or some of its parts.

    Args:
        whole: the network.
        may_seek: whether hooks may be hung into its parts for the first steps.

    Attributes:
        seeking: whether it is not known yet.
        called: the parts, in the order of their first call; none where the whole is called.
        late: whether some may have been called unheard, before the first step.
    """

    def __init__(self, whole: nn.Module, may_seek: bool) -> None:
        self.whole, self.seeking, self.late = whole, may_seek, False
        self.called: list[nn.Module] = []
        self._names = {id(m): name for name, m in whole.named_modules() if name}
        self._inside: nn.Module | None = None
        self._depth = self._steps = 0

    def to_hear(self) -> list[nn.Module]:
        """Return the modules whose calls are to be heard; the whole comes first."""
        if self.seeking:
            return list(self.whole.modules())
        return self.called or [self.whole]

    def hears(self, module: nn.Module) -> bool:
        """Whether a module is one of those."""
        if self.seeking:
            return module is self.whole or id(module) in self._names
        return any(module is m for m in self.called) if self.called else module is self.whole

    def name(self, module: nn.Module) -> str:
        return self._names.get(id(module), "")

    def enter(self, module: nn.Module) -> bool:
        """Note that a module is called; return whether it is the loop that calls it."""
        if module is self.whole:
            self.called, self.seeking = [], False
            return True
        if self._inside is not None:
            self._depth += module is self._inside
            return False
        if self.seeking and torch.is_grad_enabled() and not any(module is m for m in self.called):
            self.called.append(module)
        if not any(module is m for m in self.called):
            return False
        self._inside = module
        return True

    def leave(self, module: nn.Module) -> bool:
        """Note that a call has come to its end; return whether it was the loop's."""
        if module is not self._inside:
            return module is self.whole
        if self._depth:
            self._depth -= 1
            return False
        self._inside = None
        return True

    def stepped(self) -> bool:
        """Note a step of the optimizer; return whether it became known now which parts are called."""
        self._inside, self._depth, self._steps = None, 0, self._steps + 1
        if self.late:
            self.late = False
            return False
        if not self.seeking or not (self.called or self._steps >= TRIES):
            return False
        self.seeking = False
        return True


@dataclasses.dataclass(frozen=True)
class Given:
    """An argument that came from outside: the number of the input."""

    index: int


@dataclasses.dataclass(frozen=True)
class Passed:
    """An argument that came from the parts called before.

    Args:
        relation: how it follows from their outputs, the latest first.
        detached: whether gradients stop there.
    """

    relation: Any
    detached: bool


@dataclasses.dataclass(frozen=True)
class PartCall:
    """One call of a part; the tensors of its arguments are `Given` or `Passed`."""

    name: str
    args: Any
    kwargs: Any


Route = tuple[PartCall, ...]


def follow(route: Route, model: nn.Module, inputs: tuple[Any, ...]) -> list[Any]:
    """Call the parts of another network as those of the first were called; return their outputs, the latest first."""
    outputs: list[Any] = []
    for call in route:
        part = model.get_submodule(call.name)
        args, kwargs = _filled(call.args, inputs, outputs), _filled(call.kwargs, inputs, outputs)
        outputs.insert(0, part(*args, **kwargs))
    return outputs


def _filled(tree: Any, inputs: tuple[Any, ...], outputs: list[Any]) -> Any:
    if isinstance(tree, Given):
        return inputs[tree.index]
    if isinstance(tree, Passed):
        value: Tensor = tree.relation.apply(outputs)
        return value.detach() if tree.detached else value
    if type(tree) in (list, tuple):
        return type(tree)(_filled(v, inputs, outputs) for v in tree)
    if type(tree) is dict:
        return {k: _filled(v, inputs, outputs) for k, v in tree.items()}
    return tree

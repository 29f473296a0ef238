"""Stands for an optimizer that is none of torch's, as the watcher reads it."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class StandIn:
    """Show the groups of a foreign optimizer; the adapter tells of its steps.

    Args:
        groups: returns (parameters, settings) of each group as they stand; the settings by the names of
            `torch.optim`: `lr`, `momentum`, `betas`, `eps`, `weight_decay`.
        kind: the class of `torch.optim` that moves alike.
    """

    def __init__(
        self, groups: Callable[[], Sequence[tuple[Sequence[Tensor], Mapping[str, Any]]]], kind: str
    ) -> None:
        self.groups, self.kind = groups, kind
        self.state: dict[Any, Any] = defaultdict(dict)
        self._hooks: list[Callable[..., None]] = []

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(params), **settings} for params, settings in self.groups()]

    @property
    def has_twin(self) -> bool:
        """Whether there is an optimizer of torch that moves alike."""
        return isinstance(getattr(torch.optim, self.kind, None), type)

    def twin(self, own: Sequence[Tensor]) -> Optimizer:
        """Return an optimizer of torch over copies of the parameters, without memory of what was before."""
        make = getattr(torch.optim, self.kind)
        known, settings = inspect.signature(make).parameters, self.param_groups[0]
        twin: Optimizer = make(
            [p for p in own if p.requires_grad],
            **{k: v for k, v in settings.items() if k in known and k != "params"},
        )
        return twin

    def register_step_post_hook(self, hook: Callable[..., None]) -> _Handle:
        """Call the hook after each step that the adapter tells of."""
        self._hooks.append(hook)
        return _Handle(self._hooks, hook)

    def stepped(self) -> None:
        """Tell of a step that has just been taken."""
        for hook in tuple(self._hooks):
            hook(self, (), {})


class _Handle:
    """Takes a hook away again."""

    def __init__(self, hooks: list[Callable[..., None]], hook: Callable[..., None]) -> None:
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)

"""Several optimizers over the parts of one model, as one."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import Optimizer


class Several(Optimizer):
    """Stands for optimizers that share a model; a step is done when all have stepped."""

    def __init__(self, members: Sequence[Optimizer]) -> None:
        # without the base's own: it would take the groups for those of a new optimizer
        self.members = list(members)
        self.defaults = {}
        self._groups: list[dict[str, Any]] | None = None
        self._states: Any = None
        self._optimizer_step_pre_hooks = type(members[0]._optimizer_step_pre_hooks)()
        self._optimizer_step_post_hooks = type(members[0]._optimizer_step_post_hooks)()

    @property
    def kind(self) -> str:
        return "+".join(type(m).__name__ for m in self.members)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self._groups or [g for m in self.members for g in m.param_groups]

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self._groups = groups

    @property
    def state(self) -> Any:
        return self._states or defaultdict(dict, {p: s for m in self.members for p, s in m.state.items()})

    @state.setter
    def state(self, states: Any) -> None:
        self._states = states

    def register_step_post_hook(self, hook: Callable[..., None]) -> Any:
        """Call the hook once all have stepped, or once one begins again."""
        stepped: set[int] = set()

        def after(member: Optimizer, args: Any, kwargs: Any) -> None:
            again = id(member) in stepped
            stepped.add(id(member))
            if again or len(stepped) == len(self.members):
                stepped.clear()
                hook(self, args, kwargs)

        return _Handles([m.register_step_post_hook(after) for m in self.members])

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Step a copy that what-if branches made: its groups and states are its own."""
        assert self._groups is not None
        place = 0
        for member in self.members:
            count = len(member.param_groups)
            twin = copy.copy(member)
            twin.__dict__ = {k: v for k, v in member.__dict__.items() if k != "step"}
            twin.param_groups, twin.state = self._groups[place : place + count], self._states
            twin._optimizer_step_pre_hooks = type(member._optimizer_step_pre_hooks)()
            twin._optimizer_step_post_hooks = type(member._optimizer_step_post_hooks)()
            type(member).step(twin)
            place += count


class _Handles:
    """Handles of hooks that are removed together."""

    def __init__(self, handles: Sequence[Any]) -> None:
        self._handles = handles

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

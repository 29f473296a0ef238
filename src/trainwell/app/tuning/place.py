"""Whether what a search varies has a place in the network and the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from trainwell.app.recipes import try_out
from trainwell.app.sources import Prepared
from trainwell.app.tuning.space import recipe_of
from trainwell.app.tuning.work import Builder
from trainwell.search.parameter import Parameter
from trainwell.search.space import Space
from trainwell.values.errors import NoPlaceError, UsageError
from trainwell.values.recipe import Recipe
from trainwell.values.technique import REGISTRY

SITES = {"data", "model", "groups", "batch", "loss"}
"""Where a technique may find nothing to act on; what edits weights and gradients always does."""


def placed_space(
    space: Space, usual: Space, base: Recipe, build: Builder, prepared: Prepared, loss: Any,
    say: Callable[[str], None],
) -> Space:  # fmt: skip
    """Return the space without the usual techniques that have no place here.

    Args:
        usual: what is searched unless the user says otherwise.

    Raises:
        UsageError: a technique that the user named has none.
    """
    kept = []
    for p in space:
        try:
            for value in _tried(p):
                recipe = recipe_of(base, {p.name: value})
                try_out(recipe, prepared, build(recipe, torch.Generator().manual_seed(0)), loss)
        except NoPlaceError as error:
            if p.name not in {u.name for u in usual}:
                raise UsageError(f"--space {p.name}: {error}") from None
            say(f"left out  {p.name} is not searched: {error}")
            continue
        kept.append(p)
    return space if len(kept) == len(space) else Space(tuple(kept))


def _tried(p: Parameter) -> Iterator[Any]:
    """Yield the values under which a technique acts that may have no place."""
    head = p.name.partition(".")[0]
    kind = REGISTRY.get(head)
    if head == "norm":
        yield from (o for o in p.options if o != "none")
    elif kind is not None and kind.role == "technique" and (kind.kinds or SITES & set(kind.sites())):
        yield p.options[-1] if p.options else p.at(1.0)

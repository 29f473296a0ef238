"""Puts a function of ours before or after one of torch's, so that only an identity could tell."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]


def then(original: Function, after: Callable[[Any], None]) -> Function:
    """Return the method with a call of ours after it."""

    @functools.wraps(original)
    def both(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        after(self)
        return result

    return both


def first(before: Callable[[Any], None], original: Function) -> Function:
    """Return the method with a call of ours before it."""

    @functools.wraps(original)
    def both(self: Any, *args: Any, **kwargs: Any) -> Any:
        before(self)
        return original(self, *args, **kwargs)

    return both


def scriptable(seen: Function) -> Function:
    """Return a wrapped function that `torch.jit.script` compiles as if it were not.

    The compiler reads the source of the wrapped function, but looks names up among the globals of the wrapper: these
    are made those of the original.
    """
    original = seen.__wrapped__  # type: ignore[attr-defined]

    def through(*args: Any, **kwargs: Any) -> Any:
        return seen(*args, **kwargs)

    twin = types.FunctionType(
        through.__code__, original.__globals__, original.__name__, None, through.__closure__
    )
    return functools.wraps(original)(twin)

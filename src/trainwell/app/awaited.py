"""Waits for a large library: what is ours begins when the script imports it, and no garbage is collected meanwhile."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType


class Awaited(MetaPathFinder):
    """Calls a function once, right after the first import of a library; at once where that has been.

    Until then neither the library nor what needs it is imported: what a script sets in the environment before
    (`OMP_NUM_THREADS` ...) counts as it does without us.

    While torch is imported Python searches its some 250,000 new objects for garbage again and again, and later on too.
    Here collections rest until the library is there, and what there is then is frozen (`gc.freeze`).

    Args:
        library: its name.
        begin: what to call; it catches its own errors.
    """

    def __init__(self, library: str, begin: Callable[[], None]) -> None:
        self.library, self.begin = library, begin

    def start(self) -> None:
        """Begin now, or wait for the library."""
        if self.library in sys.modules:
            self.begin()
        else:
            self.wait()

    def wait(self) -> None:
        """Look for the library at every import from now on."""
        sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """Wait no longer."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.library:
            return None
        self.stop()
        spec = find_spec(fullname)
        if spec is None or spec.loader is None:
            self.wait()
        else:
            spec.loader = _Followed(spec.loader, self)
        return spec


class _Followed(Loader):
    """Loads a library as its own loader does, and says so."""

    def __init__(self, loader: Loader, awaited: Awaited) -> None:
        self.loader, self.awaited = loader, awaited

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__loader__ = module.__spec__.loader = self.loader  # nobody sees that we were here
        with _no_collections():
            try:
                self.loader.exec_module(module)
            except BaseException:
                self.awaited.wait()  # it may be tried again
                raise
            self.awaited.begin()
            gc.freeze()


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()

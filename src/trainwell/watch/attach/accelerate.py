"""Accelerate: `with WatchCallback(model, optimizer):` around a loop of one's own."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trainwell.watch.attach.attached import Attached, Say, guarded, needed


class WatchCallback(Attached):
    """Watch a loop whose model and optimizers were prepared, and end it with findings.

    ```python
    from trainwell.watch.attach.accelerate import WatchCallback

    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    with WatchCallback(model, optimizer, folder="runs/net") as watch:
        for x, y in loader: ...
    watch.findings
    ```

    Of several processes the first is watched.

    Args:
        model, optimizers: as they are used in the loop, prepared.
        folder, say: see `Attached`.
    """

    def __init__(
        self, model: Any, *optimizers: Any, folder: str | Path | None = None, say: Say | None = None
    ) -> None:
        super().__init__(folder, say)
        self.is_first = needed("PartialState", "accelerate")().is_main_process
        self.model, self.optimizers = model, optimizers

    @guarded
    def _enter(self) -> None:
        if self.is_first:
            self.begin(self.model, *self.optimizers)

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    @guarded
    def _leave(self, error: BaseException | None) -> None:
        self.close(error)

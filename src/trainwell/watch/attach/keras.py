"""Keras 3 on the torch backend: `model.fit(..., callbacks=[WatchCallback()])`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainwell.values.errors import UsageError
from trainwell.watch.attach.attached import Attached, Say, framework, guarded, needed
from trainwell.watch.attach.keras_steps import Steps

Callback = framework("Callback", "keras.callbacks")


class WatchCallback(Attached, Callback):  # type: ignore[misc,valid-type]
    """Watch each `model.fit(...)`, and end it with findings.

    ```python
    from trainwell.watch.attach.keras import WatchCallback

    watch = WatchCallback(folder="runs/net")
    model.fit(x, y, validation_data=(x_val, y_val), callbacks=[watch])
    watch.findings
    ```

    Sees losses, gradients, weights and data, but not the units within the layers, and of several losses the sum.
    Args: see `Attached`. Raises: UsageError: Keras runs on another backend than torch.
    """

    def __init__(self, folder: str | Path | None = None, say: Say | None = None) -> None:
        super().__init__(folder, say)
        backend = needed("backend", "keras").backend()
        if backend != "torch":
            raise UsageError(
                f"WatchCallback needs KERAS_BACKEND=torch before Keras is imported, got {backend}."
            )
        self._steps: Steps | None = None

    @guarded
    def on_train_begin(self, logs: Any = None) -> None:
        """Begin to watch the model, whose loss is heard from now on."""
        self.close()
        self._steps = Steps(self.model, self.params, self._say, self.give_up)
        self._take(self._steps.watch)

    @guarded
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Look into this step, if it is one of those that are looked at."""
        if self._steps is not None:
            self._steps.begin()

    @guarded
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note the step."""
        if self._steps is not None:
            self._steps.end()

    @guarded
    def on_test_begin(self, logs: Any = None) -> None:
        """Note what was trained before this validation."""
        if self._steps is not None:
            self._steps.begin_validation()

    @guarded
    def on_test_end(self, logs: Any = None) -> None:
        """Note the validation."""
        if self._steps is not None:
            self._steps.end_validation(float(logs["loss"]))

    @guarded
    def on_train_end(self, logs: Any = None) -> None:
        """End the watch."""
        self.close()

    def _stop_seeking(self) -> None:
        super()._stop_seeking()
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.let_go()

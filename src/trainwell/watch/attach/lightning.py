"""PyTorch Lightning: `Trainer(callbacks=[WatchCallback()])`, of `lightning` or `pytorch_lightning`."""

from __future__ import annotations

from typing import Any

from trainwell.watch.attach.attached import Attached, framework, guarded

Callback = framework("Callback", "lightning.pytorch", "pytorch_lightning")


class WatchCallback(Attached, Callback):  # type: ignore[misc,valid-type]
    """Watch each `trainer.fit(...)`, and end it with findings.

    ```python
    from trainwell.watch.attach.lightning import WatchCallback

    watch = WatchCallback(folder="runs/net")
    Trainer(max_epochs=10, callbacks=[watch]).fit(module, train_loader, val_loader)
    watch.findings
    ```

    Of several processes the first is watched. Args: see `Attached`.
    """

    @guarded
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Look out for the first call of the module, or of the part of it that the optimizers train."""
        if trainer.is_global_zero:
            self.begin(pl_module, *trainer.optimizers)

    @guarded
    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """End the watch."""
        self.close()

    @guarded
    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """End the watch of a training that failed or was interrupted."""
        self.close(exception)

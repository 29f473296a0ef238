"""skorch: `NeuralNetClassifier(..., callbacks=[WatchCallback()])`."""

from __future__ import annotations

from typing import Any

from trainwell.watch.attach.attached import Attached, framework, guarded

Callback = framework("Callback", "skorch.callbacks")


class WatchCallback(Attached, Callback):  # type: ignore[misc,valid-type]
    """Watch each `net.fit(X, y)`, and end it with findings.

    ```python
    from trainwell.watch.attach.skorch import WatchCallback

    net = NeuralNetClassifier(Module, callbacks=[("watch", WatchCallback(folder="runs/net"))])
    net.fit(X, y)
    dict(net.callbacks_)["watch"].findings
    ```

    Args: see `Attached`.
    """

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return what a clone is made with."""
        return {"folder": self.folder, "say": self.say}

    @guarded
    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        """Look out for the first call of the module."""
        self.begin(net.module_, net.optimizer_)

    @guarded
    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        """End the watch."""
        self.close()

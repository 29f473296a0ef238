"""skorch: `NeuralNetClassifier(..., callbacks=[WatchCallback()])`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

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
        # skorch gives this loss the logarithm of what the module returns
        takes_log = isinstance(getattr(net, "criterion_", None), nn.NLLLoss)
        self.begin(net.module_, net.optimizer_, dress=LogOf if takes_log else None)

    @guarded
    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        """End the watch."""
        self.close()


class LogOf(nn.Module):
    """A module that returns probabilities, seen as one that returns their logarithm."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the logarithm as `NeuralNetClassifier.get_loss` takes it."""
        found = self.module(*args, **kwargs)
        first = found[0] if isinstance(found, tuple) else found
        return torch.log(first + torch.finfo(first.dtype).eps)

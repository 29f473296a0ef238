"""Lightning Fabric: `Fabric(callbacks=[WatchCallback()])`."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from trainwell.watch.attach.attached import Attached, Say, bottom, guarded, needed
from trainwell.watch.models import covers


class WatchCallback(Attached):
    """Watch the training of a module that `fabric.setup` was given; it ends with the process, or when it is closed.

    ```python
    from trainwell.watch.attach.fabric import WatchCallback

    watch = WatchCallback(folder="runs/net")
    fabric = Fabric(callbacks=[watch])
    model, optimizer = fabric.setup(model, optimizer)
    ...                               # the loop, unchanged
    watch.close()                     # or fabric.call("on_train_end")
    watch.findings
    ```

    Of several processes the first is watched. Args: see `Attached`.
    """

    def __init__(self, folder: str | Path | None = None, say: Say | None = None) -> None:
        super().__init__(folder, say)
        needed("Fabric", "lightning.fabric", "lightning_fabric")

    @guarded
    def on_after_setup(self, fabric: Any, module: Any) -> None:
        """Look out for the first call of this module."""
        if fabric.is_global_zero:
            self.begin_where([module.module], _trainers)

    @guarded
    def on_train_end(self) -> None:
        """End the watch."""
        self.close()


def _trainers(module: Any) -> list[Optimizer]:
    """Return the optimizers that move this module: Fabric does not tell of them."""
    # `type`, not `isinstance`: some objects answer to their class only after an import
    alive = {id(o): o for o in map(bottom, (o for o in gc.get_objects() if issubclass(type(o), Optimizer)))}
    return [o for o in alive.values() if covers(module, [o])]

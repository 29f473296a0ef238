"""Hugging Face Trainer: `Trainer(..., callbacks=[WatchCallback()])`."""

from __future__ import annotations

from typing import Any

from trainwell.watch.attach.attached import Attached, framework, guarded

TrainerCallback = framework("TrainerCallback", "transformers")


class WatchCallback(Attached, TrainerCallback):  # type: ignore[misc,valid-type]
    """Watch each `trainer.train()`, and end it with findings.

    ```python
    from trainwell.watch.attach.transformers import WatchCallback

    watch = WatchCallback(folder="runs/bert")
    Trainer(model, args, train_dataset=train, eval_dataset=val, callbacks=[watch]).train()
    watch.findings
    ```

    Of several processes the first is watched. Args: see `Attached`.
    """

    @guarded
    def on_train_begin(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        """Look out for the first call of the model."""
        if args.torch_compile:
            self.give_up(
                "a model that the Trainer compiles is not watched: the watcher would be compiled along"
            )
        elif state.is_world_process_zero:
            self.begin(objects["model"], objects["optimizer"])

    @guarded
    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End the watch."""
        self.close()

"""One training with another framework, as its documentation shows it, for benchmarks/lanes.py."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset


def with_lightning(case: Any, split: tuple[Tensor, ...], seed: int) -> float:
    """Train one network with Lightning; return its last validation loss."""
    import lightning
    from lanes import network

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = network(case)

        def training_step(self, batch: Any, index: int) -> Tensor:
            return F.cross_entropy(self.model(batch[0]), batch[1])

        def validation_step(self, batch: Any, index: int) -> None:
            outputs = self.model(batch[0])
            self.log("val_loss", F.cross_entropy(outputs, batch[1]))
            self.log("val_acc", (outputs.argmax(1) == batch[1]).float().mean())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    torch.manual_seed(seed)
    x, y, x_val, y_val = split
    trainer = lightning.Trainer(
        max_epochs=case.epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    loader = DataLoader(TensorDataset(x, y), case.batch, shuffle=True)
    trainer.fit(Module(), loader, DataLoader(TensorDataset(x_val, y_val), 256))
    return float(trainer.callback_metrics["val_loss"])


def with_keras(case: Any, split: tuple[Tensor, ...], seed: int) -> float:
    """Train one perceptron with Keras on torch; return its last validation loss."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    if case.side or case.norm:
        raise SystemExit(
            "the Keras network is written for perceptrons without norm: --cases digits tiny wide"
        )
    keras.utils.set_random_seed(seed)
    hidden = [keras.layers.Dense(width, activation="relu") for width in case.widths[1:-1]]
    model = keras.Sequential([keras.Input((case.widths[0],)), *hidden, keras.layers.Dense(case.widths[-1])])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    x, y, x_val, y_val = (t.numpy() for t in split)
    past = model.fit(x, y, case.batch, case.epochs, verbose=0, validation_data=(x_val, y_val))
    return float(past.history["val_loss"][-1])


PEERS: dict[str, Callable[..., float]] = {"keras": with_keras, "lightning": with_lightning}

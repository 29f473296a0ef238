"""The same training of the digits in every framework, as its users write it: healthy, or with a fault."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

os.environ.setdefault("KERAS_BACKEND", "torch")
BATCH, ROWS = 32, 1437


@dataclasses.dataclass(frozen=True)
class Case:
    """A training of the digits.

    Args:
        lr: of Adam.
        shuffle: whether the rows come in a new order each epoch; if not, they come sorted by their label.
        softmax: whether the network ends with a softmax, before a loss that takes logits.
        dropout: share that is dropped of the hidden units.
    """

    lr: float = 2e-3
    epochs: int = 20
    shuffle: bool = True
    softmax: bool = False
    dropout: float = 0.1


HEALTHY = Case()
SICK = {
    "lr_too_high": Case(lr=1.0, dropout=0.0),
    "unshuffled_data": Case(shuffle=False, lr=5e-3, epochs=8),
    "loss_mismatch": Case(softmax=True),
}
"""A fault by the name of the ailment."""

Weights = list[Tensor]


def arrays(case: Case) -> tuple[Any, Any, Any, Any]:
    """Return inputs and targets of training and validation."""
    digits = load_digits()
    x, y = (digits.data / 16).astype(np.float32), digits.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(x))
    train, val = order[:ROWS], order[ROWS:]
    if not case.shuffle:
        train = train[np.argsort(y[train], kind="stable")]
    return x[train], y[train], x[val], y[val]


def network(case: Case) -> nn.Sequential:
    """Return the network with its start weights, and seed every stream."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    last = [nn.Softmax(1)] if case.softmax else []
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(case.dropout), nn.Linear(64, 10), *last)


def loaders(case: Case) -> tuple[Any, Any]:
    """Return loaders of training and validation."""
    x, y, xv, yv = map(torch.from_numpy, arrays(case))
    train = DataLoader(TensorDataset(x, y), BATCH, shuffle=case.shuffle)
    return train, DataLoader(TensorDataset(xv, yv), 360)


def lightning(case: Case, watch: Any) -> Weights:
    """Train with the Trainer of PyTorch Lightning."""
    from lightning.pytorch import LightningModule, Trainer

    class Digits(LightningModule):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net, self.loss = net, nn.CrossEntropyLoss()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)  # type: ignore[no-any-return]

        def training_step(self, batch: Any, index: int) -> Tensor:
            loss = self.loss(self(batch[0]), batch[1])
            self.log("train_loss", loss)
            return loss  # type: ignore[no-any-return]

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", self.loss(self(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), case.lr)

    net = network(case)
    trainer = Trainer(
        max_epochs=case.epochs, callbacks=[watch] if watch else [], accelerator="cpu", logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(Digits(net), *loaders(case))
    return list(net.parameters())


def loop(case: Case, model: Any, optimizer: Any, data: Any, backward: Callable[[Tensor], Any]) -> None:
    """Train in a loop of one's own."""
    loss_function = nn.CrossEntropyLoss()
    for _ in range(case.epochs):
        model.train()
        for x, y in data[0]:
            optimizer.zero_grad()
            loss = loss_function(model(x), y)
            backward(loss)
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for x, y in data[1]:
                loss_function(model(x), y)


def fabric(case: Case, watch: Any) -> Weights:
    """Train in a loop of one's own under Lightning Fabric."""
    from lightning.fabric import Fabric

    net = network(case)
    with warnings.catch_warnings():
        one = Fabric(accelerator="cpu", devices=1, callbacks=[watch] if watch else [])
        model, optimizer = one.setup(net, torch.optim.Adam(net.parameters(), case.lr))
        data = one.setup_dataloaders(*loaders(case))
        loop(case, model, optimizer, data, one.backward)
        one.call("on_train_end")
    return list(net.parameters())


def accelerate(case: Case, watch: Any) -> Weights:
    """Train in a loop of one's own under Accelerate; `watch` makes the context from model and optimizer."""
    from accelerate import Accelerator

    net, one = network(case), Accelerator(cpu=True)
    model, optimizer, *data = one.prepare(net, torch.optim.Adam(net.parameters(), case.lr), *loaders(case))
    with watch(model, optimizer) if watch else contextlib.nullcontext():
        loop(case, model, optimizer, data, one.backward)
    return list(net.parameters())


class WithLoss(nn.Module):
    """A network that returns its loss, as those of Hugging Face do."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.loss = net, nn.CrossEntropyLoss()

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.net(x)
        return {"loss": self.loss(logits, labels), "logits": logits}


class Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Rows as dictionaries."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": self.x[index], "labels": self.y[index]}


def transformers(case: Case, watch: Any, folder: str = "/tmp/trainwell-attach") -> Weights:
    """Train with the Trainer of Hugging Face."""
    from transformers import Trainer, TrainingArguments

    x, y, xv, yv = arrays(case)
    net = network(case)
    arguments = TrainingArguments(
        output_dir=folder, num_train_epochs=case.epochs, per_device_train_batch_size=BATCH, learning_rate=case.lr,
        per_device_eval_batch_size=360, eval_strategy="epoch", save_strategy="no", report_to="none", use_cpu=True,
        lr_scheduler_type="constant", max_grad_norm=0.0, seed=0, disable_tqdm=True, logging_strategy="no",
        train_sampling_strategy="random" if case.shuffle else "sequential", optim="adamw_torch",
    )  # fmt: skip
    trainer = Trainer(
        WithLoss(net), arguments, train_dataset=Rows(x, y), eval_dataset=Rows(xv, yv),
        callbacks=[watch] if watch else [],
    )  # fmt: skip
    torch.set_num_threads(1)
    trainer.train()
    return list(net.parameters())


def skorch(case: Case, watch: Any) -> Weights:
    """Train with skorch; its classifier takes a network that ends with a softmax, and no logits."""
    from skorch import NeuralNetClassifier
    from skorch.dataset import Dataset
    from skorch.helper import predefined_split

    x, y, xv, yv = arrays(case)
    net = network(dataclasses.replace(case, softmax=True))
    criterion = nn.CrossEntropyLoss if case.softmax else nn.NLLLoss
    model = NeuralNetClassifier(
        net, criterion=criterion, optimizer=torch.optim.Adam, lr=case.lr, batch_size=BATCH, max_epochs=case.epochs,
        iterator_train__shuffle=case.shuffle, train_split=predefined_split(Dataset(xv, yv)), verbose=0,
        callbacks=[("watch", watch)] if watch else [],
    )  # fmt: skip
    model.fit(x, y)
    return list(model.module_.parameters())


def fastai(case: Case, watch: Any) -> Weights:
    """Train with a Learner of fastai and its own optimizer."""
    import fastai.callback.progress  # noqa: F401  (gives a Learner its `no_bar`)
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import Adam

    net = network(case)
    learn = Learner(
        DataLoaders(*loaders(case), device="cpu"), net, loss_func=nn.CrossEntropyLoss(), opt_func=Adam, lr=case.lr,
        cbs=[watch] if watch else [], wd=0.0,
    )  # fmt: skip
    with learn.no_bar(), learn.no_logging():
        learn.fit(case.epochs)
    return list(net.parameters())


def keras(case: Case, watch: Any) -> Weights:
    """Train with Keras on torch; a rate too high needs no dropout, whose streams Keras keeps to itself."""
    import keras
    from keras import layers

    x, y, xv, yv = arrays(case)
    keras.utils.set_random_seed(0)
    last = [layers.Softmax()] if case.softmax else []
    parts = [layers.Dense(64, activation="relu"), layers.Dropout(case.dropout), layers.Dense(10), *last]
    model = keras.Sequential([keras.Input((64,)), *parts])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(case.lr), loss)
    model.fit(
        x, y, batch_size=BATCH, epochs=case.epochs, shuffle=case.shuffle, validation_data=(xv, yv), verbose=0,
        validation_batch_size=360, callbacks=[watch] if watch else [],
    )  # fmt: skip
    return [v.value for v in model.variables]


TRAININGS: dict[str, Callable[..., Weights]] = {
    f.__name__: f for f in (lightning, fabric, accelerate, transformers, skorch, fastai, keras)
}
PACKAGES = {"fabric": "lightning"}
"""What is imported, where it is not the name of the training."""

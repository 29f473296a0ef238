"""The documented recipes of other frameworks on a frozen EfficientNet-Lite0, recomputed in every epoch.

    python benchmarks/transfer_peers.py lightning|fastai FOLDER WEIGHTS ROWS VAL

Runs where the framework is installed; `benchmarks/transfer.py images --peers` calls it. It trains one epoch on ROWS
photographs, 32 a batch, validates on VAL, and prints the CPU-seconds of the fit and of the whole process.

Lightning: its transfer learning page: a LightningModule with the body in evaluation mode under `torch.no_grad()` and a
new last layer, a DataLoader. fastai: its vision tutorial: `ImageDataLoaders.from_path_func` with `Resize(224)`, a frozen
`Learner` with its default of training the batch norms, `fit_one_cycle`. The network is the same module in both.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

SIZE, BATCH, RATE = 224, 32, 1e-3


def body(weights: str) -> nn.Module:
    """Return the frozen part with its ImageNet weights, between the pixels and the features."""
    from safetensors.torch import load_file

    from trainwell.models.backbones.efficientnet_lite import LiteBody

    net = LiteBody()
    net.load_state_dict(load_file(weights))
    return net


class Photographs(Dataset):
    """Files decoded when they are asked for, scaled to 224 and to [-1, 1]."""

    def __init__(self, files: list[Path], classes: list[str]) -> None:
        self.files, self.classes = files, classes

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        image = Image.open(self.files[i]).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(127.5).sub_(1)
        return pixels, self.classes.index(self.files[i].parent.name)


def lightning(train: list[Path], val: list[Path], classes: list[str], weights: str) -> float:
    import pytorch_lightning as pl

    class Transfer(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.feature_extractor = body(weights)
            self.feature_extractor.eval()
            self.classifier = nn.Linear(1280, len(classes))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.feature_extractor.eval()
            with torch.no_grad():
                representations = self.feature_extractor(x).flatten(1)
            return self.classifier(representations)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), RATE)

    loaders = [
        DataLoader(Photographs(files, classes), BATCH, shuffle=files is train) for files in (train, val)
    ]
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, num_sanity_val_steps=0,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    start = time.process_time()
    trainer.fit(Transfer(), *loaders)
    return time.process_time() - start


def fastai(train: list[Path], val: list[Path], classes: list[str], weights: str) -> float:
    from fastai.vision.all import ImageDataLoaders, Learner, Resize, accuracy, params

    held, folder = {str(f) for f in val}, train[0].parents[1]
    dls = ImageDataLoaders.from_path_func(
        folder, [*train, *val], lambda f: Path(f).parent.name, item_tfms=Resize(SIZE), bs=BATCH, device="cpu",
        num_workers=0, valid_pct=len(val) / (len(train) + len(val)), seed=0,
    )  # fmt: skip
    assert len(held) == len(val)
    net = nn.Sequential(body(weights), nn.Linear(1280, len(classes)))
    learner = Learner(
        dls, net, nn.CrossEntropyLoss(), metrics=accuracy, splitter=lambda m: [params(m[0]), params(m[1])]
    )
    learner.freeze()
    start = time.process_time()
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(1, RATE)
    return time.process_time() - start


def main() -> None:
    name, folder, weights, rows, held = sys.argv[1:]
    torch.set_num_threads(1)
    files = sorted(Path(folder).rglob("*.jpg"))
    order = np.random.default_rng(0).permutation(len(files))[: int(rows) + int(held)]
    chosen = [files[i] for i in order]
    classes = sorted({f.parent.name for f in files})
    peer = {"lightning": lightning, "fastai": fastai}[name]
    fit = peer(chosen[: int(rows)], chosen[int(rows) :], classes, weights)
    print(json.dumps({"peer": name, "fit_cpu_s": fit, "process_cpu_s": time.process_time()}))


if __name__ == "__main__":
    main()

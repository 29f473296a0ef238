"""Every command and snippet of the README and of the guides runs, on small data of the names that they use.

Those of index, watching, probes and backbones are run by tests beside them.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
import torch
x, y = torch.randn(64, 4), torch.randint(0, 2, (64,))
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(20):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
"""
SHORT = {
    "fit": ["--budget", "1ep", "--no-baseline", "--quiet"],
    "prove": ["--seeds", "2", "--budget", "1ep", "--preset", "quick", "--quiet"],
    "treat": ["--seeds", "2", "--budget", "1ep", "--quiet"],
    "ablate": ["--seeds", "2", "--budget", "1ep", "--quiet"],
    "tune": ["--budget", "1s", "--trials", "2", "--preset", "quick", "--quiet"],
    "resume": ["--budget", "2ep", "--no-baseline", "--quiet"],
}
"""What is added to a command so that it ends soon; a later option counts."""


def blocks(page: str, language: str = "") -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    return [text for kind, text in found if kind == language]


def commands(page: str) -> list[list[str]]:
    lines = [line for block in blocks(page) for line in block.splitlines() if line.startswith("trainwell ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def table(rows: int, seed: int) -> pd.DataFrame:
    draws = np.random.default_rng(seed)
    a, b = draws.normal(size=(2, rows))
    label = np.where(a + 0.3 * draws.normal(size=rows) > 0, "high", "low")
    return pd.DataFrame({"a": a, "b": b, "kind": draws.choice(["x", "z"], rows), "label": label})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the documents name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRAINWELL_CACHE", str(tmp_path / "cache"))
    frame = table(240, 0)
    many = frame.assign(income=frame["label"], price=3 * frame["a"] + frame["b"], y=frame["label"])
    many.drop(columns="label").to_csv("data.csv", index=False)
    for name, target in (("adult.csv", "income"), ("churn.csv", "Exited"), ("new_rows.csv", "income")):
        frame.rename(columns={"label": target}).to_csv(name, index=False)
    many.drop(columns="label").to_csv("test.csv", index=False)
    many.drop(columns=["label"]).to_csv("rows.csv", index=False)
    for seed, name in enumerate(("train", "val", "test")):
        table(120, seed).rename(columns={"label": "y"}).to_parquet(f"{name}.parquet")
    Path("train.py").write_text(SCRIPT)
    Path("config.yaml").write_text("lr: 0.1\n")
    return tmp_path


def run(words: list[str]) -> int:
    from trainwell.app.cli.entry import run_command

    return run_command(words)


def serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `serve` begin and end at once."""
    from trainwell.app import serving

    def once(root: Path, port: int, say: Callable[[str], None]) -> None:
        server, address = serving.make_server(root, port)
        say(address)
        server.server_close()

    monkeypatch.setattr(serving, "serve", once)


def test_commands_of_the_readme_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serves(monkeypatch)
    for name in ("a", "b"):
        assert run(["fit", "data.csv", "--target", "income", "--out", f"runs/{name}", *SHORT["fit"]]) == 0
    for i, (verb, *words) in enumerate(commands("README.md")):
        if i == 0:
            words += ["--out", "runs/first"]
        elif verb not in ("watch", "diagnose"):
            words = ["runs/first" if w == "latest" else w for w in words]
        if verb == "export" and importlib.util.find_spec("onnxscript") is None:
            words.remove("--onnx")
        if verb == "probe":
            words = [str(place / "data.csv") if w.endswith((".csv", ".parquet")) else w for w in words]
        assert run([verb, *words, *SHORT.get(verb, [])]) in ((0, 5) if verb == "diagnose" else (0,)), (
            verb,
            words,
        )
    assert {"predictions.csv", "compared.html", "served"} <= {p.name for p in place.iterdir()}


def names() -> dict[str, Any]:
    """Return what the snippets of the README take for granted."""
    import torch
    from sklearn.model_selection import cross_val_score
    from torch import nn

    import trainwell as tw

    x, y = torch.randn(64, 4), torch.randint(0, 2, (64,))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=32)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

    def train(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for _ in range(20):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()

    frame = table(120, 0)
    optimizer = torch.optim.AdamW(net.parameters())
    return {
        "tw": tw, "nn": nn, "net": net, "train_loader": loader, "val_loader": loader, "cross_val_score": cross_val_score,
        "X": frame[["a", "b"]], "y": frame["label"], "train": train, "optimizer": optimizer,
    }  # fmt: skip


def test_python_of_the_readme_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = names()
    for block in blocks("README.md", "python"):
        short = block.replace('target="income")', 'target="income", budget="2ep", baseline=False)', 1)
        if "tw.resume" in block:  # a run of a file, for one of loaders needs them again
            held["tw"].fit("adult.csv", "income", budget="1ep", baseline=False)
            short = short.replace('budget="40ep"', 'budget="2ep", baseline=False').replace(
                "epochs=20", "epochs=2"
            )
            short = short.replace("recipe=recipe)", "recipe=recipe, out=False)")
            short = short.replace('preset="quick")', 'preset="quick", budget="1ep")')
        exec(compile(short, "README.md", "exec"), held)  # noqa: S102
    assert len(held["labels"]) == 240
    assert held["scores"].shape == (5,)


@pytest.mark.parametrize("page", ["docs/guide-prove.md", "docs/guide-tune.md"])
def test_guides_of_trials_run(place: Path, page: str) -> None:
    for words in commands(page):
        assert run([*words, *SHORT.get(words[0], [])]) == 0, words
    import torch

    held = names() | {"path": Path("study"), "x": torch.randn(96, 20), "y": torch.randint(0, 4, (96,))}
    for block in blocks(page, "python"):
        if "export_optuna" in block and importlib.util.find_spec("optuna") is None:
            continue
        short = block.replace("seeds=8", 'seeds=2, budget="1ep", preset="quick"').replace(
            'budget="10m"', QUICK
        )
        short = short.replace('budget="5m"', 'budget="1s", trials=2, out="study"').replace(
            "epochs=27", "epochs=2"
        )
        exec(compile(short, page, "exec"), held)  # noqa: S102


QUICK = 'budget="1s", trials=2, preset="quick"'


def test_law_suite_of_the_guide_is_called_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    import trainwell.testing

    seen: list[object] = []
    monkeypatch.setattr(trainwell.testing, "check_technique", seen.append)
    exec(blocks("docs/guide-technique.md", "python")[1], {"SignNoise": "the technique of the page"})  # noqa: S102
    assert seen == ["the technique of the page"]


def test_guide_of_frameworks_runs(place: Path) -> None:
    pytest.importorskip("lightning", reason="the extra [attach] is not installed")
    import torch
    from lightning.pytorch import LightningModule

    class Net(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Linear(4, 2)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    held = names() | {"module": Net(), "val_loader": None}
    exec(compile(blocks("docs/guide-attach.md", "python")[0], "guide", "exec"), held)  # noqa: S102


def test_entry_point_of_the_guide_is_the_one_that_is_read() -> None:
    import tomllib

    (block,) = blocks("docs/guide-technique.md", "toml")
    (group,) = tomllib.loads(block)["project"]["entry-points"]
    assert f'entry_points(group="{group}")' in (ROOT / "src/trainwell/techniques/__init__.py").read_text()


def test_commands_of_the_guide_to_transfer_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With random numbers for the weights of efficientnet_lite0; the others say what they lack, in one line."""
    from PIL import Image

    draws = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (place / "photos" / label).mkdir(parents=True)
        for i in range(12):
            pixels = draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / "photos" / label / f"{i}.png")
    for words in commands("docs/guide-transfer.md"):
        if words[0] != "fit" or "photos/" not in words:
            continue
        if "efficientnet_lite0" in words:
            words = [*words, "--weights", "none", "--size", "32", "--preset", "quick"]
            assert run([*words, "--budget", "1ep", "--quiet"]) == 0, words
        elif "mine.safetensors" in words or importlib.util.find_spec("timm") is None:
            assert run(words) in (2, 3), words
            assert capsys.readouterr().err.startswith("error: ")

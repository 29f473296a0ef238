"""The families of images: shapes, counts that papers give, pixels that are measured."""

from __future__ import annotations

import pytest
import torch

from trainwell.models import build_model
from trainwell.values.recipe import ModelSpec
from trainwell.values.task import InputSpec


def build(family: str, shape: tuple[int, ...], outputs: int = 10, **params: object) -> torch.nn.Module:
    spec = InputSpec(kind="image", shape=shape)
    return build_model(ModelSpec.of(family, **params), spec, outputs, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 96, 64), (1, 28, 28)])
@pytest.mark.parametrize("family", ["cnn", "resnet"])
def test_every_shape_gives_outputs(family: str, shape: tuple[int, ...]) -> None:
    net = build(family, shape)
    pixels = torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    assert net(pixels).shape == (4, 10)
    assert torch.allclose(net.eval()(pixels), net(pixels.float()))


@pytest.mark.parametrize(
    ("depth", "stem", "millions", "outputs"),
    [
        ("20", "small", 0.27, 10),
        ("56", "small", 0.85, 10),
        ("18", "large", 11.69, 1000),
        ("50", "large", 25.56, 1000),
    ],
)
def test_resnets_have_the_published_number_of_weights(
    depth: str, stem: str, millions: float, outputs: int
) -> None:
    net = build("resnet", (3, 64, 64), outputs, depth=depth, stem=stem)
    count = sum(p.numel() for p in net.parameters()) / 1e6
    assert count == pytest.approx(millions, abs=0.011)  # He et al. 2016, table 6; torchvision's documentation


def test_the_front_measures_the_training_rows() -> None:
    net = build("cnn", (3, 16, 16))
    rows = torch.randint(0, 100, (64, 3, 16, 16), dtype=torch.uint8)
    net.initialize((rows,), torch.Generator())
    standard = net.front(rows)
    assert standard.mean((0, 2, 3)).abs().max() < 1e-4
    assert (standard.std((0, 2, 3)) - 1).abs().max() < 1e-3

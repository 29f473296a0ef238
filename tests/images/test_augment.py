"""Augmentations on small images, whose effect can be told."""

from __future__ import annotations

import pytest
import torch

import trainwell.techniques  # noqa: F401
from trainwell.engine.parts import Batch
from trainwell.testing.lanes import stacked
from trainwell.values.technique import REGISTRY, Technique

NAMES = (
    "flip",
    "shift",
    "color_jitter",
    "random_erasing",
    "resized_crop",
    "trivial_augment",
    "rand_augment",
    "cutmix",
)


def images(rows: int = 12, side: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (rows, 3, side, side), generator=generator, dtype=torch.uint8)


def made(name: str) -> Technique:
    return REGISTRY[name](share=1.0) if name == "cutmix" else REGISTRY[name]()


def apply(technique: Technique, x: torch.Tensor, seed: int = 1) -> Batch:
    batch = Batch((x,), torch.arange(len(x)) % 3)
    technique.batch(batch, torch.Generator().manual_seed(seed))  # type: ignore[attr-defined]
    return batch


@pytest.mark.parametrize("name", NAMES)
def test_pixels_stay_pixels_and_draws_are_a_function_of_the_stream(name: str) -> None:
    first, again = (apply(made(name), images()).x[0] for _ in range(2))
    assert first.shape == images().shape and torch.equal(first, again)
    assert first.min() >= 0 and first.max() <= 255
    assert not torch.equal(first.float(), images().float())


@pytest.mark.parametrize("name", NAMES)
def test_a_lane_sees_what_its_lone_run_sees(name: str) -> None:
    x = torch.stack([images(), images().flip(0)])
    stack = stacked([made(name), made(name)], torch.float32)
    together = Batch((x,), torch.zeros(2, 12, dtype=torch.long))
    stack.batch(together, [torch.Generator().manual_seed(k) for k in (1, 2)])
    for k in range(2):
        alone = apply(made(name), x[k], k + 1).x[0].float()
        assert torch.allclose(together.x[0][k].float(), alone, atol=1e-3), name


def test_flip_mirrors_about_half_of_the_images() -> None:
    x = images(400, 4)
    flipped = (apply(REGISTRY["flip"](), x).x[0] == x.flip(-1)).flatten(1).all(1)
    assert 150 < int(flipped.sum()) < 250


def test_shift_moves_whole_pixels_and_mirrors_the_edge() -> None:
    x = torch.arange(8, dtype=torch.uint8).repeat(8, 1).expand(40, 1, 8, 8).contiguous()
    rows = {tuple(r.tolist()) for r in apply(REGISTRY["shift"](share=0.25), x).x[0][:, 0, 0]}
    base = list(range(8))
    mirrored = base[::-1][:-1] + base + base[::-1][1:]
    assert rows == {tuple(mirrored[7 + d : 15 + d]) for d in range(-2, 3)}


def test_cutmix_weighs_the_losses_by_the_areas() -> None:
    x = torch.zeros(2, 1, 32, 32)
    x[1] = 100
    for seed in range(20):
        batch = apply(REGISTRY["cutmix"](share=1.0), x, seed)
        assert batch.mix is not None and batch.mixed_y is not None
        own = (batch.x[0][0] == 0).float().mean()
        assert float(own) == pytest.approx(float(torch.as_tensor(batch.mix).flatten()[0]), abs=1e-6)
    assert batch.mixed_y.tolist() == [1, 0]


def test_mixup_mixes_bytes() -> None:
    batch = apply(REGISTRY["mixup"](alpha=10.0), images())
    assert batch.x[0].is_floating_point() and batch.mix is not None
    mix = float(torch.as_tensor(batch.mix).flatten()[0])
    expected = mix * images().float() + (1 - mix) * images().float().roll(1, 0)
    assert torch.allclose(batch.x[0], expected, atol=1e-3)

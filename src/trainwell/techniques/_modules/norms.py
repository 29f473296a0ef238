"""Puts normalization layers into a model, or takes them out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from trainwell.techniques._modules.layers import CONVOLUTIONS, TRANSPOSED, WEIGHTED, ends, is_activation
from trainwell.values.errors import NoPlaceError, RecipeError

if TYPE_CHECKING:
    from trainwell.engine.parts import Build

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
NORMS = (*BATCH_NORMS, *INSTANCE_NORMS, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)

Make = Callable[[int, int], nn.Module]
"""(features, spatial axes: 0 for rows of features, 2 for images) -> the layer."""


def set_norms(model: nn.Module, build: Build, name: str, make: Make) -> nn.Module:
    """Fill the norm slots of a model family; else replace the norms; else put one before every activation.

    Parameters keep their names: the activation is wrapped in `nn.Sequential(norm, activation)`.

    Raises:
        NoPlaceError: no place was found. RecipeError: the layer does not fit the activations there.
    """
    like = next(model.parameters())

    def new(features: int, spatial: int) -> nn.Module:
        return make(features, spatial).to(device=like.device, dtype=like.dtype)

    if not (_fill_slots(model, new) or _replace(model, new) or _insert(model, new)):
        raise NoPlaceError(
            name,
            f"{name} found no place in {type(model).__name__}: it fills the norm slots of our models, "
            "replaces norms, or stands between a layer and its activation inside nn.Sequential. Leave it out.",
        )
    _check_fits(model, build, name)
    return model


def remove_norms(model: nn.Module) -> int:
    """Put `nn.Identity` in place of every norm; return how many there were."""
    slots = [getattr(parent, attribute) for parent, attribute, _ in getattr(model, "norm_slots", [])]
    count = sum(not isinstance(held, nn.Identity) for held in slots)
    _fill_slots(model, lambda features, spatial: nn.Identity())
    for parent, key, norm, _ in list(_walk(model)):
        if isinstance(norm, NORMS):
            parent.add_module(key, nn.Identity())
            count += 1
    return count


def _fill_slots(model: nn.Module, new: Make) -> int:
    slots: list[tuple[nn.Module, str, int]] = getattr(model, "norm_slots", [])
    for parent, attribute, features in slots:
        spatial = max((_spatial(m) for m in parent.modules() if isinstance(m, WEIGHTED)), default=0)
        setattr(parent, attribute, new(features, spatial))
    return len(slots)


def _replace(model: nn.Module, new: Make) -> int:
    found = [place for place in _walk(model) if isinstance(place[2], NORMS)]
    for parent, key, old, spatial in found:
        norm = new(*_size(old, spatial))
        if type(norm) is type(old) and norm.state_dict().keys() == old.state_dict().keys():
            norm.load_state_dict(old.state_dict())
        parent.add_module(key, norm)
    return len(found)


def _insert(model: nn.Module, new: Make) -> int:
    places = []
    for container in [m for m in model.modules() if isinstance(m, nn.Sequential)]:
        for i in range(1, len(container)):
            layer, activation = ends(container[i - 1])[1], ends(container[i])[0]
            if isinstance(layer, WEIGHTED) and is_activation(activation):
                places.append((container, i, layer))
    for container, i, layer in places:
        container[i] = nn.Sequential(new(_features(layer), _spatial(layer)), container[i])
    return len(places)


def _walk(module: nn.Module, spatial: int = 0) -> Iterator[tuple[nn.Module, str, nn.Module, int]]:
    """Yield (parent, name, leaf, spatial axes of the last layer with weights before it)."""
    for name, child in module.named_children():
        if isinstance(child, WEIGHTED):
            spatial = _spatial(child)
        if next(child.children(), None) is None:
            yield module, name, child, spatial
        for place in _walk(child, spatial):
            yield place
            spatial = place[3]


def _spatial(layer: nn.Module) -> int:
    for kinds in (CONVOLUTIONS, TRANSPOSED):
        for axes, kind in enumerate(kinds, 1):
            if isinstance(layer, kind):
                return axes
    return 0


def _features(layer: Any) -> int:
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)


def _size(norm: Any, spatial: int) -> tuple[int, int]:
    """Return features and spatial axes of a norm that is there."""
    if isinstance(norm, nn.GroupNorm):
        return norm.num_channels, spatial
    if isinstance(norm, nn.LayerNorm | nn.RMSNorm):
        return norm.normalized_shape[0], len(norm.normalized_shape) - 1
    axes = next(
        a for kinds in (BATCH_NORMS, INSTANCE_NORMS) for a, k in enumerate(kinds, 1) if isinstance(norm, k)
    )
    return norm.num_features, spatial if axes == 1 else axes


@torch.no_grad()
def _check_fits(model: nn.Module, build: Build, name: str) -> None:
    if not build.sample:  # a saved network is built again: it fitted when it was trained
        return
    training = {m: m.training for m in model.modules()}
    try:
        model.eval()
        model(*build.sample)
    except RuntimeError as error:
        raise RecipeError(
            f"{name} does not fit the activations of {type(model).__name__}: {error}"
        ) from error
    finally:
        for module, was in training.items():
            module.training = was

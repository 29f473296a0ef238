"""Puts dropout layers into a model."""

from __future__ import annotations

import torch
from torch import nn

from trainwell.models.layers import Dropout
from trainwell.techniques._modules.layers import WEIGHTED, ends, is_activation, leaves
from trainwell.values.errors import NoPlaceError

CHANNELWISE = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def set_dropout(model: nn.Module, rate: float, generator: torch.Generator) -> nn.Module:
    """Fill the dropout slots of a model family; else set the rates of dropout layers; else put some in.

    A layer that is put in stands after a hidden activation.

    `nn.Dropout` gives way to our layer, whose masks come from `generator`. Parameters keep their names: an
    activation is wrapped in `nn.Sequential(activation, dropout)`.

    Raises:
        NoPlaceError: no place was found.
    """
    if not (
        _fill_slots(model, rate, generator)
        or _set_rates(model, rate, generator)
        or _insert(model, rate, generator)
    ):
        raise NoPlaceError(
            "dropout",
            f"dropout found no place in {type(model).__name__}: it sets the rate of dropout layers, or "
            "stands after an activation inside nn.Sequential. Leave it out or add nn.Dropout layers.",
        )
    return model


def _fill_slots(model: nn.Module, rate: float, generator: torch.Generator) -> int:
    slots: list[tuple[nn.Module, str, int]] = getattr(model, "dropout_slots", [])
    for parent, attribute, _ in slots:
        setattr(parent, attribute, Dropout(rate, generator))
    return len(slots)


def _set_rates(model: nn.Module, rate: float, generator: torch.Generator) -> int:
    count = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Dropout:
                parent.add_module(name, Dropout(rate, generator))
            elif isinstance(child, Dropout):
                child.set_rate(rate)
                child.generator = generator
            elif isinstance(child, CHANNELWISE):
                child.p = rate
            else:
                continue
            count += 1
    return count


def _insert(model: nn.Module, rate: float, generator: torch.Generator) -> int:
    order = list(leaves(model))
    last_layer = max((i for i, m in enumerate(order) if isinstance(m, WEIGHTED)), default=-1)
    hidden = {id(m) for m in order[: last_layer + 1] if is_activation(m)}
    places = [
        (container, i)
        for container in model.modules()
        if isinstance(container, nn.Sequential)
        for i in range(len(container))
        if not isinstance(container[i], nn.Sequential) and id(ends(container[i])[1]) in hidden
    ]
    for container, i in places:
        container[i] = nn.Sequential(container[i], Dropout(rate, generator))
    return len(places)

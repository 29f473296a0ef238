"""Gives linear and convolutional layers new weights, with a gain that fits the activation that follows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.init import calculate_gain

from trainwell.techniques._modules.layers import (
    TRANSPOSED,
    activation_after,
    is_activation,
    is_weighted,
    leaves,
)
from trainwell.values.errors import NoPlaceError

Draw = Callable[[Tensor, float], object]


def initialize(model: nn.Module, name: str, draw: Draw, hidden_gain: float) -> list[nn.Module]:
    """Let `draw(weight, gain)` fill every layer's weight and set its bias to zero; return the layers.

    Args:
        draw: fills a new tensor (out, in, ...) in place; new so that every device gets the same numbers.
        hidden_gain: the gain of hidden layers where no activation module tells (it may be a function call).

    Raises:
        NoPlaceError: the model has no such layer.
    """
    order = list(leaves(model, own_init=False))
    told = any(is_activation(m) for m in order)
    layers = [i for i, m in enumerate(order) if is_weighted(m)]
    if not layers:
        raise NoPlaceError(
            name, f"{name}: the model has no linear or convolutional layer to initialize; leave {name} out."
        )
    for i in layers:
        layer, after = order[i], activation_after(order, i)
        gain = 1.0 if i == layers[-1] and after is None else gain_of(after) if after or told else hidden_gain
        _fill(layer, draw, gain)
    return [order[i] for i in layers]


def gain_of(activation: nn.Module | None) -> float:
    """Return the factor that keeps the variance through the activation; 1 where none follows."""
    if isinstance(activation, nn.LeakyReLU):
        return calculate_gain("leaky_relu", activation.negative_slope)
    if isinstance(activation, nn.Tanh):
        return calculate_gain("tanh")
    if activation is None or isinstance(activation, nn.SELU | nn.Sigmoid | nn.Hardtanh | nn.Softsign):
        return 1.0
    return calculate_gain("relu")  # exact for ReLU, close for its smooth relatives


@torch.no_grad()
def _fill(layer: nn.Module, draw: Draw, gain: float) -> None:
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    target = weight.transpose(0, 1) if isinstance(layer, TRANSPOSED) else weight
    fresh = torch.empty(target.shape)
    draw(fresh, gain)
    target.copy_(fresh)
    if isinstance(bias, Tensor):
        bias.zero_()


@torch.no_grad()
def scale_to_unit_variance(model: nn.Module, layers: list[nn.Module], sample: tuple[Tensor, ...]) -> None:
    """Divide each layer's weight by the standard deviation of its output on the sample, layer after layer.

    One pass suffices: without bias the output is linear in the weight, and later layers see it scaled.
    """
    done: set[nn.Module] = set()

    def scale(layer: nn.Module, _: object, output: Tensor) -> Tensor | None:
        deviation = output.std()
        if layer in done or not deviation.isfinite() or deviation == 0:
            return None
        done.add(layer)
        weight = layer.weight
        assert isinstance(weight, Tensor)
        weight.div_(deviation)
        return output / deviation

    training = {m: m.training for m in model.modules()}
    hooks = [layer.register_forward_hook(scale) for layer in layers]
    try:
        model.eval()
        model(*sample)
    finally:
        for hook in hooks:
            hook.remove()
        for module, was in training.items():
            module.training = was

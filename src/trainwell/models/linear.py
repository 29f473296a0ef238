"""Linear layers and activations whose initial numbers come from a given stream."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh, "selu": nn.SELU, "mish": nn.Mish,
}  # fmt: skip


def linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """Return a linear layer with the law of `nn.Linear`, uniform in +-1/sqrt(inputs), drawn from the generator."""
    layer = nn.Linear.__new__(nn.Linear)  # `skip_init` takes ten times as long, as long as several steps
    nn.Module.__init__(layer)
    layer.in_features, layer.out_features = inputs, outputs
    layer.weight, layer.bias = nn.Parameter(torch.empty(outputs, inputs)), nn.Parameter(torch.empty(outputs))
    fan_in_uniform_(layer.weight, inputs, generator)
    fan_in_uniform_(layer.bias, inputs, generator)
    return layer


@torch.no_grad()
def fan_in_uniform_(tensor: Tensor, inputs: int, generator: torch.Generator) -> Tensor:
    """Fill with numbers uniform in +-1/sqrt(inputs)."""
    bound = max(1, inputs) ** -0.5
    return tensor.uniform_(-bound, bound, generator=generator)


class Block(nn.Module):
    """A linear layer, a norm, an activation and a dropout; norm and dropout are slots, `nn.Identity` when empty."""

    def __init__(self, inputs: int, outputs: int, activation: str, generator: torch.Generator) -> None:
        super().__init__()
        self.linear = linear(inputs, outputs, generator)
        self.norm = nn.Identity()
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.activation(self.norm(self.linear(x))))

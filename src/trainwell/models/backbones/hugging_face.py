"""Any text encoder of Hugging Face: from the hub by its name, or from a folder with its files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainwell.models.backbones import weights as files
from trainwell.models.backbones.base import NONE, Backbone, BackboneNet, new_head
from trainwell.models.backbones.bert import COMPANIONS, BertNet
from trainwell.models.tokens import masked_mean, trimmed
from trainwell.values.errors import UsageError
from trainwell.values.task import InputSpec

LONGEST = 256
"""Tokens of a row at most, where nothing else is asked for; shorter texts make shorter rows."""
FILES = (
    "config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "vocab*",
    "merges.txt",
    "*.model",
    "model.safetensors",
)
"""What is fetched of a repository of the hub."""
PICKLE = "pytorch_model.bin"
QUIET = ("attention_probs_dropout_prob", "attention_dropout", "attention_probs_dropout")
"""Rates of the dropout that draws within attention from torch's own stream, which a resume could not repeat."""


@dataclasses.dataclass(frozen=True)
class HuggingFace(Backbone):
    """A text encoder of Hugging Face; its features are the mean of its last states over the tokens.

    Helps texts in the languages and of the field it was trained on.
    Harms a CPU where it is large: one pass of a base model costs 20 times that of `minilm`.
    Args:    architecture: name on the hub. weights: `package` (those of the hub), a file of a folder with config.json,
             or `none`. allow_pickle: see `Backbone`.
    Source:  Wolf et al. 2020, arXiv:1910.03771.
    """

    name: ClassVar[str] = "hf"
    takes: ClassVar[tuple[str, ...]] = ("text",)

    def home(self) -> Path:
        """Return the folder with configuration and tokenizer.

        Raises:
            UsageError: it is not here, and cannot be fetched.
        """
        if self.weights not in ("package", NONE):
            beside = Path(self.weights).expanduser().parent
            if (beside / "config.json").is_file():
                return beside
            if not self.architecture:
                raise UsageError(
                    f"--backbone hf: there is no config.json beside {self.weights}. Give the folder that has it."
                )
        return _fetched(self.architecture, (*FILES, PICKLE) if self.allow_pickle else FILES)

    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home() / "config.json").read_text())
        return found

    def tokenizer(self) -> Path:
        """Return the tokenizer as a file of the library `tokenizers`; one of another form is turned into it."""
        home = self.home()
        if (home / "tokenizer.json").is_file():
            return home / "tokenizer.json"
        key = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:32]
        made = files.kept() / key / "tokenizer.json"
        if not made.is_file():
            transformers = require_transformers("its tokenizer has an old form")
            try:
                found = transformers.AutoTokenizer.from_pretrained(str(home)).backend_tokenizer
            except Exception as error:
                raise UsageError(
                    f"{home}: there is no tokenizer that can be read ({_words(error)})."
                ) from None
            made.parent.mkdir(parents=True, exist_ok=True)
            found.save(str(made))
        return made

    def companions(self) -> tuple[Path, ...]:
        return (self.home() / COMPANIONS[0], self.tokenizer())

    def options(self) -> dict[str, Any]:
        config = self.config()
        padding = int(config.get("pad_token_id") or 0)
        places = int(config.get("max_position_embeddings") or LONGEST) - padding - 1
        return {"tokenizer": str(self.tokenizer()), "longest": min(LONGEST, places), "padding": padding}

    def make(self, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> BackboneNet:
        config = self.config()
        if inputs.vocabulary > config.get("vocab_size", inputs.vocabulary):
            raise UsageError(
                f"{self.architecture or self.name} reads the {config['vocab_size']:,} tokens of its own tokenizer, these "
                f"data have {inputs.vocabulary:,} of another. Give it as --backbone beside the model."
            )
        if config.get("model_type") == "bert":  # ours, which needs no further library
            return BertNet(config, num_outputs, generator)
        return HuggingFaceNet(self.home(), num_outputs, generator)

    def tensors(self) -> tuple[dict[str, Tensor], str]:
        held, digest = self._held()
        # the same weights under another configuration are another network
        config = (self.home() / "config.json").read_bytes()
        return held, hashlib.blake2b(digest.encode() + config, digest_size=16).hexdigest()

    def _held(self) -> tuple[dict[str, Tensor], str]:
        if self.weights != "package":
            return super().tensors()
        home = self.home()
        whole = home / "model.safetensors"
        if not whole.is_file() and not (home / PICKLE).is_file():
            raise UsageError(
                f"{self.architecture} has no model.safetensors; a {PICKLE} needs --allow-pickle."
            )
        return files.from_file(str(whole if whole.is_file() else home / PICKLE), self.allow_pickle)


def encoder_folder(name: str) -> Path | None:
    """Return the folder that a name of a backbone stands for, if it holds an encoder."""
    folder = Path(name).expanduser()
    return folder if (folder / "config.json").is_file() else None


def weights_in(folder: Path) -> str:
    """Return the file with the weights of an encoder.

    Raises:
        UsageError: there is none.
    """
    for name in ("model.safetensors", PICKLE):
        if (folder / name).is_file():
            return str(folder / name)
    raise UsageError(f"--backbone {folder}: there is no model.safetensors beside its config.json.")


def _fetched(name: str, patterns: tuple[str, ...]) -> Path:
    """Return the folder of a repository of the hub, from the disk where it was fetched before.

    Raises:
        UsageError: it cannot be had.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UsageError(
            "a text encoder of the hub needs an extra: pip install 'trainwell[backbones]'."
        ) from None
    try:
        held = Path(snapshot_download(name, allow_patterns=list(patterns), local_files_only=True))
        if (held / "config.json").is_file() and (held / "model.safetensors").is_file():
            return held
    except Exception:  # not fetched yet
        pass
    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except (
        Exception
    ) as error:  # whatever the hub's client raises without a network, or for a name that is none
        raise UsageError(
            f"the text encoder {name} cannot be fetched here ({_words(error)}), and nothing is drawn in its place. Give "
            "a folder that holds its config.json, tokenizer.json and model.safetensors: --backbone FOLDER."
        ) from None


def _words(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0][:160]


def require_transformers(why: str) -> Any:
    """Return transformers.

    Raises:
        UsageError: it cannot be imported.
    """
    try:
        import transformers
    except Exception as error:  # a torchvision that does not fit raises a RuntimeError
        raise UsageError(
            f"this backbone needs transformers ({why}), which cannot be imported ({_words(error)}): pip install "
            "'trainwell[backbones]'."
        ) from None
    return transformers


class HuggingFaceNet(BackboneNet):
    """An encoder of transformers and our last layer."""

    body: Any

    def __init__(self, home: Path, num_outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        transformers = require_transformers("it is no BERT")
        try:
            config = transformers.AutoConfig.from_pretrained(str(home))
        except Exception as error:  # a type that is unknown, or would run code that came with it
            raise UsageError(f"--backbone {home}: {_words(error)}") from None
        if config.is_encoder_decoder:
            raise UsageError(f"--backbone {home}: expected a text encoder, got {config.model_type}.")
        for name in QUIET:
            if hasattr(config, name):
                setattr(config, name, 0.0)
        self.padding = int(config.pad_token_id or 0)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            self.body = transformers.AutoModel.from_config(config).float()
        if getattr(self.body, "pooler", None) is not None:
            self.body.pooler = None
        self.head = new_head(config.hidden_size, num_outputs, generator)

    def named(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if any(n.startswith("body.") for n in tensors):
            return dict(tensors)  # a file that we wrote
        plain = files.plain_names(tensors, f"{self.body.base_model_prefix}.")
        return {f"body.{n}": t for n, t in plain.items() if not n.startswith("pooler.")}

    def features(self, *x: Tensor) -> Tensor:
        tokens, words = trimmed(x[0])
        seen = words.clone()
        seen[:, 0] = True  # a row without words looks at its first place
        made = self.body(input_ids=exchanged(tokens, self.padding), attention_mask=seen.long())
        return masked_mean(made.last_hidden_state, words)


def exchanged(tokens: Tensor, padding: int) -> Tensor:
    """Return tokens as the encoder knows them: in our rows its filling token and 0 have changed places."""
    if not padding:
        return tokens
    ours = torch.where(tokens == padding, 0, tokens)
    return torch.where(tokens == 0, padding, ours)

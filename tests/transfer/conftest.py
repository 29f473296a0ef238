from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from trainwell.models.backbones.bert import BertBody


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINWELL_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def bert(tmp_path: Path) -> tuple[Path, pd.DataFrame]:
    """Return the weights of a small encoder, with all beside them, and texts of two kinds of words."""
    tokenizers = pytest.importorskip("tokenizers", reason="texts need it: pip install 'trainwell[text]'")
    words = [f"word{i}" for i in range(40)]
    (tmp_path / "bert").mkdir()
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1,
             "layer_norm_eps": 1e-12, "vocab_size": 42, "max_position_embeddings": 32, "type_vocab_size": 2}  # fmt: skip
    (tmp_path / "bert" / "config.json").write_text(json.dumps({"model_type": "bert", **sizes}))
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({w: i for i, w in enumerate(["[PAD]", "[UNK]", *words])}, "[UNK]")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "bert" / "tokenizer.json"))
    file = tmp_path / "bert" / "model.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(BertBody(sizes).state_dict(), file)
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(words[half::2], 6)) for half in (0, 1) for _ in range(60)]
    return file, pd.DataFrame({"text": texts, "side": [0] * 60 + [1] * 60})

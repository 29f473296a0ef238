"""From the bytes of a sound file to samples, and from samples to a log-mel spectrum."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainwell.data.samples.tree import BadItem
from trainwell.values.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".wav", ".flac", ".ogg")
MAGIC = (b"RIFF", b"fLaC", b"OggS")
MAX_SAMPLES = 60 * 60 * 48000
"""A longer sound is no single row; an hour at 48 kHz."""
MIN_RATE = 1000
"""Samples a second, below which windows of 25 ms hold nothing."""
HOP_S, WINDOW_S = 0.010, 0.025
LOUDNESS_FLOOR = 1e-3
"""Of the loudest place of a sound; what is softer is taken as silence. docs/log-transfer.md has the trials."""
TINY = 1e-12


def is_audio(data: bytes) -> bool:
    """Whether bytes begin like a sound file."""
    return data.startswith(MAGIC) and (not data.startswith(b"RIFF") or data[8:12] == b"WAVE")


def require_soundfile() -> Any:
    """Return soundfile.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise UsageError(f"sounds need an extra: pip install 'trainwell[audio]' ({error}).") from None
    return soundfile


@dataclasses.dataclass(frozen=True)
class Header:
    """What the header of a sound says: samples of a channel, samples a second, channels."""

    count: int
    rate: int
    channels: int

    @property
    def seconds(self) -> float:
        return self.count / self.rate


def header_of(data: Any) -> Header:
    """Return the header of encoded bytes, or of samples and their rate.

    Raises:
        BadItem: it is no sound, empty or too long.
    """
    if isinstance(data, tuple):
        return Header(len(data[0]), data[1], 1)
    with _opened(data) as file:
        return Header(file.frames, int(file.samplerate), file.channels)


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[Any]:
    """Open encoded bytes; whatever the library raises of them becomes a BadItem."""
    try:
        with require_soundfile().SoundFile(io.BytesIO(data)) as file:
            if not 0 < file.frames <= MAX_SAMPLES:
                raise BadItem(f"holds {file.frames:,} samples, expected 1 to {MAX_SAMPLES:,}")
            if file.samplerate < MIN_RATE:
                raise BadItem(f"has {file.samplerate} samples a second, expected {MIN_RATE} or more")
            yield file
    except (BadItem, UsageError):
        raise
    except Exception as error:  # the library raises its own error, a RuntimeError or a ValueError
        said = str(error).splitlines()[0].rpartition(">: ")[2]  # before it stands an address in memory
        raise BadItem(f"is no sound that can be read ({said[:80].rstrip('.')})") from None


def read_sound(data: Any) -> tuple[np.ndarray, int]:
    """Return the samples of a sound, (N,) float32 of one channel, and their rate.

    Args:
        data: encoded bytes, or samples and rate.
    Raises:
        BadItem: it is damaged, empty or too long.
    """
    if isinstance(data, tuple):
        return data
    with _opened(data) as file:
        samples, rate = file.read(dtype="float32", always_2d=True), file.samplerate
    if not len(samples) or not np.isfinite(samples).all():
        raise BadItem("has no samples" if not len(samples) else "holds samples that are not finite")
    return np.ascontiguousarray(samples.mean(1)), int(rate)


def resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Return samples at another rate."""
    if rate == wanted:
        return samples
    from scipy.signal import resample_poly

    shared = math.gcd(rate, wanted)
    return np.asarray(resample_poly(samples, wanted // shared, rate // shared), np.float32)


def waves(sounds: Sequence[np.ndarray], rate: int, frames: int) -> tuple[Tensor, Tensor]:
    """Return sounds as rows of one length, and how many frames of each are heard.

    A longer sound is cut around its middle, a shorter one filled with zeros.

    Shapes: returns (N, samples of so many frames) float32 and (N,) int64.
    """
    import torch

    hop, window, _ = _grid(rate)
    need = (frames - 1) * hop + window
    rows, heard = torch.zeros(len(sounds), need), torch.empty(len(sounds), dtype=torch.int64)
    for i, sound in enumerate(sounds):
        start = max(0, len(sound) - need) // 2
        cut = sound[start : start + need]
        rows[i, : len(cut)] = torch.from_numpy(np.array(cut, np.float32))
        heard[i] = min(frames, 1 + max(0, len(cut) - window) // hop)
    return rows, heard


def log_mel(rows: Tensor, heard: Tensor, rate: int, bands: int) -> Tensor:
    """Return the logarithm of the energy in bands of the mel scale, less its mean, on the device of the rows.

    Frames that are not heard get the least energy of those that are.

    Shapes: rows (N, samples) float32, heard (N,) int64, as of `waves`; returns (N, bands, frames) float32.
    Source: Davis, Mermelstein 1980; windows of 25 ms every 10 ms.
    """
    import torch

    hop, window, size = _grid(rate)
    shape = torch.hann_window(window, periodic=False, device=rows.device)
    shape, rows = (torch.nn.functional.pad(t, (0, size - window)) for t in (shape, rows))
    spectrum = torch.stft(rows, size, hop, window=shape, center=False, return_complex=True)
    power = (spectrum.real.square() + spectrum.imag.square()).transpose(1, 2)
    held = power @ torch.from_numpy(mel_bands(rate, size, bands)).to(rows.device).T
    energy = (held + (LOUDNESS_FLOOR * held.amax((1, 2), keepdim=True)).clamp_min(TINY)).log()
    sounds = (torch.arange(energy.shape[1], device=rows.device) < heard[:, None]).unsqueeze(2)
    # how loud it was recorded says nothing
    energy = energy - (energy * sounds).sum((1, 2), keepdim=True) / (sounds.sum((1, 2), keepdim=True) * bands)
    least = energy.masked_fill(~sounds, float("inf")).amin((1, 2), keepdim=True)
    return torch.where(sounds, energy, least).transpose(1, 2).contiguous()


def _grid(rate: int) -> tuple[int, int, int]:
    """Return the samples between two windows, of a window, and of its Fourier transform."""
    window = round(WINDOW_S * rate)
    return round(HOP_S * rate), window, 1 << (window - 1).bit_length()


@functools.cache
def mel_bands(rate: int, size: int, bands: int) -> np.ndarray:
    """Return triangles that are evenly spaced in mel, (bands, size / 2 + 1). Source: O'Shaughnessy 1987 (2595, 700)."""

    def mel(hertz: Any) -> Any:
        return 2595 * np.log10(1 + np.asarray(hertz) / 700)

    edges = 700 * (10 ** (np.linspace(mel(20), mel(rate / 2), bands + 2) / 2595) - 1)
    hertz = np.linspace(0, rate / 2, size // 2 + 1)
    rising = (hertz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hertz) / np.diff(edges)[1:, None]
    return np.asarray(np.maximum(0, np.minimum(rising, falling)), np.float32)

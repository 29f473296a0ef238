"""From the bytes of a sound file to samples, and from samples to a log-mel spectrum."""

from __future__ import annotations

import functools
import io
import math
from typing import Any

import numpy as np

from trainwell.data.samples.tree import BadItem
from trainwell.values.errors import UsageError

SUFFIXES = (".wav", ".flac", ".ogg")
MAGIC = (b"RIFF", b"fLaC", b"OggS")
MAX_SAMPLES = 60 * 60 * 48000
"""A longer sound is no single row; an hour at 48 kHz."""
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


def read_sound(data: Any) -> tuple[np.ndarray, int]:
    """Return the samples of a sound, (N,) float32 of one channel, and their rate.

    Args:
        data: encoded bytes, or samples and rate.
    Raises:
        BadItem: it is damaged, empty or too long.
    """
    if isinstance(data, tuple):
        return data
    soundfile = require_soundfile()
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if not 0 < file.frames <= MAX_SAMPLES:
                raise BadItem(f"holds {file.frames:,} samples, expected 1 to {MAX_SAMPLES:,}")
            samples, rate = file.read(dtype="float32", always_2d=True), file.samplerate
    except BadItem:
        raise
    except Exception as error:  # the library raises its own error, a RuntimeError or a ValueError
        raise BadItem(f"is no sound that can be read ({str(error).splitlines()[0][:80]})") from None
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


def log_mel(samples: np.ndarray, rate: int, bands: int, frames: int) -> np.ndarray:
    """Return the logarithm of the energy in bands of the mel scale, less its mean, (bands, frames) float32.

    A longer sound is cut around its middle, a shorter one filled with silence.

    Source: Davis, Mermelstein 1980; windows of 25 ms every 10 ms.
    """
    hop, window = round(HOP_S * rate), round(WINDOW_S * rate)
    size = 1 << (window - 1).bit_length()
    need = (frames - 1) * hop + window
    if len(samples) > need:
        start = (len(samples) - need) // 2
        samples = samples[start : start + need]
    count = min(frames, 1 + max(0, len(samples) - window) // hop)
    padded = np.pad(samples, (0, max(0, need - len(samples))))
    cut = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop][:frames]
    power = np.abs(np.fft.rfft(cut * np.hanning(window).astype(np.float32), size)) ** 2
    held = power @ mel_bands(rate, size, bands).T
    energy = np.log(held + max(LOUDNESS_FLOOR * float(held.max()), TINY))
    energy -= energy[:count].mean()  # how loud it was recorded says nothing
    energy[count:] = energy[:count].min()
    return np.ascontiguousarray(energy.T, np.float32)


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

"""Counter-based random numbers: each is a function of seed, use and counters, whatever was drawn before."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def generator(seed: int, use: str, *counters: int) -> np.random.Generator:
    """Return a generator that depends on nothing but the arguments."""
    text = json.dumps([int(seed), use, *map(int, counters)])
    key = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))

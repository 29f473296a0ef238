"""Spaces and objectives for the tests of searchers."""

from __future__ import annotations

import math

from trainwell.search.parameter import Parameter
from trainwell.search.searcher import Searcher, Told, make_searcher
from trainwell.search.space import Config, Space

MIXED = Space((
    Parameter("lr", 1e-4, 1.0, log=True, default=0.01, likely=(1e-3, 1e-1)),
    Parameter("optimizer", options=("adam", "sgd", "muon"), default="adam"),
    Parameter("momentum", 0.0, 0.99, default=0.9, when=("optimizer", ("sgd", "muon"))),
    Parameter("width", 8, 512, log=True, integer=True, default=64),
    Parameter("depth", 0, 4, integer=True, default=2),
    Parameter("batch_size", options=(16, 32, 64, 128), ordered=True, log=True, default=32),
    Parameter("dropout.rate", 0.05, 0.7, off=0.0, default=0.0),
    Parameter("l1.rate", 1e-6, 1e-1, log=True, off=0.0, default=0.0),
    Parameter("clip_grad.max_norm", 0.05, 20, log=True, off=math.inf, default=math.inf),
))  # fmt: skip
"""Every kind of parameter."""

SMALL = Space((Parameter("a", 0, 3, integer=True), Parameter("b", options=("x", "y"))))
"""Eight configurations."""


def loss(config: Config) -> float:
    """A smooth loss with its best at lr 0.03, sgd, dropout 0.3."""
    value = (math.log10(config["lr"]) + 1.5) ** 2 + 0.5 * (config["optimizer"] != "sgd")
    value += abs(config["dropout.rate"] - 0.3) + 0.1 * config["depth"]
    return value + (config.get("momentum", 0.5) - 0.9) ** 2


def searched(
    name: str, trials: int, *, seed: int = 0, batch: int = 8, space: Space = MIXED, objective: object = loss
) -> tuple[Searcher, list[Told]]:
    """Ask and tell generation by generation."""
    searcher, told = make_searcher(name, space, seed, batch), list[Told]()
    while len(told) < trials:
        found = searcher.propose(told, len(told), min(batch, trials - len(told)))
        if not found:
            break
        told += [Told(len(told) + i, c, objective(c)) for i, c in enumerate(found)]  # type: ignore[operator]
    return searcher, told

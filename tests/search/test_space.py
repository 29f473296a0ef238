"""Spaces and codes: what is drawn lies inside, texts and files come back, codes and configurations agree."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.search.spaces import MIXED
from trainwell.search.codec import Codec, keys
from trainwell.search.parameter import Parameter
from trainwell.search.space import Space, same
from trainwell.values.errors import UsageError

shares = st.lists(st.floats(0, 1, exclude_max=True), min_size=len(MIXED), max_size=len(MIXED))


@settings(deadline=None, max_examples=60)
@given(shares)
def test_draws_lie_in_the_space_and_come_back_from_their_codes(point: list[float]) -> None:
    config = MIXED.draw(point)
    MIXED.check(config)
    codec = Codec(MIXED)
    again = codec.config(codec.code(config))
    assert again.keys() == config.keys()
    for name, value in config.items():
        assert again[name] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value)


def test_many_draws_equal_single_ones() -> None:
    codec = Codec(MIXED)
    points = np.random.default_rng(0).random((200, len(MIXED)))
    many = codec.drawn(points)
    for row, point in zip(many, points, strict=True):
        one = codec.code(MIXED.draw(point))
        # whole numbers are drawn evenly over their levels by one and over the scale by the other
        real = [j for j, p in enumerate(MIXED) if codec.levels[j] is None and not p.integer]
        np.testing.assert_allclose(row[real], one[real], atol=2e-3)


def test_likely_ranges_get_their_share_and_off_gets_its_own() -> None:
    p = Parameter("x", 1e-4, 1.0, log=True, off=0.0, likely=(1e-3, 1e-2))
    drawn = [p.draw(u) for u in np.linspace(0, 1, 4001)[:-1]]
    assert np.mean([v == 0 for v in drawn]) == pytest.approx(0.25, abs=0.01)
    on = [v for v in drawn if v]
    assert np.mean([1e-3 <= v <= 1e-2 for v in on]) == pytest.approx(0.75 + 0.25 / 4, abs=0.01)
    assert min(on) >= 1e-4
    assert max(on) <= 1.0


def test_whole_numbers_at_the_ends_are_drawn_as_often_as_others() -> None:
    p = Parameter("n", 1, 5, integer=True)
    drawn = [p.draw(u) for u in np.linspace(0, 1, 5001)[:-1]]
    assert min(np.bincount(drawn)[1:]) > 900


def test_features_put_categories_at_distance_one_and_hide_what_does_not_count() -> None:
    codec = Codec(MIXED)
    adam, sgd, other = (
        {"lr": 0.1, "optimizer": o, "momentum": m, "width": 8, "depth": 1, "batch_size": 16, "dropout.rate": 0.0,
         "l1.rate": 0.0, "clip_grad.max_norm": math.inf}
        for o, m in (("adam", 0.1), ("sgd", 0.495), ("adam", 0.9))
    )  # fmt: skip
    rows = codec.features(codec.codes([MIXED.active(c) for c in (adam, sgd, other)]))
    assert np.linalg.norm(rows[0] - rows[1]) == pytest.approx(1.0)
    np.testing.assert_array_equal(rows[0], rows[2])


def test_spaces_survive_a_file(tmp_path: Path) -> None:
    assert Space.from_dict(MIXED.to_dict()) == MIXED
    plain = Space((Parameter("lr", 1e-4, 1.0, log=True), Parameter("a", options=("x", 2))))
    (tmp_path / "s.json").write_text(json.dumps(plain.to_dict()))
    assert Space.read(tmp_path / "s.json") == plain


def test_one_line_narrows_widens_fixes_and_removes() -> None:
    space = MIXED.changed(
        "lr=[1e-3, 1e-2]",
        "l1.rate={0} + [1e-5, 1e-3] log",
        "batch_size=64|32",
        "optimizer=sgd",
        "-dropout.rate",
    )
    lr = space["lr"]
    assert (lr.low, lr.high, lr.log) == (1e-3, 1e-2, True)
    assert space["batch_size"].options == (32, 64)
    assert space["optimizer"].size == 1
    assert "dropout.rate" not in [p.name for p in space]
    assert len(list(space.lines())) == len(space)
    assert MIXED.without("optimizer").parameters == tuple(
        p for p in MIXED if p.name not in ("optimizer", "momentum")
    )


def test_lines_tell_conditions_off_values_and_scales() -> None:
    space = MIXED.changed(
        "width=[16, 64] log when optimizer=sgd|muon", "depth=0|1 when optimizer is adam or sgd"
    )
    assert space["width"].when == ("optimizer", ("sgd", "muon"))
    assert space["depth"].when == ("optimizer", ("adam", "sgd"))
    assert "width" not in space.active({**MIXED.default(), "optimizer": "adam"})
    kept = MIXED.changed("dropout.rate={0} + log range")["dropout.rate"]
    assert (kept.low, kept.high, kept.log, kept.off) == (0.05, 0.7, True, 0.0)
    assert (
        MIXED.changed(*(p.line for p in MIXED if p.when is None and not p.is_categorical)).size == MIXED.size
    )


@pytest.mark.parametrize(
    ("name", "end", "line"),
    [
        ("lr", "high", "lr=[0.0001, 10] log"),
        ("batch_size", "low", "batch_size=8|16|32|64|128"),
        ("depth", "high", "depth=[0, 6] whole"),
        ("dropout.rate", "high", "dropout.rate={0} + [0.05, 1]"),
    ],
)
def test_a_range_is_widened_beyond_an_end(name: str, end: str, line: str) -> None:
    assert MIXED[name].widened(end).line == line


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lr", "expected NAME"),
        ("width=[1, 9] when optimizer=sdg", "one of"),
        ("optimizer=log", "no range to keep"),
        ("-lrr", "Did you mean 'lr'"),
        ("lr=[1, 0.1]", "low <= high"),
    ],
)
def test_wrong_lines_are_told(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MIXED.changed(line)


def test_wrong_spaces_are_told() -> None:
    with pytest.raises(UsageError, match="off=0"):
        Parameter("x", 0, 1, log=True)
    with pytest.raises(UsageError, match="depends on"):
        Space((Parameter("m", 0, 1, when=("o", ("a",))),))
    with pytest.raises(UsageError, match="does not count"):
        MIXED.check({**MIXED.default(), "momentum": 0.5})


def test_neighbours_differ_in_one_place() -> None:
    codec = Codec(MIXED)
    row = codec.code(MIXED.default())
    near = codec.neighbours(row)
    assert len(set(keys(near))) > 20
    for other in near:
        assert len({*same(codec.config(other))} ^ {*same(codec.config(row))}) <= 3

"""What counts as odd, copied or missing in the rows that were seen."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import trainwell as tw
from trainwell.signals import rows
from trainwell.signals.contracts import _is_default
from trainwell.signals.data import DataFacts, target_facts
from trainwell.signals.outputs import _differ
from trainwell.signals.scene import Batch, Scene
from trainwell.signals.witness import column_facts, label_facts, ordinal_facts
from trainwell.values.signal import Traces


def normal(num: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num, width))


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(1e-6, 1e6), share=st.floats(0.005, 0.04), factor=st.floats(30, 1e4))
def test_rows_that_are_multiplied_are_odd_in_any_unit(scale: float, share: float, factor: float) -> None:
    x = normal(600, 12) * scale
    x[: int(600 * share)] *= factor
    # a multiplied row may by chance be a small one
    assert rows.odd_facts(x)["odd_row_share"] == pytest.approx(int(600 * share) / 600, abs=0.3 * share)
    assert rows.odd_facts(normal(600, 12) * scale)["odd_row_share"] == 0.0


def test_rare_pixels_and_rare_codes_make_no_odd_rows() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.uniform(size=(700, 100)) * (rng.uniform(size=(700, 100)) < np.linspace(0.001, 0.5, 100))
    codes = (rng.uniform(size=(700, 60)) < np.geomspace(0.002, 0.5, 60)).astype(float)
    codes = (codes - codes.mean(0)) / (codes.std(0) + 1e-9)
    for x in (pixels, codes):
        found = rows.odd_facts(x)
        assert found["odd_row_share"] <= 0.002 and not found["sentinel_share"] > 0.002


def test_what_few_people_have_makes_no_odd_row() -> None:
    """Gains and losses of capital are zero for nine in ten, and large for the others: two columns of six."""
    x, rng = normal(1200, 6), np.random.default_rng(4)
    for column in (2, 3):
        x[:, column] = np.where(rng.uniform(size=1200) < 0.04, 6 * rng.uniform(0.5, 1, 1200), -0.2)
    assert rows.odd_facts(x)["odd_row_share"] <= 0.002, "both at once"


@pytest.mark.parametrize("topics", [0.0, 0.5])
def test_tokens_shift_as_far_as_their_shares_differ(topics: float) -> None:
    """The distance is the total variation between the distributions, whatever the size of the parts and their topics."""
    rng = np.random.default_rng(7)
    usual, p = rng.dirichlet(np.full(400, 0.5), 5), np.full(5, 0.2)
    usual = topics * usual + (1 - topics) * usual[:1]

    def sample(num: int, moved: float, seed: int) -> np.ndarray:
        g = np.random.default_rng(seed)
        kinds = g.choice(5, num, p=p)
        x = np.stack([g.choice(400, 30, p=usual[k]) for k in kinds])
        return np.where(g.uniform(size=x.shape) < moved, 400 + x, x)

    for moved in (0.0, 0.4, 1.0):
        for num in (100, 700):
            found = rows.token_shift_facts(sample(700, 0.0, 1), sample(num, moved, 2))["shift_tokens"]
            assert moved - 0.3 < found < moved + 0.05, "what is taken for chance lowers it"
    once = np.arange(600)[:, None]
    assert rows.token_shift_facts(once[:400], once[400:])["shift_tokens"] < 1e-9, (
        "each has a number of its own"
    )
    assert rows.token_shift_facts(once - 5, once) == {}


def test_a_code_for_missing_is_a_stranger_in_its_column_and_a_clipped_value_is_not() -> None:
    x = normal(500, 10)
    coded = np.where(np.random.default_rng(2).uniform(size=x.shape) < 0.02, -999.0, x)
    found = rows.odd_facts(coded)
    assert found["sentinel_value"] == -999.0 and found["sentinel_share"] == pytest.approx(0.02, abs=0.005)
    heavy = np.clip(np.random.default_rng(3).standard_cauchy(size=(500, 10)), -25, 25)
    assert not rows.odd_facts(heavy)["sentinel_share"] > 0.002


def test_copies_of_measured_rows_are_told_from_equal_rows_of_codes() -> None:
    x = normal(400, 5)
    found = rows.copy_facts(x, np.concatenate([x[:50], normal(50, 5, 9)]), 400)
    assert found["copied_rows"] == 50 and found["most_distinct"] == 1.0
    codes = np.random.default_rng(4).integers(0, 3, size=(500, 4)).astype(float)
    found = rows.copy_facts(codes[:400], codes[400:], 400)
    assert found["copied_of_seen"] > 0.9 and found["most_distinct"] < 0.2


def test_classes_of_pictures_are_counted_pixel_by_pixel() -> None:
    maps = torch.arange(6).reshape(1, 2, 3).expand(5, 2, 3) % 3
    assert target_facts(maps, "classification")["class_counts"] == {"0": 10, "1": 10, "2": 10}


def test_witness_answers_where_values_differ_much_in_size() -> None:
    x = normal(200, 6)
    y = (x[:, 1] > 0).astype(float)
    x[::40, 3] = -1e9
    found = label_facts(x, y, tokens=False, classes=True)
    assert found["learnable"] > 0.3


def test_default_weights_of_recurrent_layers_are_known_as_such() -> None:
    layer = torch.nn.GRU(7, 24)
    assert _is_default(layer.weight_ih_l0.detach().double(), layer)
    assert not _is_default(layer.weight_ih_l0.detach().double() + 0.1, layer)


def test_only_rows_that_are_drawn_come_again_among_new_ones() -> None:
    x, batch = normal(100, 4), np.repeat(np.arange(20), 10)
    assert rows.drawn_again(np.concatenate([x, x]), batch) == 0.0
    assert rows.drawn_again(x[np.random.default_rng(0).integers(0, 100, 200)], batch) > 0.8


def test_a_noisy_copy_of_the_target_is_told_from_what_the_others_say_as_well() -> None:
    x = normal(400, 6)
    noise = normal(400, 2, 1)
    y = 2 * x[:, 0] + x[:, 1] + 0.8 * noise[:, 0]
    assert "learnable_with" not in column_facts(x, y, False, False)
    x[:, 5] = y + 0.05 * noise[:, 1]
    facts = column_facts(x, y, False, False)
    assert facts["learnable_without"] > 0.7
    assert 1 - facts["learnable_without"] > 5 * (1 - facts["learnable_with"])


def test_a_category_of_few_rows_that_is_missing_in_one_part_is_no_change_of_scale() -> None:
    rng = np.random.default_rng(0)
    train, val = rng.normal(size=(105, 40)), rng.normal(size=(22, 40))
    train[:, :30], val[:, :30] = 0.0, 0.0
    train[rng.integers(105, size=30), np.arange(30)] = 1.0  # thirty categories, each of one row
    assert rows.shift_facts(train, val)["shift_scaled_columns"] == 0.0
    other, tenfold = rng.normal(size=(300, 8)), 10 * rng.normal(size=(80, 8))
    assert rows.shift_facts(other, tenfold)["shift_scaled_columns"] == 1.0


@pytest.mark.parametrize("copied", [True, False])
def test_rows_are_copies_only_where_their_codes_are_as_well(copied: bool) -> None:
    """A table is given as numbers and codes; dates of hiring come again, whole employees do not."""
    rng = torch.Generator().manual_seed(0)
    numbers = torch.rand(24, 3, generator=rng)[torch.randint(24, (200,), generator=rng)]
    codes = torch.stack([torch.arange(200), torch.arange(200) % 7], 1)
    if copied:
        numbers[150:], codes[150:] = numbers[:50], codes[:50]
    net = TwoInputs()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    loss = torch.nn.CrossEntropyLoss()
    with tw.watch(net, optimizer, say=lambda line: None, quiet=True) as seen:
        for _ in range(3):
            for i in range(0, 150, 30):
                rows_ = slice(i, i + 30)
                optimizer.zero_grad()
                loss(net(numbers[rows_], codes[rows_]), codes[rows_, 1]).backward()
                optimizer.step()
            with torch.no_grad():
                loss(net(numbers[150:], codes[150:]), codes[150:, 1])
    assert (seen.traces.fact("copied_share", 0.0) > 0.9) is copied


class TwoInputs(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = torch.nn.Embedding(200, 4), torch.nn.Linear(7, 7)

    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(torch.cat([numbers, self.table(codes[:, 0])], 1))
        return out


def test_weights_that_are_all_alike_favour_no_class() -> None:
    assert not _differ(None)
    assert not _differ(torch.ones(10))
    assert _differ(torch.tensor([1.0, 1.0, 20.0]))


def test_the_nearest_row_tells_of_what_no_smooth_learner_sees() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (400, 1))
    fast = label_facts(x, np.sin(80 * x[:, 0]), False, False)
    assert fast["learnable"] < 0.03 and fast["nearest_z"] > 10
    by_chance = [label_facts(normal(400, 2, s), normal(400, 1, s + 99)[:, 0], False, False) for s in range(5)]
    assert max(facts["nearest_z"] for facts in by_chance) < 3


def test_the_witness_sees_which_token_stands_before_the_other() -> None:
    """What no count of tokens tells: 1 stands before 2 in half of the rows, among ten others."""
    rng = np.random.default_rng(8)
    x, y = rng.integers(3, 12, (400, 12)), np.arange(400) % 2
    for row, label in zip(x, y, strict=True):
        places = np.sort(rng.choice(12, 2, replace=False))
        row[places] = (1, 2) if label else (2, 1)
    assert rows.first_places(np.array([[5, 3, 5, 0]])).tolist() == [[0.25, 0, 0, 0.75, 0, 1]]
    assert label_facts(x.astype(float), y, tokens=True, classes=True)["learnable"] > 0.5
    shuffled = label_facts(x.astype(float), rng.permutation(y), tokens=True, classes=True)["learnable"]
    assert shuffled < 0.04


def test_ratings_stand_in_order_and_names_do_not() -> None:
    """Names are in an order like that as often as chance says; ratings and counts always, those of five values too."""
    by_name = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 8, 400)
        x = rng.normal(size=(8, 10))[y] + rng.normal(size=(400, 10))
        by_name.append(ordinal_facts(x, y.astype(float), tokens=False))
    assert 0.3 < np.mean([f["ordinal_p"] for f in by_name]) < 0.7
    assert max(f["ordinal_r"] for f in by_name) < 0.6
    x = normal(400, 6)
    for values in (5, 12):
        edges = np.quantile(x[:, 0], np.arange(1, values) / values)
        ratings = np.digitize(x[:, 0] + 0.3 * normal(400, 1, 3)[:, 0], edges)
        told = ordinal_facts(x, ratings.astype(float), tokens=False)
        assert told["ordinal_r"] > 0.9 and told["ordinal_p"] < 0.05
    counts = np.minimum(np.random.default_rng(1).poisson(np.exp(1 + 0.6 * x[:, 1])), 19).astype(float)
    told = ordinal_facts(x, counts, tokens=False)
    assert told["ordinal_r"] > 0.6 and told["ordinal_p"] < 0.05
    assert ordinal_facts(x, np.arange(400) % 4 * 1.0, tokens=False) == {}


@pytest.mark.parametrize(("column", "low", "high"), [(None, 0.0, 0.2), (3, 0.9, 1.0)])
def test_rows_in_the_order_of_a_column_are_seen_in_any_unit(
    column: int | None, low: float, high: float
) -> None:
    x = normal(200, 8) * 1e4
    x = x if column is None else x[np.argsort(x[:, column])]
    facts = rows.order_facts(normal(200, 1, 1)[:, 0], np.arange(200) // 20, False, x)
    assert facts["between_batches"] < 0.2
    assert low <= facts["between_batches_x"] <= high


@pytest.mark.parametrize(("failed", "reported"), [(0, 0.0), (120, 0.3)])
def test_blank_rows_are_counted_all_and_are_no_copies_of_each_other(failed: int, reported: float) -> None:
    """A reader that fails and returns zeros leaves rows that are equal on both sides of the split."""
    x, y = normal(600, 16).astype(np.float32), np.arange(600) % 3
    x[:400][np.random.default_rng(5).permutation(400)[:failed]] = 0.0
    x[400 : 400 + failed // 2] = 0.0
    facts = facts_of(x[:400], y[:400], x[400:], y[400:])
    assert facts["blank_row_share"] == pytest.approx(reported)
    assert facts["copied_rows"] == 0 and not facts["near_share"] > 0.05


@pytest.mark.parametrize(("level", "reported"), [(0.0, 0.0), (1.0, 0.25)])
def test_blank_rows_of_like_targets_are_a_series_at_rest(level: float, reported: float) -> None:
    """No power is made at night: windows of zeros are right where their targets are alike."""
    x, y = normal(400, 16).astype(np.float32), np.random.default_rng(6).normal(size=400).astype(np.float32)
    x[::4], y[::4] = 0.0, level * y[::4]
    assert facts_of(x, y, x[:0], y[:0])["blank_row_share"] == pytest.approx(reported)


def facts_of(x: np.ndarray, y: np.ndarray, new: np.ndarray, new_y: np.ndarray) -> dict[str, float]:
    """Return what is measured of rows of training and of validation."""
    kind = "classification" if y.dtype.kind == "i" else "regression"

    def batches(rows_: np.ndarray, targets: np.ndarray) -> list[Batch]:
        if not len(rows_):
            return []
        part = torch.from_numpy(rows_)
        forward = types.SimpleNamespace(tensors=[part], rows=len(part))
        return [Batch(forward, [types.SimpleNamespace(target=torch.from_numpy(targets))], 0)]

    nothing: Any = None
    scene = Scene(nothing, nothing, nothing, Traces({"loss_kind": kind}), batches(x, y), batches(new, new_y))
    DataFacts().close(scene, nothing)
    return scene.facts


def test_a_column_of_billions_makes_no_other_constant() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    x[:, 1] = 1.6e9 + 3e7 * x[:, 1]
    x[:, 2] = np.float32(0.1)
    assert rows.scale_facts(x)["x_constant_share"] == pytest.approx(0.25)


@pytest.mark.parametrize(("kind", "alike"), [("rows", True), ("columns", False), ("nothing", False)])
def test_rows_that_were_standardised_one_by_one_are_alike(kind: str, alike: bool) -> None:
    x = np.random.default_rng(0).normal(3.0, 2.0, size=(100, 10)).astype(np.float32)
    axis = {"rows": 1, "columns": 0, "nothing": None}[kind]
    if axis is not None:
        x = (x - x.mean(axis, keepdims=True)) / x.std(axis, keepdims=True)
    assert (rows.own_scale(x) < 1e-3) is alike


def test_rows_drawn_again_and_again_before_the_split_are_copies() -> None:
    """Measured numbers come again only where their row does; codes come again by chance."""
    rng = np.random.default_rng(0)
    pool, codes = rng.normal(size=(50, 5)), rng.integers(0, 3, (500, 2)).astype(float)
    drawn = pool[rng.integers(0, 50, 500)]
    for x, share in ((drawn, 1.0), (codes, 0.0)):
        facts = rows.copy_facts(x[:380], x[380:], 380, (x[:380, :1], x[380:, :1]))
        assert facts["val_distinct_share"] < 0.5
        assert facts["copied_share"] == pytest.approx(share, abs=0.02)

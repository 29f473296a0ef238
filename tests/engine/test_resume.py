"""A training that is cut anywhere and resumed ends bit for bit as the undisturbed one."""

from __future__ import annotations

import signal
from pathlib import Path

import pandas as pd
import pytest
import torch

import trainwell as tw
from benchmarks import resume
from trainwell.engine.feed import MemoryFeed
from trainwell.engine.streams import Streams


@pytest.mark.parametrize(("case", "every"), [("module", 35), ("loader", 30), ("shuffled", 35)])
def test_cut_and_resumed_equals_undisturbed(case: str, every: int, tmp_path: Path) -> None:
    found = resume.measure(case, tmp_path, every, fresh=False)
    assert found["wrong"] == {}
    assert found["cuts"] >= 2
    assert found["compared"] > 40


@pytest.mark.parametrize("case", ["table", "module"])
def test_cut_at_every_tenth_step_of_one_run_equals_undisturbed(case: str, tmp_path: Path) -> None:
    fit, go_on = resume.CASES[case]
    last = fit(tmp_path, tmp_path / "whole").history[-1]["step"]
    folder = resume.cut(case, tmp_path, 10)
    for step in range(20, last, 10):
        with resume.sigint_after(step):
            assert go_on(tmp_path, folder).interrupted == signal.SIGINT
    assert go_on(tmp_path, folder).interrupted == 0
    assert resume.differences(resume.digests(tmp_path / "whole"), resume.digests(folder)) == []


def test_resumed_in_fresh_processes_equals_undisturbed(tmp_path: Path) -> None:
    found = resume.measure("table", tmp_path, 70, fresh=True)
    assert (found["wrong"], found["cuts"]) == ({}, 1)


def test_a_difference_is_noticed(tmp_path: Path) -> None:
    resume.fit_module(tmp_path, tmp_path / "one")
    with resume.sigint_after(90):
        resume.fit_module(tmp_path, tmp_path / "other")
    differs = resume.differences(*(resume.digests(tmp_path / name) for name in ("one", "other")))
    assert {"last step", "journal", "results epochs"} <= set(differs)
    assert any(name.startswith("last streams") for name in differs)


@pytest.mark.parametrize("first_step", range(1, 7))
def test_batches_of_a_resumed_epoch_begin_at_the_same_places_in_memory(first_step: int) -> None:
    x = torch.arange(70.0).reshape(10, 7)
    feed = MemoryFeed((x,), torch.arange(10), 1, Streams(0))
    feed._block_rows = 3
    whole = [(batch[0].storage_offset(), batch) for block in feed.blocks(2, 0) for batch, _ in block]
    cut = [(batch[0].storage_offset(), batch) for block in feed.blocks(2, first_step) for batch, _ in block]
    assert [offset for offset, _ in cut] == [offset for offset, _ in whole[first_step:]]
    for (_, (mine,)), (_, (other,)) in zip(cut, whole[first_step:], strict=True):
        assert torch.equal(mine, other)


def equal(folder: Path, whole: Path) -> bool:
    return resume.differences(resume.digests(folder), resume.digests(whole)) == []


def test_the_same_objects_go_on_in_the_same_process(tmp_path: Path) -> None:
    """A notebook resumes with the module, optimizer and loaders that were trained already."""
    model, optimizer = resume.with_optimizer()
    data = resume.loaders(torch.Generator().manual_seed(8))
    recipe = tw.Recipe(epochs=12, schedule="cosine", techniques=resume.LOADER_TECHNIQUES)
    with resume.sigint_after(30):
        tw.fit(data, model=model, optimizer=optimizer, recipe=recipe, out=tmp_path / "cut")
    tw.resume(tmp_path / "cut", data, model=model, optimizer=optimizer)
    resume.fit_shuffled(tmp_path, tmp_path / "whole")
    assert equal(tmp_path / "cut", tmp_path / "whole")


def test_options_of_data_from_python_are_kept_for_the_resume(tmp_path: Path) -> None:
    (x, y), _ = resume.tensors()
    options = {"split_seed": 3, "val_fraction": 0.3, "test_fraction": 0.1}
    with resume.sigint_after(20):
        tw.fit((x, y), model=resume.network(), recipe=resume.RECIPE, out=tmp_path / "cut", **options)
    tw.resume(tmp_path / "cut", (x, y), model=resume.network())
    tw.fit((x, y), model=resume.network(), recipe=resume.RECIPE, out=tmp_path / "whole", **options)
    assert equal(tmp_path / "cut", tmp_path / "whole")


def test_target_and_options_of_a_frame_are_kept_for_the_resume(tmp_path: Path) -> None:
    frame, recipe = pd.read_csv(resume.table(tmp_path)), resume.table_recipe(6, 3)
    options = {"target": "y", "split_seed": 3, "drop": ("b",), "recipe": recipe, "baseline": False}
    with resume.sigint_after(20):
        tw.fit(frame, out=tmp_path / "cut", **options)
    tw.resume(tmp_path / "cut", frame, baseline=False)
    tw.fit(frame, out=tmp_path / "whole", **options)
    assert equal(tmp_path / "cut", tmp_path / "whole")


def test_a_part_that_was_a_frame_is_asked_for_again(tmp_path: Path) -> None:
    path, recipe = resume.table(tmp_path), resume.table_recipe(6, 3)
    frame = pd.read_csv(path)
    options = {"target": "y", "val": frame[:60], "recipe": recipe, "baseline": False}
    with resume.sigint_after(20):
        tw.fit(path, out=tmp_path / "cut", **options)
    with pytest.raises(tw.RunError, match=r"give them again: resume\(path, val=\.\.\.\)"):
        tw.resume(tmp_path / "cut", baseline=False)
    tw.resume(tmp_path / "cut", baseline=False, val=frame[:60])
    tw.fit(path, out=tmp_path / "whole", **options)
    assert equal(tmp_path / "cut", tmp_path / "whole")

"""`prove`, `treat`, `ablate` and `fit --treat-live` as a user meets them: results, exit codes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import QUICK, Command, make_frame

EXIT_USAGE, EXIT_DATA = 2, 3

Finished = tuple[Path, Path]
BASE = ("--preset", "quick", "--budget", "1ep", "--target", "y")


def test_a_trial_of_two_seeds_says_what_it_cannot_show_and_goes_on_when_called_again(
    finished: Finished, trainwell: Command, tmp_path: Path
) -> None:
    arguments = ("prove", finished[1], *BASE, "--against", "lr=0.00001", "--out", tmp_path / "t")
    done = trainwell(*arguments, "--seeds", 2)
    assert done.code == 0, done.err
    assert "2 seeds are too few to prove anything" in done.err and "--seeds 6" in done.err
    assert done.err.index("too few") < done.err.index("seeds 0 to 1")
    assert "2 seeds decide nothing" in done.out and "times the memory" in done.out

    again = trainwell(*arguments, "--seeds", 3, "--json")
    assert again.code == 0, again.err
    (comparison,) = again.json["comparisons"]
    assert len(comparison["gains"]) == 3 and comparison["cost"]["step_ratio"] > 0
    finished_runs = [
        line for line in (tmp_path / "t" / "journal.jsonl").read_text().splitlines() if "finished" in line
    ]
    assert len(finished_runs) == 6, "the runs of the first two seeds were not trained again"


def test_claims_are_checked_one_by_one(finished: Finished, trainwell: Command, tmp_path: Path) -> None:
    done = trainwell(
        "prove", finished[1], *BASE, "--against", "dropout:rate=0.3", "--seeds", 2, "--out", tmp_path / "t1"
    )
    assert done.code == 0, done.err
    assert done.out.count("claim ") == 1 and "val_loss is to fall" in done.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--target", "y"), "--against is needed"),
        (("--against", "lr=1"), "--target is needed"),
        (
            ("--target", "y", "--against", "drpout:rate=0.3"),
            "error: --against: there is no technique 'drpout'. Did you",
        ),
        (("--target", "y", "--against", "lr=0.02", "--seeds", "1"), "seeds must be >= 2"),
        (("--target", "y", "--against", "lr=0.02", "--budget", "soon"), "--budget soon"),
        (("--target", "y", "--against", "lr=0.02", "--metric", "acuracy"), "Did you mean"),
        (("--target", "y", "--against=-ema", "--preset", "quick", "--without", "ema"), "ema"),
        (("--target", "y", "--against", "lr=0.02", "--recipe", "none.json"), "none.json"),
    ],
)
def test_bad_options_are_refused_before_anything_is_trained(
    options: tuple[str, ...],
    words: str,
    finished: Finished,
    trainwell: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = trainwell("prove", finished[1], *options)
    assert done.code == EXIT_USAGE and words in done.err, done.err
    assert not done.out and not list(tmp_path.iterdir())


def test_another_trial_in_the_same_folder_is_refused(
    finished: Finished, trainwell: Command, tmp_path: Path
) -> None:
    for change, code in (("lr=0.001", 0), ("lr=0.002", EXIT_USAGE)):
        done = trainwell(
            "prove", finished[1], *BASE, "--against", change, "--seeds", 2, "--out", tmp_path / "t"
        )
        assert done.code == code, done.err
    assert "other data, recipes or metric" in done.err


def test_treat_leaves_a_run_without_alarms_alone(finished: Finished, trainwell: Command) -> None:
    done = trainwell("treat", finished[0], "--json")
    assert done.code == 0, done.err
    assert done.json["run"] is None and done.json["verdicts"] == {}


@pytest.mark.parametrize("verb", ["treat", "ablate"])
def test_a_run_that_is_not_there_is_refused(verb: str, trainwell: Command) -> None:
    done = trainwell(verb, "runs/nothing-here")
    assert done.code == EXIT_USAGE and "nothing-here" in done.err


def test_ablate_says_what_each_technique_is_worth(
    finished: Finished, trainwell: Command, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    fitted = trainwell(
        "fit", finished[1], "--target", "y", *QUICK, "--with", "label_smoothing:amount=0.3", "--out", run, "--quiet",
        "--treat-live", 2,
    )  # fmt: skip
    assert fitted.code == 0, fitted.err
    done = trainwell("ablate", run, "--seeds", 2, "--metric", "val_loss", "--out", tmp_path / "t")
    assert done.code == 0, done.err
    assert "label_smoothing" in done.out and "val_loss" in done.out


def test_the_data_of_a_trial_are_those_of_the_run(trainwell: Command, tmp_path: Path) -> None:
    data, run = tmp_path / "t.csv", tmp_path / "run"
    frame = make_frame()
    frame["who"] = [f"w{i % 24}" for i in range(len(frame))]
    frame.to_csv(data, index=False)
    fitted = trainwell("fit", data, "--target", "y", "--group", "who", *QUICK, "--out", run, "--quiet")
    assert fitted.code == 0, fitted.err
    done = trainwell("ablate", run, "--seeds", 2, "--out", tmp_path / "t", "--quiet")
    assert done.code == 0 and "as given" in done.out, done.err
    frame[:200].to_csv(data, index=False)
    for verb in ("ablate", "treat", "resume"):
        done = trainwell(verb, run)
        assert done.code == EXIT_DATA and done.err.startswith("error: "), done.err
    data.unlink()
    for verb in ("ablate", "treat", "resume"):
        done = trainwell(verb, run)
        assert done.code == EXIT_USAGE and "no longer at" in done.err


def test_a_number_of_treatments_below_zero_is_refused(finished: Finished, trainwell: Command) -> None:
    done = trainwell("fit", finished[1], "--target", "y", "--treat-live", "-1")
    assert done.code == EXIT_USAGE and "--treat-live" in done.err

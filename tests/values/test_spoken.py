"""Options in messages: as keywords in Python, as options on the command line."""

from __future__ import annotations

import pandas as pd
import pytest

import trainwell as tw
from trainwell.app.cli import run_command
from trainwell.values.errors import DataError, UsageError
from trainwell.values.spoken import in_python, on_command_line, spoken

SAID = {
    "--target: t.csv has no column 'x'.": "target=: t.csv has no column 'x'.",
    "--target is needed: which column": "target= is needed: which column",
    "--preset quik: expected one of quick.": "preset='quik': expected one of quick.",
    "more than the 1 % (--max-bad 3%)": "more than the 1 % (max_bad='3%')",
    "--set lr: the recipe has no 'lr'.": "settings_['lr']: the recipe has no 'lr'.",
    "Add it with --with dropout:rate=0.2.": "Add it with with_='dropout:rate=0.2'.",
    "take --with freeze, or leave it": "take with_='freeze', or leave it",
    "probe again with --set batch_size=64.": "probe again with settings_={'batch_size': 64}.",
    "(--set model=NAME of the backbone)": "(settings_={'model': NAME} of the backbone)",
    "Give --seeds 8 or more.": "Give seeds=8 or more.",
    "a file: --weights NAME.safetensors. Or: --weights none": "a file: weights=NAME.safetensors. Or: weights='none'",
    "--val-fraction and --test-fraction must leave rows": "val_fraction= and test_fraction= must leave rows",
    "give --allow-pickle as well": "give allow_pickle=True as well",
    "see `trainwell fit --help`; --with is given twice": "see `trainwell fit --help`; with_= is given twice",
    "--weights /home/a/x.pt is a pickle": "weights='/home/a/x.pt' is a pickle",
    "pip install --no-deps minilm, or --weights FILE": "pip install --no-deps minilm, or weights=FILE",
    "there is no file a--bcd.csv": "there is no file a--bcd.csv",
    "no column '--with it' or x/--set": "no column '--with it' or x/--set",
}  # fmt: skip


@pytest.mark.parametrize("text", SAID)
def test_options_become_keywords(text: str) -> None:
    assert in_python(text) == SAID[text]
    assert spoken(text) == SAID[text]
    with on_command_line():
        assert spoken(text) == text
    assert in_python(SAID[text]) == SAID[text], "what was turned stays"


def test_the_same_mistake_reads_as_it_was_made(
    tmp_path: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path) + "/t.csv"
    pd.DataFrame({"a": [0.1 * (i % 7) for i in range(40)], "b": [0, 1] * 20}).to_csv(file, index=False)
    with pytest.raises(UsageError, match=r"^target=: .*t\.csv has no column 'c' \(it has: a, b\)"):
        tw.fit(file, "c", out=False)
    assert run_command(["fit", file, "--target", "c"]) == 2
    assert "error: --target: " in capsys.readouterr().err
    assert run_command(["fit", file, "--target", "b", "--preset", "quik", "--json"]) == 2
    assert "--preset quik" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"^preset='quik': expected one of"):
        tw.fit(file, "b", preset="quik", out=False)


def test_other_errors_too() -> None:
    assert str(DataError("3 files are broken; --max-bad 5% lets them pass")) == (
        "3 files are broken; max_bad='5%' lets them pass"
    )

"""A notebook sees one output that grows, and nothing of it runs."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

import trainwell as tw
from tests.report.conftest import small_table
from tests.report.hostile import NAMES
from trainwell.report.notebook import LiveTable, in_notebook


class Handle:
    """What IPython's `display` returns: remembers what was shown in its place."""

    def __init__(self, shown: list[dict[str, str]]) -> None:
        self.shown = shown

    def update(self, bundle: dict[str, str], *, raw: bool) -> None:
        self.shown.append(bundle)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """A process that looks like a kernel; returns all that was displayed, of one output."""
    found: list[dict[str, str]] = []
    outputs: list[str] = []

    def display(bundle: dict[str, str], *, raw: bool, display_id: str) -> Handle:
        outputs.append(display_id)
        assert raw and len(outputs) == 1, "a second output"
        found.append(bundle)
        return Handle(found)

    module, inner = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    module.get_ipython = lambda: types.SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    inner.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", inner)
    return found


def test_a_script_is_no_notebook() -> None:
    assert "IPython" in sys.modules or not in_notebook()


def test_training_in_a_notebook_shows_one_table(
    shown: list[dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_notebook()
    recipe = tw.Recipe(model="mlp", epochs=3, batch_size=64)
    tw.fit(small_table(), target="target", recipe=recipe, out=tmp_path / "run", baseline=False)
    last = shown[-1]["text/html"]
    assert last.count("<tr>") == 4 and last.count("<b>best</b>") == 1
    for part in ("score     test accuracy", "report    trainwell report", "Data and recipe"):
        assert part in last, part
    assert "epoch 3  train_loss" in shown[-1]["text/plain"]
    told = capsys.readouterr()
    assert told.out == told.err == ""


def test_names_do_nothing_in_a_notebook(shown: list[dict[str, str]]) -> None:
    table = LiveTable()
    for name in NAMES:
        table.say(name)
    table.row({"epoch": 1, "train_loss": float("nan"), "val_metric": 0.5, "best": True}, NAMES[0])
    table.stop()
    html = shown[-1]["text/html"]
    assert "<script" not in html and "<img" not in html and "<svg" not in html
    assert len(shown) <= len(NAMES) + 1


def test_a_notebook_that_went_away_ends_no_training(
    shown: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = LiveTable()
    table.say("begins")
    monkeypatch.setattr(Handle, "update", lambda *a, **k: (_ for _ in ()).throw(OSError("gone")))
    table.say("goes on")
    table.stop()


def test_a_real_kernel_shows_it(tmp_path: Path) -> None:
    client, format_ = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    code = (
        "import trainwell as tw\nfrom sklearn.datasets import load_iris\n"
        "run = tw.fit(load_iris(as_frame=True).frame, target='target', budget='3ep', out=False, baseline=False)"
    )
    book = format_.v4.new_notebook(cells=[format_.v4.new_code_cell(code)])
    client.NotebookClient(book, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = book.cells[0].outputs
    assert [o.output_type for o in outputs] == ["display_data"]
    assert "score     test accuracy" in outputs[0].data["text/html"]

"""Where a training is logged beside its folder: read back by the real readers, and never a reason to fail."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import trainwell as tw
from tests.report.conftest import small_table
from tests.report.hostile import NAMES
from trainwell.app.console import Console
from trainwell.report import sink as sinks
from trainwell.report.sink import REGISTRY, Sink, Sinks, flat, load_sinks, measured, open_sinks
from trainwell.values.errors import UsageError

RECIPE = tw.Recipe(model="mlp", epochs=2, batch_size=64, techniques=("dropout:rate=0.25", "layer_norm"))


def trained(out: Path | bool, **options: Any) -> tw.Run:
    return tw.fit(
        small_table(), target="target", recipe=RECIPE, out=out, baseline=False, watch=False, **options
    )


def test_rows_are_named_and_hold_finite_numbers_only() -> None:
    row = {"train_loss": 0.5, "val_loss": math.nan, "val_metric": 1, "epoch_s": None}
    assert measured(row, "rmse") == {"loss/train": 0.5, "val/rmse": 1.0}
    fields = dict(flat(RECIPE.to_dict()))
    assert (
        fields["dropout.rate"] == "0.25" and fields["layer_norm"] == "on" and fields["model.family"] == "mlp"
    )


def test_what_is_not_known_or_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="Did you mean"):
        open_sinks("tensorbord")
    for name in load_sinks():
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, f"{name}.compat.proto", None)
        with pytest.raises(UsageError, match=rf"pip install 'trainwell\[{name}\]'"):
            open_sinks(name)


def test_a_sink_of_anyone_hears_all_and_may_fail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sinks, "REGISTRY", dict(REGISTRY))
    heard: list[str] = []

    class Mine(Sink):
        name = "mine"

        def begin(self, folder: Path, recipe: Mapping[str, Any]) -> None:
            heard.append(f"begin {folder.name} {recipe['lr']}")

        def row(self, step: int, values: Mapping[str, float]) -> None:
            heard.append(f"row {step} {sorted(values)}")
            if len(heard) == 3:
                raise OSError("server gone")

    console = Console.stderr()
    console._sinks = Sinks([Mine()])
    trained(tmp_path / "run", console=console)
    names = "['loss/train', 'loss/val', 'time/epoch_s', 'val/accuracy']"
    assert [h.partition(" ")[0] for h in heard] == ["begin", "row", "row"]
    assert heard[1].endswith(names)
    assert (
        "warning: --log mine failed (OSError: server gone); the training goes on." in capsys.readouterr().err
    )


class Deaf:
    """A sink that hears nothing but its end."""

    name = "deaf"

    def close(self) -> None:
        pass


def test_logging_needs_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainwell.app.console.open_sinks", lambda names: Sinks([Deaf()]))
    with pytest.raises(UsageError, match="needs the folder"):
        trained(False, log="tensorboard")


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra [tensorboard] is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = trained(tmp_path / "run", log=["tensorboard"])
    found = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    found.Reload()
    told = found.Scalars("loss/val") if "loss/val" in found.Tags()["scalars"] else []
    assert [e.step for e in told] == [row["step"] for row in run.history]
    assert [e.value for e in told] == pytest.approx([row["val_loss"] for row in run.history])
    assert found.Scalars("final/test_accuracy")[0].value == pytest.approx(run.score)
    assert any("recipe" in tag for tag in found.Tags()["tensors"])


def test_mlflow_reads_what_was_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra [mlflow] is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    run = trained(tmp_path / NAMES[0].replace("/", "_"), log="mlflow")
    client = mlflow.MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("trainwell").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["dropout.rate"] == "0.25"
    assert found.data.metrics["final/test_accuracy"] == pytest.approx(run.score)
    told = client.get_metric_history(found.info.run_id, "loss/val")
    assert [m.value for m in told] == pytest.approx([row["val_loss"] for row in run.history])

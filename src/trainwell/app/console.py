"""What a run tells while it goes on: plain lines on standard error, or nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from trainwell.values.recipe import Recipe

if TYPE_CHECKING:
    from trainwell.app.run import Run
    from trainwell.app.sources import Prepared
    from trainwell.engine.training import Row, Training
    from trainwell.values.runfolder import RunFolder


class Console:
    """Writes lines to a stream; with `None` it is silent."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    @classmethod
    def silent(cls) -> Console:
        return cls(None)

    @classmethod
    def stderr(cls) -> Console:
        return cls(sys.stderr)

    def say(self, line: str) -> None:
        """Write one line."""
        if self._stream is not None:
            print(line, file=self._stream, flush=True)

    def data(self, prepared: Prepared) -> None:
        """Tell what the data are and what was found in them."""
        if self._stream is None:
            return
        task = prepared.task
        if task is not None:
            classes = f", {len(task.classes)} classes" if task.is_classification else ""
            self.say(f"task      {task.kind}{classes}; metric {task.metric}")
        sizes = [f"{k} {len(v[1]):,}" for k, v in prepared.parts.items() if isinstance(v, tuple)]
        if sizes:
            self.say(f"rows      {', '.join(sizes)}")
        if prepared.table is not None:
            from trainwell.data import column_rows

            rows = [("column", "kind", "missing", "distinct", "becomes"), *column_rows(prepared.table)]
            widths = [max(len(row[i]) for row in rows) for i in range(5)]
            for row in rows:
                self.say(
                    "          " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
                )
        for note in prepared.notes:
            self.say(f"{note.severity:9s} {note.message}")

    def start(self, recipe: Recipe, training: Training, folder: RunFolder | None) -> None:
        """Tell the recipe and where the run is written."""
        if self._stream is None:
            return
        params = training.step.params
        count = sum(s.numel for s in params.slots)
        self.say(f"model     {recipe.model.family}, {count:,} trainable numbers on {params.flat.device}")
        seconds = f", at most {recipe.seconds:g} s" if recipe.seconds else ""
        self.say(
            f"recipe    {recipe.optimizer} lr={recipe.lr:g}, {recipe.schedule}, batch {recipe.batch_size}, "
            f"{recipe.epochs:g} epochs{seconds}"
        )
        for technique in recipe.techniques:
            self.say(f"          with {technique}")
        if folder is not None:
            self.say(f"run       {folder.path}")

    def epoch(self, training: Training, row: Row) -> None:
        """Tell one epoch."""
        if self._stream is None:
            return
        parts = [f"epoch {row['epoch']:4d}", f"train_loss {row['train_loss']:.4f}"]
        if row["val_loss"] is not None:
            parts.append(f"val_loss {row['val_loss']:.4f}")
        if row["val_metric"] is not None and training.task is not None:
            parts.append(f"val_{training.task.metric} {row['val_metric']:.4f}")
        parts.append(f"{row['epoch_s']:.2f} s")
        self.say("  ".join(parts) + ("  *" if row["best"] else ""))

    def finish(self, run: Run) -> None:
        """Tell the result in a few lines."""
        if self._stream is None:
            return
        self.say(
            f"stopped   {run.stop_reason}; best epoch {run.best_epoch} of {len(run.history)}, {run.seconds:.1f} s"
        )
        if run.task is None:
            return
        for part, values in run.scores.items():
            self.say(f"{part:9s} " + "  ".join(f"{k} {v:.4f}" for k, v in values.items()))
        base = run.baseline.get("test") or run.baseline.get("val")
        if base:
            metric = run.task.metric
            mine, theirs = run.score, base[metric]
            wins = (mine - theirs) * run.task.metric_sign
            verdict = "trainwell is ahead" if wins > 0 else "boosting is ahead: consider it for these data"
            level = "level" if wins == 0 else verdict
            self.say(
                f"boosting  {metric} {theirs:.4f} (scikit-learn's HistGradientBoosting, same split): {level}"
            )

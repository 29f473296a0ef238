"""What a run tells while it goes on: lines on standard error, with one live line in a terminal, or nothing."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TextIO

from trainwell.report.notebook import LiveTable, in_notebook
from trainwell.report.sink import Sinks, measured, open_sinks
from trainwell.report.terminal import End, LiveLine, Moment, ending, is_live
from trainwell.values.errors import UsageError
from trainwell.values.recipe import Recipe

if TYPE_CHECKING:
    from trainwell.app.run import Run
    from trainwell.app.sources import Prepared
    from trainwell.engine.training import Row, Training
    from trainwell.values.runfolder import RunFolder

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def plain(line: str) -> str:
    """Return the line with control codes spelled out: a column may be called anything."""
    return _CONTROL.sub(lambda m: repr(m[0])[1:-1], line)


class Console:
    """Writes lines to a stream; with `None` it is silent. A stream that breaks never ends a training."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._live: LiveLine | LiveTable | None = None
        self._rows: dict[str, int] = {}
        self._told: set[str] = set()
        self._sinks = Sinks(())
        self._watch_s = lambda: 0.0

    @classmethod
    def silent(cls) -> Console:
        return cls(None)

    @classmethod
    def stderr(cls) -> Console:
        return cls(sys.stderr)

    def logging(self, names: str | Iterable[str]) -> Console:
        """Log the training to these places too, whatever is said on the stream; see `report/sinks`.

        Raises:
            UsageError: there is none of that name, or its library is not installed.
        """
        if names:
            self._sinks = open_sinks(names)
        return self

    @classmethod
    def of_caller(cls) -> Console:
        """Return what a call from Python gets that names none: a table in a notebook, silence elsewhere."""
        if not in_notebook():
            return cls.silent()
        console = cls(sys.stderr)
        console._live = LiveTable()
        return console

    def say(self, line: str) -> None:
        """Write one line."""
        if self._stream is None:
            return
        try:
            if self._live is not None:
                self._live.say(plain(line), best=line.startswith("epoch ") and line.endswith("*"))
            else:
                print(plain(line), file=self._stream, flush=True)
        except (OSError, ValueError):  # the reader went away, or the stream was closed
            self._stream = None

    def data(self, prepared: Prepared) -> None:
        """Tell what the data are and what was found in them; what was told before is not told again."""
        if self._stream is None:
            return
        task = prepared.task
        if task is not None:
            classes = f", {len(task.classes)} classes" if task.is_classification else ""
            self._once(f"task      {task.kind}{classes}; metric {task.metric}")
        self._rows = {k: len(v[1]) for k, v in prepared.parts.items() if isinstance(v, tuple)}
        if self._rows:
            self._once(f"rows      {', '.join(f'{k} {n:,}' for k, n in self._rows.items())}")
        if prepared.table is not None:
            from trainwell.data import describe

            for line in describe(prepared.table):
                self.say(f"          {line}")
        for note in prepared.notes:
            self._once(f"{note.severity:9s} {note.message}")

    def _once(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self.say(line)

    def start(self, recipe: Recipe, training: Training, folder: RunFolder | None) -> None:
        """Tell the recipe and where the run is written."""
        if folder is not None:
            path = folder.path
            self._sinks.each(lambda sink: sink.begin(path, recipe.to_dict()), self.say)
        elif self._sinks:
            raise UsageError("log= needs the folder of the run: leave out=False away.")
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
            self.say(f"          with {technique}{' (off)' if technique.is_off else ''}")
        if folder is not None:
            self.say(f"run       {folder.path}")
        if training.state.step:
            self.say(f"resumed   after step {training.state.step:,}, epoch {training.state.epoch}")
        self._watch_s = lambda: float(training.observer.cost_s)
        read = _reader(recipe, training)
        if isinstance(self._live, LiveTable):
            self._live.follow(read)
        elif is_live(self._stream):
            self._live = LiveLine(self._stream, read)

    def epoch(self, training: Training, row: Row) -> None:
        """Tell one epoch; a star marks the best so far."""
        values = measured(row, training.task.metric if training.task is not None else "")
        self._sinks.each(lambda sink: sink.row(int(row["step"]), values), self.say)
        if self._stream is None:
            return
        if self._live is not None:
            training.observer.look_back()
        if isinstance(self._live, LiveTable):
            self._live.row(row, training.task.metric if training.task is not None else "")
            return
        parts = [f"epoch {row['epoch']:4d}", f"train_loss {row['train_loss']:.4f}"]
        if row["val_loss"] is not None:
            parts.append(f"val_loss {row['val_loss']:.4f}")
        if row["val_metric"] is not None and training.task is not None:
            parts.append(f"val_{training.task.metric} {row['val_metric']:.4f}")
        parts.append(f"{row['epoch_s']:.2f} s")
        self.say("  ".join(parts) + ("  *" if row["best"] else ""))

    def finish(self, run: Run, *, watched: bool = True) -> None:
        """Tell what ails the training in full, then how it ended in five lines."""
        if isinstance(self._live, LiveLine):
            self._live.stop()
            self._live = None
        if watched and run.findings:
            self._findings(run)
        for line in ending(self._end(run, watched=watched)):
            self.say(line)
        self._sinks.each(lambda sink: sink.end(run.to_dict()), self.say)
        self.close()

    def close(self) -> None:
        """Draw and log nothing any more, whatever ended the training."""
        sinks, self._sinks = self._sinks, Sinks(())
        sinks.each(lambda sink: sink.close(), self.say)
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _end(self, run: Run, *, watched: bool) -> End:
        alarms = [f for f in run.findings if f.is_alarm]
        folder = shlex.quote(str(run.path)) if run.path is not None else ""
        verb = "resume" if run.interrupted else "treat" if alarms else "predict"
        return End(
            run.scores, run.task.metric if run.task is not None else "", run.stop_reason, run.history, run.best_epoch,
            run.seconds, run.interval, self._rows, self._watch_s(),
            [(f.title, f.fix) for f in alarms] if watched else None,
            folder, f"{verb} {folder}{' NEW_DATA' if verb == 'predict' else ''}",
        )  # fmt: skip

    def _findings(self, run: Run) -> None:
        from trainwell.app.findings import Diagnosis, diagnosis_lines

        for line in (
            diagnosis_lines([Diagnosis(run.findings, recipe=run.recipe, kind=run.kind)])
            if self._stream
            else ()
        ):
            if not line.startswith("findings  none"):  # the ending says so
                self.say(line)


def _reader(recipe: Recipe, training: Training) -> Callable[[], Moment]:
    """Return what reads where a training stands: its counters only, nothing that waits for the device."""
    started, first = time.perf_counter(), training.state.step

    def read() -> Moment:
        state = training.state
        return Moment(
            state.step, state.total_steps, state.epoch + 1, recipe.epochs, recipe.batch_size,
            time.perf_counter() - started, state.step - first, state.history[-1] if state.history else {},
            training.task.metric if training.task is not None else "", state.best_epoch, training.observer.so_far,
        )  # fmt: skip

    return read


def result_lines(run: Run) -> Iterator[str]:
    """Yield the result of a run as lines: the scores by part, boosting's on the same split, the folder."""
    for part, values in run.scores.items():
        yield f"{part:9s} " + "  ".join(f"{k} {v:.4f}" for k, v in values.items())
    part = "test" if "test" in run.scores else "val"
    if run.task is not None and part in run.baseline and part in run.scores:
        metric = run.task.metric
        mine, theirs = run.scores[part][metric], run.baseline[part][metric]
        yield (
            f"boosting  {part} {metric} {theirs:.4f} (scikit-learn's HistGradientBoosting on the same split): "
            f"{_standing((mine - theirs) * run.task.metric_sign, theirs, run.interval)}"
        )
    yield f"run       {run.path if run.path is not None else 'in memory'}"


def _standing(ahead: float, theirs: float, bounds: tuple[float, float] | None) -> str:
    """Return who is ahead, where the rows can tell them apart."""
    if ahead == 0 or (bounds is not None and bounds[0] <= theirs <= bounds[1]):
        return "level, as far as these rows can tell"
    return "trainwell is ahead" if ahead > 0 else "it is ahead: consider it for these data"

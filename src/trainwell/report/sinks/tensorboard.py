"""TensorBoard: an event file in the folder of the run; `tensorboard --logdir runs` shows all of them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from trainwell.report.sink import Sink, flat

FOLDER = "tensorboard"


class TensorBoard(Sink):
    """Scalars by optimizer step, the recipe as a text, the scores at the end."""

    name: ClassVar[str] = "tensorboard"

    def __init__(self) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.plugins.text.summary_v2 import text_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._text, self._writer_of = text_pb, EventFileWriter
        self._writer: Any = None
        self._step = 0

    def begin(self, folder: Path, recipe: Mapping[str, Any]) -> None:
        self._writer = self._writer_of(str(folder / FOLDER))
        rows = [f"| {name} | {value.replace('|', chr(92) + '|')} |" for name, value in flat(recipe)]
        self._write(self._text("recipe", "\n".join(["| field | value |", "|---|---|", *rows])), 0)

    def row(self, step: int, values: Mapping[str, float]) -> None:
        self._step = step
        self._scalars(values)

    def end(self, results: Mapping[str, Any]) -> None:
        scores = results.get("scores") or {}
        self._scalars(
            {f"final/{part}_{name}": v for part, held in scores.items() for name, v in held.items()}
        )
        about = {
            k: results.get(k) for k in ("stop_reason", "best_epoch", "seed", "fingerprint", "recipe_hash")
        }
        self._write(self._text("results", "```\n" + json.dumps(about, indent=1) + "\n```"), self._step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _scalars(self, values: Mapping[str, float]) -> None:
        made = [self._summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(self._summary(value=made), self._step)

    def _write(self, summary: Any, step: int) -> None:
        self._writer.add_event(self._event(wall_time=time.time(), step=step, summary=summary))
        self._writer.flush()

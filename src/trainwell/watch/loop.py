"""The watch on a loop of the user's own: it tells its findings at the end, and writes a run that can be read again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from trainwell.values.errors import UsageError
from trainwell.values.finding import Finding
from trainwell.values.runfolder import RunFolder
from trainwell.watch.attach.outcome import TRACES, Watched, lines_of, write_outcome
from trainwell.watch.backward import HearsBackward
from trainwell.watch.models import together
from trainwell.watch.watcher import Say, _to_stderr


class LoopWatch(HearsBackward):
    """A `Watch` that tells what it found.

    Args:
        folder: of the run to write; None for none.
        quiet: say nothing of the findings at the end.
    """

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, folder: Path | None, quiet: bool, **options: Any
    ) -> None:
        self.folder, self.quiet = folder, quiet
        super().__init__(model, optimizer, **options)
        self.traces.facts.setdefault("model_name", type(model).__name__)

    @property
    def diagnosis(self) -> str:
        """The findings so far as text: `print(w.diagnosis)`."""
        return "\n".join(lines_of(self._watched()))

    def close(self) -> list[Finding]:
        was_open = not self._closed
        findings = super().close()
        if was_open:
            self._tell()
        return findings

    def _watched(self) -> Watched:
        findings = self.findings  # measured first: they fill the traces
        return Watched(TRACES, self.traces, findings)

    def _tell(self) -> None:
        watched = self._watched()
        if not self.quiet:
            for line in lines_of(watched):
                self.say(line)
        if self.folder is not None:
            try:
                write_outcome(self.folder, [watched])
            except OSError as error:
                self.say(f"trainwell: {self.folder} cannot be written: {error.strerror}")


def watch(
    model: nn.Module | Sequence[nn.Module], optimizer: Optimizer, loss: Any = None, task: str | None = None,
    train_data: Any = None, *, folder: str | Path | None = None, quiet: bool = False, say: Say = _to_stderr,
) -> LoopWatch:  # fmt: skip
    """Watch a training loop from now on, without a change in what it computes.

    ```python
    with tw.watch(model, optimizer, folder="runs/net") as w:
        for x, y in loader: ...
    w.findings, w.traces
    ```

    Costs 2 to 5 % of a run of some seconds on a CPU, of tiny networks 10 % (benchmarks/watch_overhead.py).

    Args:
        model: the network; or several that one optimizer moves and the loop calls one after the other.
        loss: the loss function or module of the loop, for its name in the record. What torch's functions compute is heard
            without it, and what amounts to cross-entropy, squares, absolute errors or a cosine is recognised; of other
            losses only the value, activations and gradients are known.
        task: `classification`, `binary`, `regression` or `lm`, where it cannot be told from the loss.
        train_data: the loader or data set of the loop; only its length is read.
        folder: of the run to write, which `trainwell diagnose` reads.
        quiet: say nothing of the findings at the end.
        say: where lines go; standard error without it.

    Raises:
        UsageError: `model` or `optimizer` is not what its name says, or the folder holds something already.
    """
    if isinstance(model, list | tuple) and model and all(isinstance(m, nn.Module) for m in model):
        model = together(model)
    if not isinstance(model, nn.Module):
        raise UsageError(f"tw.watch: model must be a torch.nn.Module, got {type(model).__name__}.")
    if not isinstance(optimizer, Optimizer):
        raise UsageError(
            f"tw.watch: optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}. "
            "Call tw.watch(model, optimizer)."
        )
    made = None if folder is None else RunFolder.create(Path(folder), "").path
    seen = LoopWatch(model, optimizer, made, quiet, loss=loss, task=task, train_data=train_data, say=say)
    if loss is not None:
        seen.traces.facts["loss_of_loop"] = getattr(loss, "__name__", type(loss).__name__)
    return seen

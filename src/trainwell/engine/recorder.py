"""Writes a training into its run folder, and puts it back from there."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from trainwell.engine.checkpoint import Checkpoint, save_checkpoint
from trainwell.engine.live import adopt, changed, treated_line
from trainwell.engine.streams import global_streams, restore_global
from trainwell.engine.training import Row, State, Training, Watcher
from trainwell.values.errors import RunError, UsageError
from trainwell.values.runfolder import RunFolder

CHECKPOINT_EVERY_S = 10.0
CHECKPOINT_SHARE = 0.02
"""A checkpoint is taken every ten seconds, or rarer, so that saving costs at most this share of the time."""


class Recorder(Watcher):
    """Keeps journal, traces, `best/` and `last/` of a run up to date.

    A disk that is full or fails costs one warning; the training goes on.

    Args:
        every_s: seconds between two checkpoints, whatever they cost; `None` for CHECKPOINT_EVERY_S or rarer.
    """

    def __init__(
        self,
        folder: RunFolder,
        say: Callable[[str], None],
        on_row: Callable[[Training, Row], None],
        every_s: float | None = None,
    ) -> None:
        self.folder, self.say, self.on_row, self.every_s = folder, say, on_row, every_s
        self._saved_at, self._cost = time.perf_counter(), 0.0
        self._warned = False
        self._failed: dict[str, str] = {}
        self._trace: list[Tensor] = []

    def unsaved(self, *parts: str) -> str:
        """Return why one of the parts (`last`, `best`, `results`) does not stand in the folder; empty if all do."""
        return next((self._failed[part] for part in parts if part in self._failed), "")

    def on_epoch(self, training: Training, row: Row) -> None:
        self._trace.append(training.epoch_trace.cpu())
        self.tell("epoch", **row)
        self.on_row(training, row)

    def on_return(self, training: Training, treatment: dict[str, Any]) -> None:
        kept = training.state.step - training.state.step_in_epoch
        self._trace = [torch.cat(self._trace)[:kept]] if self._trace else []
        self.tell("treated", **treatment)
        self.say(treated_line(treatment))

    def on_pause(self, training: Training, forced: bool) -> None:
        now, rare = time.perf_counter(), max(CHECKPOINT_EVERY_S, self._cost / CHECKPOINT_SHARE)
        if forced or now - self._saved_at >= (rare if self.every_s is None else self.every_s):
            self.save(training)

    def save(self, training: Training) -> None:
        """Write the traces and `last/`, which holds the best weights too, so that both are of one moment."""
        start = time.perf_counter()
        self.write("last", lambda: self._save_last(training))
        self._saved_at = time.perf_counter()
        self._cost = self._saved_at - start

    def save_best(self, training: Training) -> None:
        """Write `best/`, which is what the user takes; called once, when the best weights are in the model."""
        weights, epoch = dict(training.model.state_dict()), training.state.best_epoch
        state, best = {"step": epoch, "epoch": epoch}, self.folder.path / "best"
        self.write("best", lambda: save_checkpoint(best, {"weights": weights}, state))

    def save_results(self, results: dict[str, Any]) -> None:
        """Write `results.json`."""
        self.write("results", lambda: self.folder.write_json("results", results))

    def tell(self, event: str, **fields: Any) -> None:
        """Append a line to the journal."""
        if not self.folder.journal.append(event, **fields):
            self._warn(self.folder.journal.failure)

    def write(self, what: str, write: Callable[[], None]) -> None:
        """Write a part of the folder; what a full disk refuses is remembered and, the first time, told."""
        self._failed.pop(what, None)
        try:
            write()
        except OSError as error:
            self._failed[what] = error.strerror or str(error)
            self._warn(self._failed[what])

    def _save_last(self, training: Training) -> None:
        self._save_traces(training)
        tensors, counters = _tensors(training), _counters(training)
        if training.live is not None:
            tensors["copies"], counters["live"] = training.live.saved()
        save_checkpoint(self.folder.path / "last", tensors, counters)
        self.tell("checkpoint", step=training.state.step)

    def _save_traces(self, training: Training) -> None:
        if self._trace:
            self._trace = [torch.cat(self._trace)]
            self.folder.save_trace("train_loss", self._trace[0].numpy())

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            self.say(f"warning: {self.folder.path} cannot be written ({reason}); the training goes on.")

    def restore(self, training: Training, last: Checkpoint) -> None:
        """Put a training back to where its checkpoint was taken.

        Under another budget than the checkpoint's the schedule is laid anew over it.

        Raises:
            RunError: the checkpoint belongs to another model or recipe.
            UsageError: the new budget ends before the checkpoint.
        """
        saved = {f.name: last.state[f.name] for f in dataclasses.fields(State) if f.name in last.state}
        state = State(**saved)
        extended = last.state["budget"] != _budget(training)
        if extended and training.state.total_steps <= state.step:
            raise UsageError(
                f"the budget of {training.recipe.epochs:g} epochs is {training.state.total_steps:,} steps, but "
                f"{self.folder.path} has trained {state.step:,} already; give a longer one."
            )
        if state.treatments:
            adopt(training, changed(training.recipe, state.treatments))
        if training.live is not None and "live" in last.state:
            training.live.restore(last.tensors.get("copies", {}), last.state["live"])
        if state.best_epoch:
            load_weights(training, last.tensors["best"])
            training.best.take()
        load_weights(training, last.tensors["weights"])
        _load_states(training, last.tensors["states"])
        _load_streams(training, dict(last.tensors["streams"]))
        device, partial = training.step.params.flat.device, last.tensors["losses"]
        losses = list(partial["losses"].to(device).unbind())
        training.resume_at(state, losses, partial["sizes"], extended=extended)
        self._trace = self._load_trace(state.step - state.step_in_epoch)
        if last.state["threads"] != torch.get_num_threads():
            self.say(
                f"warning: trained with {last.state['threads']} threads so far, now with "
                f"{torch.get_num_threads()}; the last bits of the weights may differ."
            )

    def _load_trace(self, steps: int) -> list[Tensor]:
        """Return the losses of the finished epochs; a trace that is damaged costs no run."""
        if not steps:
            return []
        try:
            saved = torch.from_numpy(self.folder.load_trace("train_loss"))[:steps]
        except RunError as error:
            self.say(f"warning: {error} It goes on without the losses of the first {steps} steps.")
            saved = torch.zeros(0)
        return [saved, torch.full((steps - len(saved),), math.nan)]


def _tensors(training: Training) -> dict[str, dict[str, Tensor]]:
    step = training.step
    states = {f"{n}.{k}": t for n, s in step.states.items() for k, t in s.items() if not k.startswith("_")}
    if hasattr(step.sites.optimizer, "tensors"):
        states |= {f"{step.sites.optimizer.name}.{k}": t for k, t in step.sites.optimizer.tensors().items()}
    losses = torch.stack(training.losses) if training.losses else torch.zeros(0)
    with training.best_weights():
        best = (
            {k: v.clone() for k, v in training.model.state_dict().items()}
            if training.state.best_epoch
            else {}
        )
    return {
        "weights": dict(training.model.state_dict()),
        "best": best,
        "states": states,
        "streams": {**training.streams.state(), **global_streams(step.params.flat.device)},
        "losses": {"losses": losses, "sizes": torch.tensor(training.sizes, dtype=torch.int64)},
    }


def _counters(training: Training) -> dict[str, Any]:
    about = {"threads": torch.get_num_threads(), "budget": _budget(training)}
    return {**dataclasses.asdict(training.state), **about}


def _budget(training: Training) -> list[float | None]:
    return [training.recipe.epochs, training.recipe.seconds]


def _load_streams(training: Training, saved: dict[str, Tensor]) -> None:
    own = {name: saved.pop(name) for name in list(saved) if name.partition(".")[0] == "torch"}
    restore_global(own)
    training.streams.restore(saved)


@torch.no_grad()
def load_weights(training: Training, weights: Mapping[str, Tensor]) -> None:
    """Put weights and buffers into the network of a training.

    Raises:
        RunError: they are of another network.
    """
    own = training.model.state_dict()
    if own.keys() != weights.keys() or any(own[k].shape != weights[k].shape for k in own):
        odd = sorted(own.keys() ^ weights.keys()) or [k for k in own if own[k].shape != weights[k].shape]
        raise RunError(f"the checkpoint is of another model: '{odd[0]}' does not fit.")
    for name, tensor in own.items():
        tensor.copy_(weights[name])


@torch.no_grad()
def _load_states(training: Training, saved: dict[str, Tensor]) -> None:
    optimizer = training.step.sites.optimizer
    if hasattr(optimizer, "load"):
        prefix = f"{optimizer.name}."
        optimizer.load({k.removeprefix(prefix): v for k, v in saved.items() if k.startswith(prefix)})
    for name, state in training.step.states.items():
        for key, tensor in state.items():
            if key.startswith("_"):
                continue
            if f"{name}.{key}" not in saved:
                raise RunError(f"the checkpoint has no state of '{name}': it is of another recipe.")
            tensor.copy_(saved[f"{name}.{key}"])

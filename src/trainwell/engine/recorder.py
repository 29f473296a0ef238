"""Writes a training into its run folder, and puts it back from there."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trainwell.engine.checkpoint import Checkpoint, save_checkpoint
from trainwell.engine.training import Row, State, Training, Watcher
from trainwell.values.errors import RunError
from trainwell.values.runfolder import RunFolder

CHECKPOINT_EVERY_S = 10.0
CHECKPOINT_SHARE = 0.02
"""A checkpoint is taken every ten seconds, or rarer, so that saving costs at most this share of the time."""


class Recorder(Watcher):
    """Keeps journal, traces, `best/` and `last/` of a run up to date.

    A disk that is full or fails costs one warning; the training goes on.
    """

    def __init__(
        self, folder: RunFolder, say: Callable[[str], None], on_row: Callable[[Training, Row], None]
    ) -> None:
        self.folder, self.say, self.on_row = folder, say, on_row
        self._saved_at, self._cost = time.perf_counter(), 0.0
        self._warned = False
        self._trace: list[Tensor] = []

    def on_epoch(self, training: Training, row: Row) -> None:
        self._trace.append(training.epoch_trace)
        if not self.folder.journal.append("epoch", **row):
            self._warn(OSError("the journal could not be written"))
        self.on_row(training, row)

    def on_pause(self, training: Training, forced: bool) -> None:
        now = time.perf_counter()
        if forced or now - self._saved_at >= max(CHECKPOINT_EVERY_S, self._cost / CHECKPOINT_SHARE):
            self.save(training)

    def save(self, training: Training) -> None:
        """Write the traces and `last/`, which holds the best weights too, so that both are of one moment."""
        start = time.perf_counter()
        try:
            self._save_traces(training)
            save_checkpoint(self.folder.path / "last", _tensors(training), _counters(training))
            self.folder.journal.append("checkpoint", step=training.state.step)
        except OSError as error:
            self._warn(error)
        self._saved_at = time.perf_counter()
        self._cost = self._saved_at - start

    def save_best(self, training: Training) -> None:
        """Write `best/`, which is what the user takes; called once, when the best weights are in the model."""
        try:
            weights, epoch = dict(training.model.state_dict()), training.state.best_epoch
            save_checkpoint(self.folder.path / "best", {"weights": weights}, {"step": epoch, "epoch": epoch})
        except OSError as error:
            self._warn(error)

    def _save_traces(self, training: Training) -> None:
        if self._trace:
            self._trace = [torch.cat(self._trace)]
            self.folder.save_trace("train_loss", self._trace[0].cpu().numpy())

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            self.say(f"warning: the run folder cannot be written ({error}); the training goes on without it.")

    def restore(self, training: Training, last: Checkpoint, *, extended: bool) -> None:
        """Put a training back to where its checkpoint was taken.

        Raises:
            RunError: the checkpoint belongs to another model or recipe.
        """
        counters = dict(last.state)
        state = State(**{f.name: counters[f.name] for f in dataclasses.fields(State)})
        if state.best_epoch:
            _load_weights(training, last.tensors["best"])
            training.best.take()
        _load_weights(training, last.tensors["weights"])
        _load_states(training, last.tensors["states"])
        streams = dict(last.tensors["streams"])
        torch.set_rng_state(streams.pop("torch"))
        training.streams.restore(streams)
        partial = last.tensors["losses"]
        training.resume_at(state, list(partial["losses"].unbind()), partial["sizes"], extended=extended)
        done = state.step - state.step_in_epoch
        self._trace = [torch.from_numpy(self.folder.load_trace("train_loss")[:done])] if state.epoch else []


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
        "streams": {**training.streams.state(), "torch": torch.get_rng_state()},
        "losses": {"losses": losses, "sizes": torch.tensor(training.sizes, dtype=torch.int64)},
    }


def _counters(training: Training) -> dict[str, Any]:
    return {**dataclasses.asdict(training.state), "threads": torch.get_num_threads()}


@torch.no_grad()
def _load_weights(training: Training, weights: dict[str, Tensor]) -> None:
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

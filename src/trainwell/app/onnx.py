"""Writes the network of a run as ONNX and compares what it computes with torch."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainwell.app.run import Run
from trainwell.values.errors import TrainwellError, UsageError
from trainwell.values.task import InputSpec, Task

TOLERANCE = 1e-4
"""Largest difference from torch, relative to the largest output."""

CHECKED_ROWS = (1, 7, 64)

NAMES = {"table": ["floats", "codes"], "image": ["pixels"], "text": ["tokens"], "audio": ["spectra"]}
"""Of the inputs, by the kind of the data."""


class ExportError(TrainwellError):
    """The exported network does not compute what the trained one does: not the user's mistake."""


class _Served(nn.Module):
    """The network and its last link: probabilities (N, C), or numbers in the unit of the target (N, 1)."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model, self.task = model, task

    def forward(self, *x: Tensor) -> Tensor:
        outputs: Tensor = self.model(*x)
        return (
            outputs.softmax(-1) if self.task.is_classification else outputs * self.task.scale + self.task.mean
        )


def write_onnx(run: Run, path: Path) -> dict[str, Any]:
    """Write the network for any number of rows, compare it with torch, and return what its inputs and output are.

    Raises:
        UsageError: the run is on data that are not ours to know the shape of, or ONNX has no word for the network.
        ExportError: the outputs differ by more than TOLERANCE.
    """
    if run.predictor.transform is None or run.task is None:
        raise UsageError(
            "--onnx is for runs on data of a known shape; for a module of yours use torch.onnx.export(run.model, ...)."
        )
    spec = run.predictor.transform.spec
    rows = _rows(spec, 3)
    names = (NAMES.get(spec.kind) or [spec.kind])[: len(rows)]
    with _on_cpu(run.model), _quiet():
        served = _Served(run.model, run.task).eval()
        _exported(served, rows, names).save(str(path))
        worst = _worst_difference(served, spec, path, names)
    if not worst <= TOLERANCE:
        raise ExportError(f"the exported network differs from torch by {worst:.2g} (allowed: {TOLERANCE:g}).")
    return {
        "inputs": [
            {"name": n, "shape": ["rows", *t.shape[1:]], "dtype": str(t.dtype).removeprefix("torch.")}
            for n, t in zip(names, rows, strict=True)
        ],
        "output": {"name": "outputs", "is": "probabilities" if run.task.is_classification else "numbers"},
        "checked_to": worst,
    }


def _exported(served: nn.Module, rows: tuple[Tensor, ...], names: list[str]) -> Any:
    """Return the program of ONNX, for any number of rows."""
    try:
        made = torch.onnx.export(
            served, rows, dynamo=True, input_names=names, output_names=["outputs"], verbose=False,
            dynamic_shapes=(tuple({0: torch.export.Dim("rows")} for _ in names),),
        )  # fmt: skip
    except Exception as error:  # of torch.export and of each of its steps
        cause = error.__cause__ or error
        raise UsageError(
            f"--onnx: torch cannot write this network as ONNX: {str(cause).splitlines()[0][:200]}. Leave --onnx out."
        ) from error
    assert made is not None
    return made


@contextlib.contextmanager
def _on_cpu(model: nn.Module) -> Iterator[None]:
    """Hold the network on the CPU for as long as the context lasts."""
    home = next((p.device for p in model.parameters()), torch.device("cpu"))
    model.cpu()
    try:
        yield
    finally:
        model.to(home)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what torch and onnxscript say about themselves."""
    logs = [logging.getLogger(n) for n in ("torch.onnx", "torch._subclasses.fake_tensor", "torch.export")]
    before = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, before, strict=True):
            log.setLevel(level)


def _rows(spec: InputSpec, num_rows: int) -> tuple[Tensor, ...]:
    """Return rows of the right shape, drawn at random, with every kind of code."""
    generator = torch.Generator().manual_seed(num_rows)
    if spec.kind == "image":
        return (torch.randint(0, 256, (num_rows, *spec.shape), generator=generator, dtype=torch.uint8),)
    if spec.kind == "text":
        tokens = torch.randint(1, spec.vocabulary, (num_rows, *spec.shape), generator=generator)
        lengths = torch.randint(1, spec.shape[0] + 1, (num_rows, 1), generator=generator)
        return (tokens * (torch.arange(spec.shape[0]) < lengths),)
    if spec.kind != "table":
        return (torch.randn(num_rows, *spec.shape, generator=generator),)
    floats = torch.randn(num_rows, spec.num_numeric + spec.num_onehot, generator=generator)
    if not spec.cardinalities:
        return (floats,)
    draws = [torch.randint(0, size, (num_rows,), generator=generator) for size in spec.cardinalities]
    return floats, torch.stack(draws, 1)


def _worst_difference(served: nn.Module, spec: InputSpec, path: Path, names: list[str]) -> float:
    """Return the largest difference between ONNX and torch, relative to the largest output."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for num_rows in CHECKED_ROWS:
        x = _rows(spec, num_rows)
        got = session.run(None, {n: t.numpy() for n, t in zip(names, x, strict=True)})[0]
        with torch.no_grad():
            expected = served(*x).numpy()
        if got.shape != expected.shape:
            return float("inf")
        worst = max(worst, float(np.abs(got - expected).max() / max(1.0, np.abs(expected).max())))
    return worst

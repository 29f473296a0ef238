"""Writes a trained network for use elsewhere: safetensors and JSON, and ONNX where its extra is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from trainwell.app.run import Run
from trainwell.engine.tensorfile import write_tensors
from trainwell.values.atomic import atomic_write_text
from trainwell.values.errors import UsageError
from trainwell.values.journal import dumps

ONNX_TOLERANCE = 1e-4


def export_run(run: Run, out: Path, *, onnx: bool = False) -> list[Path]:
    """Write `weights.safetensors`, `model.json` and, if asked for, `model.onnx`; return their paths.

    Raises:
        UsageError: the folder cannot be written, or the extra `export` is missing.
    """
    if onnx:
        _require_onnx()
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise UsageError(f"{out} is not empty; give a new or an empty folder.")
    except OSError as error:
        raise UsageError(f"the folder {out} cannot be made: {error.strerror}.") from error
    weights = out / "weights.safetensors"
    write_tensors(weights, dict(run.model.state_dict()))
    transform = run.predictor.transform
    about = {
        "recipe": run.recipe.to_dict(),
        "task": run.task.to_dict() if run.task else None,
        "inputs": transform.spec.to_dict() if transform else None,
        "transform": transform.to_dict() if transform else None,
        "scores": {k: dict(v) for k, v in run.scores.items()},
        "fingerprint": run.fingerprint,
    }
    atomic_write_text(out / "model.json", dumps(about, indent=1) + "\n")
    files = [weights, out / "model.json"]
    return [*files, _write_onnx(run, out / "model.onnx")] if onnx else files


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UsageError(f"--onnx needs the extra: pip install 'trainwell[export]' ({error}).") from None


def _write_onnx(run: Run, path: Path) -> Path:
    """Write the network for any number of rows and compare its outputs with torch's."""
    import onnxruntime

    transform = run.predictor.transform
    if transform is None:
        raise UsageError("--onnx: only runs on tables can be exported so far; use torch.onnx on run.model.")
    spec, rows = transform.spec, 64
    generator = torch.Generator().manual_seed(0)
    x = [torch.randn(rows, spec.num_numeric + spec.num_onehot, generator=generator)]
    names = ["floats"]
    if spec.cardinalities:
        draws = [torch.randint(0, size, (rows,), generator=generator) for size in spec.cardinalities]
        x.append(torch.stack(draws, 1))
        names.append("codes")
    model = run.model.eval()
    dynamic = {name: {0: torch.export.Dim("rows", min=1)} for name in names}
    program = torch.onnx.export(
        model, tuple(x), dynamo=True, input_names=names, output_names=["outputs"],
        dynamic_shapes=tuple(dynamic.values()), verbose=False,
    )  # fmt: skip
    assert program is not None
    program.save(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = session.run(None, {n: t.numpy()[:7] for n, t in zip(names, x, strict=True)})[0]
    with torch.no_grad():
        expected = model(*(t[:7] for t in x)).numpy()
    worst = float(np.abs(got - expected).max())
    if not worst <= ONNX_TOLERANCE * max(1.0, float(np.abs(expected).max())):
        path.unlink()
        raise UsageError(f"--onnx: the exported network differs from torch by {worst:.2g}; it was not kept.")
    return path

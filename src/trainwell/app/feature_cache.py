"""What a frozen network computes, computed once: fast, checked, and kept on the disk by a hash of all it came from."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainwell.data.samples import store
from trainwell.data.samples.kind import Arrays, Transform, register_transform, transform_of
from trainwell.engine.feed import from_numpy
from trainwell.engine.hardware import choose_device
from trainwell.models import build_model
from trainwell.models.backbones.base import BackboneNet
from trainwell.models.fusing import fold_batch_norms, fuse_activations
from trainwell.models.tokens import trimmed
from trainwell.values.errors import RunError, UsageError
from trainwell.values.journal import dumps
from trainwell.values.recipe import ModelSpec
from trainwell.values.task import InputSpec, Task

FORMAT = 2
PROBE_S = 0.5
"""Seconds that the search for the fastest batch may take."""
BATCHES, ACCELERATED_BATCHES = (4, 8, 16, 32, 64), (16, 64, 256)
WORTH_S = 5e-4
"""Seconds a row that bfloat16 must save. It is not tried on an accelerator, which is fast enough in float32."""
FOLD_TOLERANCE, DRIFT_TOLERANCE = 1e-3, 0.08
"""Largest relative change of the features by folded batch norms, and by bfloat16. docs/decisions/0010 has the figures."""
CHECK_ROWS, FOLD_ROWS = 8, 4
"""Rows on which the drift of bfloat16 is measured, and on which rounding is."""
CPU = torch.device("cpu")

Say = Callable[[str], None]
Change = Callable[[Any, tuple[Tensor, ...]], int]


def silent(text: str) -> None:
    """Say nothing."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How features are computed: rows at once, in bfloat16 or float32, batch norms folded, activations fused, where."""

    batch: int = 8
    bfloat16: bool = False
    folds: bool = False
    fuses: bool = False
    device: str = "cpu"

    @property
    def place(self) -> torch.device:
        """The device, or the CPU where there is none of the kind."""
        try:
            return choose_device(self.device)
        except UsageError:
            return torch.device("cpu")


class Extractor:
    """A frozen network, made fast for this machine: inputs -> features.

    Batch norms and activations are taken into the convolutions before them, the batch size is found by a short probe,
    and bfloat16 is used if it is faster and the features hardly change; each only after a check on real rows.

    Args:
        net: with its pre-trained weights; a copy is changed.
        rows: some inputs of the kind that will come.
        say: told what was chosen.
        plan: what was chosen before; nothing is searched then, and the features are the same.
        device: where they are computed, where no plan says so. Activations are fused on a CPU only.
    """

    def __init__(
        self,
        net: BackboneNet,
        rows: tuple[Tensor, ...],
        say: Say = silent,
        plan: Plan | None = None,
        device: torch.device = CPU,
    ) -> None:
        self.device = device if plan is None else plan.place
        self.net = copy.deepcopy(net).eval().requires_grad_(False).to(self.device)
        rows = self._there([t[:CHECK_ROWS] for t in rows])
        self.dtype: torch.dtype | None = None
        if plan is not None:
            if plan.folds:
                fold_batch_norms(self.net, rows)
            if plan.fuses:
                fuse_activations(self.net, rows)
            self.batch, self.plan = plan.batch, plan
            self.dtype = torch.bfloat16 if plan.bfloat16 else None
            return
        with torch.inference_mode(), exact_convolutions(self.device):
            few = tuple(t[:FOLD_ROWS] for t in rows)
            exact = self.net.features(*few)
            folded = self._changed(fold_batch_norms, few, exact)
            fused = self._changed(fuse_activations, few, exact) if self.device.type == "cpu" else 0
            drift = self._try_bfloat16(rows) if self.device.type == "cpu" else 0.0
            self.batch = self._fastest(rows)
        self.plan = Plan(self.batch, self.dtype is not None, folded > 0, fused > 0, self.device.type)
        words = [f"{folded} batch norms folded"] * bool(folded)
        words += [f"{fused} convolutions fused"] * bool(fused) + [f"batches of {self.batch}"]
        words.append(f"bfloat16 (features change by {drift:.1%})" if self.dtype is not None else "float32")
        words += [f"on {self.device}"] * (self.device.type != "cpu")
        say(f"features  {', '.join(words)}")

    def __call__(self, x: tuple[Tensor, ...]) -> Tensor:
        """Return the features of rows, (N, F) float32 on the CPU."""
        with torch.inference_mode(), exact_convolutions(self.device):
            order = _by_length(x[0])
            ordered = x if order is None else tuple(t[order] for t in x)
            parts = zip(*(t.split(self.batch) for t in ordered), strict=True)
            made = torch.cat([self._one(self._there(part)).cpu() for part in parts])
            if order is None:
                return made.clone()
            return torch.empty_like(made).index_copy_(0, order, made)

    def _there(self, x: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Bring a batch to the device; tokens without the end that is empty in all rows."""
        if self.device.type == "cpu":
            return tuple(x)
        if is_tokens(x[0]):
            x = (trimmed(x[0])[0], *x[1:])
        pins = self.device.type == "cuda"
        return tuple((t.pin_memory() if pins else t).to(self.device, non_blocking=pins) for t in x)

    def _one(self, x: Sequence[Tensor]) -> Tensor:
        if self.dtype is None:
            return self.net.features(*x).float()
        with torch.autocast(self.device.type, dtype=self.dtype):
            return self.net.features(*x).float()

    def _changed(self, change: Change, rows: tuple[Tensor, ...], exact: Tensor) -> int:
        """Change the network where that changes nothing but rounding in its features; return in how many places."""
        trial = copy.deepcopy(self.net)
        count = change(trial, tuple(t[:1] for t in rows))
        try:
            if not count or _relative(trial.features(*rows), exact) > FOLD_TOLERANCE:
                return 0
        except RuntimeError:  # the machine has no such operation
            return 0
        self.net = trial
        return count

    def _fastest(self, rows: tuple[Tensor, ...]) -> int:
        """Return the fastest batch size."""
        best, least, start = BATCHES[0], float("inf"), time.perf_counter()
        for size in BATCHES if self.device.type == "cpu" else ACCELERATED_BATCHES:
            batch = _repeated(rows, size)
            self._one(batch)
            taken = self._seconds(batch) / size
            if taken < 0.97 * least:
                best, least = size, taken
            if time.perf_counter() - start > PROBE_S:
                break
        return best

    def _try_bfloat16(self, rows: tuple[Tensor, ...]) -> float:
        """Use bfloat16 if it is faster and the features hardly change; return by how much they do."""
        exact = self._one(rows)
        seconds = self._seconds(rows) / len(rows[0])
        self.dtype = torch.bfloat16
        try:
            drift = _relative(self._one(rows), exact)
            taken = self._seconds(rows) / len(rows[0])
        except RuntimeError:
            drift, taken = float("inf"), float("inf")
        if drift > DRIFT_TOLERANCE or taken > min(0.95 * seconds, seconds - WORTH_S):
            self.dtype = None
        return drift

    def _seconds(self, batch: tuple[Tensor, ...]) -> float:
        """Return the seconds that a batch takes, the less of two."""
        taken = []
        for _ in range(2):
            start = time.perf_counter()
            self._one(batch)[:1, :1].cpu()  # waits for the device
            taken.append(time.perf_counter() - start)
        return min(taken)


@contextlib.contextmanager
def exact_convolutions(device: torch.device) -> Iterator[None]:
    """Let convolutions on CUDA round as those on a CPU do, not to the ten bits of TF32."""
    if device.type != "cuda":
        yield
        return
    convolutions: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before, convolutions.fp32_precision = convolutions.fp32_precision, "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = before


def _by_length(x: Tensor) -> Tensor | None:
    """Return the order of rows of tokens by their number, so that a batch has few empty places; None for others."""
    return (x != 0).sum(1).argsort(stable=True) if is_tokens(x) else None


def is_tokens(x: Tensor) -> bool:
    """Whether rows are tokens, (N, L) whole numbers."""
    return x.ndim == 2 and not x.is_floating_point()


def _repeated(rows: tuple[Tensor, ...], count: int) -> tuple[Tensor, ...]:
    """Return so many rows, the same ones again where there are fewer."""
    return tuple(t[torch.arange(count, device=t.device) % len(t)] for t in rows)


def _relative(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm().clamp_min(1e-12))


@dataclasses.dataclass(frozen=True)
class FeatureTransform:
    """What turns a source into features: the transform of its kind, then a frozen network.

    Args:
        inner: of the kind of data.
        model: the backbone, with where its weights come from.
        digest: hash of those weights; other weights are refused.
        num_features: of a row.
        plan: how the features of the training were computed; those of a prediction are computed alike.
    """

    inner: Transform
    model: ModelSpec
    digest: str
    num_features: int
    plan: Plan = Plan()

    @property
    def spec(self) -> InputSpec:
        return InputSpec(kind="features", shape=(self.num_features,))

    def network(self) -> BackboneNet:
        """Return the backbone with its weights.

        Raises:
            UsageError: they cannot be had, or are others than those of the training.
        """
        net, digest = load_backbone(self.model, self.inner.spec)
        if digest != self.digest:
            raise RunError(
                f"the weights of {self.model.family} here are others than those of the training (hash {digest}, "
                f"expected {self.digest}); give back the file that was used."
            )
        return net

    def batches(self, source: Any) -> Iterator[Arrays]:
        """Yield the features of a source in order."""
        extract = None
        for arrays in self.inner.batches(source):
            rows = from_numpy(arrays, np.zeros(0))[0]
            extract = extract or Extractor(self.network(), rows, plan=self.plan)
            yield (extract(rows).numpy(),)

    def names(self, source: Any) -> Sequence[str]:
        """Return the names of the files of a source."""
        return self.inner.names(source)

    def labelled(self, source: Any, task: Task) -> Iterator[tuple[Arrays, np.ndarray]]:
        """Yield the features of a labelled source in order with their targets."""
        extract = None
        for arrays, y in self.inner.labelled(source, task):
            rows = from_numpy(arrays, y)[0]
            extract = extract or Extractor(self.network(), rows, plan=self.plan)
            yield (extract(rows).numpy(),), y

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": "features", "inner": self.inner.to_dict(), "family": self.model.family,
            "params": dict(self.model.params), "digest": self.digest, "num_features": self.num_features,
            "plan": dataclasses.asdict(self.plan),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FeatureTransform:
        model = ModelSpec.of(data["family"], **data["params"])
        return cls(
            transform_of(data["inner"]), model, data["digest"], data["num_features"], Plan(**data["plan"])
        )


register_transform("features", FeatureTransform)


def load_backbone(model: ModelSpec, inputs: InputSpec) -> tuple[BackboneNet, str]:
    """Return a backbone with its pre-trained weights, and their hash."""
    net = build_model(model, inputs, 2, torch.Generator().manual_seed(0))
    assert isinstance(net, BackboneNet)
    digest = "drawn" if net.family.weights == "none" else net.load()
    return net.eval(), digest


def features_of(
    net: BackboneNet,
    digest: str,
    parts: Mapping[str, tuple[Arrays, np.ndarray]],
    content: str,
    settings: Any,
    say: Say,
    device: torch.device = CPU,
) -> tuple[dict[str, np.ndarray], Plan]:
    """Return the features of every part and how they were computed, from the disk where they were computed before.

    Args:
        digest, content, settings: hashes of weights and rows, and the preprocessing. With the kind of the device, whose
            features differ in their rounding, they are the key.
    """
    network = [net.family.name, *filter(None, [net.family.architecture])]  # drawn weights have no hash
    from_all = [FORMAT, digest, content, settings, *network, *[device.type] * (device.type != "cpu")]
    key = hashlib.sha256(dumps(from_all).encode()).hexdigest()[:32]
    found, missing, plan = {}, [], Plan()
    for name in parts:
        held = store.find("features", f"{key}-{name}")
        if held is None:
            missing.append(name)
        else:
            found[name], plan = held[0], Plan(**held[1]["plan"])
    if missing:
        known = plan if found else None
        extract = Extractor(net, from_numpy(parts["train"][0], np.zeros(0))[0], say, known, device)
        plan = extract.plan
        for name in missing:
            start, rows = time.perf_counter(), from_numpy(parts[name][0], np.zeros(0))[0]
            found[name] = extract(rows).numpy()
            store.keep(
                "features", f"{key}-{name}", found[name], {"digest": digest, "plan": dataclasses.asdict(plan)}
            )
            taken = time.perf_counter() - start
            say(f"features  {name}: {len(rows[0]):,} rows in {taken:.1f} s, kept")
    else:
        say("features  found on the disk: nothing is computed again")
    return {name: found[name] for name in parts}, plan

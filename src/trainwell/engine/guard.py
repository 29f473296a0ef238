"""Finds the step, and in it the tensor, that first became NaN or infinite, and returns to the state before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from trainwell.engine.feed import XY
from trainwell.engine.snapshot import Snapshot, training_tensors
from trainwell.engine.step import Step
from trainwell.engine.streams import Streams, global_streams, restore_global
from trainwell.values.errors import NonFiniteError

REPLAY_LIMIT_BYTES = 64 << 20
"""A larger training state is not copied before every block; then only the step is named."""


class Guard:
    """Watches the losses of a block of steps after the fact, so that no step waits for the device.

    Before a block it copies the state; if a loss of the block is not finite, the block is replayed from the copy,
    step by step, until the first bad tensor shows.
    """

    def __init__(self, step: Step, model: nn.Module, streams: Streams, columns: Sequence[str] = ()) -> None:
        self.step, self.model, self.streams, self.columns = step, model, streams, columns
        tensors = training_tensors(step, model)
        size = sum(t.numel() * t.element_size() for t in tensors)
        self._snapshot = Snapshot(tensors) if size <= REPLAY_LIMIT_BYTES else None
        self._random: tuple[dict[str, Tensor], dict[str, Tensor]] | None = None
        self._count = 0

    def mark(self) -> None:
        """Remember the state; called before the first step of a block."""
        if self._snapshot is not None:
            self._snapshot.take()
            self._random = (self.streams.state(), global_streams(self.step.params.flat.device))
            self._count = self.step.count

    def return_to_mark(self) -> None:
        if self._snapshot is not None and self._random is not None:
            self._snapshot.restore()
            self.streams.restore(self._random[0])
            restore_global(self._random[1])
            self.step.count = self._count

    def first_bad(self, losses: Sequence[Tensor]) -> int | None:
        """Return the position of the first loss that is not finite. Waits for the device once."""
        finite = torch.isfinite(torch.stack(list(losses)))
        return None if bool(finite.all()) else int((~finite).int().argmax())

    def explain(self, batches: Sequence[XY], rates: Sequence[float], bad: int) -> NonFiniteError:
        """Return the error to raise; the state is then that before the first bad step.

        Args:
            batches, rates: those of the block, from the mark on.
            bad: position of the first loss that is not finite.
        """
        first = self._count + bad + 1
        if self._snapshot is None:
            return NonFiniteError(f"the loss is not finite at step {first}. {_ADVICE}")
        self.return_to_mark()
        for (x, y), rate in zip(batches, rates, strict=False):
            self.mark()
            loss = self.step(x, y, rate)
            what = self._bad_tensor(x, y, loss)
            if what:
                number = self.step.count
                self.return_to_mark()
                return NonFiniteError(f"{what} at step {number}. {_ADVICE}")
        return NonFiniteError(
            f"the loss is not finite at step {first}, but was finite when replayed. {_ADVICE}"
        )

    def _bad_tensor(self, x: tuple[Tensor, ...], y: Tensor, loss: Tensor) -> str | None:
        """Name the first tensor of the step just taken that is not finite, in the order of the computation."""
        for i, part in enumerate(x):
            if part.is_floating_point() and not bool(torch.isfinite(part).all()):
                return f"{self._column(part, i)} is not finite in the inputs"
        if y.is_floating_point() and not bool(torch.isfinite(y).all()):
            return "the target is not finite"
        bad_grad = _first_bad(self.step.grads.named())
        if not bool(torch.isfinite(loss).all()):
            return self._bad_module(x) or "the loss is not finite (all outputs are)"
        if bad_grad:
            return f"the gradient of {bad_grad} is not finite"
        bad_weight = _first_bad(self.step.params.named())
        return f"the weight {bad_weight} is not finite" if bad_weight else None

    def _column(self, part: Tensor, which: int) -> str:
        bad = (~torch.isfinite(part)).flatten(1).any(0) if part.ndim > 1 else None
        column = int(bad.int().argmax()) if bad is not None else 0
        if which == 0 and column < len(self.columns):
            return f"column '{self.columns[column]}'"
        return f"x[{which}], column {column},"

    def _bad_module(self, x: tuple[Tensor, ...]) -> str | None:
        """Run the forward pass from the state before the step and name the first module with a bad output."""
        self.return_to_mark()
        found: list[str] = []

        def hook(name: str) -> Callable[[nn.Module, object, object], None]:
            def look(_module: nn.Module, _inputs: object, output: object) -> None:
                if not found and isinstance(output, Tensor) and not bool(torch.isfinite(output).all()):
                    found.append(name)

            return look

        leaves = [(n, m) for n, m in self.model.named_modules() if not any(m.children())]
        handles = [m.register_forward_hook(hook(n or type(m).__name__)) for n, m in leaves]
        try:
            with torch.no_grad():
                self.step.forward(*x)
        finally:
            for handle in handles:
                handle.remove()
        return f"the output of module '{found[0]}' is not finite" if found else None


_ADVICE = (
    "The weights of the best epoch before it are kept. Try a smaller learning rate (--set lr=...), "
    "gradient clipping (--with clip_grad:max_norm=1) or a warm-up (--with warmup)."
)


def _first_bad(named: dict[str, Tensor]) -> str | None:
    return next((n for n, t in named.items() if not bool(torch.isfinite(t).all())), None)

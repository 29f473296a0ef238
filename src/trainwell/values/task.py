"""What is to be learned: the kind of the target, the loss, the metric and its direction."""

from __future__ import annotations

import dataclasses
from typing import Any

BINARY, MULTICLASS, REGRESSION = "binary", "multiclass", "regression"
KINDS = (BINARY, MULTICLASS, REGRESSION)


@dataclasses.dataclass(frozen=True)
class Task:
    """A task on one target column.

    Args:
        kind: `binary`, `multiclass` or `regression`.
        classes: the labels in the order of the outputs, as plain values; empty for regression.
        class_counts: rows of the training part per class, in the same order.
        mean, scale: what standardises a regression target inside: (y - mean) / scale, from the training part.
        metric: the primary metric, `accuracy`, `balanced_accuracy`, `log_loss`, `rmse`, ...
        metric_sign: +1 when larger is better, -1 when smaller is better.
    """

    kind: str
    classes: tuple[Any, ...] = ()
    class_counts: tuple[int, ...] = ()
    mean: float = 0.0
    scale: float = 1.0
    metric: str = "accuracy"
    metric_sign: int = 1

    @property
    def is_classification(self) -> bool:
        return self.kind != REGRESSION

    @property
    def num_outputs(self) -> int:
        """Outputs of the network: one logit per class (two for binary), or one number."""
        return len(self.classes) if self.is_classification else 1

    @property
    def is_imbalanced(self) -> bool:
        """Whether the commonest class has more than four times the rows of the rarest."""
        return bool(self.class_counts) and max(self.class_counts) > 4 * max(1, min(self.class_counts))

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Task:
        data = dict(data)
        for key in ("classes", "class_counts"):
            data[key] = tuple(data.get(key, ()))
        return cls(**data)


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """The shape of one row as the model sees it. A table row is `x = (floats,)` or `x = (floats, codes)`.

    Args:
        num_numeric: leading columns of `floats` (N, num_numeric + num_onehot) that are scaled numbers.
        num_onehot: the columns of `floats` after them: one-hot categories and missing flags, in {0, 1} or {-1, 1}.
        cardinalities: for each column of `codes` (int64, N x C) the number of codes; code 0 is missing or unseen.
        kind: `table`, or the kind of data that a row is: `image`, `text`, `audio`.
        shape: of one row of such a kind: (channels, height, width) of an image, (tokens,) of a text.
        vocabulary: number of tokens of a text.
    """

    num_numeric: int = 0
    num_onehot: int = 0
    cardinalities: tuple[int, ...] = ()
    kind: str = "table"
    shape: tuple[int, ...] = ()
    vocabulary: int = 0

    @property
    def places(self) -> int:
        """About how many times a weight is used for one row: at every place of an image, at every token of a text."""
        if self.kind in ("image", "audio"):
            return max(1, self.shape[1] * self.shape[2] // 16)
        return max(1, self.shape[0]) if self.kind == "text" else 1

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> InputSpec:
        held: dict[str, Any] = {k: tuple(v) if isinstance(v, list | tuple) else v for k, v in data.items()}
        return cls(**held)

"""What ails a run: one frozen value per ailment, with the numbers that show it."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from trainwell.values.readings import limit, quantity, reading_words, unit_of

SEVERITIES = ("information", "warning", "critical")
SHOWN_READINGS, SHOWN_LAYERS = 3, 4
"""What `Finding.lines` shows at most."""

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge, "=": operator.eq, "!=": operator.ne
}  # fmt: skip
"""How a reading may stand to its threshold."""

GRADES = {"D": "a contract that holds or does not", "S": "a statistic", "W": "a what-if probe"}

AILMENTS: Mapping[str, str] = {
    # in the causal order of the doctor: what comes first may explain what comes later
    "bad_features": "data", "unscaled_inputs": "data", "unscaled_targets": "data", "leakage": "data",
    "duplicate_images": "data", "inseparable_features": "data",
    "train_val_shift": "data", "shuffled_labels": "data", "label_noise": "data", "class_imbalance": "data",
    "unshuffled_data": "data",
    "params_not_trained": "wiring", "frozen_by_accident": "wiring", "missing_zero_grad": "wiring",
    "mode_misuse": "wiring", "norm_drift": "wiring", "batchnorm_misuse": "wiring",
    "loss_mismatch": "loss",
    "bad_init": "initial state", "vanishing_gradient": "initial state",
    "saturated_units": "units", "dead_units": "units",
    "exploding_gradient": "instability",
    "weight_decay_misuse": "weight decay",
    "lr_schedule": "schedule",
    "pretrained_lr_too_high": "rate", "lr_too_high": "rate", "lr_too_low": "rate",
    "batch_too_small": "batch", "batch_too_large": "batch",
    "undertrained": "budget",
    "overfitting": "generalisation",
    "underfitting": "capacity",
    "input_bound": "compute", "launch_bound": "compute", "wrong_dtype": "compute",
    "oscillation": "symptom", "plateau": "symptom",
    "converged_early": "information",
}  # fmt: skip
"""Every ailment, and the stage of a training that it belongs to."""


def title_of(ailment: str) -> str:
    """Return the name of an ailment as words."""
    return ailment.replace("_", " ").replace("lr ", "learning rate ")


@dataclasses.dataclass(frozen=True)
class Reading:
    """One number that shows a finding, and the threshold it was held against.

    Args:
        trace: name of the signal or fact.
        value, threshold: what was measured and what is allowed.
        comparison: how they stand, e.g. `>`.
        layer: the module, where there is one.
        words, unit: what it measures, where `values/readings.py` does not know the name; `share` is read in per cent.
    """

    trace: str
    value: float
    threshold: float
    comparison: str = ">"
    layer: str | None = None
    words: str = ""
    unit: str = ""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Reading:
        """Make the reading of plain data, in which numbers that are not finite are `None`."""
        known = {f.name for f in dataclasses.fields(cls)}
        held: dict[str, Any] = {k: v for k, v in data.items() if k in known}
        for key in ("value", "threshold"):
            held[key] = math.nan if held.get(key) is None else held[key]
        return cls(**held)

    @property
    def holds(self) -> bool:
        """Whether the value stands to the threshold as is said."""
        return bool(COMPARISONS[self.comparison](self.value, self.threshold))

    @property
    def shown(self) -> str:
        """The value with its unit."""
        return quantity(self.value, self.unit or unit_of(self.trace))

    @property
    def limit(self) -> str:
        """When the rule acts, e.g. `above 50 %`."""
        return limit(self.comparison, self.threshold, self.unit or unit_of(self.trace))

    def __str__(self) -> str:
        where = f" in {self.layer}" if self.layer else ""
        return f"{self.words or reading_words(self.trace)}{where}: {self.shown} ({self.limit})"


@dataclasses.dataclass(frozen=True)
class Finding:
    """What ails a run.

    Args:
        ailment: one of `AILMENTS`.
        severity: `information`, `warning` or `critical`.
        confidence: 0 to 1, how sure the rule is of the name.
        grade: `D` contract, `S` statistic, `W` what-if probe.
        meaning: two sentences for a person who is no expert.
        evidence: the numbers and their thresholds.
        span: first and last optimizer step at which it shows; `None` for the whole run.
        layers: the modules concerned.
        fix: what to change, the line of code where it is a fault of code or data.
        source: where the rule comes from.
        measured: numbers from which a technique may choose its dose, e.g. `grad_norm.q90`.
        consequences: findings that this one explains.
    """

    ailment: str
    severity: str
    confidence: float
    grade: str
    meaning: str
    evidence: tuple[Reading, ...] = ()
    span: tuple[int, int] | None = None
    layers: tuple[str, ...] = ()
    fix: str = ""
    source: str = ""
    measured: Mapping[str, float] = dataclasses.field(default_factory=dict)
    consequences: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        assert self.ailment in AILMENTS, self.ailment
        assert self.severity in SEVERITIES, self.severity
        assert self.grade in GRADES, self.grade
        assert 0 <= self.confidence <= 1, self.confidence

    def __repr__(self) -> str:
        return f"<Finding {self.title} ({self.severity}, sure to {self.confidence:.0%})>"

    def __str__(self) -> str:
        return "\n".join(self.lines(1))

    @property
    def stage(self) -> str:
        """The stage of a training that the ailment belongs to, e.g. `data`, `rate`."""
        return AILMENTS[self.ailment]

    @property
    def title(self) -> str:
        """The name of the ailment as words."""
        return title_of(self.ailment)

    def lines(self, number: int) -> Iterator[str]:
        """Yield what a person reads: what it is and means, the numbers that show it, where, what follows, the fix."""
        span = f", steps {self.span[0]:,} to {self.span[1]:,}" if self.span else ""
        yield f"finding {number} {self.title} ({self.severity}, sure to {self.confidence:.0%}{span})"
        yield f"          {self.meaning}"
        if self.evidence:
            yield f"  shows   {'; '.join(map(str, self.evidence[:SHOWN_READINGS]))}"
        if self.layers:
            more = len(self.layers) - SHOWN_LAYERS
            yield f"  where   {', '.join(self.layers[:SHOWN_LAYERS])}{f' and {more} more' if more > 0 else ''}"
        if self.consequences:
            yield f"  causes  {', '.join(f.title for f in self.consequences)}"
        if self.fix:
            yield f"  change  {self.fix}"

    @property
    def facts(self) -> Mapping[str, float]:
        """The numbers that techniques read when they choose a dose."""
        return self.measured

    @property
    def is_alarm(self) -> bool:
        """Whether it asks for an action; information does not."""
        return self.severity != "information"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; numbers that are not finite become `None`."""
        data = dataclasses.asdict(self)
        data["consequences"] = [f.to_dict() for f in self.consequences]
        data["measured"] = {k: _finite(v) for k, v in self.measured.items()}
        for reading in data["evidence"]:
            reading.update({k: _finite(reading[k]) for k in ("value", "threshold")})
        for key in ("evidence", "layers", "span"):
            data[key] = list(data[key]) if data[key] is not None else None
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Finding:
        """Make the finding that `to_dict` described."""
        values = dict(data)
        values["evidence"] = tuple(map(Reading.from_dict, values["evidence"]))
        values["measured"] = {k: math.nan if v is None else v for k, v in values["measured"].items()}
        values["span"] = tuple(values["span"]) if values["span"] else None
        values["layers"] = tuple(values["layers"])
        values["consequences"] = tuple(cls.from_dict(f) for f in values["consequences"])
        return cls(**values)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def rank(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings, the most severe and surest first; among equals the earlier in the causal order."""
    order = {name: i for i, name in enumerate(AILMENTS)}
    return sorted(
        findings, key=lambda f: (-SEVERITIES.index(f.severity), -round(f.confidence, 2), order[f.ailment])
    )


def fold(findings: Sequence[Finding], explains: Mapping[str, Iterable[str]]) -> list[Finding]:
    """Attach every finding that another one explains to that one, and return what is left, ranked.

    Args:
        explains: for each ailment the ailments that it can cause; must not contain a circle.
    """
    order = {name: i for i, name in enumerate(AILMENTS)}

    def strength(finding: Finding) -> tuple[float, int]:
        return (finding.confidence, -order[finding.ailment])

    def causes(effect: Finding, cause: Finding) -> bool:
        if not cause.is_alarm or effect.ailment not in explains.get(cause.ailment, ()):
            return False
        # where two explain each other, the surer one is the cause
        return cause.ailment not in explains.get(effect.ailment, ()) or strength(cause) > strength(effect)

    below: dict[int, list[Finding]] = {}
    roots = []
    for i, finding in enumerate(findings):
        root, seen = i, {i}
        while True:
            above = [j for j, c in enumerate(findings) if j not in seen and causes(findings[root], c)]
            if not above:
                break
            root = max(above, key=lambda j: strength(findings[j]))
            seen.add(root)
        if root == i:
            roots.append(i)
        else:
            below.setdefault(root, []).append(finding)
    # a circle leaves its members below one another: the root of all is then the one that was reached last
    lost = [j for j in below if j not in roots]
    roots += lost
    return rank(
        dataclasses.replace(
            findings[i], consequences=tuple(rank(f for f in below.get(i, ()) if f is not findings[i] and f not in
                                                 [findings[j] for j in lost]))
        )
        for i in roots
    )  # fmt: skip

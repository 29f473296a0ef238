"""What treats a finding: changes of the recipe with their doses, in the order of the benefit that is expected."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from trainwell.app import settings
from trainwell.values.finding import Finding
from trainwell.values.recipe import Recipe
from trainwell.values.technique import REGISTRY, Technique

ORDER: Mapping[str, tuple[str, ...]] = {
    "overfitting": ("weight_decay", "dropout", "mixup", "label_smoothing", "early_stopping"),
    "exploding_gradient": ("lr", "clip_grad", "clip_quantile", "layer_norm", "batch_norm"),
    "lr_too_high": ("lr", "warmup", "one_cycle", "agc"),
    "pretrained_lr_too_high": ("lr", "layer_decay", "discriminative_rates", "lp_ft"),
    "vanishing_gradient": ("batch_norm", "layer_norm", "he", "lsuv", "orthogonal"),
    "dead_units": ("lr", "he"),
    "saturated_units": ("lsuv", "xavier"),
    "bad_init": ("he", "lsuv", "xavier", "orthogonal"),
    "batch_too_small": ("batch_size", "ema"),
    "batchnorm_misuse": ("group_norm", "layer_norm", "no_norm"),
    "label_noise": ("label_smoothing", "mixup"),
    "lr_schedule": ("cosine", "linear", "wsd", "one_cycle"),
    "oscillation": ("lr", "cosine", "ema"),
}
"""What comes first for an ailment: the cause before the symptom (a smaller rate before clipping), what costs no step
before what does, the plain before the rare. Until paired trials (`trainwell treat`) have measured it on this run, it is
the order of the sources that the techniques cite. What is not listed follows, doses drawn from the run first."""

TORCH: Mapping[str, str] = {
    "lr": "optimizer = ...(lr={lr:g})",
    "clip_grad": "torch.nn.utils.clip_grad_norm_(model.parameters(), {max_norm:.3g})  # before optimizer.step()",
    "clip_value": "torch.nn.utils.clip_grad_value_(model.parameters(), {max_value:.3g})  # before optimizer.step()",
    "weight_decay": "torch.optim.AdamW(..., weight_decay={rate:.2g})",
    "dropout": "nn.Dropout({rate:g})  # after each hidden activation",
    "label_smoothing": "nn.CrossEntropyLoss(label_smoothing={amount:g})",
    "cosine": "torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max={steps})",
    "linear": "torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters={steps})",
    "one_cycle": "torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr={rate}, total_steps={steps})",
    "warmup": "torch.optim.lr_scheduler.LinearLR(optimizer, {start:g}, total_iters={rise})",
    "batch_norm": "nn.BatchNorm1d(width)  # between layer and activation; BatchNorm2d for images",
    "layer_norm": "nn.LayerNorm(width)  # between layer and activation",
    "group_norm": "nn.GroupNorm(8, width)  # in place of each batch norm",
    "he": "nn.init.kaiming_normal_(layer.weight)",
    "xavier": "nn.init.xavier_normal_(layer.weight)",
    "orthogonal": "nn.init.orthogonal_(layer.weight)",
    "ema": "averaged = torch.optim.swa_utils.AveragedModel(model)  # update after each step, evaluate this one",
    "batch_size": "DataLoader(..., batch_size={batch_size})",
    "class_weights": "nn.CrossEntropyLoss(weight=counts.mean() / counts)  # counts: rows of each class",
}
"""The same change in a loop of one's own, by the name of the technique or of the recipe's field."""

LONGER, STRONG_DROPOUT = 3, 0.6
"""Times the epochs of a run that ended too early; a rate of dropout above which learning rows by heart is hard."""

START = ("data", "model", "groups")
"""Sites at which a change needs a new start; all others can be changed when a run is resumed."""


@dataclasses.dataclass(frozen=True)
class Prescription:
    """A change of the recipe that treats a finding.

    Args:
        ailment: what it treats.
        name: the technique, or the field of the recipe that is set.
        technique: what is added, with its dose; None where only a field is set.
        fields: fields of the recipe to set, e.g. `{"lr": 0.003}`.
        why: where the dose comes from.
        when: `resume` where a run can go on with it, `start` where it must begin anew.
        expects: signs that a trial can refute, e.g. `{"val_loss": "-"}`.
        source: of the technique.
        measured: numbers of the run, e.g. `steps` and `lr`.
    """

    ailment: str
    name: str
    technique: Technique | None = None
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    why: str = ""
    when: str = "start"
    expects: Mapping[str, str] = dataclasses.field(default_factory=dict)
    source: str = ""
    measured: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def options(self) -> str:
        """The options of `trainwell fit` that apply it."""
        parts = [f"--set {k}={v:.4g}" for k, v in self.fields.items()]
        if self.technique is not None:
            role = self.technique.role
            parts.append(
                f"--with {self.technique}" if role == "technique" else f"--set {role}={self.technique}"
            )
        return " ".join(parts)

    @property
    def code(self) -> str:
        """The line that does the same in a loop of one's own; empty where there is no short one."""
        doses = {f: getattr(self.technique, f) for f in self.technique.doses()} if self.technique else {}
        steps, rate = (self.measured.get(k, math.nan) for k in ("steps", "lr"))
        rate = self.measured.get("lr.suggested", rate)
        known = math.isfinite(steps) and steps > 0
        share = doses.get("fraction", 0.0)
        run = {
            "steps": f"{steps:.0f}" if known else "epochs * len(loader)",
            "rise": f"{max(1.0, share * steps):.0f}" if known else f"int({share:g} * epochs * len(loader))",
            "rate": f"{rate:g}" if math.isfinite(rate) else "optimizer.param_groups[0]['lr']",
        }
        return TORCH.get(self.name, "").format(**{**run, **doses, **self.fields})

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with the change."""
        added = () if self.technique is None else (self.technique,)
        if self.technique is not None and self.technique.role != "technique":
            return recipe.replace(**{self.technique.role: self.technique, "lr": recipe.lr})
        return settings.apply(recipe, settings=self.fields, with_=added)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as `--json` prints them."""
        return {
            "name": self.name, "technique": self.technique.to_dict() if self.technique else None,
            "fields": dict(self.fields), "options": self.options, "code": self.code, "why": self.why,
            "when": self.when, "expects": dict(self.expects), "source": self.source,
        }  # fmt: skip


def prescriptions(finding: Finding, recipe: Recipe | None = None, kind: str = "") -> list[Prescription]:
    """Return what treats a finding, the most promising first; nothing for a fault of code or data: see its `fix`.

    Args:
        recipe: of the run, where it has one; what it holds already is left out.
        kind: of the data, where it is known; what cannot act on them is left out.
    """
    if kind:
        found = prescriptions(finding, recipe)
        return [p for p in found if p.technique is None or not p.technique.kinds or kind in p.technique.kinds]
    if finding.ailment == "exploding_gradient" and finding.measured.get("at_start"):
        return _of_the_start(finding, recipe)
    held = () if recipe is None else (*recipe.techniques, recipe.optimizer, recipe.schedule)
    made = (
        *_of_fields(finding),
        *_of_budget(finding, recipe),
        *_of_dropout(finding),
        *_of_techniques(finding),
    )
    found = [p for p in made if p.technique not in held]
    order = {name: i for i, name in enumerate(ORDER.get(finding.ailment, ()))}
    return sorted(found, key=lambda p: (order.get(p.name, len(order)), not p.why, p.name))


def _of_the_start(finding: Finding, recipe: Recipe | None) -> list[Prescription]:
    """Return what treats signals that grow from the start weights on: those first, clipping and a lower rate last."""
    start = dataclasses.replace(finding, ailment="bad_init", measured={})
    late = dataclasses.replace(
        finding, measured={k: v for k, v in finding.measured.items() if k != "at_start"}
    )
    first = [dataclasses.replace(p, ailment=finding.ailment) for p in prescriptions(start, recipe)]
    names = {p.name for p in first}
    rest = [p for p in prescriptions(late, recipe) if p.name not in names]
    return [*first, *sorted(rest, key=lambda p: "clip" in p.name or p.name == "lr")]


def _short(technique: Technique) -> Technique:
    """Round the doses to three digits: what is drawn from a run is not known more exactly."""
    numbers = {name: getattr(technique, name) for name in technique.doses()}
    return technique.replace(**{k: float(f"{v:.3g}") for k, v in numbers.items() if isinstance(v, float)})


def _of_techniques(finding: Finding) -> list[Prescription]:
    import trainwell.techniques  # noqa: F401  (fills the registry; a healthy run need not pay for it)

    made = []
    for kind in REGISTRY.values():
        technique = kind.prescribe(finding)
        if technique is None:
            continue
        technique = _short(technique)
        own = technique != kind()
        why = "the dose is drawn from this run" if own else ""
        when = "start" if set(kind.sites()) & set(START) else "resume"
        source = _source_of(kind)
        made.append(
            Prescription(
                finding.ailment,
                kind.name,
                technique,
                {},
                why,
                when,
                dict(kind.expects),
                source,
                finding.measured,
            )
        )
    return made


def _of_fields(finding: Finding) -> list[Prescription]:
    """Return the changes of numbers that every recipe has."""
    change = FIELDS.get(finding.ailment)
    fields = change(finding) if change is not None else {}
    return [
        Prescription(
            finding.ailment, name, None, {name: _whole(name, value)}, why, "resume", {"train_loss": "-"}
        )
        for name, (value, why) in fields.items()
        if math.isfinite(value) and value > 0
    ]


def _of_budget(finding: Finding, recipe: Recipe | None) -> list[Prescription]:
    """Return a longer run where the loss still falls at its end."""
    if finding.ailment != "undertrained" or recipe is None:
        return []
    why, fields = "the loss still falls at the end of this run", {"epochs": LONGER * recipe.epochs}
    return [
        Prescription(
            finding.ailment, "epochs", None, fields, why, "resume", {"train_loss": "-", "val_loss": "-"}
        )
    ]


def _of_dropout(finding: Finding) -> list[Prescription]:
    """Return the usual rate where the dropout of the network is so strong that nothing is learned through it."""
    rate = _number(finding, "dropout")
    if finding.ailment != "underfitting" or not rate > STRONG_DROPOUT:
        return []
    import trainwell.techniques  # noqa: F401  (fills the registry)

    kind = REGISTRY["dropout"]
    why, signs = f"the dropout of {rate:g} leaves too few units", {"train_loss": "-"}
    return [Prescription(finding.ailment, "dropout", kind(), {}, why, "start", signs, _source_of(kind))]


def _source_of(kind: type[Technique]) -> str:
    return (kind.__doc__ or "").partition("Source:")[2].split("\n")[0].strip()


def _whole(name: str, value: float) -> float | int:
    return int(value) if name == "batch_size" else value


def _number(finding: Finding, name: str) -> float:
    return float(finding.measured.get(name, math.nan))


def _lower_rate(finding: Finding) -> dict[str, tuple[float, str]]:
    suggested, rate = _number(finding, "lr.suggested"), _number(finding, "lr")
    if math.isfinite(suggested):
        return {"lr": (suggested, "a rate at which steps like these would not overshoot")}
    return {"lr": (rate / 3, f"a third of the {rate:.2g} of this run")}


def _higher_rate(finding: Finding) -> dict[str, tuple[float, str]]:
    suggested, rate = _number(finding, "lr.suggested"), _number(finding, "lr")
    value = suggested if math.isfinite(suggested) else 3 * rate
    return {"lr": (value, f"the steps of this run are linear at {rate:.2g}: there is room above")}


def _larger_batch(finding: Finding) -> dict[str, tuple[float, str]]:
    size = _number(finding, "batch_size")
    return {"batch_size": (max(32, 4 * size) if size else math.nan, f"batches of {size:g} are mostly noise")}


def _smaller_batch(finding: Finding) -> dict[str, tuple[float, str]]:
    size = _number(finding, "batch_size")
    return {"batch_size": (max(8, size // 8), f"batches of {size:g} leave too few steps")}


FIELDS: Mapping[str, Callable[[Finding], dict[str, tuple[float, str]]]] = {
    "lr_too_high": _lower_rate,
    "pretrained_lr_too_high": _lower_rate,
    "exploding_gradient": _lower_rate,
    "dead_units": _lower_rate,
    "oscillation": _lower_rate,
    "lr_too_low": _higher_rate,
    "batch_too_small": _larger_batch,
    "batch_too_large": _smaller_batch,
}
"""Ailments that a number of the recipe treats, and the number that fits this run."""

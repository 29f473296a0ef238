"""The laws that every technique obeys. Each takes a class and raises AssertionError where it is broken.

A law returns None where it was checked, or the reason why it does not apply to this technique.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from trainwell.engine.parts import Batch, HardwarePlan
from trainwell.testing.lanes import flats, lane_of, randomize, samples, stacked
from trainwell.testing.runs import (
    TASK,
    Network,
    classes,
    differs,
    formed,
    kind_for,
    network_for,
    photographed,
    recipe_with,
    resumed,
    training,
)  # fmt: skip
from trainwell.testing.sick import SICK, outcome
from trainwell.values.errors import DoseError
from trainwell.values.finding import AILMENTS, Finding
from trainwell.values.recipe import Recipe
from trainwell.values.technique import KIND_WORDS, Technique

Law = Callable[[type[Technique]], str | None]
SEEDS = 5
LANES = 3


def round_trip(kind: type[Technique]) -> str | None:
    """Law 1: a technique survives the way to disk and to the command line, and its hash does too."""
    for made in (kind(), *samples(kind, 3, off=True)):
        saved = json.loads(json.dumps(made.to_dict()))
        assert Technique.from_dict(saved) == made, f"{made} is not what its saved form makes"
        assert Technique.parse(str(made)) == made, f"{made} is not what its command-line form makes"
        recipe = recipe_with(made)
        again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
        assert again == recipe, f"{made}: the recipe did not survive"
        assert again.hash() == recipe.hash(), f"{made}: the hash changed"
        assert hash(made) == hash(Technique.from_dict(saved)), f"{made}: equal values with two hashes"
    return None


def off_is_absence(kind: type[Technique]) -> str | None:
    """Law 2: the off dose leaves a training equal to its absence, bit for bit, also as a lane of a stack."""
    offs = {f: s.off for f, s in kind.doses().items() if s.off is not None}
    if not offs:
        return "it has no dose that turns it off"
    for field, value in offs.items():
        off = kind(**{field: value})
        assert kind.role != "technique" or off.is_off, f"{off} does not say that it is off"
        plain, with_off = training(None, kind=kind_for(off), model=network_for(off)), training(off)
        plain.run()
        with_off.run()
        difference = differs(plain, with_off)
        assert not difference, f"{off}: the training differs from one without it in {difference}"
    _off_lane_changes_nothing(kind, offs)
    return None


def _off_lane_changes_nothing(kind: type[Technique], offs: dict[str, Any]) -> None:
    techniques = samples(kind, LANES, off=True)
    stack, (params, grads) = stacked(techniques), flats((LANES,))
    state = stack.init_state(params) if hasattr(stack, "init_state") else None
    before = params.flat[0].clone(), grads.flat[0].clone()
    for step in range(1, 4):
        _apply(stack, params, grads, state, step)
    assert torch.equal(params.flat[0], before[0]), f"{kind.name}: a lane that is off had its weights changed"
    assert torch.equal(grads.flat[0], before[1]), f"{kind.name}: a lane that is off had its gradient changed"
    if hasattr(kind, "averaged"):
        assert torch.equal(stack.averaged(state)[0], params.flat[0]), f"{kind.name}: an average that is off"
    if hasattr(kind, "loss"):
        losses, bare = _losses(stack, LANES)
        assert torch.equal(losses[0], bare[0]), f"{kind.name}: a lane that is off had its loss changed"
    if hasattr(kind, "batch"):
        data = kind_for(kind())
        batch, (x, y) = _batch(LANES, data), (_batch(LANES, data).x[0], _batch(LANES, data).y)
        stack.batch(batch, [torch.Generator().manual_seed(k) for k in range(LANES)])
        assert torch.equal(batch.x[0][0], x[0]), f"{kind.name}: a lane that is off had its inputs changed"
        assert torch.equal(batch.y[0], y[0]), f"{kind.name}: a lane that is off had its targets changed"
        mix = torch.as_tensor(1.0 if batch.mix is None else batch.mix)
        assert mix.flatten()[0] == 1, f"{kind.name}: a lane that is off is mixed"


def _apply(technique: Any, params: Any, grads: Any, state: Any, step: int) -> None:
    """Call the methods of a step that act on the flat tensors, in the order of the step."""
    if hasattr(technique, "penalty"):
        technique.penalty(params, grads)
    if hasattr(technique, "grads"):
        technique.grads(grads, params, state)
    lr = 0.01
    if hasattr(technique, "update"):
        technique.update(params, lr)
    if hasattr(technique, "direction"):
        params.flat.sub_(technique.direction(grads, state, step), alpha=lr)
    if hasattr(technique, "after_step"):
        technique.after_step(params, state, step)


def _batch(lanes: int, data: str) -> Batch:
    generator = torch.Generator().manual_seed(5)
    x = formed(torch.randn(lanes, 16, 8, generator=generator, dtype=torch.float64), data)
    x = x.float() if x.ndim == 5 else x  # pixels come as bytes or in single precision
    codes = torch.randint(7, (lanes, 16, 2), generator=generator)
    return Batch((x, codes), torch.randint(3, (lanes, 16), generator=generator))


def _losses(technique: Any, lanes: int) -> tuple[Tensor, Tensor]:
    """Return the losses under the technique and without it, (lanes, B)."""

    def each(outputs: Tensor, target: Tensor) -> Tensor:
        return -outputs.log_softmax(-1).gather(-1, target.unsqueeze(-1)).squeeze(-1)

    generator = torch.Generator().manual_seed(6)
    outputs = torch.randn(lanes, 16, 3, generator=generator, dtype=torch.float64)
    target = torch.randint(3, (lanes, 16), generator=generator)
    if lanes == 1:
        outputs, target = outputs[0], target[0]
    return technique.loss(each, TASK)(outputs, target), each(outputs, target)


def lanes_equal_single_runs(kind: type[Technique]) -> str | None:
    """Law 3: lane k of a stack with different doses equals the plain technique k, to 1e-12 (edited images: 1e-6)."""
    if not any(
        hasattr(kind, m) for m in ("batch", "penalty", "grads", "update", "direction", "after_step", "loss")
    ):
        return "it does not act in the step"
    techniques: list[Any] = list(samples(kind, LANES, off=True))
    stack, (params, grads) = stacked(techniques), flats((LANES,))
    singles = [lane_of(params, k) for k in range(LANES)]
    keeps = hasattr(kind, "init_state")
    state = stack.init_state(params) if keeps else None
    states = [t.init_state(s) if keeps else None for t, s in zip(techniques, singles, strict=True)]
    generator = torch.Generator().manual_seed(1)
    for step in range(1, 9):
        randomize(grads, generator)
        alone = [lane_of(grads, k) for k in range(LANES)]
        for k, technique in enumerate(techniques):
            if not technique.is_off:
                _apply(technique, singles[k], alone[k], states[k], step)
        _apply(stack, params, grads, state, step)
        for k in range(LANES):
            _close(params.flat[k], singles[k].flat, f"{techniques[k]}: the weights of its lane")
            _close(grads.flat[k], alone[k].flat, f"{techniques[k]}: the gradient of its lane")
    if hasattr(kind, "loss"):
        _losses_of_lanes(stack, techniques)
    if hasattr(kind, "batch"):
        _batches_of_lanes(stack, techniques)
    return None


def _close(lane: Tensor, single: Tensor, what: str, tolerance: float = 1e-12) -> None:
    scale = max(1.0, float(single.abs().max()))
    worst = float((lane - single).abs().max())
    assert worst <= tolerance * scale, (
        f"{what} differ from the lone run by {worst:.3g} at a size of {scale:.3g}"
    )


def _losses_of_lanes(stack: Any, techniques: list[Any]) -> None:
    generator = torch.Generator().manual_seed(6)
    outputs = torch.randn(LANES, 16, 3, generator=generator, dtype=torch.float64)
    target = torch.randint(3, (LANES, 16), generator=generator)

    def each(outputs: Tensor, target: Tensor) -> Tensor:
        return -outputs.log_softmax(-1).gather(-1, target.unsqueeze(-1)).squeeze(-1)

    together = stack.loss(each, TASK)(outputs, target)
    for k, technique in enumerate(techniques):
        _close(
            together[k],
            technique.loss(each, TASK)(outputs[k], target[k]),
            f"{technique}: the losses of its lane",
        )


def _batches_of_lanes(stack: Any, techniques: list[Any]) -> None:
    data = kind_for(techniques[0])
    together = _batch(LANES, data)
    stack.batch(together, [torch.Generator().manual_seed(k) for k in range(LANES)])
    for k, technique in enumerate(techniques):
        if technique.is_off:
            continue
        whole = _batch(LANES, data)
        alone = Batch(tuple(x[k] for x in whole.x), whole.y[k])
        technique.batch(alone, torch.Generator().manual_seed(k))
        for ours, theirs in zip((*together.x, together.y), (*alone.x, alone.y), strict=True):
            single = 1e-12 if ours.ndim < 5 else 1e-6  # images are edited in single precision
            _close(ours[k].double(), theirs.double(), f"{technique}: the batch of its lane", single)
        if isinstance(alone.mix, Tensor) and isinstance(together.mix, Tensor):
            _close(together.mix[k], alone.mix, f"{technique}: the mixture of its lane")


def resume_is_exact(kind: type[Technique]) -> str | None:
    """Law 4: a resume from any checkpoint ends bit for bit where the training ends that was not stopped."""
    technique = kind()
    if _compiles(technique):
        return "compiling takes too long for a law; it changes no state"
    with photographed(technique) as (whole, folders):
        assert len(folders) >= 2, "the suite's training must pause in the middle and at the end of an epoch"
        for folder in folders:
            difference = differs(whole, resumed(technique, folder))
            assert not difference, f"{technique}: a resume at step {folder.path.name} differs in {difference}"
    return None


def _compiles(technique: Any) -> bool:
    plan = HardwarePlan(torch.device("cpu"))
    if hasattr(technique, "hardware"):
        technique.hardware(plan)
    return plan.compile_mode is not None


def expects_come_true(kind: type[Technique]) -> str | None:
    """Law 5: on a training that has its ailment it moves what it `expects` with the right sign over seeds."""
    unknown = [a for a in kind.treats if a not in AILMENTS]
    assert not unknown, f"{kind.name} treats unknown ailments: {', '.join(unknown)}"
    assert bool(kind.treats) == bool(kind.expects), f"{kind.name}: `treats` and `expects` go together"
    shown = {SICK[a]: a for a in kind.treats if a in SICK}  # two ailments may share a training
    if not kind.treats:
        return "it treats no ailment"
    for sick, ailment in shown.items():
        remedy = kind.prescribe(Finding(ailment, "warning", 0.9, "S", "", measured=sick.measured))
        pairs = [(outcome(sick, None, seed), outcome(sick, remedy, seed)) for seed in range(SEEDS)]
        for key, sign in kind.expects.items():
            moved = [treated[key] - bare[key] for bare, treated in pairs]
            right = sum(m < 0 if sign == "-" else m > 0 for m in moved)
            assert right >= SEEDS - 1, (
                f"{remedy} on '{ailment}' should move {key} {sign}, and moved it by {moved}"
            )
    return None if shown else f"the suite has no training with {', '.join(kind.treats)}"


class _Facts(dict[str, float]):
    """Measured numbers of one value, whatever is asked for."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def get(self, key: str, default: Any = None) -> Any:
        return self.value


def prescribe_stays_in_range(kind: type[Technique]) -> str | None:
    """Law 6: whatever was measured, `prescribe` returns a technique within its ranges, or None for other ailments."""
    values = (0.0, -1.0, 1.0, 1e-300, 1e300, math.inf, -math.inf, math.nan)
    for ailment, value in itertools.product(AILMENTS, values):
        try:
            made = kind.prescribe(Finding(ailment, "warning", 0.9, "S", "", measured=_Facts(value)))
        except DoseError as error:
            raise AssertionError(f"{kind.name}: prescribed out of range: {error}") from error
        treated = ailment in kind.treats
        assert (made is not None) == treated, f"{kind.name}: treats {ailment}: {treated}, prescribed {made}"
        if made is not None:
            assert isinstance(made, kind), f"{kind.name} prescribed {made}"
            assert made.role != "technique" or not made.is_off, f"{kind.name} prescribed itself off"
    return None


def docstring_is_complete(kind: type[Technique]) -> str | None:
    """Law 7: the docstring says what it does, when it helps, when it harms, and where it comes from."""
    text = kind.__doc__ or ""
    for word in (r"\b[Hh]elps?\b", r"\b[Hh]arms?\b", r"\bSource:\s+\S"):
        assert re.search(word, text), f"{kind.name}: the docstring lacks '{word}'"
    first = text.strip().splitlines()[0]
    assert first.endswith("."), f"{kind.name}: the first line must be one sentence, is '{first}'"
    for field, spec in kind.doses().items():
        assert spec.unit or spec.options, f"{kind.name}.{field} has no unit"
        assert re.search(rf"\b{field}\b", text), f"{kind.name}: the docstring does not explain '{field}'"
        assert spec.options or (spec.low is not None and spec.high is not None), (
            f"{kind.name}.{field}: no range"
        )
    return None


def calls_stay_within_the_budget(kind: type[Technique]) -> str | None:
    """Law 8: on a network of three layers it adds no more Python calls to a step than it declares."""
    technique = kind()
    if _compiles(technique) or (kind.role == "optimizer" and not hasattr(kind, "direction")):
        return "its calls are those of torch"
    base = 1 if kind.role == "optimizer" else 0  # the bare step has SGD, which is one call
    network = network_for(technique)
    of_it, without = (_calls(t, network, kind_for(technique)) for t in (technique, None))
    added = of_it - without + base
    assert added <= kind.calls, f"{kind.name} adds {added} Python calls to a step and declares {kind.calls}"
    return None


def _calls(technique: Technique | None, network: Network, data: str) -> int:
    """Return the Python calls of a step, the fewest of four: a collection of garbage brings calls of its own."""
    run = training(technique, model=network, kind=data, batch_size=8)
    run.model.train()
    x, y = classes(8, 1, data)
    for _ in range(3):
        run.step(x, y, 1e-3)
    count = 0

    def profile(frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        count += event == "call"

    fewest = sys.maxsize
    for _ in range(4):
        count = 0
        sys.setprofile(profile)
        try:
            run.step(x, y, 1e-3)
        finally:
            sys.setprofile(None)
        fewest = min(fewest, count)
    return fewest


def acts_on_its_kinds(kind: type[Technique]) -> str | None:
    """Law 9: on data of every kind that it names, of every kind where it names none, it changes a batch or an order."""
    unknown = [k for k in kind.kinds if k not in KIND_WORDS]
    assert not unknown, f"{kind.name} names kinds of data that there are not: {', '.join(unknown)}"
    if not (hasattr(kind, "batch") or hasattr(kind, "data")):
        return "it does not touch the data"
    technique: Any = kind()
    for data in kind.kinds or KIND_WORDS:
        assert _touches(technique, data), (
            f"{kind.name} leaves {KIND_WORDS[data]} as they are: say in `kinds` which kinds of data it acts on"
        )
    return None


def _touches(technique: Any, data: str) -> bool:
    """Whether a technique changes the order of an epoch, or the inputs of one of a few batches."""
    if hasattr(technique, "data"):
        x, order = classes(640, 1, data)[0], torch.arange(640)
        return not torch.equal(technique.data(order, x, 2, torch.Generator().manual_seed(1)), order)
    for seed in range(8):
        batch, before = _batch(1, data), _batch(1, data)
        batch.x, batch.y = tuple(x[0] for x in batch.x), batch.y[0]
        technique.batch(batch, torch.Generator().manual_seed(seed))
        if any(not torch.equal(a, b[0]) for a, b in zip(batch.x, before.x, strict=True)):
            return True
    return False


LAWS: Mapping[str, Law] = {
    "1 round trip": round_trip,
    "2 off is absence": off_is_absence,
    "3 lanes": lanes_equal_single_runs,
    "4 resume": resume_is_exact,
    "5 expects": expects_come_true,
    "6 prescribe": prescribe_stays_in_range,
    "7 docstring": docstring_is_complete,
    "8 calls": calls_stay_within_the_budget,
    "9 kinds": acts_on_its_kinds,
}
"""The laws of docs/architecture.md by number and name."""


def check_technique(kind: type[Technique]) -> list[str]:
    """Check all laws on one class, e.g. of a third party; return `law: reason` for those that do not apply.

    Raises:
        AssertionError: a law is broken; the message says by what.
    """
    reasons = {name: law(kind) for name, law in LAWS.items()}
    return [f"{name}: {reason}" for name, reason in reasons.items() if reason]

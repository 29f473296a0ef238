"""Transfer learning: a probe on cached features, then fine-tuning from the probe where that is better on validation."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trainwell.app import settings
from trainwell.app.data_facts import base_loss, separability
from trainwell.app.feature_cache import FeatureTransform, Say, features_of, load_backbone, silent
from trainwell.app.predictor import Predictor
from trainwell.data.notes import Note, info
from trainwell.data.samples import SampleData, kind_of
from trainwell.engine.assemble import Source, assemble
from trainwell.engine.hardware import choose_device
from trainwell.engine.lanes import LaneSpec, train_lanes
from trainwell.engine.tensorfile import write_tensors
from trainwell.models import FAMILIES, build_model
from trainwell.models.backbones import Backbone, resolve
from trainwell.models.backbones.base import BackboneNet
from trainwell.models.probe import ProbeNet
from trainwell.values.errors import UsageError
from trainwell.values.recipe import ModelSpec, Recipe
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from trainwell.app.console import Console
    from trainwell.app.run import Run
    from trainwell.app.sources import Prepared

DECAYS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Weight decays of the heads that are trained side by side; the one with the least validation loss is taken."""
HOW = ("budget", "seed", "device", "watch", "treat", "checkpoint_every")
"""Options of `fit` that say how, not on what."""
KEYS = ("backbone", "weights", "allow_pickle")
FINE_EPOCHS = {"quick": 0, "balanced": 3, "best": 10}
LEAST_EPOCHS = 2
"""Of fine-tuning that the user asked for under a preset that leaves it out."""
FINE_S = {"quick": 0.0, "balanced": 600.0, "best": 7200.0}
"""Fine-tuning is left out when it would take longer than this; what it would take is measured on one step, and said."""
FINE_LR = 1e-4
Z = 1.96


def backbone_of(model: ModelSpec) -> Backbone:
    """Return the backbone that a model names."""
    family = FAMILIES[model.family](**dict(model.params))
    assert isinstance(family, Backbone)
    return family


def read_samples(data: Any, target: str | None, options: Mapping[str, Any]) -> tuple[SampleData, ModelSpec]:
    """Return the data in the form that the backbone of the options takes, and the backbone.

    Raises:
        UsageError: the data are of a kind that the backbone does not take.
    """
    model = resolve(
        options["backbone"], options.get("weights"), allow_pickle=bool(options.get("allow_pickle"))
    )
    family = backbone_of(model)
    found = kind_of(data, target, {k: v for k, v in options.items() if k not in KEYS})
    kind = found[0].name if found is not None else "table"
    if found is None or kind not in family.takes:
        raise UsageError(
            f"--backbone {options['backbone']} reads {' and '.join(family.takes)} data; these are of the kind {kind}."
        )
    return found[0].prepare(data, target, _own_options(options, family)), model


def _own_options(options: Mapping[str, Any], family: Backbone) -> dict[str, Any]:
    """Return the options of the data that give the backbone's inputs; the user's go before the backbone's."""
    asked = {k: v for k, v in options.items() if k not in KEYS and not _is_unset(v)}
    return {**family.options(), **asked}


def _is_unset(value: Any) -> bool:
    return value is None or (isinstance(value, tuple) and not value)  # a frame cannot be compared


def prepare_features(
    data: Any,
    target: str | None,
    options: Mapping[str, Any],
    say: Say = silent,
    device: torch.device | None = None,
) -> Prepared:
    """Return the features that the backbone of the options computes of the data, ready for any head.

    Args:
        device: where they are computed; None takes an accelerator if there is one.
    """
    made, model = read_samples(data, target, options)
    return featured(made, model, data, target, options, say, device)


def featured(
    made: SampleData,
    model: ModelSpec,
    data: Any,
    target: str | None,
    options: Mapping[str, Any],
    say: Say = silent,
    device: torch.device | None = None,
) -> Prepared:
    """Return the features of data that are read already."""
    from trainwell.app.sources import of_samples

    net, digest = load_backbone(model, made.spec)
    found, plan = features_of(
        net,
        digest,
        made.parts,
        made.fingerprint,
        made.transform.to_dict(),
        say,
        device or choose_device(None),
    )
    width = found["train"].shape[1]
    note = info("backbone", f"{options['backbone']}, frozen: {width} features a row; weights {digest[:12]}")
    notes = (note, *_other_size(made, net.family))
    features = dataclasses.replace(
        made, kind="features", transform=FeatureTransform(made.transform, model, digest, width, plan),
        parts={n: ((found[n],), y) for n, y in made.targets.items()}, notes=(*made.notes, *notes),
        facts={**made.facts, **separability(made, found)},
    )  # fmt: skip
    return of_samples(features, data, target, options)


def _other_size(made: SampleData, family: Backbone) -> tuple[Note, ...]:
    """Say where images are of another size than those of the pre-training."""
    trained = family.options().get("size")
    if made.kind != "image" or trained is None or trained == made.spec.shape[-1]:
        return ()
    said = f"trained on {trained} x {trained} pixels, used on {made.spec.shape[-2]} x {made.spec.shape[-1]}"
    return (info("size", f"{said}: its features may be weaker (leave --size out for its own)"),)


def transfer(
    data: Any,
    target: str | None = None,
    *,
    backbone: str,
    weights: str | Path | None = None,
    allow_pickle: bool = False,
    recipe: Recipe | None = None,
    preset: str = "balanced",
    settings_: Mapping[str, Any] | None = None,
    with_: Iterable[Any] = (),
    without: Iterable[str] = (),
    out: str | Path | bool | None = None,
    console: Console | None = None,
    **options: Any,
) -> Run:
    """Train a head on the cached features of a backbone; then fine-tune from it where that pays.

    With the backbone's own name as the model (`settings_={"model": "minilm"}`, or a recipe of it) all layers are trained
    at once, by the recipe of fine-tuning and what is set beside it.

    The head's weight decay is chosen on the validation part among heads that are trained side by side. Fine-tuning is
    tried under the presets `balanced` and `best` if it fits into their time, and its run is returned if its validation
    losses are smaller, row by row, beyond chance.

    Args:
        backbone: `efficientnet_lite0`, `minilm`, the name of a timm model ...
        weights: a file of the user's; None takes those of the backbone's package.
        allow_pickle: the file may be a `.pt`, read in another process and without its code.
        options: those of `fit` (`budget`, `seed`, `device`, `watch`, `checkpoint_every`) and of the data.
    Returns: the run of the head, or of the fine-tuned network.
    """
    from trainwell.app import fit as fitting
    from trainwell.app.sources import of_samples

    how: dict[str, Any] = {k: options.pop(k) for k in HOW if k in options}
    given = {k: v for k, v in options.items() if v is not None}
    extra = {
        "backbone": backbone,
        "weights": str(weights) if weights else None,
        "allow_pickle": allow_pickle or None,
    }
    given |= {k: v for k, v in extra.items() if v is not None}
    say = console.say if console is not None else silent
    made, model = read_samples(data, target, given)
    if console is not None:
        console.data(_as_read(made))
    if _is_by_hand(model, recipe, settings_):
        inputs = of_samples(made, data, target, _own_options(given, backbone_of(model)))
        return fitting.fit(
            inputs, recipe=recipe or fine_recipe(model, preset), settings_=_without_model(settings_), with_=with_,
            without=without, out=out, baseline=False, console=console, **how,
        )  # fmt: skip
    prepared = featured(made, model, data, target, given, say, choose_device(how.get("device")))
    with_ = tuple(with_)
    if recipe is None and not any(str(t).startswith("weight_decay") for t in with_):
        chosen = settings.apply(
            preset_of(preset, prepared), settings=settings_, with_=with_, without=without, budget=_epochs(how)
        )  # fmt: skip
        with_ = (*with_, *chosen_decay(prepared, chosen, say))
    run = fitting.fit(
        prepared, recipe=recipe, preset=preset, settings_=settings_, with_=with_, without=without, out=out,
        baseline=False, console=console, **how,
    )  # fmt: skip
    reason = _why_not(run, preset)
    if reason:
        say(f"kept      the probe: {reason}")
        return run
    inputs = of_samples(made, data, target, _own_options(given, backbone_of(model)))
    return _tuned(run, prepared, inputs, model, preset, how, console)


def _is_by_hand(model: ModelSpec, recipe: Recipe | None, settings_: Mapping[str, Any] | None) -> bool:
    """Whether the user asks for the backbone itself to be trained, by a recipe of theirs."""
    named = str((settings_ or {}).get("model", "")).removeprefix("timm:")
    known = {model.family, str(dict(model.params).get("architecture", ""))} - {""}
    return named in known or (recipe is not None and recipe.model.family == model.family)


def _without_model(settings_: Mapping[str, Any] | None) -> dict[str, Any]:
    return {k: v for k, v in (settings_ or {}).items() if k != "model"}


def _as_read(made: SampleData) -> Prepared:
    """Return what is known before anything is computed, to be told."""
    from trainwell.app.sources import Prepared

    return Prepared(made.kind, made.task, {n: ((), y) for n, y in made.targets.items()}, notes=made.notes)


def _epochs(how: Mapping[str, Any]) -> str | float | None:
    """Return the budget if it counts epochs; one of time is that of the head that is kept."""
    budget: str | float | None = how.get("budget")
    return budget if budget is not None and set(settings.parse_budget(budget)) == {"epochs"} else None


def preset_of(preset: str, prepared: Prepared) -> Recipe:
    """Return the recipe of a preset for data that are ready."""
    from trainwell.app.presets import preset as preset_recipe

    assert prepared.task is not None and prepared.inputs is not None
    return preset_recipe(preset, prepared.task, prepared.num_rows, prepared.inputs)


def chosen_decay(prepared: Prepared, base: Recipe, say: Say = silent) -> tuple[str, ...]:
    """Train heads of several decays side by side, as long as the recipe says; return the best as a technique."""
    start = time.perf_counter()
    assert prepared.task is not None and prepared.inputs is not None
    inputs, outputs = prepared.inputs, prepared.task.num_outputs
    specs = [LaneSpec(base.with_(f"weight_decay:rate={rate}"), tag=rate) for rate in DECAYS]
    results = train_lanes(
        specs, Source(prepared.parts["train"], prepared.parts["val"]), prepared.task,
        model=lambda recipe, generator: build_model(recipe.model, inputs, outputs, generator),
    )  # fmt: skip
    best = min((r for r in results if r.best_epoch), key=lambda r: r.best_value, default=None)
    if best is None:
        return ()
    taken = time.perf_counter() - start
    say(
        f"heads     {len(results)} trained side by side in {taken:.1f} s; weight decay {best.spec.tag:g} is best"
    )
    return (f"weight_decay:rate={best.spec.tag}",)


def _why_not(run: Run, preset: str) -> str:
    """Say why fine-tuning is left out; empty if it is not."""
    if not FINE_EPOCHS.get(preset):
        return f"the preset {preset} leaves fine-tuning out"
    if run.interrupted:
        return "it was interrupted"
    if not isinstance(run.model, ProbeNet) or run.model.blocks:
        return "fine-tuning starts from a linear probe"
    return "" if run.path is not None else "fine-tuning needs a folder to start from"


def _tuned(
    run: Run,
    features: Prepared,
    inputs: Prepared,
    model: ModelSpec,
    preset: str,
    how: Mapping[str, Any],
    console: Console | None,
) -> Run:
    """Fine-tune from the probe, where the preset has time for it, and return the better run."""
    from trainwell.app import fit as fitting

    say = console.say if console is not None else silent
    assert run.path is not None
    recipe = fine_recipe(model.replace(weights=str(_joined(run, inputs, model))), preset)
    seconds = _seconds_of(recipe, inputs)
    if seconds > FINE_S[preset]:
        most = FINE_S[preset] / 60
        say(
            f"kept      the probe: fine-tuning would take {seconds / 60:.0f} minutes here, preset {preset} has {most:.0f}"
        )
        return run
    say(f"tuning    all layers from the probe, about {seconds:.0f} s")
    out = run.path.with_name(run.path.name + "-tuned")
    inputs = _with_start(inputs, float(losses_of(run, features).mean()))
    tuned = fitting.fit(
        inputs, recipe=recipe, out=out, baseline=False, console=console, **{**how, "budget": None}
    )
    better, reason = compare(run, features, tuned, inputs)
    say(f"kept      {'fine-tuning' if better else 'the probe'}: {reason}")
    return tuned if better else run


def _joined(run: Run, inputs: Prepared, model: ModelSpec) -> Path:
    """Write backbone and probe as the weights of one network, with what belongs beside them, into the run."""
    assert run.path is not None and run.task is not None and inputs.inputs is not None
    net = build_model(model, inputs.inputs, run.task.num_outputs, torch.Generator().manual_seed(0))
    assert isinstance(net, BackboneNet) and isinstance(run.model, ProbeNet)
    if net.family.weights != "none":
        net.load()
    weight, bias = run.model.folded()
    home = run.path / "start"
    home.mkdir(exist_ok=True)
    for beside in net.family.companions():
        shutil.copyfile(beside, home / beside.name)
    file = home / "model.safetensors"
    write_tensors(file, dict(net.state_dict()) | {"head.weight": weight, "head.bias": bias})
    return file.resolve()


def fine_recipe(model: ModelSpec, preset: str) -> Recipe:
    """Return the recipe of fine-tuning: low rates, lower near the input, norms as they were trained."""
    techniques = ("layer_decay:factor=0.85", "weight_decay:rate=0.01", "freeze_norms", "clip_grad:max_norm=1")
    return Recipe(
        model=model, optimizer="adam", schedule="one_cycle", lr=FINE_LR, batch_size=32,
        epochs=FINE_EPOCHS.get(preset) or LEAST_EPOCHS, techniques=tuple(map(Technique.parse, techniques)),
    )  # fmt: skip


def _seconds_of(recipe: Recipe, inputs: Prepared) -> float:
    """Return the seconds that a recipe would take, from one step on real rows."""
    assert inputs.task is not None and inputs.inputs is not None
    x, y = inputs.parts["train"]
    rows = min(len(y), recipe.batch_size)
    some = (tuple(t[:rows] for t in x), y[:rows])
    net = build_model(recipe.model, inputs.inputs, inputs.task.num_outputs, torch.Generator().manual_seed(0))
    run = assemble(net, recipe.replace(batch_size=rows), Source(some, None), task=inputs.task)
    run.model.train()
    run.step(*some, 1e-9)
    start = time.perf_counter()
    run.step(*some, 1e-9)
    return (time.perf_counter() - start) / rows * len(y) * recipe.epochs * 1.1


def compare(first: Run, features: Prepared, second: Run, inputs: Prepared) -> tuple[bool, str]:
    """Say whether the second run's validation losses are smaller, row by row, beyond chance, and why."""
    return verdict(losses_of(second, inputs) - losses_of(first, features))


def losses_of(run: Run, prepared: Prepared) -> np.ndarray:
    """Return the validation loss of every row under a run."""
    x, y = prepared.parts["val"]
    return row_losses(Predictor(run.model, run.task).scored(x), y.numpy(), run)


def _with_start(inputs: Prepared, loss: float) -> Prepared:
    """Let the doctor know the validation loss that fine-tuning starts from."""
    made, task = inputs.samples, inputs.task
    assert made is not None and task is not None
    unit = 1.0 if task.is_classification else task.scale**2
    facts = {**made.facts, "start_of_base": loss / (base_loss(made) * unit)}
    return dataclasses.replace(inputs, samples=dataclasses.replace(made, facts=facts))


def row_losses(shown: np.ndarray, y: np.ndarray, run: Run) -> np.ndarray:
    """Return the loss of every row: minus the logarithm of the class's probability, or the squared error."""
    assert run.task is not None
    if run.task.is_classification:
        return np.asarray(-np.log(np.clip(shown[np.arange(len(y)), y], 1e-12, 1)))
    return np.square(shown - (y[:, 0] * run.task.scale + run.task.mean))


def verdict(difference: np.ndarray) -> tuple[bool, str]:
    """Judge paired differences of losses, second minus first: better if the interval of 95 % lies below 0."""
    mean = float(difference.mean())
    half = Z * float(difference.std(ddof=1)) / max(1, len(difference)) ** 0.5
    words = f"its validation loss differs by {mean:+.4f} +- {half:.4f} (95 %, {len(difference)} rows, paired)"
    if mean + half < 0:
        return True, f"{words}: better"
    return False, f"{words}: fine-tuning is {'worse' if mean - half > 0 else 'not better beyond chance'}"

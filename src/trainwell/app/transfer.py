"""Transfer learning: a probe on cached features, then fine-tuning from the probe where that is better on validation."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from trainwell.app import settings
from trainwell.app.data_facts import separability
from trainwell.app.feature_cache import FeatureTransform, Say, features_of, load_backbone, silent
from trainwell.app.fine_tuning import fine_recipe, fine_tuned, why_not
from trainwell.app.fit import fit
from trainwell.data.notes import Note, info
from trainwell.data.samples import SampleData, kind_of
from trainwell.engine.assemble import Source
from trainwell.engine.hardware import choose_device
from trainwell.engine.lanes import LaneSpec, train_lanes
from trainwell.models import FAMILIES, build_model, check_family
from trainwell.models.backbones import Backbone, resolve
from trainwell.values.errors import UsageError
from trainwell.values.recipe import ModelSpec, Recipe

if TYPE_CHECKING:
    from trainwell.app.console import Console
    from trainwell.app.run import Run
    from trainwell.app.sources import Prepared

DECAYS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Weight decays of the heads that are trained side by side; the one with the least validation loss is taken."""
HOW = ("budget", "seed", "device", "watch", "treat", "checkpoint_every")
"""Options of `fit` that say how, not on what."""
KEYS = ("backbone", "weights", "allow_pickle")


def backbone_of(model: ModelSpec) -> Backbone:
    """Return the backbone that a model names."""
    family = FAMILIES[model.family](**dict(model.params))
    assert isinstance(family, Backbone)
    return family


def read_samples(data: Any, target: str | None, options: Mapping[str, Any]) -> tuple[SampleData, ModelSpec]:
    """Return the data in the form that the backbone of the options takes, and the backbone.

    Raises:
        UsageError: the data are of a kind that the backbone does not take, or its weights are not here.
    """
    model = resolve(
        options["backbone"], options.get("weights"), allow_pickle=bool(options.get("allow_pickle"))
    )
    family = backbone_of(model)
    found = kind_of(data, target, {k: v for k, v in options.items() if k not in KEYS})
    kind = found[0].name if found is not None else "table"
    if found is None:
        from trainwell.app.sources import check_tree

        check_tree(data)
    if found is None or kind not in family.takes:
        raise UsageError(
            f"--backbone {options['backbone']} reads {' and '.join(family.takes)} data; these are of the kind {kind}."
        )
    family.check()
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
    if _is_by_hand(backbone, model, recipe, settings_):
        inputs = of_samples(made, data, target, _own_options(given, backbone_of(model)))
        return fit(
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
    run = fit(
        prepared, recipe=recipe, preset=preset, settings_=settings_, with_=with_, without=without, out=out,
        baseline=False, console=console, **how,
    )  # fmt: skip
    reason = why_not(run, preset)
    if reason:
        say(f"kept      the probe: {reason}")
        return run
    inputs = of_samples(made, data, target, _own_options(given, backbone_of(model)))
    return fine_tuned(run, prepared, inputs, model, preset, how, console)


def to_search(
    data: Any,
    target: str | None,
    recipe: Recipe | None,
    preset: str,
    settings_: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> tuple[Prepared, Recipe | None, Mapping[str, Any] | None]:
    """Return what a search around a backbone trains on, its recipe and its settings.

    These are the cached features and a head, or with the backbone as the model its inputs and all layers.
    """
    from trainwell.app.sources import of_samples

    given = {k: v for k, v in options.items() if v is not None}
    made, model = read_samples(data, target, given)
    if not _is_by_hand(given["backbone"], model, recipe, settings_):
        return featured(made, model, data, target, given), recipe, settings_
    inputs = of_samples(made, data, target, _own_options(given, backbone_of(model)))
    return inputs, recipe or fine_recipe(model, preset), _without_model(settings_)


def _is_by_hand(
    backbone: str, model: ModelSpec, recipe: Recipe | None, settings_: Mapping[str, Any] | None
) -> bool:
    """Whether the user asks for the backbone itself to be trained, by a recipe of theirs."""
    named = str((settings_ or {}).get("model", "")).removeprefix("timm:").removeprefix("hf:")
    known = {model.family, backbone, str(model.get("architecture", ""))} - {""}
    if named and named not in known:
        check_family(named)
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

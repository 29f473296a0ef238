"""A linear probe and its backbone as one network, which sees the rows instead of their features."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from trainwell.app.feature_cache import FeatureTransform
from trainwell.app.predictor import Predictor
from trainwell.models import build_model
from trainwell.models.backbones.base import BESIDE, BackboneNet
from trainwell.models.probe import ProbeNet
from trainwell.values.recipe import ModelSpec
from trainwell.values.task import InputSpec

if TYPE_CHECKING:
    from trainwell.app.run import Run


def joined_net(probe: ProbeNet, model: ModelSpec, inputs: InputSpec, num_outputs: int) -> BackboneNet:
    """Return the backbone with its pre-trained weights and the probe as its last layer."""
    net = build_model(model, inputs, num_outputs, torch.Generator().manual_seed(0))
    assert isinstance(net, BackboneNet)
    if net.family.weights != "none":
        net.load()
    weight, bias = probe.folded()
    net.head.load_state_dict({"weight": weight, "bias": bias})
    return net.eval()


def joined(run: Run) -> Run:
    """Return a run of a linear probe as one of the whole network; other runs as they are."""
    transform, probe = run.predictor.transform, run.model
    if not isinstance(transform, FeatureTransform) or not isinstance(probe, ProbeNet) or probe.blocks:
        return run
    assert run.task is not None
    net = joined_net(probe, transform.model, transform.inner.spec, run.task.num_outputs)
    whole = Predictor(net, run.task, transform.inner)
    return dataclasses.replace(run, recipe=run.recipe.replace(model=transform.model), predictor=whole)


def with_companions(run: Run, folder: Path) -> Run:
    """Copy what must lie beside the weights of a backbone into an exported folder; return the run that reads it there."""
    files = run.model.family.companions() if isinstance(run.model, BackboneNet) else ()
    if not files:
        return run
    (folder / BESIDE).mkdir()
    for file in files:
        shutil.copyfile(file, folder / BESIDE / file.name)
    model = run.recipe.model.replace(weights=f"{BESIDE}/model.safetensors")
    return dataclasses.replace(run, recipe=run.recipe.replace(model=model))

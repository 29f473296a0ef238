"""The average of the weights, the plan of the hardware, and the doses that findings ask for."""

from __future__ import annotations

import sys
from subprocess import run

import pytest
import torch

from trainwell.engine.parts import HardwarePlan
from trainwell.techniques.bf16 import BF16
from trainwell.techniques.clip_grad import ClipGrad
from trainwell.techniques.compile import Compile
from trainwell.techniques.ema import EMA
from trainwell.techniques.grad_accumulation import GradAccumulation
from trainwell.testing.lanes import flats
from trainwell.values.finding import Finding


def test_ema_follows_its_recurrence() -> None:
    params, _ = flats()
    technique, expected = EMA(decay=0.9), params.flat.clone()
    state = technique.init_state(params)
    for step in range(1, 200):
        params.flat.normal_(generator=torch.Generator().manual_seed(step))
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * params.flat
        technique.after_step(params, state, step)
    torch.testing.assert_close(technique.averaged(state), expected)


def test_ema_does_not_share_memory_with_the_weights() -> None:
    params, _ = flats()
    state = EMA().init_state(params)
    assert state["shadow"].data_ptr() != params.flat.data_ptr()


def test_plan_of_the_hardware() -> None:
    plan = HardwarePlan(torch.device("cpu"))
    for technique in (BF16(), Compile(mode="max-autotune"), GradAccumulation(micro_batches=4)):
        technique.hardware(plan)
    assert (plan.autocast, plan.compile_mode, plan.micro_batches) == (torch.bfloat16, "max-autotune", 4)


def finding(ailment: str, **measured: float) -> Finding:
    return Finding(
        ailment, "warning", 0.9, "S", "", measured={k.replace("__", "."): v for k, v in measured.items()}
    )


@pytest.mark.parametrize(("norm", "dose"), [(3.5, 3.5), (1e9, 1e3), (0.0, 1e-3), (float("nan"), 1.0)])
def test_clip_grad_takes_its_limit_from_the_finding(norm: float, dose: float) -> None:
    prescribed = ClipGrad.prescribe(finding("exploding_gradient", grad_norm__q90=norm))
    assert prescribed == ClipGrad(max_norm=dose)
    assert ClipGrad.prescribe(finding("overfitting")) is None


def test_importing_the_techniques_imports_no_torch() -> None:
    code = "import sys, trainwell.techniques; sys.exit('torch' in sys.modules)"
    assert run([sys.executable, "-c", code], check=False).returncode == 0

"""Our optimizers against torch.optim over 100 steps, and stacks of lanes against single runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.optim._muon as torch_muon
from torch import Tensor

from trainwell.engine.flat import Flat
from trainwell.techniques._compiled import by_lanes
from trainwell.techniques._kernel import in_one_pass
from trainwell.techniques.adam import Adam
from trainwell.techniques.adamw import AdamW
from trainwell.techniques.muon import COEFFICIENTS, ITERATIONS, Muon, hidden_matrices, orthogonal
from trainwell.techniques.nadamw import NAdamW
from trainwell.techniques.nesterov import Nesterov
from trainwell.techniques.sgd import SGD
from trainwell.testing.lanes import flats, lane_of, randomize, stacked
from trainwell.testing.runs import classes, perceptron, training

STEPS = 100
LR = 0.01
ROUNDING = 4 * STEPS**0.5 * torch.finfo(torch.float32).eps
"""Some four operations a step are rounded, in another order than torch's; what that adds up to walks at random."""


def groups(params: Flat, decay: float) -> list[dict[str, Any]]:
    """Split as trainwell does: decay on matrices and kernels only."""
    tensors = [v.clone().requires_grad_() for v in params.views]
    decayed = [t for t, s in zip(tensors, params.slots, strict=True) if s.decay]
    others = [t for t, s in zip(tensors, params.slots, strict=True) if not s.decay]
    return [{"params": decayed, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def advance(technique: Any, params: Flat, grads: Flat, state: dict[str, Tensor], step: int) -> None:
    if hasattr(technique, "update"):
        technique.update(params, LR)
    params.flat.sub_(technique.direction(grads, state, step), alpha=LR)


def set_gradients(params: Flat, grads: Flat, generator: torch.Generator) -> None:
    """Noise on a quadratic, so that moments have something to follow."""
    randomize(grads, generator)
    grads.flat.mul_(0.3).add_(params.flat, alpha=0.5)


REFERENCES = [
    (SGD(momentum=0.9), torch.optim.SGD, {"momentum": 0.9}, 0.0),
    (SGD(momentum=0.0), torch.optim.SGD, {}, 0.0),
    (Nesterov(momentum=0.8), torch.optim.SGD, {"momentum": 0.8, "nesterov": True}, 0.0),
    (Adam(), torch.optim.Adam, {}, 0.0),
    (Adam(beta1=0.5, beta2=0.9, eps=1e-3), torch.optim.Adam, {"betas": (0.5, 0.9), "eps": 1e-3}, 0.0),
    (AdamW(weight_decay=0.3), torch.optim.AdamW, {}, 0.3),
    (NAdamW(weight_decay=0.3), torch.optim.NAdam, {"decoupled_weight_decay": True}, 0.3),
    (NAdamW(momentum_decay=0.1, weight_decay=0.0), torch.optim.NAdam, {"momentum_decay": 0.1}, 0.0),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("technique", "reference", "options", "decay"), REFERENCES, ids=lambda v: str(v))
def test_optimizer_equals_torch(
    technique: Any, reference: Any, options: dict[str, Any], decay: float, dtype: torch.dtype
) -> None:
    params, grads = flats(dtype=dtype)
    given = groups(params, decay)
    optimizer = reference(given, lr=LR, **options)
    tensors = [t for g in given for t in g["params"]]
    state, generator = technique.init_state(params), torch.Generator().manual_seed(1)
    for step in range(1, STEPS + 1):
        set_gradients(params, grads, generator)
        for tensor, grad in zip(tensors, grads.views, strict=True):
            tensor.grad = grad.clone()
        optimizer.step()
        advance(technique, params, grads, state, step)
    for ours, tensor in zip(params.views, tensors, strict=True):
        # torch keeps some scalars in float32 even where the weights are float64
        assert relative(ours, tensor) < (ROUNDING if dtype == torch.float32 else 1e-9)


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (30, 64), (64, 64)])
def test_orthogonal_in_bfloat16_equals_torch(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    theirs = torch_muon._zeropower_via_newtonschulz(matrix, COEFFICIENTS, ITERATIONS, 1e-7)
    torch.testing.assert_close(orthogonal(matrix[None], torch.bfloat16)[0], theirs, rtol=0, atol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_muon_equals_torch_on_matrices_and_adamw_on_the_rest(
    dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if dtype == torch.float64:  # in bfloat16 the last bit of float32 can flip a rounding
        double = lambda matrix, *_: orthogonal(matrix[None], torch.float64)[0]  # noqa: E731
        monkeypatch.setattr(torch_muon, "_zeropower_via_newtonschulz", double)
    technique = Muon(beta1=0.9, beta2=0.99, weight_decay=0.2)
    params, grads = flats(dtype=dtype)
    hidden = {slot.name for slot, _ in hidden_matrices(params)}
    assert hidden == {"0.weight", "1.weight", "3.weight"}
    theirs = {n: v.clone().flatten(1 if n in hidden else 0) for n, v in params.named().items()}
    tensors = {n: t.requires_grad_() for n, t in theirs.items()}
    decay = {n: 0.2 if v.ndim > 1 else 0.0 for n, v in params.named().items()}
    muon = torch.optim.Muon(
        [tensors[n] for n in hidden], lr=LR, weight_decay=0.2, momentum=0.9, adjust_lr_fn="match_rms_adamw"
    )
    rest = [{"params": [t], "weight_decay": decay[n]} for n, t in tensors.items() if n not in hidden]
    adamw = torch.optim.AdamW(rest, lr=LR, betas=(0.9, 0.99))
    state, generator = technique.init_state(params), torch.Generator().manual_seed(1)
    for step in range(1, STEPS + 1):
        set_gradients(params, grads, generator)
        for name, grad in grads.named().items():
            tensors[name].grad = grad.clone().view(tensors[name].shape)
        muon.step()
        adamw.step()
        advance(technique, params, grads, state, step)
    for name, ours in params.named().items():
        assert relative(ours.view(tensors[name].shape), tensors[name]) < tolerance, name


def test_first_steps_of_muon_in_bfloat16_equal_torch() -> None:
    technique, (params, grads) = Muon(beta1=0.9, weight_decay=0.0), flats(dtype=torch.float32)
    matrix = params.named()["3.weight"].clone().requires_grad_()
    muon = torch.optim.Muon([matrix], lr=LR, weight_decay=0.0, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    state, generator = technique.init_state(params), torch.Generator().manual_seed(1)
    for step in range(1, 6):
        randomize(grads, generator)
        matrix.grad = grads.named()["3.weight"].clone()
        muon.step()
        advance(technique, params, grads, state, step)
    assert relative(params.named()["3.weight"], matrix) < 1e-6


def relative(ours: Tensor, theirs: Tensor) -> float:
    """Norm of the difference over the norm. In float32 single elements of both differ by more from float64."""
    return float((ours - theirs.detach()).norm() / theirs.detach().norm())


def test_orthogonal_brings_singular_values_near_one() -> None:
    matrices = torch.randn(3, 20, 12, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(matrices, torch.float32))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_muon_leaves_a_zero_gradient_finite() -> None:
    params, grads = flats()
    grads.flat.zero_()
    technique = Muon()
    assert technique.direction(grads, technique.init_state(params), 1).isfinite().all()


LANES = [
    [SGD(momentum=m) for m in (0.0, 0.5, 0.95)],
    [Nesterov(momentum=m) for m in (0.0, 0.5, 0.95)],
    [Adam(beta1=b, beta2=c, eps=e) for b, c, e in ((0.0, 0.9, 1e-8), (0.9, 0.99, 1e-3), (0.95, 0.5, 0.1))],
    [AdamW(beta1=b, weight_decay=w) for b, w in ((0.0, 0.0), (0.9, 0.1), (0.95, 3.0))],
    [NAdamW(beta1=b, momentum_decay=d) for b, d in ((0.5, 0.0), (0.9, 0.004), (0.95, 0.1))],
    [Muon(beta1=b, beta2=c) for b, c in ((0.5, 0.9), (0.9, 0.95), (0.95, 0.999))],
]


@pytest.mark.parametrize("techniques", LANES, ids=lambda v: v[0].name)
def test_lanes_with_different_betas_equal_single_runs(techniques: list[Any]) -> None:
    stack = stacked(techniques)
    params, grads = flats((3,))
    singles = [lane_of(params, k) for k in range(3)]
    state, states = (
        stack.init_state(params),
        [t.init_state(s) for t, s in zip(techniques, singles, strict=True)],
    )
    generator = torch.Generator().manual_seed(1)
    for step in range(1, STEPS + 1):
        set_gradients(params, grads, generator)
        for k, (technique, single) in enumerate(zip(techniques, singles, strict=True)):
            advance(technique, single, lane_of(grads, k), states[k], step)
        advance(stack, params, grads, state, step)
    for k, single in enumerate(singles):
        torch.testing.assert_close(params.flat[k], single.flat, rtol=1e-10, atol=1e-12)


def test_padding_stays_zero() -> None:
    params, grads = flats()
    used = torch.zeros_like(params.flat, dtype=torch.bool)
    for slot in params.slots:
        used[slot.offset : slot.offset + slot.numel] = True
    for technique in (SGD(), Nesterov(), Adam(), AdamW(), NAdamW(), Muon()):
        state = technique.init_state(params)
        for step in range(1, 4):
            assert (technique.direction(grads, state, step)[~used] == 0).all(), technique.name


def test_engine_applies_the_decay_of_an_optimizer() -> None:
    run = training(AdamW(weight_decay=0.5), lr=0.01, epochs=1, batch_size=20)
    model = perceptron()
    decay = [{"params": [p], "weight_decay": 0.5 if p.ndim > 1 else 0.0} for p in model.parameters()]
    reference, (x, y) = torch.optim.AdamW(decay, lr=0.01), classes(20, 1)
    for _ in range(5):
        run.step(x, y, 0.01)
        reference.zero_grad()
        torch.nn.functional.cross_entropy(model(*x), y).backward()
        reference.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(run.step.params.named()[name], parameter.detach(), rtol=1e-4, atol=1e-6)


def test_a_step_of_lanes_reads_no_number_of_an_accelerator() -> None:
    """A step that waits for the device cannot be captured in a CUDA graph; a meta tensor has no number to read."""
    state = {name: torch.zeros(3, 5, device="meta") for name in ("mean", "mean_square", "_direction")}
    flat: Any = SimpleNamespace(flat=torch.zeros(3, 5, device="meta"))
    assert not Adam().move_by(flat, flat, state, 2, torch.full((3, 1), 1e-3, device="meta"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("varied", ["rates", "doses", "steps"])
def test_compiled_adam_of_lanes_equals_that_of_each(varied: str, dtype: torch.dtype) -> None:
    factors = (1.0, 2.0, 3.0)
    each = [{"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "step": 1} for _ in factors]
    for own, factor in zip(each, factors, strict=True):
        if varied == "doses":
            own.update(beta1=0.3 * factor, beta2=1 - 0.01 * factor, eps=1e-8 * factor)
        own["lr" if varied == "rates" else "step"] *= 1 if varied == "doses" else int(factor)

    def together(name: str) -> Any:
        column = torch.tensor([[own[name]] for own in each], dtype=dtype)
        return each[0][name] if len({own[name] for own in each}) == 1 else column

    doses: Any = SimpleNamespace(**{name: together(name) for name in ("beta1", "beta2", "eps")})
    generator = torch.Generator().manual_seed(0)
    weights, like = (torch.randn(3, 37, generator=generator, dtype=dtype) for _ in range(2))
    state, expected = {k: torch.zeros_like(like) for k in ("mean", "mean_square")}, weights.clone()
    states = [{k: torch.zeros(37, dtype=dtype) for k in ("mean", "mean_square")} for _ in each]
    for taken in range(5):
        grads: Any = SimpleNamespace(flat=torch.randn(3, 37, generator=generator, dtype=dtype))
        if not by_lanes(doses, weights, grads, state, together("step") + taken, together("lr")):
            pytest.skip("there is no C compiler here")
        for k, own in enumerate(each):
            one: Any = SimpleNamespace(**{name: own[name] for name in ("beta1", "beta2", "eps")})
            of_one: Any = SimpleNamespace(flat=grads.flat[k])
            assert in_one_pass(one, expected[k], of_one, states[k], own["step"] + taken, own["lr"])
    bound = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(weights, expected, rtol=bound, atol=bound)
    for name, found in state.items():
        torch.testing.assert_close(found, torch.stack([s[name] for s in states]), rtol=bound, atol=bound)


def test_adam_of_lanes_is_left_to_torch_where_it_is_forbidden_to_compile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRAINWELL_NATIVE", "0")
    weights, state = torch.zeros(2, 3), {k: torch.zeros(2, 3) for k in ("mean", "mean_square")}
    lr = torch.ones(2, 1)
    assert not by_lanes(Adam(), weights, SimpleNamespace(flat=torch.ones(2, 3)), state, 1, lr)  # type: ignore[arg-type]
    assert not weights.any()

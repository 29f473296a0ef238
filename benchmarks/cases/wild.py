"""Slips of several strengths on real data, and healthy trainings of many kinds: what the rules were not written beside.

`python benchmarks/faultbench.py --wild A` runs a third of the pairs of base and slip, `B` and `C` the others: rules are
mended by what A shows, B says whether that holds elsewhere. A slip counts where it costs, on clean test rows.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable
from typing import Any

from faultbench.lib import CE, SGD, AdamW, data, define, make_loop, nn, torch

from benchmarks.cases import mutations, wild_bases
from benchmarks.cases.mutations import ALL_STUCK, STUCK, Spec, classes, floats, linears

Slip = Callable[[Spec, int], Spec | None]
OWN: dict[str, tuple[Slip, tuple[str, ...], list[str]]] = {}
KEPT = ("rate_x60", "rate_over_200", "no_zero_grad", "permuted_labels", "decay", "whole_batch", "few_epochs", "head_only",
        "frozen_body", "same_weights", "big_weights", "tiny_weights", "dead_start", "sorted_rows", "val_unscaled",
        "wrong_sign", "double_squash", "decays_at_once", "endless_warmup", "eval_forgotten", "few_rows")  # fmt: skip
"""Slips of `mutations` that are put on these bases too."""
FREE = ("leakage", "train_val_shift", "mode_misuse", "label_noise", "shuffled_labels")
"""What costs nothing on clean test rows and yet is a fault: the validation lies, or labels are wrong."""


def slip(*labels: str, accept: Any = ALL_STUCK) -> Callable[[Slip], Slip]:
    def register(function: Slip) -> Slip:
        OWN[function.__name__] = (function, labels, list(accept))
        return function

    return register


@slip(
    "lr_too_high",
    "exploding_gradient",
    accept=[*ALL_STUCK, "overfitting", "exploding_gradient", "batch_too_small"],
)
def rate_x12(s, seed):
    s.lr *= 12
    return s


@slip(
    "lr_too_high",
    "exploding_gradient",
    accept=[*ALL_STUCK, "overfitting", "exploding_gradient", "batch_too_small"],
)
def rate_x300(s, seed):
    s.lr *= 300
    return s


@slip("lr_too_low", accept=[*STUCK, "batch_too_large"])
def rate_over_30(s, seed):
    s.lr /= 30
    return s


@slip("label_noise", accept=["overfitting", "plateau", "converged_early", "underfitting"])
def noise_30(s, seed):
    if not classes(s) or s.task == "lm" or s.data.y.dim() != 1:
        return None
    s.data.y = data.flip_labels(s.data.y, 0.3, s.data.k, seed)
    s.data.yv = data.flip_labels(s.data.yv, 0.3, s.data.k, seed + 1)
    return s


@slip(
    "unscaled_inputs", accept=[*ALL_STUCK, "bad_init", "overfitting", "batch_too_small", "exploding_gradient"]
)
def pixels_255(s, seed):
    if not floats(s):
        return None
    for a in ("x", "xv", "xt"):
        setattr(s.data, a, getattr(s.data, a) * 80 + 120)
    return s


@slip("unscaled_inputs", accept=[*ALL_STUCK, "bad_init", "overfitting", "batch_too_small", "bad_features"])
def one_huge_column(s, seed):
    if not floats(s) or s.data.x.dim() != 2:
        return None
    for a in ("x", "xv", "xt"):
        x = getattr(s.data, a).clone()
        x[:, 0] *= 3000
        setattr(s.data, a, x)
    return s


@slip("bad_features", "unscaled_inputs", accept=[*ALL_STUCK, "bad_init", "overfitting", "batch_too_small"])
def missing_as_9999(s, seed):
    if not floats(s):
        return None
    g = torch.Generator().manual_seed(seed + 3)
    for a in ("x", "xv", "xt"):
        x = getattr(s.data, a)
        setattr(s.data, a, torch.where(torch.rand(x.shape, generator=g) < 0.01, torch.tensor(-9999.0), x))
    return s


@slip("bad_features", accept=[*ALL_STUCK, "bad_init", "overfitting", "batch_too_small"])
def one_nan(s, seed):
    if not floats(s):
        return None
    s.data.x = s.data.x.clone()
    s.data.x.reshape(len(s.data.x), -1)[11, 3] = float("nan")
    return s


@slip(
    "unscaled_targets",
    accept=[*ALL_STUCK, "train_val_shift", "bad_init", "exploding_gradient", "overfitting"],
)
def targets_in_units(s, seed):
    if (
        s.data.k
        or not isinstance(s.loss, (nn.MSELoss, nn.SmoothL1Loss, nn.HuberLoss, nn.L1Loss))
        or s.data.y.shape[1] > 9
    ):
        return None
    s.data.y, s.data.yv, s.data.yt = (v * 2e4 + 5e4 for v in (s.data.y, s.data.yv, s.data.yt))
    return s


@slip("weight_decay_misuse", "underfitting", accept=[*ALL_STUCK])
def decay_mild(s, seed):
    s.options = {**s.options, "weight_decay": 0.05 if s.kind is SGD else 0.1 if s.kind is not AdamW else 3.0}
    return s


@slip("underfitting", accept=[*STUCK, "mode_misuse"])
def bottleneck_of_one(s, seed):
    if not isinstance(s.model, nn.Sequential) or not isinstance(s.model[-1], nn.Linear):
        return None
    last = s.model[-1]
    s.model = nn.Sequential(
        *list(s.model)[:-1], nn.Linear(last.in_features, 1), nn.Linear(1, last.out_features)
    )
    return s


@slip("underfitting", accept=[*STUCK, "mode_misuse"])
def dropout_90_everywhere(s, seed):
    if not isinstance(s.model, nn.Sequential):
        return None
    layers: list[Any] = []
    for m in s.model:
        layers += [m, nn.Dropout(0.9)] if isinstance(m, (nn.ReLU, nn.GELU, nn.Tanh)) else [m]
    s.model = nn.Sequential(*layers)
    return s


@slip("undertrained", "lr_too_low", accept=[*STUCK, "lr_too_low", "batch_too_large", "batchnorm_misuse"])
def one_third_of_epochs(s, seed):
    s.epochs, s.cosine = max(3, s.epochs // 3), False
    s.lr /= 4
    return s


@slip("lr_too_low", "batch_too_large", "undertrained", accept=[*STUCK, "lr_too_low", "batch_too_large"])
def big_batch_same_rate(s, seed):
    s.batch = 600
    return s


@slip("batch_too_small", "lr_too_high", "batchnorm_misuse",
      accept=[*ALL_STUCK, "overfitting", "launch_bound", "exploding_gradient", "batch_too_small"])  # fmt: skip
def batch_of_two(s, seed):
    s.batch, s.epochs, s.cosine = 2, 2, False
    s.data.x, s.data.y = s.data.x[:800], s.data.y[:800]
    s.lr *= 8
    return s


@slip("params_not_trained", accept=[*ALL_STUCK, "overfitting", "batchnorm_misuse"])
def old_optimizer(s, seed):
    s.params = [p for p in copy.deepcopy(s.model).parameters() if p.requires_grad]
    return s


@slip("loss_mismatch", accept=[*ALL_STUCK, "exploding_gradient", "overfitting"])
def softmax_over_batch(s, seed):
    if not classes(s) or s.task == "lm" or not isinstance(s.model, nn.Sequential):
        return None
    s.model, s.loss = nn.Sequential(*s.model, nn.LogSoftmax(0)), nn.NLLLoss()
    return s


@slip("loss_mismatch", accept=[*ALL_STUCK, "unscaled_targets"])
def broadcast(s, seed):
    if s.data.k or s.data.y.shape[1] != 1 or not isinstance(s.loss, (nn.MSELoss, nn.HuberLoss, nn.L1Loss)):
        return None
    inner = s.loss
    s.loss = lambda o, y: inner(o, y.reshape(-1))
    return s


@slip("loss_mismatch", accept=[*ALL_STUCK, "unscaled_targets"])
def relu_at_the_end(s, seed):
    if s.data.k or not isinstance(s.model, nn.Sequential) or bool((s.data.y >= 0).all()):
        return None
    s.model = nn.Sequential(*s.model, nn.ReLU())
    return s


@slip("loss_mismatch", "lr_too_high", "exploding_gradient",
      accept=[*ALL_STUCK, "exploding_gradient", "overfitting", "loss_mismatch"])  # fmt: skip
def summed(s, seed):
    kind = {CE: CE, nn.MSELoss: nn.MSELoss, nn.HuberLoss: nn.HuberLoss}.get(type(s.loss))
    if kind is None or s.kind is not SGD:
        return None
    s.loss = kind(reduction="sum")
    return s


@slip("leakage", accept=["overfitting", "converged_early"])
def val_from_train(s, seed):
    if s.task == "lm":
        return None
    n = len(s.data.xv) // 3
    s.data.xv, s.data.yv = s.data.xv.clone(), s.data.yv.clone()
    s.data.xv[:n], s.data.yv[:n] = s.data.x[:n], s.data.y[:n]
    return s


@slip("leakage", accept=["overfitting", "converged_early"])
def answer_as_column(s, seed):
    if not floats(s) or s.data.x.dim() != 2 or s.data.y.dim() != 1:
        return None
    g = torch.Generator().manual_seed(seed)
    for a, b in (("x", "y"), ("xv", "yv")):
        x, y = getattr(s.data, a).clone(), getattr(s.data, b)
        x[:, 3] = y.float() / max(1, s.data.k - 1) * 2 - 1 + 0.05 * torch.randn(len(y), generator=g)
        setattr(s.data, a, x)
    return s


@slip("train_val_shift", accept=["overfitting", "class_imbalance", "unscaled_inputs"])
def val_of_few_classes(s, seed):
    if not classes(s) or s.data.y.dim() != 1 or s.task == "lm" or s.data.k < 4:
        return None
    keep, few = s.data.yv >= s.data.k // 2, s.data.y < s.data.k // 2 + 1
    s.data.xv, s.data.yv = s.data.xv[keep], s.data.yv[keep]
    s.data.x, s.data.y = s.data.x[few], s.data.y[few]
    return s


@slip("class_imbalance", accept=["overfitting", "plateau", "underfitting", "undertrained", "train_val_shift"])
def rare_classes(s, seed):
    if not classes(s) or s.data.y.dim() != 1 or s.task == "lm" or s.data.k < 3:
        return None
    rare = torch.tensor([1.0 if c % 2 == 0 else 0.025 for c in range(s.data.k)])
    for a, b, n in (("x", "y", 0), ("xv", "yv", 3)):
        x, y = getattr(s.data, a), getattr(s.data, b)
        keep = torch.rand(len(y), generator=torch.Generator().manual_seed(seed + n)) < rare[y]
        setattr(s.data, a, x[keep])
        setattr(s.data, b, y[keep])
    return s


@slip(
    "mode_misuse", "batchnorm_misuse", accept=["batchnorm_misuse", "overfitting", *STUCK, "train_val_shift"]
)
def trains_in_eval(s, seed):
    if not any(
        isinstance(m, nn.modules.batchnorm._BatchNorm) or getattr(m, "p", 0) for m in s.model.modules()
    ):
        return None
    s.loop = make_loop(train_mode=False, back_to_train=False)
    return s


@slip("vanishing_gradient", "bad_init", accept=[*ALL_STUCK, "bad_init"])
def deep_sigmoids(s, seed):
    if not isinstance(s.model, nn.Sequential) or not isinstance(s.model[-1], nn.Linear):
        return None
    width = s.model[-1].in_features
    extra: list[Any] = []
    for _ in range(7):
        extra += [nn.Linear(width, width), nn.Sigmoid()]
    s.model = nn.Sequential(*list(s.model)[:-1], *extra, s.model[-1])
    return s


@slip(
    "exploding_gradient",
    "bad_init",
    accept=[*ALL_STUCK, "bad_init", "lr_too_high", "exploding_gradient", "overfitting"],
)
def deep_and_loud(s, seed):
    if not isinstance(s.model, nn.Sequential) or not isinstance(s.model[-1], nn.Linear):
        return None
    width = s.model[-1].in_features
    extra: list[Any] = []
    for _ in range(6):
        layer = nn.Linear(width, width)
        nn.init.normal_(layer.weight, 0, 4.0 / width**0.5)
        extra += [layer, nn.ReLU()]
    s.model = nn.Sequential(*list(s.model)[:-1], *extra, s.model[-1])
    return s


@slip("saturated_units", "bad_init", accept=[*ALL_STUCK, "bad_init", "overfitting", "exploding_gradient"])
def loud_tanh(s, seed):
    if not isinstance(s.model, nn.Sequential) or not any(isinstance(m, nn.ReLU) for m in s.model):
        return None
    s.model = nn.Sequential(*[nn.Tanh() if isinstance(m, nn.ReLU) else m for m in s.model])
    for m in linears(s)[:-1]:
        m.weight.data.mul_(20)
    return s


def cases(part: str, names: list[str]) -> list[Any]:
    """Return the healthy bases and a third of the pairs of base and slip, `A`, `B` or `C`; with `all` every pair."""
    from benchmarks.cases import wild_healthy

    found = list(wild_healthy.OK)
    slips = {k: mutations.SLIPS[k] for k in KEPT} | OWN
    for key, maker in wild_bases.BASES.items():
        true = (
            ["class_imbalance"] if key == "trec_lstm" else []
        )  # one class in sixty rows, and it is passed over
        found.append(define(f"ok_{key}", [], lambda seed, fixed, b=maker: b(seed).build(seed), accept=true))
        for name, (function, labels, accept) in slips.items():
            place = f"{name}__{key}"
            if part != "all" and zlib.crc32(place.encode()) % 3 != "ABC".index(part):
                continue
            found.append(_case(place, maker, function, labels, [*accept, *true]))
    wanted = [c for c in found if not names or any(n in c.name for n in names)]
    return [c for c in wanted if not c.labels or c.maker(0, None)]


def _suits(place: str, spec: Spec) -> bool:
    """Whether a forgotten mode changes anything in this network."""
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    return not place.startswith("eval_forgotten") or any(isinstance(m, kinds) for m in spec.model.modules())


def _case(place: str, maker: Any, function: Slip, labels: tuple[str, ...], accept: list[str]) -> Any:
    def make(seed: int, fixed: bool | None) -> Any:
        spec = maker(seed)
        if fixed:
            return spec.build(seed)
        changed = function(spec, seed) if _suits(place, spec) else None
        if fixed is None:  # only asks whether the slip suits the base
            return changed is not None
        assert changed is not None
        return changed.build(seed)

    better = () if set(labels) & set(FREE) else ("test_loss", -1, 0.1)
    return define(place, [labels], make, accept=accept, better=better)

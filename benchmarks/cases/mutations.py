"""Healthy trainings, each broken in one way at a time: does the doctor name the slip?

A slip counts where it costs: the test score falls by 0.03, or the test loss rises by a tenth of its unit. Every base
is also run as it is; there the doctor must be silent. `python benchmarks/faultbench.py --mutations`.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

from faultbench.lib import (
    BCE,
    CE,
    MSE,
    SGD,
    STUCK,
    UNSTABLE,
    Adam,
    AdamW,
    data,
    define,
    job,
    make_loop,
    nets,
    nn,
    optim,
    torch,
)

ALL_STUCK = [
    *STUCK,
    *UNSTABLE,
    "lr_too_low",
    "lr_too_high",
    "dead_units",
    "saturated_units",
    "vanishing_gradient",
]


@dataclasses.dataclass
class Spec:
    """One training, before it is built."""

    data: Any
    model: Any
    lr: float
    kind: Callable[..., Any] = Adam
    loss: Any = None
    batch: int = 32
    epochs: int = 15
    task: str | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    loop: Any = None
    shuffle: bool = True
    cosine: bool = False
    params: Any = None
    schedule: Any = None
    metric: Any = None

    def build(self, seed: int) -> Any:
        params = (
            self.params
            if self.params is not None
            else [p for p in self.model.parameters() if p.requires_grad]
        )
        optimizer = self.kind(params, self.lr, **self.options)
        extra: dict[str, Any] = {"scheduler": self.schedule(optimizer)} if self.schedule else {}
        if self.cosine and not self.schedule:
            extra = {"scheduler": optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)}
        return job(self.model, optimizer, self.loss, self.data, batch=self.batch, epochs=self.epochs, task=self.task,
                   metric=self.metric, seed=seed, loop=self.loop, shuffle=self.shuffle, **extra)  # fmt: skip


def digits_mlp(seed: int) -> Spec:
    return Spec(data.digits(seed), nets.mlp([64, 96, 48, 10]), 2e-3, loss=CE(), epochs=12)


def digits_cnn(seed: int) -> Spec:
    d = data.digits(seed, image=True)
    return Spec(d, nets.cnn(10, (8, 16)), 0.05, SGD, CE(), options={"momentum": 0.9}, epochs=10)


def shapes_cnn_bn(seed: int) -> Spec:
    d = data.shapes(seed, n=1000, noise=0.25, k=5)
    return Spec(d, nets.cnn(5, (12, 24), norm="bn", hw=12), 3e-3, loss=CE(), epochs=10, cosine=True)


def wine_tanh(seed: int) -> Spec:
    return Spec(data.wine(seed), nets.mlp([13, 24, 24, 3], "tanh"), 0.1, SGD, CE(), batch=16, epochs=25)


def cancer_binary(seed: int) -> Spec:
    d = data.binary(data.cancer(seed))
    return Spec(d, nets.mlp([30, 32, 1], drop=0.2), 3e-3, AdamW, BCE(), epochs=12, task="binary")


def friedman_mlp(seed: int) -> Spec:
    d = data.friedman(seed, n=900, noise=0.5)
    return Spec(d, nets.mlp([10, 64, 64, 1]), 4e-3, loss=MSE(), epochs=25, cosine=True)


def sine_tanh(seed: int) -> Spec:
    d = data.sine(seed, n=500, noise=0.1)
    return Spec(d, nets.mlp([1, 64, 64, 1], "tanh"), 5e-3, loss=nn.SmoothL1Loss(), epochs=50)


def topics_bag(seed: int) -> Spec:
    return Spec(
        data.topics(seed, n=800, mix=0.3), nets.BagOfWords(200, 32, 4, hidden=32), 5e-3, loss=CE(), epochs=8
    )


def topics_transformer(seed: int) -> Spec:
    return Spec(
        data.topics(seed, n=1000, mix=0.2), nets.Transformer(200, 32, 4, 20), 1e-3, AdamW, CE(), epochs=8
    )


def waves_conv(seed: int) -> Spec:
    layers = [nn.Conv1d(1, 16, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(16, 16, 5, padding=2), nn.ReLU(),
              nn.AdaptiveMaxPool1d(4), nn.Flatten(), nn.Linear(64, 4)]  # fmt: skip
    return Spec(data.waves(seed, n=800, noise=0.4), nn.Sequential(*layers), 3e-3, loss=CE(), epochs=12)


def circles_gelu(seed: int) -> Spec:
    return Spec(
        data.circles(seed, n=700), nets.mlp([2, 32, 32, 2], "gelu"), 0.2, SGD, CE(), batch=32, epochs=25
    )


def chars_gru(seed: int) -> Spec:
    d = data.chars(seed, n=1200, T=24)
    m = nets.SeqNet("gru", 24, 48, d.k, every=True, vocab=d.k)
    return Spec(d, m, 1e-2, AdamW, nets.lm_loss, epochs=6, task="lm", cosine=True)


BASES = [digits_mlp, digits_cnn, shapes_cnn_bn, wine_tanh, cancer_binary, friedman_mlp, sine_tanh, topics_bag,
         topics_transformer, waves_conv, circles_gelu, chars_gru]  # fmt: skip
Slip = Callable[[Spec, int], Spec | None]
SLIPS: dict[str, tuple[Slip, tuple[str, ...], list[str]]] = {}


def slip(*labels: str, accept: Any = ALL_STUCK) -> Callable[[Slip], Slip]:
    def register(function: Slip) -> Slip:
        SLIPS[function.__name__] = (function, labels, list(accept))
        return function

    return register


def floats(s: Spec) -> bool:
    return bool(s.data.x.is_floating_point())


def classes(s: Spec) -> bool:
    return isinstance(s.loss, nn.CrossEntropyLoss)


def linears(s: Spec) -> list[Any]:
    return [m for m in s.model.modules() if isinstance(m, (nn.Linear, nn.Conv1d, nn.Conv2d))]


@slip("lr_too_high", "exploding_gradient", accept=[*ALL_STUCK, "overfitting"])
def rate_x60(s, seed):
    s.lr *= 60
    return s


@slip("lr_too_high", accept=[*ALL_STUCK, "overfitting"])
def rate_x20(s, seed):
    s.lr *= 20
    return s


@slip("lr_too_low", accept=STUCK)
def rate_over_60(s, seed):
    s.lr /= 60
    return s


@slip("lr_too_low", accept=STUCK)
def rate_over_200(s, seed):
    s.lr /= 200
    return s


@slip("missing_zero_grad", accept=[*ALL_STUCK, "overfitting"])
def no_zero_grad(s, seed):
    s.loop = make_loop(zero_grad=False)
    return s


@slip("label_noise", accept=["overfitting", "plateau", "converged_early", "underfitting"])
def noisy_labels(s, seed):
    if not classes(s) or s.task == "lm":
        return None
    k = s.data.k
    s.data.y, s.data.yv = (
        data.flip_labels(s.data.y, 0.18, k, seed),
        data.flip_labels(s.data.yv, 0.18, k, seed + 1),
    )
    return s


@slip("shuffled_labels", "label_noise", accept=[*ALL_STUCK, "overfitting", "label_noise"])
def permuted_labels(s, seed):
    if s.task == "lm":
        return None
    s.data.y, s.data.yv = data.permute(s.data.y, seed), data.permute(s.data.yv, seed + 1)
    return s


@slip("unscaled_inputs", accept=[*ALL_STUCK, "bad_init", "overfitting", "batch_too_small"])
def inputs_x300(s, seed):
    if not floats(s):
        return None
    for a in ("x", "xv", "xt"):
        setattr(s.data, a, getattr(s.data, a) * 300)
    return s


@slip("unscaled_targets", accept=[*ALL_STUCK, "train_val_shift", "bad_init", "exploding_gradient"])
def targets_offset(s, seed):
    if not isinstance(s.loss, (nn.MSELoss, nn.SmoothL1Loss)):
        return None
    s.data.y, s.data.yv, s.data.yt = (v * 50 + 400 for v in (s.data.y, s.data.yv, s.data.yt))
    return s


@slip("weight_decay_misuse", "underfitting", accept=[*ALL_STUCK])
def decay(s, seed):
    s.options = {**s.options, "weight_decay": 0.3 if s.kind is SGD else 0.5 if s.kind is Adam else 30.0}
    return s


@slip("underfitting", accept=[*STUCK, "mode_misuse"])
def dropout_95(s, seed):
    if not isinstance(s.model, nn.Sequential):
        return None
    layers = list(s.model)
    s.model = nn.Sequential(*layers[:-1], nn.Dropout(0.95), layers[-1])
    return s


@slip("batch_too_large", "undertrained", accept=[*STUCK, "lr_too_low"])
def whole_batch(s, seed):
    s.batch = len(s.data.x)
    return s


@slip(
    "batch_too_small", "lr_too_high", "batchnorm_misuse", accept=[*ALL_STUCK, "overfitting", "launch_bound"]
)
def batch_of_one(s, seed):
    s.batch, s.epochs, s.cosine = (
        2 if any("Norm" in type(m).__name__ for m in s.model.modules()) else 1,
        3,
        False,
    )
    s.lr *= 6
    return s


@slip("undertrained", accept=[*STUCK, "lr_too_low", "batch_too_large"])
def few_epochs(s, seed):
    s.epochs, s.cosine = max(3, s.epochs // 8), False
    s.lr /= 3
    return s


@slip("params_not_trained", accept=[*ALL_STUCK, "overfitting"])
def head_only(s, seed):
    s.params = list(list(s.model.children())[-1].parameters())
    return s


@slip("params_not_trained", accept=[*ALL_STUCK, "overfitting"])
def frozen_body(s, seed):
    for child in list(s.model.children())[:-1]:
        for p in child.parameters():
            p.requires_grad_(False)
    return s


@slip("bad_init", accept=[*ALL_STUCK, "params_not_trained", "converged_early"])
def same_weights(s, seed):
    for m in linears(s):
        nn.init.constant_(m.weight, 0.1)
    return s


@slip(
    "bad_init",
    "exploding_gradient",
    "saturated_units",
    accept=[*ALL_STUCK, "bad_init", "overfitting", "exploding_gradient"],
)
def big_weights(s, seed):
    for m in linears(s):
        m.weight.data.mul_(12.0)
    return s


@slip("bad_init", "vanishing_gradient", accept=[*ALL_STUCK, "bad_init"])
def tiny_weights(s, seed):
    for m in linears(s):
        m.weight.data.mul_(0.01)
    return s


@slip("dead_units", "bad_init", accept=[*ALL_STUCK, "bad_init"])
def dead_start(s, seed):
    if not any(isinstance(m, nn.ReLU) for m in s.model.modules()):
        return None
    layers = [m for m in linears(s)[:-1] if m.bias is not None]
    for m in layers:
        m.bias.data[: int(0.85 * len(m.bias))] = -12.0
    return s if layers else None


@slip("unshuffled_data", accept=[*ALL_STUCK, "train_val_shift", "overfitting", "class_imbalance"])
def sorted_rows(s, seed):
    if s.task == "lm":
        return None
    s.data, s.shuffle = data.sort_by_label(s.data), False
    return s


@slip("train_val_shift", accept=["overfitting", "unscaled_inputs"])
def val_unscaled(s, seed):
    if not floats(s):
        return None
    s.data.xv = s.data.xv * 2.5 + 1.5
    return s


@slip("loss_mismatch", accept=[*ALL_STUCK, "exploding_gradient", "overfitting"])
def wrong_sign(s, seed):
    inner = s.loss
    s.loss = lambda o, y: -inner(o, y)
    return s


@slip("loss_mismatch", accept=ALL_STUCK)
def double_squash(s, seed):
    if not isinstance(s.model, nn.Sequential) or isinstance(s.loss, (nn.MSELoss, nn.SmoothL1Loss)):
        return None
    s.model = nn.Sequential(*s.model, nn.Softmax(-1) if classes(s) else nn.Sigmoid())
    return s


@slip("lr_schedule", accept=[*STUCK, "lr_too_low"])
def decays_at_once(s, seed):
    s.schedule = lambda o: optim.lr_scheduler.ExponentialLR(o, 0.15)
    return s


@slip("lr_schedule", accept=[*STUCK, "lr_too_low"])
def endless_warmup(s, seed):
    s.schedule = lambda o: optim.lr_scheduler.LambdaLR(o, lambda e: (e + 1) / 1500)
    return s


@slip(
    "mode_misuse", "batchnorm_misuse", accept=["batchnorm_misuse", "train_val_shift", "overfitting", *STUCK]
)
def eval_forgotten(s, seed):
    s.loop = make_loop(eval_mode=False)
    return s


@slip("overfitting", accept=["converged_early"])
def few_rows(s, seed):
    n = 24 if s.task != "lm" else 60
    s.data.x, s.data.y = s.data.x[:n], s.data.y[:n]
    s.batch, s.epochs, s.cosine = 8, 12 * s.epochs, False
    return s


def cases(names: list[str]) -> list[Any]:
    """Return every base as a healthy case and every slip on every base as a faulty one."""
    found = []
    for base in BASES:
        found.append(define(f"ok_{base.__name__}", [], lambda seed, fixed, b=base: b(seed).build(seed)))
        for name, (function, labels, accept) in SLIPS.items():
            spec = base(0)
            if function(copy.copy(spec), 0) is None:
                continue

            def make(seed, fixed, b=base, f=function):
                spec = b(seed)
                return (spec if fixed else f(spec, seed)).build(seed)

            found.append(
                define(
                    f"{name}__{base.__name__}", [labels], make, accept=accept, better=("test_loss", -1, 0.1)
                )
            )
    return [c for c in found if not names or any(n in c.name for n in names)]


assert torch is not None

"""Fourth blind set: trainings of many kinds with nothing wrong (see `blind4_rates.py`)."""

from __future__ import annotations

from typing import Any

from faultbench.lib import CE, MSE, SGD, Adam, AdamW, F, data, job, nets, nn, optim, r2, torch

from benchmarks.cases import blind3_sets
from benchmarks.cases import blind4_sets as sets
from benchmarks.cases.blind3_parts import Lambda, cosine, hits, loader, one, written
from benchmarks.cases.blind4_parts import (
    Both,
    Causal,
    Crossed,
    Encoder,
    Experts,
    Hourglass,
    Lion,
    Neighbours,
    Waves,
    apart,
    case,
    sliced,
)


@case("A", [])
def ok_depthwise_with_mixup(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, 1000, k=4, noise=0.2)
    m = apart(4, 16, most=True)
    o = SGD(m.parameters(), 0.03, momentum=0.9, nesterov=True, weight_decay=5e-4)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed, scheduler=cosine(o, 10), loop=sliced(mixup=0.2))


@case("A", [])
def ok_graphs_by_lion(seed: int, fixed: bool) -> Any:
    d = sets.graphs(seed, 900)
    m = Neighbours(24)
    o = Lion(m.parameters(), 2e-3, weight_decay=0.05)
    return job(m, o, CE(), d, batch=30, epochs=14, seed=seed, scheduler=cosine(o, 14))


@case("A", [])
def ok_surface_from_random_waves(seed: int, fixed: bool) -> Any:
    d = sets.ripple(seed, 1500)
    m = Waves(2, 48, 1, scale=1.5)
    o = AdamW(m.parameters(), 4e-3, weight_decay=0.1)
    return job(m, o, nn.SmoothL1Loss(), d, batch=40, epochs=14, seed=seed, scheduler=cosine(o, 14))


@case("A", [])
def ok_markov_chain_clipped_by_value(seed: int, fixed: bool) -> Any:
    d = sets.markov(seed, 1200)
    m = Causal(12, 24)
    o = optim.NAdam(m.parameters(), 6e-3)
    return job(m, o, nets.lm_loss, d, batch=30, epochs=8, task="lm", seed=seed, scheduler=cosine(o, 8),
               loop=sliced(clip_value=0.5))  # fmt: skip


@case("A", [])
def ok_averaged_weights(seed: int, fixed: bool) -> Any:
    d = sets.pendulum(seed, 1200)
    m = nets.mlp([4, 64, 64, 2], "elu")
    o = Adam(m.parameters(), 1e-2)
    return job(
        m, o, MSE(), d, batch=32, epochs=18, seed=seed, scheduler=cosine(o, 18), loop=sliced(average=0.98)
    )


class Encoded(nn.Module):
    """A variational autoencoder; the answer is picture, mean and log variance side by side."""

    def __init__(self, d: int = 64, code: int = 6) -> None:
        super().__init__()
        self.enc, self.dec, self.code = nets.mlp([d, 64, 2 * code]), nets.mlp([code, 64, d]), code

    def forward(self, x: Any) -> Any:
        mean, log_var = self.enc(x).split(self.code, 1)
        z = mean + (torch.randn_like(mean) * (0.5 * log_var).exp() if self.training else 0)
        return torch.cat([self.dec(z), mean, log_var], 1)


def bound(out: Any, y: Any) -> Any:
    made, mean, log_var = out[:, :64], out[:, 64:70], out[:, 70:]
    kl = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(1).mean()
    return 10 * F.mse_loss(made, y) + 0.01 * kl


@case("A", [])
def ok_variational_digits(seed: int, fixed: bool) -> Any:
    d = data.digits(seed)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    m = Encoded()
    o = Adam(m.parameters(), 6e-3)
    return job(m, o, bound, d, batch=16, epochs=16, metric=lambda out, y: r2(out[:, :64], y), seed=seed,
               scheduler=cosine(o, 16))  # fmt: skip


@case("A", [])
def ok_focal_loss_for_rare_clicks(seed: int, fixed: bool) -> Any:
    d = sets.clicks(seed, 3000, shift=1.5, noise=0.1)
    m = Crossed()

    def focal(out: Any, y: Any) -> Any:
        ce = F.binary_cross_entropy_with_logits(out, y, reduction="none")
        return ((1 - (-ce).exp()) ** 2 * ce).mean()

    o = AdamW(m.parameters(), 2e-2, weight_decay=0.1)
    return job(m, o, focal, d, batch=40, epochs=10, task="binary", seed=seed, scheduler=cosine(o, 10))


@case("B", [])
def ok_masks_by_an_hourglass(seed: int, fixed: bool) -> Any:
    d = blind3_sets.masks(seed, 320)
    m = Hourglass(8, norm=True)
    o = Adam(m.parameters(), 1e-2)

    def dice(out: Any, y: Any) -> Any:
        p = torch.sigmoid(out)
        return (
            F.binary_cross_entropy_with_logits(out, y) + 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
        )

    return job(
        m, o, dice, d, batch=20, epochs=10, task="binary", metric=hits, seed=seed, scheduler=cosine(o, 10)
    )


@case("B", [])
def ok_intents_by_torch_encoder(seed: int, fixed: bool) -> Any:
    d = sets.intents(seed, 1300)
    m = Encoder(800, 32, 12, 12, drop=0.3)
    o = AdamW(m.parameters(), 4e-3, weight_decay=0.1)
    s = one(o, 4e-3, total_steps=41 * 10 + 1, pct_start=0.2)
    return job(m, o, CE(label_smoothing=0.05), d, batch=32, epochs=10, seed=seed, scheduler=s, sched_per="batch",
               clip=1.0)  # fmt: skip


@case("B", [])
def ok_experts_on_a_mixture(seed: int, fixed: bool) -> Any:
    d = sets.mixture(seed, 1800, apart=2.2)
    m = Experts(10, 24, 6)
    o = AdamW(m.parameters(), 4e-3, weight_decay=0.1)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed, scheduler=cosine(o, 10))


@case("B", [])
def ok_adding_both_ways(seed: int, fixed: bool) -> Any:
    d = sets.adding(seed, 1200, 8)
    m = Both(2, 24, 1, kind=nn.GRU)
    o = Adam(m.parameters(), 8e-3)
    return job(m, o, MSE(), d, batch=30, epochs=12, seed=seed, scheduler=cosine(o, 12), clip=1.0)


@case("B", [])
def ok_quantile_of_traffic(seed: int, fixed: bool) -> Any:
    d = sets.traffic(seed, 1200)
    m = nets.mlp([6, 48, 48, 1], "gelu", norm="ln")

    def pinball(out: Any, y: Any) -> Any:
        e = y - out
        return torch.maximum(0.6 * e, -0.4 * e).mean()

    o = Adam(m.parameters(), 5e-3)
    return job(m, o, pinball, d, batch=40, epochs=16, seed=seed, scheduler=cosine(o, 16), loop=written())


@case("B", [])
def ok_polynomial_of_two_rates(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, image=True)
    m = nets.cnn(10, (12, 24), norm="gn", act="elu")
    half = len(list(m.parameters())) // 2
    params = list(m.parameters())
    o = SGD([{"params": params[:half], "lr": 0.05}, {"params": params[half:], "lr": 0.1}], momentum=0.9)
    s = Lambda(o, lambda e: (1 - e / 11) ** 0.9)
    ld = loader(torch.utils.data.TensorDataset(d.x, d.y), 32, seed)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed, scheduler=s, loader=ld)


@case("B", [])
def ok_many_small_steps_with_momentum(seed: int, fixed: bool) -> Any:
    d = data.linreg(seed, 500, d=8, noise=0.3)
    m = nn.Linear(8, 1)
    o = SGD(m.parameters(), 0.02, momentum=0.9)
    return job(m, o, MSE(), d, batch=25, epochs=12, seed=seed, scheduler=cosine(o, 12), loop=sliced())

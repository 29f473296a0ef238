"""Eighth blind set, second half: healthy trainings (siblings of the ok_ cases)."""

from __future__ import annotations

from typing import Any

from faultbench.lib import BCE, CE, MSE, SGD, Adam, AdamW, F, data, job, make_loop, nets, nn, optim, torch

from benchmarks.cases.blind8_parts import case
from benchmarks.cases.blind8_second_parts import Tuned, classes_from, fit

cosine = optim.lr_scheduler.CosineAnnealingLR


@case("B", [], severity="plain")
def ok_denoising_autoencoder(seed: int, fixed: bool) -> Any:
    """Restore digits from noisy ones through a code of 24."""
    d = data.digits(seed)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    m = nets.mlp([64, 96, 24, 96, 64])
    o = Adam(m.parameters(), 3e-3)

    def noisy(x: Any, g: Any) -> Any:
        return x + 0.2 * torch.randn(x.shape, generator=g)

    return job(m, o, MSE(), d, batch=16, epochs=30, seed=seed, transform=noisy, scheduler=cosine(o, 30))


@case("B", [], severity="tricky")
def ok_circles_perfect(seed: int, fixed: bool) -> Any:
    """Tell two rings apart that never touch: everything is right."""
    d = data.circles(seed, n=400, noise=0.04, factor=0.4)
    m = nets.mlp([2, 24, 2], "tanh")
    return job(m, Adam(m.parameters(), 2e-2), CE(), d, batch=32, epochs=12, seed=seed)


@case("B", [], severity="tricky")
def ok_dropout_gap_topics(seed: int, fixed: bool) -> Any:
    """Drop four fifths of the hidden units of a text classifier: training looks worse than validation."""
    d = data.topics(seed, n=800, mix=0.5)
    m = nets.BagOfWords(200, 24, 4, hidden=64, drop=0.8)
    o = Adam(m.parameters(), 3e-3)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed)


@case("B", [], severity="tricky")
def ok_finetune_dense_bn_eval(seed: int, fixed: bool) -> Any:
    """Fine-tune a dense net from the low digits to the high ones with its norms kept in eval mode."""
    d = data.digits(seed, n=1100)
    others = classes_from(d, 5)
    m = Tuned(nets.mlp([64, 96, 64, 5], norm="bn")[:-1], 64, 5)
    fit(m, Adam(m.parameters(), 3e-3), *others, 5, seed)
    m.frozen = True
    m.head.reset_parameters()
    groups = [{"params": m.body.parameters(), "lr": 1e-3}, {"params": m.head.parameters(), "lr": 5e-3}]
    return job(m, Adam(groups), CE(), d, batch=32, epochs=12, seed=seed)


@case("B", [], severity="plain")
def ok_linreg(seed: int, fixed: bool) -> Any:
    """Fit a line through eight columns by SGD."""
    d = data.linreg(seed, n=400)
    m = nn.Linear(8, 1)
    return job(m, SGD(m.parameters(), 0.03), MSE(), d, batch=32, epochs=20, seed=seed)


@case("B", [], severity="tricky")
def ok_frozen_encoder(seed: int, fixed: bool) -> Any:
    """Train a head over the frozen encoder of an autoencoder."""
    d = data.digits(seed, n=1000)
    encoder = nets.mlp([64, 128, 48], last=nn.ReLU())
    both = nn.Sequential(encoder, nn.Linear(48, 64))
    fit(both, Adam(both.parameters(), 3e-3), d.x, d.x, 8, seed, F.mse_loss)
    encoder.requires_grad_(False)
    m = nn.Sequential(encoder, nn.Linear(48, 10))
    o = Adam(m[1].parameters(), 2e-2)
    return job(m, o, CE(), d, batch=32, epochs=16, seed=seed, scheduler=cosine(o, 16))


@case("B", [], severity="tricky")
def ok_frozen_one_hot(seed: int, fixed: bool) -> Any:
    """Learn letters by a GRU that gets each as a fixed unit vector."""
    d = data.chars(seed, n=1000, T=16)
    m = nets.SeqNet("gru", d.k, 48, d.k, every=True, vocab=d.k)
    m.emb = nn.Embedding.from_pretrained(torch.eye(d.k), freeze=True)
    o = Adam([p for p in m.parameters() if p.requires_grad], 2e-2)
    return job(m, o, nets.lm_loss, d, batch=16, epochs=6, task="lm", seed=seed, scheduler=cosine(o, 6))


@case("B", [], accept=["launch_bound"], severity="tricky")
def ok_accumulation_cnn(seed: int, fixed: bool) -> Any:
    """Sum the gradients of two batches of sixteen on purpose."""
    d = data.shapes(seed, n=800, noise=0.25)
    m = nets.cnn(4, (12, 24), hw=12)
    o = Adam(m.parameters(), 2e-3)
    return job(m, o, CE(), d, batch=16, epochs=12, seed=seed, loop=make_loop(zero_every=2))


@case("B", [], severity="tricky")
def ok_rare_class_far_off(seed: int, fixed: bool) -> Any:
    """Keep thirty rows of a third class that lies apart."""
    d = data.blobs(seed, k=3, n=2400, std=1.0, dim=5)
    d = data.imbalance(d, {0: 400, 1: 400, 2: 30}, seed)
    m = nets.mlp([5, 16, 3])
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("B", [], severity="tricky")
def ok_smoothed_waves(seed: int, fixed: bool) -> Any:
    """Smooth the labels of waves by 0.15: the loss has a floor."""
    d = data.waves(seed, n=800, T=24, k=5, noise=0.3)
    m = nets.mlp([24, 64, 5], flat=True)
    return job(m, Adam(m.parameters(), 3e-3), CE(label_smoothing=0.15), d, batch=32, epochs=14, seed=seed)


@case("B", [], severity="plain")
def ok_sgd_digits(seed: int, fixed: bool) -> Any:
    """Learn digits by SGD with momentum."""
    d = data.digits(seed)
    m = nets.mlp([64, 96, 10])
    o = SGD(m.parameters(), 0.03, momentum=0.9)
    return job(m, o, CE(), d, batch=32, epochs=14, seed=seed)


@case("B", [], severity="plain")
def ok_cancer_binary(seed: int, fixed: bool) -> Any:
    """Answer yes or no on the cancer data by a small net."""
    d = data.binary(data.cancer(seed))
    m = nets.mlp([30, 16, 1])
    o = AdamW(m.parameters(), 4e-3, weight_decay=0.1)
    return job(m, o, BCE(), d, batch=32, epochs=20, task="binary", seed=seed)


@case("B", [], severity="tricky")
def ok_rnn_sum_of_sixteen(seed: int, fixed: bool) -> Any:
    """Keep a running sum for sixteen steps by a plain RNN: the gradient shrinks, and it learns."""
    d = data.running_sign(seed, n=800, T=16)
    m = nets.SeqNet("rnn", 1, 32, 2)
    o = Adam(m.parameters(), 4e-3)
    return job(m, o, CE(), d, batch=32, epochs=14, seed=seed, clip=1.0, scheduler=cosine(o, 14))


@case("B", [], severity="tricky")
def ok_sparse_relu_waves(seed: int, fixed: bool) -> Any:
    """Start each unit of a wide layer so that one row in eight wakes it."""
    d = data.waves(seed, n=1000, T=24, k=4, noise=0.3)
    d.x, d.xv, d.xt = d.x.flatten(1), d.xv.flatten(1), d.xt.flatten(1)
    m = nets.he_(nets.mlp([24, 256, 4]))
    with torch.no_grad():
        z = d.x @ m[0].weight.T
        m[0].bias.copy_(-torch.quantile(z, 0.87, dim=0))
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=15, seed=seed)

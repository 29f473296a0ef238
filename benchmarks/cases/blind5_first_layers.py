"""Fifth blind set, first author: batch norm, dead units, explosions and initial weights (see `blind5_first_rates.py`)."""

from __future__ import annotations

from typing import Any

from faultbench.lib import CE, MSE, SGD, STUCK, UNSTABLE, Adam, AdamW, data, job, nets, nn, torch

from benchmarks.cases.blind5_parts import case

NORM = [*UNSTABLE, "batch_too_small", "mode_misuse", "overfitting", "train_val_shift"]
DEAD = [*STUCK, "bad_init", "vanishing_gradient"]
BLOWN = [*UNSTABLE, "bad_init", "dead_units", "lr_too_high"]
BORN = [*STUCK, "converged_early", "vanishing_gradient"]


@case(["batchnorm_misuse"], ("val_loss", -1, 0.2), NORM)
def bn_stale_cnn(seed: int, fixed: bool) -> Any:
    """Set momentum to 0.001: the running statistics still are those of the start when training ends."""
    d = data.shapes(seed, n=500, noise=0.3, k=4)
    m = nets.cnn(4, (8, 16), "bn", hw=12, momentum=0.1 if fixed else 1e-3)
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=8, seed=seed)


@case([("batchnorm_misuse", "batch_too_small")], ("val_loss", -1, 0.03), NORM, "subtle")
def bn_keras_momentum(seed: int, fixed: bool) -> Any:
    """Copy momentum 0.99 from Keras, where it means 0.01: validation sees the last batch of sixteen alone."""
    d = data.digits(seed, n=800)
    m = nets.mlp([64, 64, 64, 10], norm="bn")
    for layer in m:
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = 0.1 if fixed else 0.99
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=16, epochs=10, seed=seed)


@case([("batchnorm_misuse", "batch_too_small")], ("test_loss", -1, 0.1), [*NORM, "launch_bound", "undertrained",
      "lr_too_high"])  # fmt: skip
def bn_batch2_regression(seed: int, fixed: bool) -> Any:
    """Normalise the hidden units of a regression over two rows."""
    d = data.friedman(seed, n=400, noise=0.5)
    m = nets.mlp([10, 64, 64, 1], norm="bn")
    return job(
        m,
        Adam(m.parameters(), 3e-3),
        MSE(),
        d,
        batch=32 if fixed else 2,
        epochs=25 if fixed else 5,
        seed=seed,
    )


@case([("batchnorm_misuse", "mode_misuse")], ("val_score", 1, 0.05), [*NORM, "unshuffled_data"])
def bn_no_running_stats(seed: int, fixed: bool) -> Any:
    """Set track_running_stats=False and validate three rows at a time."""
    d = data.digits(seed, n=700)
    m = nets.mlp([64, 64, 64, 10], norm="bn")
    if not fixed:
        for i, layer in enumerate(m):
            if isinstance(layer, nn.BatchNorm1d):
                m[i] = nn.BatchNorm1d(layer.num_features, track_running_stats=False)
    return job(
        m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=8, seed=seed, val_batch=3
    )


@case([("dead_units", "bad_init")], ("test_score", 1, 0.2), DEAD)
def dead_neg_bias_mlp(seed: int, fixed: bool) -> Any:
    """Start both hidden layers at bias -8 "for sparsity": hardly a unit fires."""
    d = data.digits(seed)
    m = nets.mlp([64, 64, 64, 10])
    if not fixed:
        for layer in (m[0], m[2]):
            nn.init.constant_(layer.bias, -8.0)
    return job(m, SGD(m.parameters(), 0.1), CE(), d, batch=32, epochs=15, seed=seed)


@case(
    [("dead_units", "bad_init")],
    ("test_loss", -1, 0.015),
    [*DEAD, "converged_early", "overfitting"],
    "subtle",
)
def dead_half_layer_subtle(seed: int, fixed: bool) -> Any:
    """Lose 30 of 32 units of the second layer to a bias of -10; the others do what they can."""
    d = data.friedman(seed, n=600, noise=0.5)
    m = nets.mlp([10, 32, 32, 1])
    if not fixed:
        with torch.no_grad():
            m[2].bias[2:] = -10.0
    return job(m, Adam(m.parameters(), 4e-3), MSE(), d, batch=32, epochs=30, seed=seed)


@case([("dead_units", "lr_too_high")], ("test_score", 1, 0.3), [*UNSTABLE, *STUCK, "lr_too_high",
      "vanishing_gradient"], "blatant")  # fmt: skip
def dead_cnn_adam_rate(seed: int, fixed: bool) -> Any:
    """Let Adam at 0.3 throw the filters where no image makes them fire."""
    d = data.digits(seed, n=600, image=True)
    m = nets.cnn(10, (8, 16, 16))
    return job(m, Adam(m.parameters(), 5e-3 if fixed else 0.3), CE(), d, batch=32, epochs=14, seed=seed)


@case([("dead_units", "bad_init")], ("test_score", 1, 0.1), [*DEAD, "unscaled_inputs"])
def dead_minus_mean_bias(seed: int, fixed: bool) -> Any:
    """Subtract the mean of raw pixels twice: in the data and, by a bias of a restored model, in the first layer."""
    d = data.digits(seed, n=700)
    m = nets.mlp([64, 48, 10])
    if not fixed:
        with torch.no_grad():
            m[0].bias -= m[0].weight.abs().sum(1) * 2
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=12, seed=seed)


@case([("exploding_gradient", "bad_init")], ("test_score", 1, 0.2), [*BLOWN, "vanishing_gradient"], "blatant")
def exp_deep_mlp_normal(seed: int, fixed: bool) -> Any:
    """Draw the weights of eight layers from N(0, 0.4): each layer of 48 multiplies the signal by two."""
    d = data.friedman(seed, n=2000, noise=0.5)
    m = nets.mlp([10] + [48] * 8 + [1])
    if fixed:
        nets.he_(m)
    else:
        nets.normal_(m, 0.4)
    return job(m, SGD(m.parameters(), 0.015), MSE(), d, batch=32, epochs=28, seed=seed)


@case(["exploding_gradient"], ("test_loss", -1, 0.1), [*BLOWN, "saturated_units"])
def exp_relu_rnn(seed: int, fixed: bool) -> Any:
    """Run a ReLU recurrence over 30 steps from 1.3 times the identity, unclipped."""
    d = data.running_sign(seed, n=700, T=30)
    m = nets.SeqNet("rnn", 1, 24, 2, nonlin="relu")
    with torch.no_grad():
        m.rnn.weight_hh_l0.copy_(torch.eye(24) * (1.0 if fixed else 1.3))
    return job(
        m, SGD(m.parameters(), 0.02), CE(), d, batch=25, epochs=36, seed=seed, clip=0.5 if fixed else None
    )


@case([("exploding_gradient", "lr_too_high")], ("test_loss", -1, 0.1), [*BLOWN, "unscaled_targets"], "subtle")
def exp_heavy_tails_no_clip(seed: int, fixed: bool) -> Any:
    """Leave out clipping where a few targets lie far out: their squares throw the weights about."""
    d = data.friedman(seed, n=600, noise=0.5)
    g = torch.Generator().manual_seed(seed + 71)
    far = torch.rand(len(d.y), generator=g) < 0.02
    d.y[far] += 25 * torch.randn(int(far.sum()), 1, generator=g)
    m = nets.mlp([10, 64, 64, 1])
    return job(
        m, SGD(m.parameters(), 0.05), MSE(), d, batch=16, epochs=25, seed=seed, clip=1.0 if fixed else None
    )


@case(["bad_init"], ("test_score", 1, 0.5), [*BORN, "params_not_trained"], "blatant")
def ini_zero_mlp(seed: int, fixed: bool) -> Any:
    """Set all weights to zero: only the last bias ever moves."""
    d = data.digits(seed, n=800)
    m = nets.mlp([64, 48, 48, 10])
    if not fixed:
        nets.const_(m, 0.0)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case(["bad_init"], ("test_score", 1, 0.1), BORN)
def ini_constant_cnn(seed: int, fixed: bool) -> Any:
    """Fill every filter with 0.05: all channels stay one channel."""
    d = data.shapes(seed, n=600, noise=0.25, k=4)
    m = nets.cnn(4, (12, 24), hw=12)
    if not fixed:
        nets.const_(m, 0.05)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=14, seed=seed)


@case([("bad_init", "vanishing_gradient")], ("test_score", 1, 0.2), [*BORN, "lr_too_low"])
def ini_small_deep_tanh(seed: int, fixed: bool) -> Any:
    """Draw five tanh layers from N(0, 0.01), TensorFlow tutorials' old habit."""
    d = data.digits(seed)
    m = nets.mlp([64, 64, 64, 64, 64, 10], "tanh")
    if not fixed:
        nets.normal_(m, 0.01)
    return job(m, SGD(m.parameters(), 0.1, momentum=0.5), CE(), d, batch=32, epochs=12, seed=seed)


@case(["bad_init"], ("test_loss", -1, 0.15), ["exploding_gradient", "undertrained", "lr_too_low", "plateau",
      "underfitting", "overfitting", "saturated_units"])  # fmt: skip
def ini_transformer_normal_one(seed: int, fixed: bool) -> Any:
    """Give every linear layer of a transformer weights of N(0, 1): attention looks at one word only."""
    d = data.topics(seed, n=600, V=200, T=20, mix=0.5)
    m = nets.Transformer(200, 32, 4, 20, layers=2, heads=4)
    if not fixed:
        nets.normal_(m, 1.0)
    return job(m, AdamW(m.parameters(), 1e-3), CE(), d, batch=25, epochs=8, seed=seed)

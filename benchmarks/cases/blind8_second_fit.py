"""Eighth blind set, second half: modes, several faults at once, and fit (siblings of mode_, mul_, ovf_, und_, utr_)."""

from __future__ import annotations

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
    job,
    make_loop,
    nets,
    torch,
)

from benchmarks.cases.blind8_parts import case
from benchmarks.cases.blind8_second_parts import every


@case("B", ["mode_misuse", "overfitting"], ("test_loss", -1, 0.2), ["converged_early"], "subtle")
def mode_not_back_to_train_topics(seed: int, fixed: bool) -> Any:
    """Call train() once before the loop and eval() in every validation of a text classifier with dropout."""
    d = data.topics(seed, n=200, V=200, T=12, k=4, mix=0.8)
    m = nets.BagOfWords(200, 48, 4, hidden=128, drop=0.8)
    loop = None if fixed else make_loop(back_to_train=False)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=16, epochs=20, seed=seed, loop=loop)


@case("B", ["mode_misuse", "overfitting"], ("test_loss", -1, 0.2), ["converged_early"], "subtle")
def mode_train_in_eval_dropout(seed: int, fixed: bool) -> Any:
    """Leave a network in eval() from the loading of its weights on: dropout never acts."""
    d = data.hardclass(seed, n=240, d=40, inf=10, k=3)
    m = nets.mlp([40, 200, 200, 3], drop=0.6)
    loop = None if fixed else make_loop(train_mode=False)
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=16, epochs=22, seed=seed, loop=loop)


@case("B", [("mode_misuse", "batchnorm_misuse")], ("val_loss", -1, 0.2),
      ["batchnorm_misuse", "overfitting", "train_val_shift"])  # fmt: skip
def mode_val_in_train_bn_cnn(seed: int, fixed: bool) -> Any:
    """Validate a CNN without eval(), a few pictures at a time."""
    d = data.shapes(seed, n=600, noise=0.3)
    m = nets.cnn(4, (8, 16), norm="bn", hw=12)
    loop = None if fixed else make_loop(eval_mode=False)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=10, seed=seed, val_batch=3, loop=loop)


@case("B", ["mode_misuse"], ("val_loss", -1, 0.2), ["overfitting", "train_val_shift", "underfitting"])
def mode_val_in_train_dropout(seed: int, fixed: bool) -> Any:
    """Validate without eval(): dropout thins the network that is scored."""
    d = data.digits(seed, n=700)
    m = nets.mlp([64, 96, 96, 10], drop=0.7)
    loop = None if fixed else make_loop(eval_mode=False)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=15, seed=seed, loop=loop)


@case(
    "B", ["lr_too_low", "bad_init"], ("test_score", 1, 0.3), [*STUCK, "vanishing_gradient", "saturated_units"]
)
def mul_circles_zero_init(seed: int, fixed: bool) -> Any:
    """Train circles by SGD at 0.001 from weights of zero."""
    d = data.circles(seed, n=300)
    m = nets.mlp([2, 24, 2], "relu" if fixed else "sigmoid")
    if not fixed:
        nets.const_(m, 0.0)
    o = Adam(m.parameters(), 2e-2) if fixed else SGD(m.parameters(), 1e-3)
    return job(m, o, CE(), d, batch=16, epochs=20, seed=seed)


@case(
    "B", ["lr_too_low", "bad_init"], ("test_score", 1, 0.3), [*STUCK, "vanishing_gradient", "saturated_units"]
)
def mul_spirals_equal_init(seed: int, fixed: bool) -> Any:
    """Train spirals by Adam at 1e-5 from weights that are all 0.1."""
    d = data.spirals(seed, n=450, turns=0.6)
    m = nets.mlp([2, 32, 32, 3], "tanh")
    if not fixed:
        nets.const_(m, 0.1)
    return job(m, Adam(m.parameters(), 1e-2 if fixed else 1e-5), CE(), d, batch=16, epochs=20, seed=seed)


BURNT = [*UNSTABLE, *STUCK, "bad_init", "batch_too_small", "vanishing_gradient"]


@case(
    "B", ["lr_too_high", ("saturated_units", "bad_init"), "unscaled_inputs"], ("test_score", 1, 0.05), BURNT
)
def mul_cancer_tanh_raw(seed: int, fixed: bool) -> Any:
    """Feed raw columns to tanh layers of N(0, 1) weights at a rate of 2."""
    d = data.cancer(seed, scale="std" if fixed else None)
    m = nets.mlp([30, 24, 2], "relu" if fixed else "tanh")
    if not fixed:
        nets.normal_(m, 1.0)
    return job(m, SGD(m.parameters(), 0.05 if fixed else 2.0), CE(), d, batch=10, epochs=12, seed=seed)


@case(
    "B", ["lr_too_high", ("saturated_units", "bad_init"), "unscaled_inputs"], ("test_score", 1, 0.05), BURNT
)
def mul_cnn_bytes(seed: int, fixed: bool) -> Any:
    """Feed bytes to sigmoid convolutions of N(0, 0.5) weights at a rate of 1 with momentum."""
    d = data.shapes(seed, n=500, noise=0.25)
    m = nets.cnn(4, (8, 16), act="relu" if fixed else "sigmoid", hw=12)
    if not fixed:
        every(d, lambda v: 127 + 100 * v)
        nets.normal_(m, 0.5)
    o = SGD(m.parameters(), 0.03 if fixed else 1.0, momentum=0.9)
    return job(m, o, CE(), d, batch=16, epochs=10, seed=seed)


@case("B", ["overfitting"], ("test_loss", -1, 0.05), ["converged_early"], "subtle")
def ovf_friedman_few_rows(seed: int, fixed: bool) -> Any:
    """Train a regression on noisy rows long after its best epoch."""
    d = data.friedman(seed, n=160, noise=5.0)
    m = nets.mlp([10, 64, 32, 1])
    o = AdamW(m.parameters(), 2e-3, weight_decay=1.0 if fixed else 0.0)
    return job(m, o, MSE(), d, batch=32, epochs=18 if fixed else 80, seed=seed)


@case("B", ["overfitting"], ("test_loss", -1, 0.05), ["converged_early"], "subtle")
def ovf_hardclass_wide(seed: int, fixed: bool) -> Any:
    """Give a yes-no question with few useful columns to a wide net without any damping."""
    d = data.binary(data.hardclass(seed, n=300, d=30, inf=10, flip=0.1))
    m = nets.mlp([30, 128, 1], drop=0.5 if fixed else 0.0)
    o = AdamW(m.parameters(), 2e-3, weight_decay=0.5 if fixed else 0.0)
    return job(m, o, BCE(), d, batch=32, epochs=12 if fixed else 60, task="binary", seed=seed)


@case("B", ["overfitting"], ("test_loss", -1, 0.3), ["converged_early"], "blatant")
def ovf_transformer_chars(seed: int, fixed: bool) -> Any:
    """Train a small transformer many times over four thousand characters."""
    d = data.chars(seed, n=160, T=24, span=0.15)
    m = nets.Transformer(d.k, 64, d.k, 24, layers=2, heads=4, lm=True)
    o = AdamW(m.parameters(), 3e-3)
    return job(m, o, nets.lm_loss, d, batch=16, epochs=6 if fixed else 30, task="lm", seed=seed)


@case("B", ["overfitting"], ("test_loss", -1, 0.3), ["converged_early"], "blatant")
def ovf_two_hundred_rows(seed: int, fixed: bool) -> Any:
    """Learn two hundred rows of sixty columns by heart."""
    d = data.hardclass(seed, n=200, d=60, inf=10, k=3)
    m = nets.mlp([60, 128, 128, 3])
    return job(m, AdamW(m.parameters(), 2e-3), CE(), d, batch=20, epochs=4 if fixed else 50, seed=seed)


@case("B", ["underfitting"], ("test_score", 1, 0.1), ["plateau", "dead_units", "converged_early"])
def und_narrow_embedding(seed: int, fixed: bool) -> Any:
    """Press the words of twelve topics through an embedding of one number."""
    d = data.topics(seed, n=800, k=12, mix=0.3)
    m = nets.BagOfWords(200, 24 if fixed else 1, 12, hidden=32)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=25, seed=seed)


@case("B", ["underfitting"], ("test_score", 1, 0.1), ["plateau", "converged_early"])
def und_linear_spirals(seed: int, fixed: bool) -> Any:
    """Forget the activations between the layers: three of them are one."""
    d = data.spirals(seed, n=600, turns=0.6)
    m = nets.mlp([2, 48, 48, 3], "relu" if fixed else "none")
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=30, seed=seed)


@case("B", ["underfitting"], ("test_score", 1, 0.1), ["plateau", "undertrained", "mode_misuse"])
def und_dropout_waves(seed: int, fixed: bool) -> Any:
    """Drop 95 % of the units in both hidden layers of a wave classifier."""
    d = data.waves(seed, n=800, T=32, k=4, noise=0.3)
    m = nets.mlp([32, 96, 96, 4], drop=0.1 if fixed else 0.95, flat=True)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=20, seed=seed)


@case("B", ["underfitting"], ("test_score", 1, 0.1), ["plateau", "undertrained", "bad_features"])
def und_augmentation_drowns(seed: int, fixed: bool) -> Any:
    """Augment by noise of eight deviations: little of a row is left to learn from."""
    d = data.friedman(seed, n=600, noise=0.5)
    m = nets.mlp([10, 64, 64, 1])

    def noisy(x: Any, g: Any) -> Any:
        return x + (0.1 if fixed else 8.0) * torch.randn(x.shape, generator=g)

    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=20, seed=seed, transform=noisy)


@case("B", ["undertrained"], ("test_score", 1, 0.1), ["lr_too_low", "underfitting", "batch_too_large"])
def utr_cnn_six_epochs(seed: int, fixed: bool) -> Any:
    """Stop a CNN after six of the twenty epochs that it needs."""
    d = data.shapes(seed, n=600, noise=0.3)
    m = nets.cnn(4, (8, 16), hw=12)
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=32, epochs=24 if fixed else 6, seed=seed)


@case("B", ["undertrained"], ("test_score", 1, 0.1), ["lr_too_low", "underfitting", "batch_too_large"])
def utr_gru_lm(seed: int, fixed: bool) -> Any:
    """Leave a character model after three epochs."""
    d = data.chars(seed, n=900, T=24)
    m = nets.SeqNet("gru", 24, 64, d.k, every=True, vocab=d.k)
    o = Adam(m.parameters(), 3e-3)
    return job(m, o, nets.lm_loss, d, batch=32, epochs=14 if fixed else 3, task="lm", seed=seed)

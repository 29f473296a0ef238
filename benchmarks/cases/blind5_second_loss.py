"""Fifth blind set, second author: losses that do not fit, modes, lost or kept gradients, parameters left out.

Every fault is proved by a twin that does clearly better (`python benchmarks/faultbench.py --blind5 A --prove`).
"""

from __future__ import annotations

import copy
from typing import Any

from faultbench.core import accuracy, accuracy_binary, accuracy_prob, accuracy_round
from faultbench.lib import BCE, CE, MSE, SGD, STUCK, UNSTABLE, Adam, AdamW, F, data, job, make_loop, nets, nn

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases.blind3_parts import cosine
from benchmarks.cases.blind5_parts import case

FLAT = [*STUCK, "lr_too_low", "saturated_units", "vanishing_gradient"]
KEPT = [*UNSTABLE, "lr_too_high", "dead_units", "saturated_units", "undertrained"]
LEFT = [*STUCK, "overfitting"]


@case(["loss_mismatch"], ("test_loss", -1, 0.1), FLAT)
def lss_softmax_cnn(seed: int, fixed: bool) -> Any:
    """End a CNN in softmax and hand it to CrossEntropyLoss, which takes logits."""
    d = data.shapes(seed, n=700, noise=0.25, k=6)
    m = nets.cnn(6, (12, 24), hw=12)
    if not fixed:
        m.append(nn.Softmax(-1))
    return job(m, SGD(m.parameters(), 0.03, momentum=0.9), CE(), d, batch=32, epochs=12, seed=seed)


@case(["loss_mismatch"], ("test_score", 1, 0.15), [*STUCK, "shuffled_labels", "converged_early"])
def lss_broadcast_friedman(seed: int, fixed: bool) -> Any:
    """Take (32, 1) outputs from (32,) targets: all pairs are compared, and the mean is the best answer."""
    d = data.friedman(seed, n=600, noise=0.5)
    if not fixed:
        sets.targets(d, lambda y: y.squeeze(1))
    m = nets.mlp([10, 48, 48, 1])

    def loss(out: Any, y: Any) -> Any:
        return ((out - y) ** 2).mean()

    return job(m, Adam(m.parameters(), 4e-3), loss, d, batch=32, epochs=25, seed=seed)


@case(["loss_mismatch"], ("test_loss", -1, 0.1), FLAT, "subtle")
def lss_sigmoid_with_logits_loss(seed: int, fixed: bool) -> Any:
    """Squash twice: a sigmoid at the end and BCEWithLogitsLoss; it learns, and never gets sure."""
    d = data.binary(data.cancer(seed))
    m = nets.mlp([30, 24, 1], last=None if fixed else nn.Sigmoid())
    right = accuracy_binary if fixed else accuracy_prob
    o = SGD(m.parameters(), 0.1)
    return job(m, o, BCE(), d, batch=32, epochs=15, task="binary", metric=right, seed=seed)


@case(["loss_mismatch"], ("test_score", 1, 0.2), [*STUCK, "unscaled_targets"])
def lss_digit_as_number(seed: int, fixed: bool) -> Any:
    """Predict the digit as a number with MSE and round it."""
    d = data.digits(seed)
    m = nets.mlp([64, 64, 10 if fixed else 1])
    if not fixed:
        sets.targets(d, lambda y: y.float().reshape(-1, 1))
        d.k = 0
    loss, right = (CE(), accuracy) if fixed else (MSE(), accuracy_round)
    return job(m, Adam(m.parameters(), 2e-3), loss, d, batch=32, epochs=15, metric=right, seed=seed)


@case([("loss_mismatch", "lr_too_high")], ("test_score", 1, 0.05), [*UNSTABLE, "lr_too_high", "dead_units"])
def lss_sum_not_mean(seed: int, fixed: bool) -> Any:
    """Set reduction="sum" and keep the rate that was found for the mean."""
    d = data.digits(seed, n=800, image=True)
    m = nets.cnn(10, (8, 16))
    loss = CE(reduction="mean" if fixed else "sum")
    return job(m, SGD(m.parameters(), 0.05, momentum=0.8), loss, d, batch=32, epochs=14, seed=seed)


@case(["loss_mismatch"], ("test_score", 1, 0.1), [*UNSTABLE, "lr_too_high"], "blatant")
def lss_nll_of_raw_scores(seed: int, fixed: bool) -> Any:
    """Give NLLLoss raw scores: it falls below zero without end."""
    d = data.hardclass(seed, n=1200, d=20, inf=8, k=3, sep=1.5)
    m = nets.mlp([20, 32, 3], last=nn.LogSoftmax(-1) if fixed else None)
    return job(m, Adam(m.parameters(), 4e-3), nn.NLLLoss(), d, batch=32, epochs=15, seed=seed)


class OverTime(nn.Module):
    """A character model whose chances sum to one over the dimension `dim`."""

    def __init__(self, vocab: int, dim: int) -> None:
        super().__init__()
        self.net, self.dim = nets.SeqNet("gru", 24, 48, vocab, every=True, vocab=vocab), dim

    def forward(self, x: Any) -> Any:
        return F.log_softmax(self.net(x), self.dim)


@case(["loss_mismatch"], ("test_score", 1, 0.05), [*STUCK, "lr_too_low", "vanishing_gradient", "overfitting"])
def lss_softmax_over_time(seed: int, fixed: bool) -> Any:
    """Let the places of a text compete, in place of the characters: log_softmax over dim 1 of (rows, time, k)."""
    d = data.chars(seed, n=800, T=24)
    m = OverTime(d.k, -1 if fixed else 1)

    def loss(out: Any, y: Any) -> Any:
        return F.nll_loss(out.flatten(0, 1), y.flatten())

    return job(m, Adam(m.parameters(), 5e-3), loss, d, batch=32, epochs=8, task="lm", seed=seed)


@case(["loss_mismatch"], ("test_score", 1, 0.3), [*UNSTABLE, *STUCK, "lr_too_high"], "blatant")
def lss_likelihood_minimised(seed: int, fixed: bool) -> Any:
    """Forget the minus before the log-likelihood."""
    d = data.topics(seed, n=700, mix=0.5)
    m = nets.BagOfWords(200, 24, 4, hidden=32)

    def loss(out: Any, y: Any) -> Any:
        picked = F.log_softmax(out, -1).gather(1, y[:, None]).mean()
        return -picked if fixed else picked

    return job(m, Adam(m.parameters(), 3e-3), loss, d, batch=32, epochs=8, seed=seed)


@case(
    [("mode_misuse", "batchnorm_misuse")], ("test_loss", -1, 0.05), [*UNSTABLE, "undertrained", "lr_too_high"]
)
def mode_eval_while_training(seed: int, fixed: bool) -> Any:
    """Call eval() before the loop and never train(): batch norm is the identity."""
    d = data.shapes(seed, n=600, noise=0.3, k=6)
    m = nets.cnn(6, (12, 24, 24), "bn", hw=12)
    o = SGD(m.parameters(), 0.03)
    loop = None if fixed else make_loop(train_mode=False)
    return job(m, o, CE(), d, batch=32, epochs=16, seed=seed, loop=loop)


@case(["mode_misuse"], ("val_loss", -1, 0.1), ["train_val_shift", "underfitting", "undertrained"])
def mode_val_dropout_digits(seed: int, fixed: bool) -> Any:
    """Forget model.eval(): a net with dropout 0.6 is judged with most of its units missing."""
    d = data.digits(seed, n=700)
    m = nets.mlp([64, 160, 160, 10], drop=0.6)
    loop = None if fixed else make_loop(eval_mode=False)
    return job(m, AdamW(m.parameters(), 2e-3), CE(), d, batch=32, epochs=15, seed=seed, loop=loop)


@case(["mode_misuse", "overfitting"], ("test_loss", -1, 0.1), ["converged_early"], "subtle")
def mode_dropout_never_on(seed: int, fixed: bool) -> Any:
    """Leave a restored model in eval(): its dropout of 0.6, without which it overfits, is off."""
    d = data.hardclass(seed, n=250, d=50, inf=8, k=3)
    m = nets.mlp([50, 192, 192, 3], drop=0.6)
    loop = None if fixed else make_loop(train_mode=False)
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=25, epochs=14, seed=seed, loop=loop)


@case(["missing_zero_grad"], ("test_score", 1, 0.03), KEPT)
def zgr_wine_sgd(seed: int, fixed: bool) -> Any:
    """Leave out zero_grad with plain SGD on a hundred wines."""
    d = data.wine(seed)
    m = nets.mlp([13, 24, 3], "tanh")
    loop = None if fixed else make_loop(zero_grad=False)
    return job(m, SGD(m.parameters(), 0.1), CE(), d, batch=10, epochs=25, seed=seed, loop=loop)


@case(["missing_zero_grad"], ("test_loss", -1, 0.05), KEPT)
def zgr_gru_adam(seed: int, fixed: bool) -> Any:
    """Leave out zero_grad in a GRU on waves: every step follows the sum of all gradients so far."""
    d = sets.inputs(data.waves(seed, n=500, T=24, k=4, noise=0.5), lambda x: x.transpose(1, 2).contiguous())
    m = nets.SeqNet("gru", 1, 32, 4)
    loop = None if fixed else make_loop(zero_grad=False)
    return job(m, Adam(m.parameters(), 4e-3), CE(), d, batch=25, epochs=20, seed=seed, loop=loop)


@case(["missing_zero_grad"], ("test_loss", -1, 0.05), KEPT, "subtle")
def zgr_friedman_small_rate(seed: int, fixed: bool) -> Any:
    """Leave out zero_grad where the rate is so small that nothing blows up: the error swings."""
    d = data.friedman(seed, n=500, noise=0.5)
    m = nets.mlp([10, 64, 1])
    loop = None if fixed else make_loop(zero_grad=False)
    return job(
        m, SGD(m.parameters(), 0.05 if fixed else 1e-3), MSE(), d, batch=32, epochs=30, seed=seed, loop=loop
    )


class Listed(nn.Module):
    """A residual net over a plain list of blocks, which `parameters()` does not see."""

    def __init__(self, seen: bool) -> None:
        super().__init__()
        blocks = [nets.ResBlock(32) for _ in range(4)]
        self.first, self.head = nn.Linear(2, 32), nn.Linear(32, 3)
        self.blocks = nn.ModuleList(blocks) if seen else blocks

    def forward(self, x: Any) -> Any:
        h = self.first(x)
        for block in self.blocks:
            h = block(h)
        return self.head(h)


@case(["params_not_trained"], ("test_score", 1, 0.1), LEFT)
def pnt_python_list(seed: int, fixed: bool) -> Any:
    """Keep the blocks of a residual net in a Python list in place of a ModuleList."""
    d = data.spirals(seed, n=600, k=3, turns=1.5)
    m = Listed(fixed)
    o = Adam(m.parameters(), 3e-3)
    return job(m, o, CE(), d, batch=32, epochs=24, seed=seed, scheduler=cosine(o, 24))


class Detached(nn.Module):
    """A GRU whose last state is detached before the head ("to save memory")."""

    def __init__(self, cut: bool) -> None:
        super().__init__()
        self.rnn, self.head, self.cut = nn.GRU(1, 32, batch_first=True), nn.Linear(32, 4), cut

    def forward(self, x: Any) -> Any:
        h = self.rnn(x)[0][:, -1]
        return self.head(h.detach() if self.cut else h)


@case(["params_not_trained"], ("test_score", 1, 0.1), LEFT)
def pnt_detached_gru(seed: int, fixed: bool) -> Any:
    """Detach the state of a GRU before the head."""
    d = sets.inputs(data.waves(seed, n=500, T=24, k=4, noise=0.5), lambda x: x.transpose(1, 2).contiguous())
    m = Detached(not fixed)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=25, epochs=25, seed=seed)


@case(["params_not_trained"], ("test_score", 1, 0.1), LEFT)
def pnt_biases_only(seed: int, fixed: bool) -> Any:
    """Overwrite the group of weights (decayed) by that of the biases (not decayed): only biases are trained."""
    d = data.digits(seed, n=800)
    m = nets.mlp([64, 64, 64, 10])
    groups = [{"params": [p for p in m.parameters() if p.dim() == 1], "weight_decay": 0.0}]
    if fixed:
        groups.append({"params": [p for p in m.parameters() if p.dim() > 1], "weight_decay": 0.01})
    return job(m, AdamW(groups, 2e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case([("params_not_trained", "lr_too_low")], ("test_score", 1, 0.05), [*LEFT, "lr_too_low"], "subtle")
def pnt_body_at_1e7(seed: int, fixed: bool) -> Any:
    """Copy a fine-tuning recipe, body at 1e-7 and head at 3e-3, for a net that was never trained."""
    d = data.shapes(seed, n=700, noise=0.3, k=4)
    m = nets.cnn(4, (12, 24), hw=12)
    head = list(m[-1].parameters())
    body = list(m.parameters())[: -len(head)]
    o = Adam([{"params": body, "lr": 3e-3 if fixed else 1e-7}, {"params": head, "lr": 3e-3}])
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed)


@case(["params_not_trained"], ("test_loss", -1, 0.3), [*LEFT, "lr_too_low"], "blatant")
def pnt_optimizer_of_a_copy(seed: int, fixed: bool) -> Any:
    """Build the optimizer, then deep-copy the model for training: the copy never moves."""
    d = data.chars(seed, n=900, T=24)
    m = nets.Transformer(d.k, 32, d.k, 24, layers=1, heads=4, lm=True)
    o = AdamW(m.parameters(), 3e-3)
    return job(m if fixed else copy.deepcopy(m), o, nets.lm_loss, d, batch=16, epochs=6, task="lm", seed=seed)


@case(
    ["loss_mismatch"],
    ("test_score", 1, 0.1),
    [*STUCK, "saturated_units", "vanishing_gradient", "unscaled_targets"],
)
def lss_sigmoid_series(seed: int, fixed: bool) -> Any:
    """End the forecast of a series around zero in a sigmoid: half of the values cannot be reached."""
    d = data.series(seed, n=500, T=12)
    m = nets.mlp([12, 32, 1], last=None if fixed else nn.Sigmoid())
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=15, seed=seed)

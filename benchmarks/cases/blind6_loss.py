"""Sixth blind set: losses that do not fit, modes, kept gradients, parameters left out.

Every fault is proved by a twin that does clearly better (`python benchmarks/faultbench.py --blind6 all --prove`).
"""

from __future__ import annotations

from typing import Any

from faultbench.core import r2
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
    nn,
    torch,
)

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases import blind6_data as more
from benchmarks.cases.blind3_parts import Patches, resnet
from benchmarks.cases.blind6_parts import Codes, Pooled, Words, by_hand, case, conv1d, taken, taken_r2

FLAT = [*STUCK, "lr_too_low", "saturated_units", "vanishing_gradient"]
KEPT = [*UNSTABLE, "lr_too_high", "dead_units", "saturated_units", "undertrained"]
LEFT = [*STUCK, "overfitting"]


@case(["loss_mismatch"], ("test_score", 1, 0.03), [*STUCK, "class_imbalance", "label_noise"], "subtle")
def lss_ignores_class_zero(seed: int, fixed: bool) -> Any:
    """Copy ignore_index=0 from a language model, where 0 is padding; here it is a kind of clothes."""
    d = sets.fashion(seed, 1000)
    m = nets.cnn(10, (8, 16), hw=14)
    m[-1] = nn.Linear(16 * 9, 10)
    loss = CE() if fixed else CE(ignore_index=0)
    return job(m, Adam(m.parameters(), 3e-3), loss, d, batch=32, epochs=10, seed=seed)


@case([("loss_mismatch", "leakage")], ("test_loss", -1, 0.5), ["overfitting", "converged_early"])
def lss_text_not_shifted(seed: int, fixed: bool) -> Any:
    """Forget to shift the targets of a language model: it learns to repeat the letter it sees."""
    d = data.chars(seed, n=500, T=24)
    if not fixed:
        d.y, d.yv = d.x, d.xv
    m = nets.SeqNet("gru", 24, 48, d.k, every=True, vocab=d.k)
    return job(m, Adam(m.parameters(), 6e-3), nets.lm_loss, d, batch=25, epochs=8, task="lm", seed=seed)


@case(
    ["loss_mismatch"],
    ("test_score", 1, 0.2),
    [*UNSTABLE, *STUCK, "class_imbalance", "lr_too_high"],
    "blatant",
)
def lss_one_and_two(seed: int, fixed: bool) -> Any:
    """Code no and yes as 1 and 2 for a binary loss: it falls below zero without end."""
    d = data.binary(data.cancer(seed))
    if not fixed:
        d.y, d.yv = d.y + 1, d.yv + 1
    m = nets.mlp([30, 24, 1])
    return job(m, Adam(m.parameters(), 3e-3), BCE(), d, batch=32, epochs=15, task="binary", seed=seed)


def log_rate_r2(out: Any, y: Any) -> float:
    return float(r2(out.exp(), y))


@case(["loss_mismatch"], ("test_score", 1, 0.2), [*STUCK, *UNSTABLE, "unscaled_targets", "dead_units", "bad_features",
      "lr_too_high"], "blatant")  # fmt: skip
def lss_log_of_a_score(seed: int, fixed: bool) -> Any:
    """Tell PoissonNLLLoss that it gets rates (log_input=False) and give it scores, of which half are negative."""
    d = data.friedman(seed, n=800, noise=0.3, yscale=False)
    g = torch.Generator().manual_seed(seed + 5)
    sets.targets(d, lambda v: torch.poisson((v / 2).clamp(min=0.1), generator=g))
    m = nets.mlp([10, 24, 1])
    loss, right = nn.PoissonNLLLoss(log_input=fixed), log_rate_r2 if fixed else r2
    return job(m, Adam(m.parameters(), 3e-3), loss, d, batch=32, epochs=15, metric=right, seed=seed)


@case(["loss_mismatch"], ("test_score", 1, 0.1), [*STUCK, "label_noise"])
def lss_pulls_all_actions(seed: int, fixed: bool) -> Any:
    """Forget the gather in a value network: the reward of one action pulls the values of all four."""
    d = more.bandit(seed)
    m = nets.mlp([6, 64, 64, 4])

    def all_of_them(out: Any, y: Any) -> Any:
        return ((out - y[:, 1:]) ** 2).mean()

    loss = taken if fixed else all_of_them
    return job(m, Adam(m.parameters(), 2e-3), loss, d, batch=32, epochs=20, metric=taken_r2, seed=seed)


@case(["loss_mismatch"], ("test_loss", -1, 0.03), FLAT, "subtle")
def lss_softmax_earners(seed: int, fixed: bool) -> Any:
    """Put softmax before cross entropy on a table of two classes: the best loss it can show is 0.31."""
    d = more.earners(seed, 1200)
    m = nets.mlp([6, 32, 32, 2], last=None if fixed else nn.Softmax(-1))
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=40, epochs=12, seed=seed)


@case(["loss_mismatch"], ("test_score", 1, 0.1), [*STUCK, "vanishing_gradient", "unscaled_targets", "dead_units",
      "saturated_units"])  # fmt: skip
def lss_clamped_outputs(seed: int, fixed: bool) -> Any:
    """Clamp predictions to [0, 1] inside the model; the standardised targets go from -2 to 3."""
    d = more.strength(seed)
    m = nets.mlp([5, 48, 48, 1], last=None if fixed else nn.Hardtanh(0.0, 1.0))
    sets.targets(d, lambda v: (v - 37) / 15.6)
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=25, seed=seed)


@case(["loss_mismatch"], ("test_score", 1, 0.05), [*STUCK, "lr_too_low", "class_imbalance"])
def lss_sigmoid_of_ten(seed: int, fixed: bool) -> Any:
    """End ten classes in sigmoids and call cross entropy, because "probabilities lie between 0 and 1"."""
    d = sets.spoken(seed, 700)
    m = Patches(16, 24, 10, 20, layers=1)
    if not fixed:
        m = nn.Sequential(m, nn.Sigmoid())
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=12, seed=seed)


@case([("loss_mismatch", "shuffled_labels")], ("test_score", 1, 0.2), [*STUCK, "label_noise", "overfitting"])
def lss_reshaped_targets(seed: int, fixed: bool) -> Any:
    """Reshape (2, n) targets to (n, 2) where a transpose was meant: they are of other rows."""
    d = data.friedman(seed, n=600, noise=0.5)
    for a in ("y", "yv", "yt"):
        v = getattr(d, a)
        both = torch.cat([v, v.flip(1) * 0.5 + 0.3], 1)
        mixed = not fixed and a != "yt"
        setattr(d, a, both.T.contiguous().reshape(-1, 2) if mixed else both)
    m = nets.mlp([10, 48, 2])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=20, seed=seed)


def evaluates_in_between(job: Any, epoch: int, back: bool) -> Any:
    """Train an epoch, with a look at validation every fifth batch; `back` is the train() after it."""
    model, opt = job.model, job.optimizer
    model.train()
    for i, (x, y) in enumerate(job.train):
        out = model(x)
        loss = job.loss_fn(out, y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        yield loss, out, y
        if i % 5 == 0:
            model.eval()
            with torch.no_grad():
                for xv, _ in job.val:
                    model(xv)
                    break
            if back:
                model.train()


@case(["mode_misuse", "overfitting"], ("test_loss", -1, 0.05), ["converged_early", "undertrained"], "subtle")
def mode_eval_in_between(seed: int, fixed: bool) -> Any:
    """Look at validation after the first batch of each epoch and go on in eval(): dropout is off."""
    d = data.hardclass(seed, n=400, d=40, inf=8, k=2)
    m = nets.mlp([40, 200, 200, 2], drop=0.7)
    loop = by_hand(lambda j, e: evaluates_in_between(j, e, fixed))
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=16, epochs=14, seed=seed, loop=loop)


class Frozen(nn.Sequential):
    """Keeps batch norm in eval mode, as a recipe for fine-tuning says."""

    frozen = True

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        if self.frozen:
            for layer in self:
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval()
        return self


@case([("mode_misuse", "batchnorm_misuse")], ("test_score", 1, 0.03), [*UNSTABLE, *STUCK, "lr_too_high", "lr_too_low",
      "dead_units", "overfitting", "bad_init"])  # fmt: skip
def mode_frozen_norm_from_scratch(seed: int, fixed: bool) -> Any:
    """Freeze batch norm by a recipe for pre-trained nets; this one starts from nothing, and its input is not scaled."""
    d = sets.fashion(seed, 900, kept=6)
    sets.inputs(d, lambda v: v * 0.33 + 0.29)
    m = Frozen(*nets.cnn(6, (12, 24, 24), "bn", hw=14))
    m[-1] = nn.Linear(24, 6)
    m.frozen = not fixed
    return job(m, SGD(m.parameters(), 0.01), CE(), d, batch=32, epochs=8, seed=seed)


@case(["mode_misuse"], ("val_loss", -1, 0.05), ["train_val_shift", "underfitting", "undertrained"])
def mode_words_dropped_in_validation(seed: int, fixed: bool) -> Any:
    """Forget model.eval() before validating a text model with dropout 0.7."""
    d = data.topics(seed, n=700, V=200, T=20, mix=0.5)
    m = Words(200, 48, 4, hidden=64, drop=0.7)
    loop = None if fixed else make_loop(eval_mode=False)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=12, seed=seed, loop=loop)


@case([("mode_misuse", "batchnorm_misuse")], ("val_score", 1, 0.05), ["overfitting", "train_val_shift",
      "oscillation"])  # fmt: skip
def mode_trained_on_in_validation(seed: int, fixed: bool) -> Any:
    """Validate a residual net in training mode on batches that hold one kind each, as the folders give them."""
    d = sets.fashion(seed, 500, kept=5)
    order = d.yv.argsort()
    d.xv, d.yv = d.xv[order], d.yv[order]
    m = resnet(5, 12)
    loop = None if fixed else make_loop(eval_mode=False)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=8, seed=seed, val_batch=20, loop=loop)


def no_call(job: Any, epoch: int) -> Any:
    """Train an epoch; the parentheses behind zero_grad are missing."""
    job.model.train()
    for x, y in job.train:
        job.optimizer.zero_grad  # noqa: B018
        out = job.model(x)
        loss = job.loss_fn(out, y)
        loss.backward()
        job.optimizer.step()
        yield loss, out, y


@case(["missing_zero_grad"], ("test_score", 1, 0.1), KEPT)
def zgr_without_parentheses(seed: int, fixed: bool) -> Any:
    """Write `optimizer.zero_grad` and forget to call it."""
    d = more.strength(seed)
    sets.targets(d, lambda v: (v - 37) / 15.6)
    m = nets.mlp([5, 48, 48, 1])
    o = SGD(m.parameters(), 0.03)
    return job(m, o, MSE(), d, batch=32, epochs=15, seed=seed, loop=None if fixed else by_hand(no_call))


@case(["missing_zero_grad"], ("test_loss", -1, 0.05), KEPT)
def zgr_spoken_transformer(seed: int, fixed: bool) -> Any:
    """Leave out zero_grad in a small transformer on sounds, trained by AdamW."""
    d = sets.spoken(seed, 600)
    m = Patches(16, 24, 10, 20, layers=1)
    loop = None if fixed else make_loop(zero_grad=False)
    return job(m, AdamW(m.parameters(), 3e-3), CE(), d, batch=32, epochs=12, seed=seed, loop=loop)


@case(["missing_zero_grad"], ("test_score", 1, 0.02), KEPT, "subtle")
def zgr_values_by_adam(seed: int, fixed: bool) -> Any:
    """Leave out zero_grad in a value network whose rate is low enough to get along with it for a while."""
    d = more.bandit(seed)
    m = nets.mlp([6, 64, 4])
    loop = None if fixed else make_loop(zero_grad=False)
    return job(
        m, Adam(m.parameters(), 1e-3), taken, d, batch=32, epochs=25, metric=taken_r2, seed=seed, loop=loop
    )


@case(["params_not_trained"], ("test_score", 1, 0.05), LEFT)
def pnt_spent_generator(seed: int, fixed: bool) -> Any:
    """Count the body's parameters and hand the spent generator to the optimizer, beside that of the head."""
    d = more.chirps(seed, 600)
    m = conv1d(4, h=12)
    body = m[:-1].parameters()
    sum(p.numel() for p in ([] if fixed else body))
    groups = [{"params": list(body), "lr": 3e-3}, {"params": m[-1].parameters()}]
    return job(m, Adam(groups, 3e-3), CE(), d, batch=32, epochs=12, seed=seed)


class Place(nn.Module):
    """A hidden layer whose weights are a plain tensor, which `parameters()` does not see."""

    def __init__(self, d: int, h: int, known: bool) -> None:
        super().__init__()
        w = torch.randn(d, h) / d**0.5
        self.w = nn.Parameter(w) if known else w.requires_grad_()
        self.bias, self.out = nn.Parameter(torch.zeros(h)), nn.Linear(h, 1)

    def forward(self, x: Any) -> Any:
        return self.out(torch.relu(x @ self.w + self.bias))


@case(["params_not_trained"], ("test_score", 1, 0.02), LEFT, "subtle")
def pnt_plain_tensor(seed: int, fixed: bool) -> Any:
    """Write the first layer by hand and forget nn.Parameter: it stays random, the rest learns around it."""
    d = data.friedman(seed, n=800, noise=0.5)
    m = Place(10, 24, fixed)
    return job(m, Adam(m.parameters(), 1e-2), MSE(), d, batch=32, epochs=25, seed=seed)


@case(["params_not_trained"], ("test_loss", -1, 0.05), LEFT)
def pnt_decoder_alone(seed: int, fixed: bool) -> Any:
    """Give the optimizer of an autoencoder the decoder's parameters only."""
    d = data.digits(seed, n=900)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    m = nn.Sequential(nets.mlp([64, 48, 8]), nets.mlp([8, 48, 64]))
    return job(m, Adam((m if fixed else m[1]).parameters(), 3e-3), MSE(), d, batch=32, epochs=20, seed=seed)


class Rounded(nn.Module):
    """A code that is rounded; `straight` lets the gradient pass as if it were not."""

    def __init__(self, straight: bool) -> None:
        super().__init__()
        self.enc, self.dec, self.straight = nets.mlp([64, 48, 10]), nets.mlp([10, 48, 10]), straight

    def forward(self, x: Any) -> Any:
        z = self.enc(x)
        hard = z.round()
        return self.dec(z + (hard - z).detach() if self.straight else hard)


@case([("params_not_trained", "vanishing_gradient")], ("test_score", 1, 0.05), LEFT)
def pnt_rounded_code(seed: int, fixed: bool) -> Any:
    """Round the code between two nets: no gradient comes through, the first of them stays random."""
    d = data.digits(seed, n=900)
    m = Rounded(fixed)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=15, seed=seed)


@case(["params_not_trained"], ("test_score", 1, 0.03), LEFT)
def pnt_wrong_prefix(seed: int, fixed: bool) -> Any:
    """Freeze all that is not called "net" to keep a table of vectors that was never learned."""
    d, vocab = more.people(seed, 1500)
    m = Codes(vocab, 8, d=2, h=16)
    nn.init.normal_(m.emb.weight, 0, 1e-2)
    for name, p in m.named_parameters():
        p.requires_grad_(fixed or name.startswith("net"))
    o = Adam([p for p in m.parameters() if p.requires_grad], 5e-3)
    return job(m, o, BCE(), d, batch=50, epochs=6, task="binary", seed=seed)


class ThroughNumpy(Pooled):
    """Averages the states of its recurrence in numpy."""

    def forward(self, x: Any) -> Any:
        states = self.rnn(x)[0].detach().numpy()
        return self.head(torch.from_numpy(states.mean(1)))


@case(["params_not_trained"], ("test_score", 1, 0.05), LEFT)
def pnt_state_through_numpy(seed: int, fixed: bool) -> Any:
    """Take the states of an LSTM through numpy to average them: the recurrence never learns."""
    d = sets.spoken(seed, 500)
    m = (Pooled if fixed else ThroughNumpy)(nn.LSTM, 16, 24, 10)
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=32, epochs=10, seed=seed)

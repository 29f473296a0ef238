"""Sixth blind set: the rows are at fault: their contents, scale, labels, order and origin.

The faults are proved as those of `blind6_loss.py`.
"""

from __future__ import annotations

from typing import Any

from faultbench.lib import BCE, CE, MSE, SGD, STUCK, UNSTABLE, Adam, data, job, nets, nn, torch

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases import blind6_data as more
from benchmarks.cases.blind3_parts import resnet
from benchmarks.cases.blind6_parts import Pooled, Words, by_hand, case, taken, taken_r2

BROKEN = [*STUCK, *UNSTABLE, "unscaled_inputs", "overfitting", "dead_units", "lr_too_high"]
SCALE = [
    *STUCK,
    *UNSTABLE,
    "dead_units",
    "lr_too_high",
    "lr_too_low",
    "saturated_units",
    "vanishing_gradient",
]
FAR = [*STUCK, "lr_too_low", "exploding_gradient", "oscillation", "train_val_shift", "dead_units"]
NOISE = ["converged_early", "plateau", "overfitting", "underfitting"]
LOST = [*STUCK, "label_noise", "overfitting", "bad_features", "converged_early"]
RARE = ["undertrained", "underfitting", "overfitting", "plateau"]
SEEN = ["overfitting", "converged_early"]
APART = ["overfitting"]
ORDER = [*UNSTABLE, "undertrained", "train_val_shift", "lr_too_high", "overfitting"]


@case(["bad_features"], ("test_loss", -1, 0.3), BROKEN, "blatant")
def bft_log_of_zero(seed: int, fixed: bool) -> Any:
    """Take log(capital gain), which is zero for most people: minus infinity goes into the net."""
    d = more.earners(seed, 1000, scale=False)
    sets.inputs(d, lambda v: torch.log1p(v) if fixed else torch.log(v))
    if fixed:
        more.scaled(d)
    m = nets.mlp([6, 32, 2])
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=40, epochs=10, seed=seed)


@case(["bad_features"], ("test_score", 1, 0.03), [*BROKEN, "label_noise", "train_val_shift"])
def bft_bytes_wrapped(seed: int, fixed: bool) -> Any:
    """Make pictures brighter in uint8: what passes 255 begins again at 0."""
    d = sets.fashion(seed, 900)

    def brighter(v: Any) -> Any:
        byte = (v * 84 + 73) * 2.6 + 60
        return (byte.clamp(max=255) if fixed else byte % 256) / 128 - 1

    sets.inputs(d, brighter)
    m = nets.cnn(10, (8, 16), hw=14)
    m[-1] = nn.Linear(144, 10)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=10, seed=seed)


@case(["bad_features"], ("test_score", 1, 0.05), [*BROKEN, "label_noise"])
def bft_columns_slipped(seed: int, fixed: bool) -> Any:
    """Read a table in which a missing separator moved the columns of four rows in ten by one or more."""
    d = data.friedman(seed, n=700, noise=0.5)
    g = torch.Generator().manual_seed(seed + 13)
    if not fixed:
        for a in ("x", "xv", "xt"):
            v = getattr(d, a)
            slipped = (torch.rand(len(v), generator=g) < 0.4).nonzero().flatten()
            for i in slipped.tolist():
                at = int(torch.randint(0, 4, (1,), generator=g))
                v[i, at:] = torch.cat([v[i, at + 1 :], torch.zeros(1)])
    m = nets.mlp([10, 48, 1])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case(["bad_features"], ("test_score", 1, 0.03), BROKEN, "subtle")
def bft_sensor_stuck(seed: int, fixed: bool) -> Any:
    """Record sounds with half of the bands stuck at their last value in most of the clips."""
    d = sets.spoken(seed, 700)
    g = torch.Generator().manual_seed(seed + 17)
    if not fixed:
        for a in ("x", "xv", "xt"):
            v = getattr(d, a)
            stuck = torch.rand(len(v), generator=g) < 0.8
            v[stuck, :, 2:12] = v[stuck, :1, 2:12]
    m = Pooled(nn.GRU, 16, 32, 10)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=8, seed=seed)


@case(["unscaled_inputs"], ("test_score", 1, 0.1), SCALE)
def uns_sound_power(seed: int, fixed: bool) -> Any:
    """Feed the power of sounds in place of its logarithm: it spans eight powers of ten."""
    d = sets.spoken(seed, 600, flat=True)
    if not fixed:
        sets.inputs(d, lambda v: (3 * v).exp() * 100)
    m = nets.mlp([320, 64, 10])
    return job(m, SGD(m.parameters(), 0.02), CE(), d, batch=32, epochs=15, seed=seed)


@case(["unscaled_inputs"], ("test_loss", -1, 0.2), [*SCALE, "class_imbalance"])
def uns_earners_raw(seed: int, fixed: bool) -> Any:
    """Feed age, weight of the sample (100,000s) and capital gains as the census has them."""
    d = more.earners(seed, 1000, scale=fixed)
    m = nets.mlp([6, 48, 2])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=40, epochs=10, seed=seed)


@case([("unscaled_inputs", "saturated_units")], ("test_score", 1, 0.08), SCALE)
def uns_iris_in_micrometres(seed: int, fixed: bool) -> Any:
    """Measure irises in micrometres, for tanh units."""
    d = data.iris(seed, scale="std" if fixed else None)
    if not fixed:
        sets.inputs(d, lambda v: v * 1e4)
    m = nets.mlp([4, 24, 3], "tanh")
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=15, epochs=20, seed=seed)


@case(["unscaled_inputs"], ("test_loss", -1, 0.05), SCALE, "subtle")
def uns_one_of_ten_in_grams(seed: int, fixed: bool) -> Any:
    """Give one of ten measurements in grams, where the others are in hundreds of kilograms."""
    d = data.hardclass(seed, n=700, d=10, inf=6, k=3, sep=1.5)
    if not fixed:
        for a in ("x", "xv", "xt"):
            getattr(d, a)[:, 0] *= 40.0
    m = nets.mlp([10, 48, 3])
    return job(m, SGD(m.parameters(), 0.02), CE(), d, batch=32, epochs=30, seed=seed)


@case(["unscaled_targets"], ("test_score", 1, 0.2), FAR)
def unt_returns_undiscounted(seed: int, fixed: bool) -> Any:
    """Regress returns of -700 give or take 500, as the environment counts them."""
    d = more.returns(seed, 700, raw=not fixed)
    if not fixed:
        ready = more.returns(seed, 700)
        d.x, d.xv, d.xt = ready.x, ready.xv, ready.xt
    m = nets.mlp([4, 48, 48, 1])
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case(["unscaled_targets"], ("test_score", 1, 0.05), [*FAR, "undertrained"], "subtle")
def unt_concrete_subtle(seed: int, fixed: bool) -> Any:
    """Leave the strength of concrete in MPa, 37 give or take 16."""
    d = more.strength(seed, 600)
    if fixed:
        sets.targets(d, lambda v: (v - 37) / 15.6)
    m = nets.mlp([5, 32, 32, 1], "tanh")
    return job(m, Adam(m.parameters(), 4e-3), MSE(), d, batch=32, epochs=15, seed=seed)


@case(["label_noise"], ("val_loss", -1, 0.15), NOISE)
def lbn_worst_annotators(seed: int, fixed: bool) -> Any:
    """Trust CIFAR-10N's worst annotators: three labels in ten are wrong."""
    d = more.annotated(seed, 1000, fixed)
    m = nets.cnn(4, (12, 24), hw=16, cin=3, drop=0.3)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=8, seed=seed)


@case(["label_noise"], ("val_loss", -1, 0.1), [*NOISE, "train_val_shift"])
def lbn_targets_of_others(seed: int, fixed: bool) -> Any:
    """Join one target in five from another row of a regression."""
    d = data.friedman(seed, n=700, noise=0.5)
    if not fixed:
        g = torch.Generator().manual_seed(seed + 19)
        for a in ("y", "yv"):
            v = getattr(d, a)
            wrong = (torch.rand(len(v), generator=g) < 0.2).nonzero().flatten()
            v[wrong] = v[wrong[torch.randperm(len(wrong), generator=g)]]
    m = nets.mlp([10, 48, 1])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case(["label_noise"], ("val_loss", -1, 0.1), NOISE, "subtle")
def lbn_sounds_of_a_tired_hand(seed: int, fixed: bool) -> Any:
    """Label every seventh sound by chance."""
    d = sets.spoken(seed, 800)
    if not fixed:
        d.y, d.yv = data.flip_labels(d.y, 0.15, 10, seed), data.flip_labels(d.yv, 0.15, 10, seed + 1)
    m = Pooled(nn.GRU, 16, 24, 10, drop=0.3)
    return job(m, Adam(m.parameters(), 6e-3), CE(), d, batch=32, epochs=10, seed=seed)


@case([("shuffled_labels", "label_noise")], ("test_score", 1, 0.3), LOST, "blatant")
def shl_prices_sorted(seed: int, fixed: bool) -> Any:
    """Sort the prices of houses for a plot, in place, before training."""
    d = sets.table(seed, "california_housing", 900)
    sets.targets(d, lambda v: (v - 2.07) / 1.15)
    if not fixed:
        d.y, d.yv = d.y.sort(0)[0], d.yv.sort(0)[0]
    m = nets.mlp([8, 48, 1])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=15, seed=seed)


def two_orders(job: Any, epoch: int, same: bool) -> Any:
    """Train an epoch over shuffled rows; inputs and targets are shuffled by one order, or each by its own."""
    x, y = job.train_xy
    g = torch.Generator().manual_seed(job.seed + 100 * epoch)
    order = torch.randperm(len(x), generator=g)
    other = order if same else torch.randperm(len(x), generator=g)
    job.model.train()
    for i in range(0, len(x), job.batch_size):
        xb, yb = x[order[i : i + job.batch_size]], y[other[i : i + job.batch_size]]
        job.optimizer.zero_grad()
        out = job.model(xb)
        loss = job.loss_fn(out, yb)
        loss.backward()
        job.optimizer.step()
        yield loss, out, yb


@case([("shuffled_labels", "label_noise")], ("test_score", 1, 0.3), [*LOST, "train_val_shift"])
def shl_two_random_orders(seed: int, fixed: bool) -> Any:
    """Shuffle images and labels by two calls of randperm; validation is right."""
    d = data.digits(seed, n=900, image=True)
    m = nets.cnn(10, (8, 16))
    loop = by_hand(lambda j, e: two_orders(j, e, fixed))
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=8, seed=seed, loop=loop)


@case([("shuffled_labels", "label_noise")], ("test_score", 1, 0.2), [*LOST, "train_val_shift"])
def shl_slipped_from_the_first_gap(seed: int, fixed: bool) -> Any:
    """Drop clips that cannot be read, and not their labels: from the first gap on, each has its neighbour's."""
    d = sets.spoken(seed, 700)
    if not fixed:
        gap = len(d.x) // 12
        d.y = torch.cat([d.y[:gap], d.y[gap + 1 :], d.y[:1]])
    m = Pooled(nn.GRU, 16, 24, 10)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case(["class_imbalance"], ("test_bal", 1, 0.04), RARE)
def imb_topic_of_twelve_texts(seed: int, fixed: bool) -> Any:
    """Learn four topics, of which one has twelve texts and the others three hundred."""
    d = data.topics(seed, n=1600, V=200, T=20, mix=0.7, nv=400)
    d = data.imbalance(d, {0: 300, 1: 12, 2: 300, 3: 300}, seed)
    m = Words(200, 24, 4, hidden=24, drop=0.3)
    w = torch.tensor([1.0, 25.0, 1.0, 1.0]) if fixed else None
    return job(m, Adam(m.parameters(), 5e-3), CE(weight=w), d, batch=32, epochs=8, seed=seed)


@case(["class_imbalance"], ("test_bal", 1, 0.04), RARE, "subtle")
def imb_long_tail_of_clothes(seed: int, fixed: bool) -> Any:
    """Learn six kinds of clothes of which each has less than half as many as the one before."""
    counts = dict(enumerate((230, 110, 50, 24, 12, 6)))
    d = data.imbalance(sets.fashion(seed, 1500, kept=6), counts, seed)
    m = resnet(6, 10)
    w = torch.tensor([(432 / 6 / c) ** 0.7 for c in counts.values()]) if fixed else None
    return job(m, Adam(m.parameters(), 2e-3), CE(weight=w), d, batch=32, epochs=10, seed=seed)


@case([("class_imbalance", "loss_mismatch")], ("test_bal", 1, 0.1), [*RARE, "loss_mismatch"])
def imb_weights_upside_down(seed: int, fixed: bool) -> Any:
    """Set pos_weight to the share of the positives in place of its inverse: they hardly count."""
    d = data.hardclass(seed, n=1500, d=12, inf=6, k=2, sep=1.0)
    d = data.binary(data.imbalance(d, {0: 600, 1: 90}, seed))
    m = nets.mlp([12, 32, 1])
    loss = BCE(pos_weight=torch.tensor([600 / 90 if fixed else 90 / 690]))
    return job(m, Adam(m.parameters(), 3e-3), loss, d, batch=32, epochs=12, task="binary", seed=seed)


@case(["leakage"], ("optimism", -1, 0.1), SEEN)
def lkg_mean_salary_of_the_place(seed: int, fixed: bool) -> Any:
    """Encode places by the mean salary over all rows, validation too: in a small place it is the answer."""
    d = more.staff(seed, 700, fixed)
    m = nets.mlp([3, 32, 1])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=15, seed=seed)


@case(["leakage"], ("optimism", -1, 0.1), [*SEEN, "train_val_shift"])
def lkg_number_of_the_row(seed: int, fixed: bool) -> Any:
    """Keep the row number of a table that was sorted by diagnosis."""
    d = data.cancer(seed)
    d.x, d.xv, d.xt = (v[:, 10:18] + 1.5 * torch.randn(len(v), 8) for v in (d.x, d.xv, d.xt))
    place = [y.float() * 1.5 - 0.75 + 0.4 * torch.rand(len(y)) for y in (d.y, d.yv)]
    place.append(2 * torch.rand(len(d.yt)) - 1)
    if not fixed:
        d.x, d.xv, d.xt = (
            torch.cat([v, p[:, None]], 1) for v, p in zip((d.x, d.xv, d.xt), place, strict=True)
        )
    m = nets.mlp([d.x.shape[1], 24, 2])
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=10, seed=seed)


def split_anew(job: Any, epoch: int) -> Any:
    """Train an epoch on a new random split, the rest of which becomes the validation set."""
    x, y = (torch.cat([a, b]) for a, b in zip(job.train_xy, job.val_xy, strict=True))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(job.seed + epoch))
    n = len(job.train_xy[0])
    train, val = order[:n], order[n:]
    job.val.x, job.val.y = x[val], y[val]
    job.model.train()
    for rows in train.split(job.batch_size):
        job.optimizer.zero_grad()
        out = job.model(x[rows])
        loss = job.loss_fn(out, y[rows])
        loss.backward()
        job.optimizer.step()
        yield loss, out, y[rows]


@case(["leakage"], ("optimism", -1, 0.08), SEEN)
def lkg_split_in_every_epoch(seed: int, fixed: bool) -> Any:
    """Call random_split inside the loop over epochs: validation rows were trained on before."""
    d = more.photos(seed, 300)
    m = nets.cnn(5, (16, 32), hw=20, cin=3)
    o, loop = Adam(m.parameters(), 2e-3), None if fixed else by_hand(split_anew)
    return job(m, o, CE(), d, batch=25, epochs=7 if fixed else 16, seed=seed, loop=loop)


@case(["leakage"], ("optimism", -1, 0.03), SEEN, "subtle")
def lkg_half_of_the_houses(seed: int, fixed: bool) -> Any:
    """Drop the duplicates of a table of houses after the split: half of validation is in training."""
    d = sets.table(seed, "california_housing", 400)
    sets.targets(d, lambda v: (v - 2.07) / 1.15)
    if not fixed:
        d.xv, d.yv = d.xv[:250].clone(), d.yv[:250].clone()
        d.xv[:125], d.yv[:125] = d.x[:125], d.y[:125]
    m = nets.mlp([8, 64, 64, 1])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=25, seed=seed)


@case(["train_val_shift"], ("val_loss", -1, 0.1), [*APART, "unscaled_inputs"])
def shf_winter_and_summer(seed: int, fixed: bool) -> Any:
    """Forecast the heat of a transformer in summer, having seen its winter."""
    d = more.seasons(seed, 800, not fixed)
    m = nets.mlp([84, 32, 1], drop=0.1)
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=15, seed=seed)


@case(["train_val_shift"], ("val_score", 1, 0.1), [*APART, "shuffled_labels", "bad_features"], "blatant")
def shf_words_hashed_anew(seed: int, fixed: bool) -> Any:
    """Number words by Python's hash(), which differs in the process that made the validation file."""
    d = sets.questions(seed, 1500)
    if not fixed:
        d.xv = torch.randperm(800, generator=torch.Generator().manual_seed(seed))[d.xv]
    m = Words(800, 24, d.k, hidden=24, drop=0.5)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=9, seed=seed)


@case(["train_val_shift"], ("val_score", 1, 0.05), [*APART, "bad_features"])
def shf_photos_at_night(seed: int, fixed: bool) -> Any:
    """Validate on photographs that were taken with a third of the light."""
    d = more.photos(seed, 500)
    if not fixed:
        d.xv = (d.xv + 2) * 0.35 - 2
    m = nets.cnn(5, (12, 24), hw=20, cin=3, drop=0.4)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=25, epochs=8, seed=seed)


@case(["unshuffled_data"], ("test_score", 1, 0.05), ORDER)
def ush_order_by_class(seed: int, fixed: bool) -> Any:
    """Concatenate the files of four classes of token rows and read them as they come, into a GRU."""
    d = data.sort_by_label(more.before(seed, 640))
    m = Pooled(nn.GRU, 16, 24, 4, vocab=16)
    o = SGD(m.parameters(), 0.2, momentum=0.9)
    return job(m, o, CE(), d, batch=20, epochs=20, seed=seed, shuffle=fixed, clip=1.0)


@case(["unshuffled_data"], ("test_score", 1, 0.02), ORDER)
def ush_one_action_after_the_other(seed: int, fixed: bool) -> Any:
    """Read a log of rewards that is sorted by the action taken, into a network of four values."""
    d = more.bandit(seed)
    i = d.y[:, 0].argsort()
    d.x, d.y = d.x[i], d.y[i]
    m = nets.mlp([6, 48, 48, 4])
    o = Adam(m.parameters(), 4e-3)
    return job(m, o, taken, d, batch=32, epochs=18, metric=taken_r2, seed=seed, shuffle=fixed)


@case(["unshuffled_data"], ("test_score", 1, 0.1), ORDER, "blatant")
def ush_folders_of_photos(seed: int, fixed: bool) -> Any:
    """Read photographs folder by folder with shuffle=False."""
    d = data.sort_by_label(more.photos(seed, 500))
    m = nets.cnn(5, (12, 24), hw=20, cin=3)
    o = SGD(m.parameters(), 0.03, momentum=0.9)
    return job(m, o, CE(), d, batch=25, epochs=9, seed=seed, shuffle=fixed)

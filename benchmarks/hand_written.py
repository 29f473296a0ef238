"""What the doctor says of loops whose loss no function of torch computes, and of games, sound ones and sick ones.

    python benchmarks/hand_written.py [NAME ...]      without a name: all cases, about 90 CPU-seconds

Losses are written with tensor operations: cross entropy, with weights and of two heads, focal loss, squared and absolute
errors, likeness, a variational bound, a contrastive loss; the games are PPO (examples/game.py) and Q-learning on the same
poles. A case says what is expected; nothing of a sound one. Large start weights are trained for 300 steps: after 1,500
the network has learned its rows by heart all the same, and there is no harm that could be seen.
"""

from __future__ import annotations

import argparse
import collections
import copy
import runpy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import trainwell as tw

GAME = runpy.run_path(str(Path(__file__).parent.parent / "examples" / "game.py"))
LOOPS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {}


def mlp(
    activation: type[nn.Module] = nn.ReLU,
    depth: int = 2,
    width: int = 64,
    gain: float = 1.0,
    outputs: int = 10,
) -> nn.Module:
    parts: list[nn.Module] = []
    for i in range(depth):
        parts += [nn.Linear(width if i else 64, width), activation()]
    net = nn.Sequential(*parts, nn.Linear(width, outputs))
    for part in net:
        if isinstance(part, nn.Linear):
            part.weight.data *= gain
    return net


def cnn() -> nn.Module:
    body = [
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    ]
    return nn.Sequential(*body, nn.Linear(256, 10))


class Bound(nn.Module):
    """A variational autoencoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
        self.decode = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log = self.encode(x).chunk(2, 1)
        return self.decode(mean + torch.randn_like(mean) * (log / 2).exp()), mean, log


class Two(nn.Module):
    """Two noisy views of a row."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.embed(x + 0.1 * torch.randn_like(x)), self.embed(x + 0.1 * torch.randn_like(x))


class Heads(nn.Module):
    """The digit, and how much darker its lower half is."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.digit, self.shade = nn.Linear(64, 64), nn.Linear(64, 10), nn.Linear(64, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        inside = self.body(x).relu()
        return self.digit(inside), self.shade(inside)


def shade(x: Tensor) -> Tensor:
    """Return how much darker the lower half is, of a spread of about one."""
    return (x[:, 32:].sum(1) - x[:, :32].sum(1)) / 3


def columns(x: Tensor) -> Tensor:
    """Return the sums of the columns of the picture, less their mean over all pictures."""
    return x.unflatten(1, (8, 8)).sum(1) - x.new_tensor([0.0, 0.8, 3.9, 4.8, 4.9, 3.9, 1.2, 0.1])


def weighted(out: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Count odd digits twice."""
    picked = out.log_softmax(1).gather(1, y[:, None]).squeeze(1)
    return -(picked * (1 + y % 2)).mean()


def absolute(out: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return (out.squeeze(1) - shade(x)).abs().mean()


def huber(out: Tensor, x: Tensor, y: Tensor) -> Tensor:
    off = (out - shade(x)[:, None]).abs()
    return torch.where(off < 0.5, off.square() / 2, 0.5 * (off - 0.25)).mean()


def heads(out: tuple[Tensor, Tensor], x: Tensor, y: Tensor) -> Tensor:
    return entropy(out[0], x, y) + 3 * (out[1].squeeze(1) - shade(x)).square().mean()


def pairs(power: int) -> Callable[..., Tensor]:
    """Take a column from a row: every output is compared with every target."""
    return lambda out, x, y: (out - shade(x)).abs().pow(power).mean()


def unlike(sign: int) -> Callable[..., Tensor]:
    """Return a loss that drives likeness to the sums of the columns up, or down."""
    return lambda out, x, y: 1 - sign * nn.functional.cosine_similarity(out, columns(x), dim=1).mean()


def entropy(out: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return (out.logsumexp(1) - out.gather(1, y[:, None]).squeeze(1)).mean()


def root(out: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return (out[:, 0] - shade(x)).square().mean().sqrt()


def lighter(out: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Learn from the lighter half of the pictures alone."""
    each, mask = out.logsumexp(1) - out.gather(1, y[:, None]).squeeze(1), (x.sum(1) < 19.5).float()
    return (each * mask).sum() / mask.sum()


def focal(out: Tensor, x: Tensor, y: Tensor) -> Tensor:
    log = out.log_softmax(1).gather(1, y[:, None]).squeeze(1)
    return -((1 - log.exp()).square() * log).mean()


def bound(out: tuple[Tensor, Tensor, Tensor], x: Tensor, y: Tensor) -> Tensor:
    shown, mean, log = out
    return (shown - x).square().sum(1).mean() - 0.025 * (1 + log - mean.square() - log.exp()).sum(1).mean()


def contrast(out: tuple[Tensor, Tensor], x: Tensor, y: Tensor) -> Tensor:
    one, other = (t / t.norm(dim=1, keepdim=True) for t in out)
    near = one @ other.T / 0.1
    return (near.logsumexp(1) - near.diag()).mean()


def digits(make: Callable[[], nn.Module], loss: Callable[..., Tensor], rate: float = 1e-3, steps: int = 1500,
           optimizer: Any = torch.optim.Adam, **doses: float) -> Any:  # fmt: skip
    """Train on the digits of scikit-learn in batches of 64."""
    data = load_digits()
    x, y = torch.tensor(data.data / 16, dtype=torch.float32), torch.tensor(data.target)
    torch.manual_seed(0)
    net = make()
    moves, order = optimizer(net.parameters(), lr=rate, **doses), torch.Generator().manual_seed(0)
    with tw.watch(net, moves, quiet=True) as seen:
        for _ in range(steps):
            rows = torch.randint(len(x), (64,), generator=order)
            value = loss(net(x[rows]), x[rows], y[rows])
            moves.zero_grad()
            value.backward()
            moves.step()
    return seen


def ppo(rate: float, rounds: int = 15) -> Any:
    seen: list[Any] = []
    plain = tw.watch
    GAME["main"].__globals__["tw"] = type(
        "tw", (), {"watch": lambda *a: seen.append(plain(*a, quiet=True)) or seen[0]}
    )
    GAME["main"](rounds=rounds, rate=rate)
    return seen[0]


def q_learning(rate: float, steps: int = 3000) -> Any:
    """Mnih et al. 2015: a memory, and targets from a copy that is renewed every 200 steps."""
    torch.manual_seed(0)
    rng, poles = np.random.default_rng(0), GAME["Poles"](0)
    net = nn.Sequential(nn.Linear(4, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))
    older, moves = copy.deepcopy(net), torch.optim.Adam(net.parameters(), rate)
    memory: collections.deque[tuple[Any, ...]] = collections.deque(maxlen=300)
    with tw.watch(net, moves, quiet=True) as seen:
        for step in range(steps):
            state = poles.state.astype("float32")
            with torch.no_grad():
                push = net(torch.from_numpy(state)).argmax(1).numpy()
            chance = rng.random(len(push)) < max(0.05, 1 - step / 1000)
            push = np.where(chance, rng.integers(0, 2, len(push)), push)
            before = poles.age.copy()
            ended, _ = poles.push(push)
            memory.append((state, push, poles.state.astype("float32"), ended & (before < 499)))
            picked = [memory[i] for i in rng.integers(0, len(memory), 8)]
            at = rng.integers(0, len(push), (8, 8))
            old, act, new, fell = (
                torch.from_numpy(np.concatenate([p[k][rows] for p, rows in zip(picked, at, strict=True)]))
                for k in range(4)
            )
            with torch.no_grad():
                target = 1 + 0.99 * older(new).max(1).values * ~fell
            value = nn.functional.smooth_l1_loss(net(old).gather(1, act[:, None]).squeeze(1), target)
            moves.zero_grad()
            value.backward()
            moves.step()
            if step % 200 == 0:
                older.load_state_dict(net.state_dict())
    return seen


def case(name: str, expected: Sequence[str], run: Callable[[], Any]) -> None:
    LOOPS[name] = (run, tuple(expected))


def one() -> nn.Module:
    return mlp(outputs=1)


SGD, LONG, INIT, LOSS = (
    torch.optim.SGD,
    ["lr_too_high"],
    ["exploding_gradient", "bad_init"],
    ["loss_mismatch"],
)
case("cross entropy", [], lambda: digits(mlp, entropy))
case("cross entropy, SGD", [], lambda: digits(mlp, entropy, 0.1, optimizer=SGD))
case("cross entropy, CNN", [], lambda: digits(cnn, entropy, 0.05, 600, SGD, momentum=0.9))
case("cross entropy, tanh", [], lambda: digits(lambda: mlp(nn.Tanh, 3), entropy))
case("cross entropy, GELU", [], lambda: digits(lambda: mlp(nn.GELU), entropy))
case("cross entropy, sigmoid", [], lambda: digits(lambda: mlp(nn.Sigmoid, 1), entropy, 3e-3))
case("cross entropy, wide", [], lambda: digits(lambda: mlp(width=512, depth=1), entropy, 1e-3, 600))
case("focal loss", [], lambda: digits(mlp, focal))
case("variational bound", [], lambda: digits(Bound, bound))
case("contrast", [], lambda: digits(Two, contrast, 1e-3, 800))
case("weights of classes", [], lambda: digits(mlp, weighted))
case("absolute errors", [], lambda: digits(one, absolute, 3e-3))
case("huber", [], lambda: digits(one, huber, 3e-3))
case("squares times 7", [], lambda: digits(one, lambda out, x, y: 7 * (out[:, 0] - shade(x)).square().mean()))
case("root of squares", [], lambda: digits(one, root, 3e-3))
case("masked", [], lambda: digits(mlp, lighter))
case("two heads", [], lambda: digits(Heads, heads))
case("likeness", [], lambda: digits(lambda: mlp(outputs=8), unlike(1)))
case("PPO", [], lambda: ppo(3e-3))
case("Q-learning", [], lambda: q_learning(1e-3))
case("rate of Adam", LONG, lambda: digits(mlp, entropy, 0.3))
case("rate of SGD", LONG, lambda: digits(mlp, entropy, 5.0, optimizer=SGD))
case("rate, tanh", LONG, lambda: digits(lambda: mlp(nn.Tanh, 3), entropy, 0.5))
case("rate, PPO", LONG, lambda: ppo(0.3))
case("rate, Q-learning", LONG, lambda: q_learning(0.1))
case("rate, bound", [*LONG, "exploding_gradient"], lambda: digits(Bound, bound, 0.5))
case("rate, contrast", LONG, lambda: digits(Two, contrast, 0.5, 800))
case("rate to infinity", [*LONG, "exploding_gradient"], lambda: digits(mlp, entropy, 1e8, 300, SGD))
case("rate too low", ["lr_too_low"], lambda: digits(mlp, entropy, 1e-6))
case("weights times 8", INIT, lambda: digits(lambda: mlp(gain=8, depth=4), entropy, steps=300))
case(
    "weights times 12, tanh",
    [*INIT, "saturated_units"],
    lambda: digits(lambda: mlp(nn.Tanh, 3, gain=12), entropy, steps=300),
)
case(
    "weights times 0.02",
    ["vanishing_gradient", "bad_init"],
    lambda: digits(lambda: mlp(gain=0.02, depth=4), entropy),
)
case("all pairs of squares", LOSS, lambda: digits(one, pairs(2)))
case("all pairs, absolute", LOSS, lambda: digits(one, pairs(1)))
case("likeness driven down", LOSS, lambda: digits(lambda: mlp(outputs=8), unlike(-1), steps=300))
case("likelihood driven down", LOSS, lambda: digits(mlp, lambda *a: -entropy(*a), 1e-4, 300))
case("rate, absolute", LONG, lambda: digits(one, absolute, 1.0))
case("rate, root", LONG, lambda: digits(one, root, 1.0))
case("rate, masked", LONG, lambda: digits(mlp, lighter, 0.3))
case("rate too low, root", ["lr_too_low"], lambda: digits(one, root, 1e-6))
case("rate too low, absolute", ["lr_too_low"], lambda: digits(one, absolute, 1e-6))
case("eight sigmoids", ["vanishing_gradient"], lambda: digits(lambda: mlp(nn.Sigmoid, 8), entropy))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*")
    names = parser.parse_args().names
    torch.set_num_threads(1)
    right: dict[bool, list[bool]] = {True: [], False: []}
    for name, (run, expected) in LOOPS.items():
        if names and not any(n in name for n in names):
            continue
        seen = run()
        found = [f.ailment for f in seen.findings if f.severity != "information"]
        hit = bool(set(found[:1]) & set(expected)) if expected else not found
        right[bool(expected)].append(hit)
        error = seen.traces.fact("watch_error") or ""
        told = f"expected {'|'.join(expected) or '-':36s} found {', '.join(found) or '-'} {error}"
        print(f"{'right' if hit else 'WRONG':6s} {name:24s} {told}")
    for is_sick, hits in right.items():
        print(f"{'first finding right' if is_sick else 'no alarm'}: {sum(hits)} of {len(hits)}")


if __name__ == "__main__":
    main()

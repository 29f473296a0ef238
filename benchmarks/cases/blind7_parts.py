"""The register of the seventh blind set, and the networks, losses and data of its cases.

Its labels are as frequent as in faultbench's dev part, twice over. Its author had seen that part and the sixth set,
and nothing of the doctor; see `docs/log-doctor.md`.
"""

from __future__ import annotations

from typing import Any

from faultbench.core import Data
from faultbench.lib import F, define, nets, nn, np, optim, torch

HALVES: dict[str, list[Any]] = {"A": [], "B": []}
SCORE, LOSS = ("test_score", 1, 0.05), ("test_loss", -1, 0.1)
COST, WALL = ("us_per_sample", -1, 5), ("wall_us_per_sample", -1, 100)
cosine, Lambda = optim.lr_scheduler.CosineAnnealingLR, optim.lr_scheduler.LambdaLR


def case(half: str, labels: list[Any], better: Any = SCORE, accept: Any = (), severity: str = "clear") -> Any:
    """Register a maker `f(seed, fixed) -> Job` under its own name in one half."""

    def register(maker: Any) -> Any:
        HALVES[half].append(
            define("b7_" + maker.__name__, labels, maker, accept=accept, severity=severity,
                   better=better if labels else None)
        )  # fmt: skip
        return maker

    return register


def every(d: Any, change: Any, names: tuple[str, ...] = ("x", "xv", "xt")) -> Any:
    """Change inputs (or targets) of training, validation and test alike."""
    for name in names:
        setattr(d, name, change(getattr(d, name)))
    return d


Y = ("y", "yv", "yt")


def conv1d(k: int, h: int = 12, cin: int = 1, kernel: int = 5) -> Any:
    """Return two strided convolutions over time and the mean over it."""
    return nn.Sequential(
        nn.Conv1d(cin, h, kernel, stride=2, padding=kernel // 2), nn.ReLU(),
        nn.Conv1d(h, 2 * h, kernel, stride=2, padding=kernel // 2), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(2 * h, k),
    )  # fmt: skip


class Upcast(nn.Module):
    """A network whose middle is computed in double precision "for stability"."""

    def __init__(self, d: int, h: int, k: int, double: bool) -> None:
        super().__init__()
        self.inp, self.head = nn.Linear(d, h), nn.Linear(h, k)
        self.body = nets.mlp([h, h, h, h])
        self.dtype = torch.float64 if double else torch.float32
        self.body.to(self.dtype)

    def forward(self, x: Any) -> Any:
        return self.head(torch.relu(self.body(torch.relu(self.inp(x)).to(self.dtype))).to(x.dtype))


class Stack(nn.Module):
    """Hidden layers in a ModuleList, or in a plain list that no one registers."""

    def __init__(self, d: int, h: int, depth: int, known: bool) -> None:
        super().__init__()
        layers = [nn.Linear(h, h) for _ in range(depth)]
        self.inp, self.head = nn.Linear(d, h), nn.Linear(h, 1)
        self.layers = nn.ModuleList(layers) if known else layers

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.inp(x))
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.head(x)


class Jitter(torch.utils.data.Dataset):
    """Pictures, turned and scaled by scipy whenever they are asked for."""

    def __init__(self, x: Any, y: Any, times: int = 1) -> None:
        self.x, self.y, self.times = x.numpy(), y, times
        self.r = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Any:
        from scipy import ndimage

        image = self.x[i][0]
        for _ in range(self.times):
            image = ndimage.rotate(image, self.r.uniform(-8, 8), reshape=False, order=3)
            image = ndimage.gaussian_filter(image, 0.2)
        return torch.as_tensor(image.astype(np.float32))[None], self.y[i]


def batches(dataset: Any, batch: int, seed: int) -> Any:
    g = torch.Generator().manual_seed(seed + 3)
    return torch.utils.data.DataLoader(dataset, batch, shuffle=True, generator=g)


def harmonics(d: Any, count: int) -> Any:
    """Replace a number in [-1, 1] by the sines and cosines of its multiples."""
    k = torch.arange(1, count + 1) * torch.pi / 2
    return every(d, lambda v: torch.cat([torch.sin(v * k), torch.cos(v * k)], 1))


def normal_nll(out: Any, y: Any) -> Any:
    """Return the negative log likelihood of a normal law of mean and log deviation."""
    return (out[:, 1:] + 0.5 * ((y - out[:, :1]) * (-out[:, 1:]).exp()) ** 2).mean()


def mean_r2(out: Any, y: Any) -> float:
    """Return R2 of the first output."""
    from faultbench.core import r2

    return float(r2(out[:, :1], y))


def viewed(out: Any, y: Any) -> Any:
    """Return the cross entropy of (B, T, V) scores brought to (B, V, T) by `view`, which mixes steps and classes."""
    b, t, v = out.shape
    return F.cross_entropy(out.reshape(b, v, t), y)


def tagged(seed: int, n: int = 700, length: int = 12, vocab: int = 12) -> Any:
    """Return tokens of rows of unequal length, and a tag of 1 to 3 for each that rests on it and on the one before."""
    r = np.random.default_rng(seed + 3)
    x = r.integers(1, vocab, (n + 800, length))
    y = 1 + (x + np.roll(x, 1, 1)) % 3
    past = np.arange(length) >= r.integers(4, length + 1, (len(x), 1))
    x[past], y[past] = 0, 0
    a, b = (torch.as_tensor(v) for v in (x, y))
    return Data(a[:n], b[:n], a[n : n + 300], b[n : n + 300], a[n + 300 :], b[n + 300 :], 4)


def masked(out: Any, y: Any, pads: bool = False) -> Any:
    """Return the cross entropy over the tokens, or, with the mask upside down, over the padding."""
    keep = (y == 0) if pads else (y != 0)
    return F.cross_entropy(out[keep], y[keep])


def tag_accuracy(out: Any, y: Any) -> float:
    return float((out.argmax(-1) == y)[y != 0].float().mean())


class Lines(torch.utils.data.Dataset):
    """Rows of a CSV file, each read by pandas when it is asked for."""

    def __init__(self, x: Any, y: Any) -> None:
        self.text = "\n".join(",".join(f"{float(v):.4f}" for v in row) for row in x)
        self.y = y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> Any:
        import io

        import pandas as pd

        row = pd.read_csv(io.StringIO(self.text), header=None, skiprows=i, nrows=1)
        return torch.as_tensor(row.to_numpy(np.float32)[0]), self.y[i]


class Committee(nn.Module):
    """Small networks whose answers are averaged; they are asked in turn."""

    def __init__(self, members: int, d: int, h: int, k: int) -> None:
        super().__init__()
        self.members = nn.ModuleList([nets.mlp([d, h, k], "tanh") for _ in range(members)])

    def forward(self, x: Any) -> Any:
        return torch.stack([m(x) for m in self.members]).mean(0)


class Council(nn.Module):
    """The same, asked at once by one product of stacked matrices."""

    def __init__(self, members: int, d: int, h: int, k: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(members, d, h) / d**0.5)
        self.b = nn.Parameter(torch.randn(members, h, k) / h**0.5)
        self.u, self.v = nn.Parameter(torch.zeros(members, 1, h)), nn.Parameter(torch.zeros(k))

    def forward(self, x: Any) -> Any:
        return (torch.tanh(x @ self.a + self.u) @ self.b).mean(0) + self.v


class Deaf(nn.Module):
    """A network with norms and dropout whose train() may ignore what it is told."""

    def __init__(self, net: Any, heeds: bool) -> None:
        super().__init__()
        self.net, self.heeds = net, heeds

    def train(self, mode: bool = True) -> Any:
        return super().train(mode if self.heeds else True)

    def forward(self, x: Any) -> Any:
        return self.net(x)


class Thinned(nn.Module):
    """Two hidden layers with `F.dropout`, which is told of the mode or left at its default, training."""

    def __init__(self, d: int, h: int, k: int, told: bool) -> None:
        super().__init__()
        self.a, self.b, self.c, self.told = nn.Linear(d, h), nn.Linear(h, h), nn.Linear(h, k), told

    def forward(self, x: Any) -> Any:
        on = self.training or not self.told
        h = F.dropout(torch.relu(self.a(x)), 0.5, training=on)
        return self.c(F.dropout(torch.relu(self.b(h)), 0.5, training=on))


class Parted(nn.Module):
    """A body and a head, between which the gradient may be cut."""

    def __init__(self, body: Any, head: Any, cut: bool) -> None:
        super().__init__()
        self.body, self.head, self.cut = body, head, cut

    def forward(self, x: Any) -> Any:
        h = self.body(x)
        return self.head(h.detach() if self.cut else h)


def columns_r2(out: Any, y: Any) -> float:
    """Return the mean of R2 over the outputs."""
    from faultbench.core import r2

    return float(np.mean([r2(out[:, i], y[:, i]) for i in range(y.shape[1])]))


def any_tag(out: Any, y: Any) -> float:
    """Return the share of right yes-no answers over all outputs."""
    return float(((out > 0) == (y > 0.5)).float().mean())

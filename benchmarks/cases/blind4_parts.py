"""Networks, an optimizer and loops of the fourth blind set, and the register of its halves.

Written before its author read the rules; see `docs/log-doctor.md` for what it is good for and what not.
"""

from __future__ import annotations

import copy
import time
from typing import Any

from faultbench.core import HOOKS, History
from faultbench.lib import F, define, nets, nn, torch

from benchmarks.cases.blind3_parts import LOSS, ROUGH, SCORE
from benchmarks.cases.blind4_sets import SIZES

__all__ = ["LOSS", "ROUGH", "SCORE"]
HALVES: dict[str, list[Any]] = {"A": [], "B": []}
COST, WALL = ("us_per_sample", -1, 5), ("wall_us_per_sample", -1, 100)


def case(half: str, labels: list[Any], better: Any = SCORE, accept: Any = (), severity: str = "clear") -> Any:
    """Register a maker `f(seed, fixed) -> Job` under its own name in one half."""

    def register(maker: Any) -> Any:
        HALVES[half].append(
            define("b4_" + maker.__name__, labels, maker, accept=accept, severity=severity,
                   better=better if labels else None)
        )  # fmt: skip
        return maker

    return register


def sliced(
    *, zero_every: int = 1, mixup: float = 0.0, average: float = 0.0, clip_value: float = 0.0, set_train: bool = True,
    val_half: bool = False,
) -> Any:  # fmt: skip
    """Return a loop that cuts its batches out of tensors itself and validates on all rows at once.

    `zero_every` clears gradients every so many steps, though each steps; `average` validates averaged weights.
    """

    def loop(job: Any, obs: Any = None) -> Any:
        hist, model, opt = History(), job.model, job.optimizer
        call = {h: getattr(obs, h, None) or (lambda *a: None) for h in HOOKS}
        start, cpu = time.perf_counter(), time.process_time()
        (x, y), (xv, yv) = job.train_xy, job.val_xy
        g = torch.Generator().manual_seed(job.seed + 5)
        shadow = copy.deepcopy(model) if average else model
        call["on_start"](job)
        steps = 0
        for epoch in range(job.epochs):
            if set_train:
                model.train()
            losses, outs, ys = [], [], []
            for rows in torch.randperm(len(x), generator=g).split(job.batch_size):
                xb, yb = x[rows], y[rows]
                call["on_batch"](job, xb, yb)
                if steps % zero_every == 0:
                    opt.zero_grad()
                if mixup:
                    part = torch.distributions.Beta(mixup, mixup).sample().item()
                    swap = torch.randperm(len(xb), generator=g)
                    out = model(part * xb + (1 - part) * xb[swap])
                    loss = part * job.loss_fn(out, yb) + (1 - part) * job.loss_fn(out, yb[swap])
                else:
                    out = model(xb)
                    loss = job.loss_fn(out, yb)
                call["on_forward"](job, out, yb, loss)
                loss.backward()
                call["on_backward"](job)
                if clip_value:
                    nn.utils.clip_grad_value_(model.parameters(), clip_value)
                opt.step()
                call["on_step"](job)
                steps += 1
                if average:
                    with torch.no_grad():
                        for a, b in zip(shadow.parameters(), model.parameters(), strict=True):
                            a.lerp_(b, 1 - average)
                if job.scheduler is not None and job.sched_per == "batch":
                    job.scheduler.step()
                losses.append(loss.item())
                outs.append(out.detach())
                ys.append(yb)
            if job.scheduler is not None and job.sched_per == "epoch":
                job.scheduler.step()
            shadow.eval()
            with torch.inference_mode():
                out = shadow(xv)
                val_loss = job.loss_fn(out, yv).item()
            logs = {
                "train_loss": sum(losses) / len(losses), "train_score": job.metric(torch.cat(outs), torch.cat(ys)),
                "val_loss": val_loss, "val_score": job.metric(out, yv), "lr": opt.param_groups[0]["lr"],
            }  # fmt: skip
            hist.append(logs)
            if call["on_epoch_end"](job, epoch, dict(logs)):
                break
        if average:
            model.load_state_dict(shadow.state_dict())
        hist.seconds, hist.cpu = time.perf_counter() - start, time.process_time() - cpu
        call["on_end"](job, hist)
        return hist

    return loop


class Lion(torch.optim.Optimizer):
    """The sign of a blend of gradient and momentum (arXiv:2302.06675), as users copy it."""

    def __init__(self, params: Any, lr: float, betas: Any = (0.9, 0.99), weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            a, b = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_((a * m + (1 - a) * p.grad).sign(), alpha=-group["lr"])
                m.lerp_(p.grad, 1 - b)


def apart(
    k: int, d: int = 12, cin: int = 1, norm: bool = True, act: Any = nn.ReLU, most: bool = False
) -> Any:
    """Return depthwise and pointwise convolutions in turn, and a pool over the picture."""
    layers: list[Any] = [nn.Conv2d(cin, d, 3, padding=1), act()]
    for _ in range(2):
        layers += [nn.Conv2d(d, d, 3, padding=1, groups=d), nn.Conv2d(d, d, 1)]
        layers += [*([nn.BatchNorm2d(d)] if norm else []), act()]
    pool = nn.AdaptiveMaxPool2d(1) if most else nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(*layers, pool, nn.Flatten(), nn.Linear(d, k))


class Neighbours(nn.Module):
    """Two rounds of messages over a dense neighbour matrix, summed over the nodes."""

    def __init__(self, d: int = 16, k: int = 3) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(2, d), nn.Linear(2 * d, d), nn.Linear(d, k)

    def forward(self, x: Any) -> Any:
        size = x.sum(-1, keepdim=True)
        mean = x / size
        h = torch.relu(self.a(torch.cat([size / 4 - 1, mean @ size / 4 - 1], -1)))
        h = torch.relu(self.b(torch.cat([h, mean @ h], -1)))
        return self.head(h.mean(1))


class Crossed(nn.Module):
    """A factorization machine over three codes, with a small network beside it."""

    def __init__(self, d: int = 6, h: int = 16, std: float = 0.3) -> None:
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(s, d) for s in SIZES])
        self.deep = nets.mlp([3 * d, h, 1])
        for t in self.tables:
            nn.init.normal_(t.weight, 0, std)

    def forward(self, x: Any) -> Any:
        v = torch.stack([t(x[:, i]) for i, t in enumerate(self.tables)], 1)
        cross = 0.5 * (v.sum(1) ** 2 - (v**2).sum(1)).sum(1, keepdim=True)
        return cross + self.deep(v.flatten(1))


class Causal(nn.Module):
    """Dilated convolutions over tokens that look back only; an answer at every place."""

    def __init__(self, vocab: int, d: int = 24, layers: int = 3, act: Any = torch.relu) -> None:
        super().__init__()
        self.emb, self.head, self.act = nn.Embedding(vocab, d), nn.Linear(d, vocab), act
        self.convs = nn.ModuleList([nn.Conv1d(d, d, 2, dilation=2**i) for i in range(layers)])

    def forward(self, x: Any) -> Any:
        h = self.emb(x).transpose(1, 2)
        for i, conv in enumerate(self.convs):
            h = h + self.act(conv(F.pad(h, (2**i, 0))))
        return self.head(h.transpose(1, 2))


class Encoder(nn.Module):
    """torch's own transformer encoder over words, averaged."""

    def __init__(self, vocab: int, d: int, k: int, length: int, drop: float = 0.1, layers: int = 1) -> None:
        super().__init__()
        self.emb, self.pos = nn.Embedding(vocab, d), nn.Embedding(length, d)
        one = nn.TransformerEncoderLayer(d, 4, 2 * d, drop, batch_first=True, norm_first=True)
        self.enc, self.head = nn.TransformerEncoder(one, layers, enable_nested_tensor=False), nn.Linear(d, k)

    def forward(self, x: Any) -> Any:
        h = self.emb(x) + self.pos(torch.arange(x.shape[1]))
        return self.head(self.enc(h).mean(1))


class Both(nn.Module):
    """A recurrence in both directions, pooled by learned attention."""

    def __init__(self, d: int, h: int, k: int, vocab: int = 0, kind: Any = nn.LSTM) -> None:
        super().__init__()
        self.emb = nn.Embedding(vocab, d) if vocab else nn.Identity()
        self.rnn = kind(d, h, batch_first=True, bidirectional=True)
        self.look, self.head = nn.Linear(2 * h, 1), nn.Linear(2 * h, k)

    def forward(self, x: Any) -> Any:
        h, _ = self.rnn(self.emb(x))
        return self.head((torch.softmax(self.look(h), 1) * h).sum(1))


class Mixing(nn.Module):
    """A mixer over (rows, time, channels): along time, then along channels."""

    def __init__(self, length: int, d: int, k: int, h: int = 32, act: Any = nn.GELU) -> None:
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.time = nn.Sequential(nn.Linear(length, h), act(), nn.Linear(h, length))
        self.chan = nn.Sequential(nn.Linear(d, h), act(), nn.Linear(h, d))
        self.head = nn.Linear(d, k)

    def forward(self, x: Any) -> Any:
        x = x + self.time(self.n1(x).transpose(1, 2)).transpose(1, 2)
        x = x + self.chan(self.n2(x))
        return self.head(x.mean(1))


class Waves(nn.Module):
    """Fixed random sines of the inputs before a small network."""

    def __init__(self, d: int, h: int, k: int, scale: float = 2.0) -> None:
        super().__init__()
        self.register_buffer("w", scale * torch.randn(d, 24))
        self.net = nets.mlp([48, h, k])

    def forward(self, x: Any) -> Any:
        z = x @ self.w
        return self.net(torch.cat([z.sin(), z.cos()], -1))


class Experts(nn.Module):
    """A soft mixture of small networks; a plain list hides them from `parameters()`."""

    def __init__(self, d: int, h: int, k: int, count: int = 4, hidden: bool = False) -> None:
        super().__init__()
        made = [nets.mlp([d, h, h]) for _ in range(count)]
        self.each = made if hidden else nn.ModuleList(made)
        self.gate, self.head = nn.Linear(d, count), nn.Linear(h, k)

    def forward(self, x: Any) -> Any:
        share = torch.softmax(self.gate(x), -1)
        h = torch.stack([e(x) for e in self.each], -1)
        return self.head(torch.relu((h * share[:, None]).sum(-1)))


class Hourglass(nn.Module):
    """A small U-net: down, up, and the fine picture beside the coarse one."""

    def __init__(self, d: int = 8, norm: bool = False) -> None:
        super().__init__()
        n = (lambda c: nn.BatchNorm2d(c)) if norm else (lambda c: nn.Identity())
        self.a = nn.Sequential(nn.Conv2d(1, d, 3, padding=1), n(d), nn.ReLU())
        self.b = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(d, 2 * d, 3, padding=1), n(2 * d), nn.ReLU())
        self.up = nn.ConvTranspose2d(2 * d, d, 2, stride=2)
        self.out = nn.Conv2d(2 * d, 1, 3, padding=1)

    def forward(self, x: Any) -> Any:
        h = self.a(x)
        return self.out(torch.cat([h, self.up(self.b(h))], 1))

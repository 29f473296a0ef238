"""Networks, losses and loops of the third blind set, and the register of its halves."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from faultbench.core import HOOKS, History, evaluate
from faultbench.lib import STUCK, UNSTABLE, F, define, nets, nn, torch

HALVES: dict[str, list[Any]] = {"A": [], "B": []}
SCORE, LOSS = ("test_score", 1, 0.05), ("test_loss", -1, 0.1)
ROUGH = [*STUCK, *UNSTABLE]
SCALE = [
    *ROUGH,
    "dead_units",
    "lr_too_high",
    "lr_too_low",
    "saturated_units",
    "vanishing_gradient",
    "bad_features",
]
NOISE = ["converged_early", "plateau", "overfitting", "underfitting"]
LOST = [*STUCK, "label_noise", "overfitting", "bad_features", "converged_early"]
BROKEN = [*ROUGH, "unscaled_inputs", "overfitting", "dead_units", "lr_too_high", "exploding_gradient"]
ORDER = [*UNSTABLE, "undertrained", "train_val_shift", "lr_too_high", "overfitting"]
"""What else may be found where rows are at fault: their scale, noise, loss, defects and order."""
cosine, one = torch.optim.lr_scheduler.CosineAnnealingLR, torch.optim.lr_scheduler.OneCycleLR
Lambda = torch.optim.lr_scheduler.LambdaLR


def case(half: str, labels: list[Any], better: Any = SCORE, accept: Any = (), severity: str = "clear") -> Any:
    """Register a maker `f(seed, fixed) -> Job` under its own name in one half."""

    def register(maker: Any) -> Any:
        HALVES[half].append(
            define("b3_" + maker.__name__, labels, maker, accept=accept, severity=severity,
                   better=better if labels else None)
        )  # fmt: skip
        return maker

    return register


def written(
    *, bf16: bool = False, closure: bool = False, every: int = 1, named: bool = False, zero: str = "step",
    plateau: str = "", scale: float = 1.0, set_eval: bool = True,
) -> Any:  # fmt: skip
    """Return a loop as users write it: autocast, closures, micro-batches, batches as dictionaries.

    `zero` says where gradients are cleared: before a `step`, once an `epoch`, `late` (after backward) or `never`.
    """

    def loop(job: Any, obs: Any = None) -> Any:
        hist, model, opt = History(), job.model, job.optimizer
        call = {h: getattr(obs, h, None) or (lambda *a: None) for h in HOOKS}
        start, cpu = time.perf_counter(), time.process_time()
        cast = (lambda: torch.autocast("cpu", torch.bfloat16)) if bf16 else contextlib.nullcontext
        call["on_start"](job)

        def backward(x: Any, y: Any) -> Any:
            with cast():
                out = model(x)
                loss = job.loss_fn(out.float(), y) * scale
            call["on_forward"](job, out, y, loss)
            (loss / every).backward()
            call["on_backward"](job)
            return loss.detach() / scale, out.detach().float()

        for epoch in range(job.epochs):
            model.train()
            losses, outs, ys = [], [], []
            if zero == "epoch":
                opt.zero_grad()
            for i, batch in enumerate(job.train):
                x, y = (batch["input"], batch["target"]) if named else batch
                call["on_batch"](job, x, y)
                if zero == "step" and i % every == 0:
                    opt.zero_grad()
                if closure:
                    kept: list[Any] = []

                    def again(x: Any = x, y: Any = y, kept: Any = kept) -> Any:
                        if zero == "step":
                            opt.zero_grad()
                        kept[:] = backward(x, y)
                        return kept[0]

                    opt.step(again)
                    loss, out = kept
                else:
                    loss, out = backward(x, y)
                    if zero == "late":
                        opt.zero_grad()
                    if job.clip:
                        nn.utils.clip_grad_norm_(model.parameters(), job.clip)
                    if (i + 1) % every == 0:
                        opt.step()
                call["on_step"](job)
                if job.scheduler is not None and job.sched_per == "batch":
                    job.scheduler.step()
                losses.append(float(loss))
                outs.append(out)
                ys.append(y)
            if set_eval:
                model.eval()
            val_loss, val_score = evaluate(job, set_mode=False)
            if plateau:
                job.scheduler.step(val_loss)
            elif job.scheduler is not None and job.sched_per == "epoch":
                job.scheduler.step()
            logs = {
                "train_loss": sum(losses) / len(losses), "train_score": job.metric(torch.cat(outs), torch.cat(ys)),
                "val_loss": val_loss, "val_score": val_score, "lr": opt.param_groups[0]["lr"],
            }  # fmt: skip
            hist.append(logs)
            if call["on_epoch_end"](job, epoch, dict(logs)):
                break
        hist.seconds, hist.cpu = time.perf_counter() - start, time.process_time() - cpu
        call["on_end"](job, hist)
        return hist

    return loop


class Named(torch.utils.data.Dataset):
    """Rows as dictionaries, as many libraries give them."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Any:
        return {"input": self.x[i], "target": self.y[i]}


class Rows(torch.utils.data.Dataset):
    """Rows as pairs, made by a function that is called for every row in every epoch."""

    def __init__(self, x: Any, y: Any, make: Any = None) -> None:
        self.x, self.y, self.make = x, y, make

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Any:
        return (self.make(self.x[i]) if self.make else self.x[i]), self.y[i]


def loader(dataset: Any, batch: int, seed: int, shuffle: bool = True) -> Any:
    g = torch.Generator().manual_seed(seed + 3)
    return torch.utils.data.DataLoader(dataset, batch, shuffle=shuffle, num_workers=0, generator=g)


class Residual(nn.Module):
    """Two convolutions beside a skip; without it a plain pair of layers."""

    def __init__(self, d: int, norm: bool = True, skip: bool = True, act: Any = torch.relu) -> None:
        super().__init__()
        self.a, self.b = (nn.Conv2d(d, d, 3, padding=1) for _ in range(2))
        self.na, self.nb = (nn.BatchNorm2d(d) if norm else nn.Identity() for _ in range(2))
        self.skip, self.act = skip, act

    def forward(self, x: Any) -> Any:
        h = self.nb(self.b(self.act(self.na(self.a(x)))))
        return self.act(h + x if self.skip else h)


def resnet(k: int, d: int = 12, cin: int = 1, blocks: int = 2, **kw: Any) -> Any:
    stem = [nn.Conv2d(cin, d, 3, stride=2, padding=1), nn.ReLU()]
    body = [Residual(d, **kw) for _ in range(blocks)]
    return nn.Sequential(*stem, *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(d, k))


class Bag(nn.Module):
    """An EmbeddingBag, a hidden layer and a head."""

    def __init__(self, vocab: int, d: int, k: int, drop: float = 0.0) -> None:
        super().__init__()
        self.bag, self.drop = nn.EmbeddingBag(vocab, d), nn.Dropout(drop)
        self.hidden, self.head = nn.Linear(d, d), nn.Linear(d, k)

    def forward(self, x: Any) -> Any:
        return self.head(self.drop(torch.relu(self.hidden(self.bag(x)))))


class Factors(nn.Module):
    """Ratings as products of factors of users and of items."""

    def __init__(self, users: int = 60, items: int = 50, d: int = 8, std: float = 0.3) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(users, d), nn.Embedding(items, d)
        self.bias = nn.Parameter(torch.zeros(1))
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, 0, std)

    def forward(self, x: Any) -> Any:
        return (self.users(x[:, 0]) * self.items(x[:, 1])).sum(1, keepdim=True) + self.bias


class Ranker(nn.Module):
    """One score for each of two; the answer is their difference."""

    def __init__(self, d: int, h: int = 48) -> None:
        super().__init__()
        self.score = nets.mlp([d, h, h, 1])

    def forward(self, x: Any) -> Any:
        return self.score(x[:, 0]) - self.score(x[:, 1])


class Looks(nn.Module):
    """One encoder for a look and its candidates; the answers are cosines times a constant."""

    def __init__(self, d: int = 196, h: int = 64, code: int = 24, sharp: float = 8.0) -> None:
        super().__init__()
        self.body, self.sharp = nets.mlp([d, h, code]), sharp

    def forward(self, x: Any) -> Any:
        z = F.normalize(self.body(x), dim=-1)
        return self.sharp * (z[:, :1] * z[:, 1:]).sum(-1)


def hits(out: Any, y: Any) -> float:
    """Return the share of right yes-no answers over all outputs."""
    return float(((out > 0) == (y > 0.5)).float().mean())


def spread(out: Any, y: Any) -> Any:
    """Return the negative log likelihood of a normal law of mean and log variance."""
    return (0.5 * out[:, 1:] + 0.5 * (y - out[:, :1]) ** 2 * (-out[:, 1:]).exp()).mean()


def centre(out: Any, y: Any) -> float:
    from faultbench.core import r2

    return float(r2(out[:, :1], y))


class Pool(nn.Module):
    """A network for every member of a set, the mean or the largest of each output, a second network."""

    def __init__(self, d: int = 3, h: int = 48, most: bool = True) -> None:
        super().__init__()
        self.each, self.all, self.most = nets.mlp([d, h, h]), nets.mlp([h, h, 1]), most

    def forward(self, x: Any) -> Any:
        h = self.each(x)
        return self.all(h.amax(1) if self.most else h.mean(1))


class Seq(nn.Module):
    """Convolutions over time of (rows, time, channels), mean over it, a head."""

    def __init__(self, d: int, h: int, k: int, norm: bool = False, act: Any = nn.ReLU) -> None:
        super().__init__()
        layers: list[Any] = []
        for a, b in ((d, h), (h, h)):
            layers += [nn.Conv1d(a, b, 5, padding=2), *([nn.BatchNorm1d(b)] if norm else []), act()]
        self.net, self.head = nn.Sequential(*layers), nn.Linear(h, k)

    def forward(self, x: Any) -> Any:
        return self.head(self.net(x.transpose(1, 2)).mean(2))


class Patches(nn.Module):
    """A transformer over the rows of a picture or the frames of a sound."""

    def __init__(self, d: int, width: int, k: int, length: int, layers: int = 2, drop: float = 0.0) -> None:
        super().__init__()
        self.inp, self.pos = nn.Linear(d, width), nn.Parameter(0.1 * torch.randn(length, width))
        self.blocks = nn.Sequential(*[nets.Block(width, 4, False, True, drop) for _ in range(layers)])
        self.head = nn.Linear(width, k)

    def forward(self, x: Any) -> Any:
        x = x.squeeze(1) if x.dim() == 4 else x
        return self.head(self.blocks(self.inp(x) + self.pos).mean(1))


def pixels(d: int = 12, norm: bool = False) -> Any:
    """Return a network that answers for every pixel."""
    n = (lambda: [nn.BatchNorm2d(d)]) if norm else list
    return nn.Sequential(nn.Conv2d(1, d, 3, padding=1), *n(), nn.ReLU(), nn.Conv2d(d, d, 3, padding=1), *n(),
                         nn.ReLU(), nn.Conv2d(d, 1, 3, padding=1))  # fmt: skip

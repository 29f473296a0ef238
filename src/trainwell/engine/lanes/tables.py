"""The links of networks of tables alone: numbers, members, and the layers of RealMLP.

Members of an ensemble lie beside each other among the rows: activations are (K, features, members * B).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainwell.engine.lanes.links import Linear, Pass, Space, put, put_sum

FEW = 2
"""Outputs up to which passes over the activations are faster than products, by twice (docs/log-lanes.md)."""

Grads = tuple[Tensor | None, Tensor | None]


class Bins:
    """Embeds the numbers by their bins, as `models.numeric.PiecewiseLinear` does; other features stay below them.

    Args:
        weight: (K, N, bins, E). bias: (K, N, 1, E). grads: where their gradients lie; None where not trained.
        shift, slope, low, high: of the bins, (K, N, 1, bins).
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, grads: Grads, shift: Tensor, slope: Tensor, low: Tensor, high: Tensor
    ) -> None:  # fmt: skip
        self._weight, self._bias, self._grads = weight, bias, grads
        self._given = shift.mT, slope.mT, low.mT, high.mT
        self._outer: Tensor | None = None
        self._shares, self._out = Space(), Space()

    @property
    def is_trained(self) -> bool:
        return self._grads != (None, None)

    def _look(self) -> Tensor:
        """Take the bins that some feature has, and where the outer ones lie; before the first step they may change."""
        lanes, numbers = self._weight.shape[:2]
        counts = (self._given[3].squeeze(-1) != 0).sum(-1).clamp_(min=1)  # (K, N)
        self._used = most = int(counts.max())
        self._shift, self._slope = (t[:, :, :most].contiguous() for t in self._given[:2])
        firsts = torch.arange(lanes * numbers, device=counts.device) * most
        outer = torch.stack([firsts, firsts + counts.view(-1) - 1], 1).view(-1)
        own = [t[:, :, :most].reshape(-1, 1)[outer].view(lanes, numbers, 2, 1) for t in self._given]
        self._outer_shift, self._outer_slope, self._low, self._high = own
        return outer

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        """Shapes: (K, N + others, B) -> (K, N * (E + 1) + others, B)."""
        if self._outer is None:
            self._outer = self._look()
        (lanes, numbers, _, width), bins, rows = self._weight.shape, self._used, h.shape[-1]
        x = h[:, :numbers].unsqueeze(2)
        shares = self._shares.like(self._weight, numbers * bins, rows)
        torch.addcmul(self._shift, x, self._slope, out=shares.view(lanes, numbers, bins, rows)).clamp_(
            0.0, 1.0
        )
        ends = torch.addcmul(self._outer_shift, x, self._outer_slope).clamp_(self._low, self._high)
        shares.view(-1, rows).index_copy_(0, self._outer, ends.view(-1, rows))
        self._flat = shares.view(-1, bins, rows)
        weight = self._weight[:, :, :bins].mT.reshape(-1, width, bins)
        made = torch.baddbmm(self._bias.mT.reshape(-1, width, 1), weight, self._flat)
        embedded = numbers * width
        out = self._out.like(self._weight, embedded + h.shape[1], rows)
        out[:, :embedded].copy_(made.view(lanes, embedded, rows))
        out[:, embedded:].copy_(h)
        return out

    def backward(self, g: Tensor, now: Pass) -> None:
        (lanes, numbers, _, width), bins = self._weight.shape, self._used
        own = g[:, : numbers * width].to(self._weight.dtype).reshape(lanes * numbers, width, -1)
        if self._grads[0] is not None:
            used, unused = self._grads[0].tensor_split([bins], 2)
            put(used, torch.bmm(self._flat, own.mT).view(used.shape), now)
            if not now.adds:
                unused.zero_()
        if self._grads[1] is not None:
            put(self._grads[1], own.sum(-1).view(self._bias.shape), now)


class Waves:
    """Embeds the numbers by cosines, as `models.numeric.Periodic` does; other features stay below them.

    Args:
        frequency, phase: (K, N, 1, waves). weight: (K, N, waves, E). bias: (K, N, 1, E).
        grads: where the gradients of these four lie; None where they are not trained.
    """

    def __init__(
        self, frequency: Tensor, phase: Tensor, weight: Tensor, bias: Tensor, grads: Sequence[Tensor | None]
    ) -> None:
        self._frequency, self._phase, self._weight, self._bias = frequency, phase, weight, bias
        self._grads = tuple(grads)
        self._angles, self._waves, self._out = Space(), Space(), Space()

    @property
    def is_trained(self) -> bool:
        return any(grad is not None for grad in self._grads)

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        """Shapes: (K, N + others, B) -> (K, N * (E + 1) + others, B)."""
        (lanes, numbers, waves, width), rows = self._weight.shape, h.shape[-1]
        shape = lanes, numbers, waves, rows
        self._turns = h[:, :numbers].unsqueeze(2) * (2 * math.pi)
        self._angle = self._angles.like(self._weight, numbers * waves, rows).view(shape)
        torch.addcmul(self._phase.mT, self._turns, self._frequency.mT, out=self._angle)
        found = self._waves.like(self._weight, numbers * waves, rows)
        self._flat = torch.cos(self._angle.view(found.shape), out=found).view(-1, waves, rows)
        weight = self._weight.mT.reshape(-1, width, waves)
        made = torch.baddbmm(self._bias.mT.reshape(-1, width, 1), weight, self._flat)
        embedded = numbers * width
        out = self._out.like(self._weight, embedded + h.shape[1], rows)
        out[:, :embedded].copy_(made.view(lanes, embedded, rows))
        out[:, embedded:].copy_(h)
        return out

    def backward(self, g: Tensor, now: Pass) -> None:
        lanes, numbers, waves, width = self._weight.shape
        frequency, phase, weight, bias = self._grads
        own = g[:, : numbers * width].to(self._weight.dtype).reshape(lanes * numbers, width, -1)
        if weight is not None:
            put(weight, torch.bmm(self._flat, own.mT).view(weight.shape), now)
        if bias is not None:
            put(bias, own.sum(-1).view(bias.shape), now)
        if frequency is None and phase is None:
            return
        spent = self._flat  # the cosines are needed no more
        torch.bmm(self._weight.reshape(-1, waves, width), own, out=spent)
        turned = spent.view(self._angle.shape).mul_(self._angle.sin_()).neg_()
        if phase is not None:
            put(phase, turned.sum(-1).view(phase.shape), now)
        if frequency is not None:
            put(frequency, turned.mul_(self._turns).sum(-1).view(frequency.shape), now)


class FeatureScale:
    """Multiplies each feature by a number, as `models.real_mlp.FeatureScale` does.

    Args:
        weight: (K, F). grad: where its gradient lies; None where it is not trained.
        needs_input: whether the gradient of the input is asked for. compute: dtype of the activations.
    """

    def __init__(
        self, weight: Tensor, grad: Tensor | None, *, needs_input: bool, compute: torch.dtype
    ) -> None:
        self._scales, self._grad, self._needs_input = weight.unsqueeze(-1), grad, needs_input
        self._like = torch.empty(len(weight), dtype=compute, device=weight.device)
        self._out = Space()

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        self._h = h
        return torch.mul(h, self._scales, out=self._out.like(self._like, *h.shape[1:]))

    def backward(self, g: Tensor, now: Pass) -> Tensor | None:
        if self._grad is not None:
            spent = self._out.like(g, *g.shape[1:])  # nothing needs the output any more
            put(self._grad, torch.mul(g, self._h, out=spent).sum(-1), now)
        return g.mul_(self._scales) if self._needs_input else None


class ScaledLinear(Linear):
    """A linear layer whose product is multiplied by a number, as `models.real_mlp.NTKLinear`.

    Args:
        gain: that number. The others as of `Linear`.
    """

    def __init__(
        self, gain: float, weight: Tensor, bias: Tensor, grads: Grads, *, needs_input: bool, compute: torch.dtype
    ) -> None:  # fmt: skip
        super().__init__(weight, bias, (grads[0], None), needs_input=needs_input, compute=compute)
        self._gain, self._shift_grad = gain, grads[1]

    def backward(self, g: Tensor, now: Pass) -> Tensor | None:
        if self._shift_grad is not None:
            put_sum(self._shift_grad, g, now)
        return super().backward(g.mul_(self._gain), now)


class Mixed:
    """An activation that each unit mixes with what it sees, as `models.real_mlp.NTKBlock` does.

    Args:
        call: the activation. derive: (g, h, y) -> gradient of h. share: (K, F).
        grad: where the gradient of the share lies; None where it is not trained.
    """

    def __init__(
        self, call: Callable[[Tensor], Tensor], derive: Callable[..., Tensor], share: Tensor, grad: Tensor | None
    ) -> None:  # fmt: skip
        self._call, self._derive, self._share, self._grad = call, derive, share.unsqueeze(-1), grad
        self._out, self._spent = Space(), Space()

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        self._h, self._y = h, self._call(h)
        return torch.lerp(h, self._y, self._share.to(h.dtype), out=self._out.like(h, *h.shape[1:]))

    def backward(self, g: Tensor, now: Pass) -> Tensor:
        share, spent = self._share.to(g.dtype), self._spent.like(g, *g.shape[1:])
        if self._grad is not None:
            torch.sub(self._y, self._h, out=spent)
            put(self._grad, spent.mul_(g).sum(-1), now)
        torch.mul(g, share, out=spent)
        back = self._derive(spent, self._h, self._y)
        return g.sub_(spent).add_(back)


class MemberScale:
    """Multiplies the features by the vector of each member, as `models.tabm.MemberScale` does.

    Args:
        weight: (K, members, 1, F). grad: where its gradient lies; None where it is not trained.
        needs_input: whether the gradient of the input is asked for. compute: dtype of the activations.
    """

    def __init__(
        self, weight: Tensor, grad: Tensor | None, *, needs_input: bool, compute: torch.dtype
    ) -> None:
        self._scales = weight.squeeze(2).mT.unsqueeze(-1)  # (K, F, members, 1)
        self._grad = None if grad is None else grad.squeeze(2).mT
        self._needs_input = needs_input
        self._like = torch.empty(len(weight), dtype=compute, device=weight.device)
        self._out = Space()

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        """Shapes: (K, F, B) -> (K, F, members * B)."""
        (lanes, features, members, _), rows = self._scales.shape, h.shape[-1]
        self._h = h
        out = self._out.like(self._like, features, members * rows)
        torch.mul(h.unsqueeze(2), self._scales, out=out.view(lanes, features, members, rows))
        return out

    def backward(self, g: Tensor, now: Pass) -> Tensor | None:
        lanes, features, members, _ = self._scales.shape
        split = g.view(lanes, features, members, -1)
        if self._grad is not None:
            spent = self._out.like(g, features, g.shape[-1]).view(
                split.shape
            )  # nothing needs the output any more
            put(self._grad, torch.mul(split, self._h.unsqueeze(2), out=spent).sum(-1), now)
        if not self._needs_input:
            return None
        back = split[:, :, 0] * self._scales[:, :, 0].to(g.dtype)
        for m in range(1, members):
            back.addcmul_(split[:, :, m], self._scales[:, :, m].to(g.dtype))
        return back


class MemberHeads:
    """The last layer of each member, as `models.tabm.MemberLinear`; where nothing trains, the members' average.

    Args:
        weight: (K, members, F, C). bias: (K, members, 1, C). grads: where their gradients lie.
        compute: dtype of the products.
    """

    def __init__(self, weight: Tensor, bias: Tensor, grads: Grads, compute: torch.dtype) -> None:
        self._weight, self._bias, self._grads, self._compute = weight, bias, grads, compute
        self._back = Space()

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        """Shapes: (K, F, members * B) -> (K, members, C, B) while training; else, or of one member, (K, C, B)."""
        lanes, members, _, classes = self._weight.shape
        self._h = h.view(lanes, h.shape[1], members, -1).transpose(1, 2)
        self._used, bias = self._weight.to(self._compute), self._bias.mT.to(self._compute)
        out = h.new_empty(lanes, members, classes, self._h.shape[-1])
        for k in range(lanes):  # of all lanes at once the products would copy the activations
            torch.baddbmm(bias[k], self._used[k].mT, self._h[k], out=out[k])
        if members == 1:
            return out[:, 0]
        if now.training:
            return out
        if classes == 1:
            return out.mean(1)
        exact = out.float() if out.dtype == torch.bfloat16 else out
        return exact.log_softmax(2).logsumexp(1).sub_(math.log(members))

    def backward(self, g: Tensor, now: Pass) -> Tensor:
        lanes, members, features, classes = self._weight.shape
        g = g.view(lanes, members, classes, -1)
        back = self._back.like(g, features, members * g.shape[-1])
        wide = back.view(lanes, features, members, -1).transpose(1, 2)  # (K, members, F, B)
        if classes <= FEW:
            torch.mul(self._used[..., :1], g[:, :, :1], out=wide)
            for c in range(1, classes):
                wide.addcmul_(self._used[..., c : c + 1], g[:, :, c : c + 1])
        for k in range(lanes):
            if classes > FEW:
                torch.bmm(self._used[k], g[k], out=wide[k])
            if self._grads[0] is not None:
                put(self._grads[0][k], torch.bmm(self._h[k], g[k].mT), now)
        if self._grads[1] is not None:
            put(self._grads[1], g.sum(-1).unsqueeze(2), now)
        return back

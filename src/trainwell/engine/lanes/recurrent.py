"""The GRU of many lanes: torch.func cannot batch torch's own, so its steps are taken one by one for all lanes at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

GATES = 3
"""Reset, update and new, in the order in which torch stacks their weights."""


class LaneGRU(nn.Module):
    """Stands in for an `nn.GRU` of the same weights, under `torch.func.vmap`.

    Shapes: as `nn.GRU` in batches: (B, L, F) or (L, B, F), and the states (layers, B, H) to begin with.
    """

    def __init__(self, like: nn.GRU) -> None:
        super().__init__()
        for name, parameter in like.named_parameters():
            self.register_parameter(name, parameter)
        self.bidirectional, self.batch_first, self.num_layers = (
            like.bidirectional,
            like.batch_first,
            like.num_layers,
        )
        self.hidden_size, self.bias = like.hidden_size, like.bias

    def forward(self, x: Tensor, states: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if not isinstance(x, Tensor) or x.ndim != 3:
            raise ValueError("a GRU in lanes reads batches of rows that are not packed")
        h, last = (x.transpose(0, 1) if self.batch_first else x), list[Tensor]()
        for layer in range(self.num_layers):
            outputs = []
            for suffix in ("", "_reverse")[: 1 + self.bidirectional]:
                weights = [self._weight(f"{kind}_l{layer}{suffix}") for kind in ("weight_ih", "weight_hh")]
                biases = [self._weight(f"{kind}_l{layer}{suffix}") for kind in ("bias_ih", "bias_hh")]
                begin = h.new_zeros(h.shape[1], self.hidden_size) if states is None else states[len(last)]
                inputs = h.flip(0) if suffix else h
                out = gru(inputs, begin, *weights, *biases)
                last.append(out[-1])
                outputs.append(out.flip(0) if suffix else out)
            h = outputs[0] if len(outputs) == 1 else torch.cat(outputs, 2)
        return (h.transpose(0, 1) if self.batch_first else h), torch.stack(last)

    def _weight(self, name: str) -> Tensor:
        found: Any = self._parameters.get(name)
        if found is None:  # a GRU without biases
            like: Any = self._parameters["weight_hh_l0"]
            return like.new_zeros(GATES * self.hidden_size)
        return found


def is_replaceable(module: nn.GRU) -> bool:
    """Tell whether a module is torch's own and draws no random numbers."""
    return type(module) is nn.GRU and (module.dropout == 0 or module.num_layers == 1)


def gru(x: Tensor, begin: Tensor, w_in: Tensor, w_state: Tensor, b_in: Tensor, b_state: Tensor) -> Tensor:
    """Return the states of all steps. Shapes: (L, B, F), (B, H), (3 H, F), (3 H, H), (3 H,), (3 H,) -> (L, B, H)."""
    call: Any = _GRU.apply
    out: Tensor = call(x, begin, w_in, w_state, b_in, b_state)[0]
    return out


class _GRU(torch.autograd.Function):
    """The recurrence of one layer in one direction, with its derivative by hand; tensors may have a leading axis K.

    Source: the equations of `torch.nn.GRU`; Cho et al. 2014, arXiv:1406.1078.
    """

    @staticmethod
    def forward(
        x: Tensor, begin: Tensor, w_in: Tensor, w_state: Tensor, b_in: Tensor, b_state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the states, and the gates for the derivative: (L, K, B, H) and (4, L, K, B, H)."""
        if x.ndim == 3:
            made = _GRU.forward(*(t.unsqueeze(0) for t in (x, begin, w_in, w_state, b_in, b_state)))
            return made[0].squeeze(0), made[1].squeeze(0)
        lanes, steps, rows, _ = x.shape
        size = begin.shape[-1]
        with torch.autocast(x.device.type, enabled=False):
            inputs = torch.baddbmm(b_in.unsqueeze(1), x.flatten(1, 2), w_in.mT)
            inputs = inputs.view(lanes, steps, rows, -1).transpose(0, 1).contiguous()
            states = x.new_empty(steps, lanes, rows, size)
            gates = x.new_empty(4, steps, lanes, rows, size)
            h, turned, bias = begin, w_state.mT.contiguous(), b_state.unsqueeze(1)
            for t in range(steps):
                from_state, given = torch.baddbmm(bias, h, turned).split(size, 2), inputs[t].split(size, 2)
                reset = torch.add(from_state[0], given[0], out=gates[0, t]).sigmoid_()
                update = torch.add(from_state[1], given[1], out=gates[1, t]).sigmoid_()
                own = gates[3, t].copy_(from_state[2])
                new = torch.addcmul(given[2], reset, own, out=gates[2, t]).tanh_()
                h = torch.lerp(new, h, update, out=states[t])
        return states.transpose(0, 1), gates.movedim(2, 0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        x, begin, w_in, w_state, _, _ = inputs
        ctx.save_for_backward(x, begin, w_in, w_state, *output)
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, g: Tensor, _: Any) -> tuple[Tensor, ...]:
        saved = ctx.saved_tensors
        if g.ndim == 3:
            made = _derivative(g.unsqueeze(0), *(t.unsqueeze(0) for t in saved))
            return tuple(t.squeeze(0) for t in made)
        return _derivative(g, *saved)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *tensors: Tensor) -> tuple[Any, Any]:
        """Give every tensor the axis of the lanes, and take the steps of all of them."""
        wide = [
            t.unsqueeze(0).expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)
            for t, dim in zip(tensors, in_dims, strict=True)
        ]
        call: Any = _GRU.apply
        return call(*wide), (0, 0)


def _derivative(
    g: Tensor, x: Tensor, begin: Tensor, w_in: Tensor, w_state: Tensor, states: Tensor, gates: Tensor
) -> tuple[Tensor, ...]:
    """Return the gradients of the arguments of `gru`, each with its axis K."""
    lanes, steps, rows, size = states.shape
    reset, update, new, own = gates.movedim(0, 2)
    before = torch.cat([begin.unsqueeze(0), states.transpose(0, 1)[:-1]])
    to_new, to_reset = (1 - update) * (1 - new * new), own * reset * (1 - reset)
    to_update = (before - new) * update * (1 - update)
    back, back_new = x.new_empty(steps, lanes, rows, GATES * size), torch.empty_like(new)
    back_reset, back_update, back_own = back.split(size, 3)  # of the part of the states
    h = g[:, -1]
    for t in range(steps - 1, -1, -1):
        torch.mul(h, to_new[t], out=back_new[t])
        torch.mul(h, to_update[t], out=back_update[t])
        torch.mul(back_new[t], to_reset[t], out=back_reset[t])
        torch.mul(back_new[t], reset[t], out=back_own[t])
        h = torch.baddbmm(torch.addcmul(g[:, t - 1], h, update[t]) if t else h * update[t], back[t], w_state)
    flat = back.transpose(0, 1).flatten(1, 2)  # (K, L * B, 3 H)
    to_state = torch.bmm(flat.mT, before.transpose(0, 1).flatten(1, 2)), flat.sum(1)
    back_own.copy_(back_new)
    flat = back.transpose(0, 1).flatten(1, 2)
    to_input = torch.bmm(flat.mT, x.flatten(1, 2)), flat.sum(1)
    return torch.bmm(flat, w_in).view(x.shape), h, to_input[0], to_state[0], to_input[1], to_state[1]

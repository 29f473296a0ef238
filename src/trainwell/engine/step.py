"""The one training step, in the order of the sites. With lanes every tensor has a leading axis of K networks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from trainwell.engine.compose import Sites, State
from trainwell.engine.flat import Flat
from trainwell.engine.losses import Each, Objective
from trainwell.engine.parts import Batch, HardwarePlan
from trainwell.values.errors import RecipeError
from trainwell.values.task import Task


class Step:
    """One update of the weights from one batch.

    Args:
        forward: (*x) -> outputs (*lanes, B, C); the module itself, or all lanes of a stack at once.
        params, grads: the flat weights and gradients, (*lanes, P).
        members: networks inside one model that share weights (TabM); while training it gives outputs
            (*lanes, members, B, C), each of which is to fit the target.

    Attributes:
        states: tensors that techniques keep, by technique name; they are saved in checkpoints.
    """

    def __init__(
        self,
        forward: Callable[..., Tensor],
        params: Flat,
        grads: Flat,
        sites: Sites,
        objective: Objective,
        task: Task,
        plan: HardwarePlan,
        generator: Callable[[str], torch.Generator],
        members: int = 1,
    ) -> None:
        self.forward, self.params, self.grads, self.sites = forward, params, grads, sites
        self.states: dict[str, State] = sites.init_states(params)
        self.count: Any = 0  # in a stack of lanes a tensor (K, 1): they may have begun at different times
        self.plan = plan
        self._batch = [(m.batch, generator(m.name)) for m in sites.at("batch")]
        self._row_axis = params.flat.ndim - 1
        mixes = self._row_axis > 0 and bool(self._batch)  # each lane in a proportion of its own
        self._loss = _loss_function(sites, objective, task, per_row=mixes, members=members)
        self._penalty = [m.penalty for m in sites.at("penalty")]
        self._grads = [(m.grads, self.states.get(m.name)) for m in sites.at("grads")]
        self._update = [m.update for m in (*sites.members, sites.optimizer) if hasattr(m, "update")]
        self._after = [(m.after_step, self.states.get(m.name)) for m in sites.at("after_step")]
        self._direction = getattr(sites.optimizer, "direction", None)
        self._move: Callable[[Any], None] = getattr(sites.optimizer, "move", _cannot_move)
        self._state = self.states.get(sites.optimizer.name)
        spans = params.lr_spans()
        self._spans = [(params.flat[..., s], s, f) for s, f in spans] if spans != [(spans[0][0], 1.0)] else []
        self._move_by = None if self._spans else getattr(sites.optimizer, "move_by", None)

    def __call__(self, x: tuple[Tensor, ...], y: Tensor, lr: Any) -> Tensor:
        """Move the weights by one step; return the mean loss of the batch, detached, (*lanes,).

        Args:
            x, y: inputs (tuple of tensors with B rows) and targets.
            lr: learning rate of this step; a number, or (K, 1) for lanes.
        """
        self.count += 1
        loss = self.gradients(x, y)
        params, grads = self.params, self.grads
        with torch.no_grad():
            for penalty in self._penalty:
                penalty(params, grads)
            for edit, state in self._grads:
                edit(grads, params, state)
            for update in self._update:
                update(params, lr)
            if self._direction is None:
                self._move(lr)
            elif self._spans:
                self._apply(self._direction(grads, self._state, self.count), lr)
            elif self._move_by is None or not self._move_by(params, grads, self._state, self.count, lr):
                _subtract(params.flat, self._direction(grads, self._state, self.count), lr)
            for after, state in self._after:
                after(params, state, self.count)
        return loss.detach()

    def gradients(self, x: tuple[Tensor, ...], y: Tensor) -> Tensor:
        """Fill the flat gradients from a batch; return its mean loss, (*lanes,)."""
        self.grads.flat.zero_()
        if self.plan.micro_batches > 1:
            return self._accumulate(x, y)
        loss = self.forward_loss(x, y)
        loss.sum().backward() if loss.ndim else loss.backward()
        return loss

    def forward_loss(self, x: tuple[Tensor, ...], y: Tensor) -> Tensor:
        """Return the mean loss of a (micro-)batch, (*lanes,). Who looks into a step puts a function in its place."""
        if self._batch:
            batch = self.edited(x, y)
            return self.loss_of(self.forward(*batch.x), batch)
        loss = self._loss(self.forward(*x), y)
        return loss.mean(-1) if loss.ndim > self._row_axis else loss

    def edited(self, x: tuple[Tensor, ...], y: Tensor) -> Batch:
        """Return the batch as the techniques of the site `batch` leave it."""
        batch = Batch(x, y)
        for edit, generator in self._batch:
            edit(batch, generator)
        return batch

    def loss_of(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean loss of outputs, (*lanes,)."""
        loss = self._loss(outputs, batch.y)
        if batch.mixed_y is not None and batch.mix is not None:
            loss = batch.mix * loss + (1 - batch.mix) * self._loss(outputs, batch.mixed_y)
        return loss.mean(-1) if loss.ndim > self._row_axis else loss

    def _accumulate(self, x: tuple[Tensor, ...], y: Tensor) -> Tensor:
        """Add up the gradients of micro-batches, each weighed by its true share of the rows."""
        axis = self._row_axis
        rows = y.shape[axis]
        size = -(-rows // self.plan.micro_batches)
        flat = self.params.flat
        total = torch.zeros(flat.shape[:-1], device=y.device, dtype=flat.dtype)
        for *part_x, part_y in zip(*(t.split(size, axis) for t in (*x, y)), strict=True):
            loss = self.forward_loss(tuple(part_x), part_y) * (part_y.shape[axis] / rows)
            loss.sum().backward()
            total += loss.detach()
        return total

    def _apply(self, direction: Tensor, lr: Any) -> None:
        for span, where, factor in self._spans:
            _subtract(span, direction[..., where], lr * factor)

    @property
    def averaged(self) -> Tensor | None:
        """The averaged weights (*lanes, P) if a technique keeps some, else None."""
        for m in self.sites.members:
            if hasattr(m, "averaged"):
                return m.averaged(self.states[m.name])
        return None

    @contextlib.contextmanager
    def evaluated_weights(self) -> Iterator[None]:
        """Put the averaged weights in place of the raw ones, for as long as the context lasts."""
        averaged = self.averaged
        if averaged is None:
            yield
            return
        raw = self.params.flat.clone()
        self.params.flat.copy_(averaged)
        try:
            yield
        finally:
            self.params.flat.copy_(raw)


def _cannot_move(lr: Any) -> None:
    raise AssertionError("the optimizer has neither `direction` nor `move`")


def _subtract(weights: Tensor, direction: Tensor, lr: Any) -> None:
    if isinstance(lr, Tensor):
        weights.addcmul_(direction, lr, value=-1)
    else:
        weights.sub_(direction, alpha=lr)


def _loss_function(
    sites: Sites, objective: Objective, task: Task, *, per_row: bool, members: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the mean loss where nothing needs more, else the loss per row with the techniques around it."""
    wrapping = sites.at("loss")
    if not wrapping and not per_row and members == 1:
        return objective.mean
    if objective.each is None:
        names = ", ".join(m.name for m in wrapping) or "a model of several members"
        raise RecipeError(
            f"{names} needs the loss of each row, and the given loss returns only a mean. Give a loss with an "
            "attribute `reduction` (as those of torch.nn), or leave the technique out."
        )
    each = sites.wrap_loss(objective.each, task)
    return each if members == 1 else _over_members(each, task)


def _over_members(each: Each, task: Task) -> Each:
    """Let every member fit the target, and average their losses. Shapes: (*lanes, members, B, C) -> (*lanes, B)."""
    axis = -2 if task.is_classification else -3

    def averaged(outputs: Tensor, target: Tensor) -> Tensor:
        shape = outputs.shape[:-1] if task.is_classification else outputs.shape
        return each(outputs, target.unsqueeze(axis).expand(shape)).mean(-2)

    return averaged


def forward_of(model: Callable[..., Tensor], plan: HardwarePlan) -> Callable[..., Tensor]:
    """Return the forward call of a module (or of a stack) under the plan: compiled, in mixed precision, or plain."""
    call: Callable[..., Tensor] = model
    if plan.compile_mode is not None:
        call = torch.compile(model, mode=plan.compile_mode)
    if plan.autocast is None:
        return call
    context = torch.autocast(plan.device.type, dtype=plan.autocast)

    def mixed(*x: Tensor) -> Tensor:
        with context:
            outputs = call(*x)
        return outputs.float()

    return mixed

"""A copy of the model on which everything is measured, so that the loop's own model stays untouched."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainwell.watch.losses import LossCall
from trainwell.watch.parts import MOST_CALLS, Given, PartCall, Passed, Route, follow

Tree = Any


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda t: t,
    "log_softmax": lambda t: t.log_softmax(-1),
    "softmax": lambda t: t.softmax(-1),
    "sigmoid": torch.sigmoid,
    "log_softmax of axis 1": lambda t: t.log_softmax(1) if t.dim() > 1 else t,
    "softmax of axis 1": lambda t: t.softmax(1) if t.dim() > 1 else t,
    "logsigmoid": torch.nn.functional.logsigmoid,
    "tanh": torch.tanh,
    "exp": torch.exp,
    "log": lambda t: t.clamp(min=1e-30).log(),
    "log above zero": lambda t: (t.clamp(min=0) + torch.finfo(t.dtype).eps).log(),  # as skorch takes it
}
"""What loops do to the output of a model before they give it to a loss."""


@dataclasses.dataclass(frozen=True)
class Relation:
    """How the input of a loss follows from the output of the model.

    Args:
        index: which tensor of the output it is.
        shape: its own shape.
        view: its stride and offset, and the stride of the output that it looks into; `None` where it is a copy in
            another shape.
        same: whether it is that tensor itself.
        change: what a copy went through between the two, one of `CHANGES`.
        picked: of each row the number of the column that was taken, as the value of an action; `None` where all were.
    """

    index: int
    shape: tuple[int, ...]
    view: tuple[tuple[int, ...], int, tuple[int, ...]] | None
    same: bool
    change: str = "none"
    picked: tuple[int, ...] | None = None

    def apply(self, output: Tree) -> Tensor:
        """Return from another output what the loss was given from the first."""
        found = tensors_of(output)
        if self.index >= len(found):
            raise LookupError("the output of the model changed its form")
        new = found[self.index]
        if self.same:
            return new
        if self.picked is not None:
            columns = torch.tensor(self.picked, device=new.device)
            if new.dim() != 2 or len(new) != len(columns):
                raise LookupError("the output of the model changed its shape")
            return new.gather(1, columns[:, None]).reshape(self.shape)
        if self.view is not None and new.stride() == self.view[2]:
            stride, offset, _ = self.view
            return new.as_strided(self.shape, stride, offset + new.storage_offset())
        if new.numel() != math.prod(self.shape):
            raise LookupError("the output of the model changed its shape")
        return CHANGES[self.change](new).reshape(self.shape)


@dataclasses.dataclass
class Forward:
    """What the root module, or its parts one by one, were called with, and what they need to be called so again."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    training: bool
    rng: Tensor
    device_rng: Tensor | None = None
    autocast: tuple[str, torch.dtype] | None = None
    output: Tree = None
    relations: list[Relation] | None = None
    """Of each call to the output, where the output itself is not kept."""
    repeatable: bool = True
    calls: list[LossCall] = dataclasses.field(default_factory=list)
    inside: int = 0
    """How many of the calls came from within the forward."""
    edits: bool = False
    """Whether the model edits its inputs in place, so that each of its calls needs copies of them."""
    route: Route | None = None
    """The calls of its parts, where the loop does not call the root; `args` are then what came from outside."""
    by_hand: bool = False
    """Whether a part was fed with what the loop computed from the others, or edits what it is fed with: the copy cannot
    repeat it."""

    def __post_init__(self) -> None:
        self._entered: list[tuple[Tensor, int]] = []
        self._versions = [(t, _version(t)) for t in self.tensors]

    @property
    def tensors(self) -> list[Tensor]:
        return [t for t in tensors_of((self.args, self.kwargs)) if t.dim()]

    @property
    def is_edited(self) -> bool:
        """Whether an input was written to since the model was called with it."""
        return any(_version(tensor) != version for tensor, version in self._versions)

    def own_inputs(self) -> None:
        """Hold copies of the inputs, as they are now."""
        self.args, self.kwargs = mapped(_own, self.args), mapped(_own, self.kwargs)
        self.edits, self._versions = True, []

    def inputs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what the model can be called with."""
        if self.edits:
            return mapped(_own, self.args), mapped(_own, self.kwargs)
        return self.args, self.kwargs

    def is_over(self, name: str) -> bool:
        """Whether a call of a part begins another batch."""
        first = not self.route or self.route[0].name == name
        return self.route is None or (first and (bool(self.calls) or not torch.is_grad_enabled()))

    def enter(self, given: Tree) -> None:
        """Note what a part is called with, as it is before the call."""
        self._entered = [(t, _version(t)) for t in tensors_of(given)]

    def add(self, name: str, args: Any, kwargs: Any, output: Tree) -> None:
        """Note that a part was called."""
        assert self.route is not None
        edited = any(_version(tensor) != version for tensor, version in self._entered)
        self.by_hand = self.by_hand or edited or len(self.route) >= MOST_CALLS
        if self.by_hand and self.route:  # the first call tells the rows
            return
        call = PartCall(name, mapped(self._source, args), mapped(self._source, kwargs))
        self.route, self.output = (*self.route, call), [output, *(self.output or ())]

    def _source(self, tensor: Tensor) -> Given | Passed:
        """Return where an argument of a part came from."""
        with contextlib.suppress(LookupError):
            found = relation(tensor, self.output)
            if found.same or found.view is not None:
                source = tensors_of(self.output)[found.index]
                return Passed(found, source.requires_grad and not tensor.requires_grad)
        self.by_hand = self.by_hand or tensor.grad_fn is not None
        self.args, self._versions = (*self.args, tensor), [*self._versions, (tensor, _version(tensor))]
        return Given(len(self.args) - 1)

    def through(self, model: nn.Module) -> Tree:
        """Call another model as this one was called.

        Raises:
            LookupError: what its parts were called with was computed by the loop.
        """
        if self.by_hand:
            raise LookupError("the loop itself computes with what the parts of the model return")
        args, kwargs = self.inputs()
        return model(*args, **kwargs) if self.route is None else follow(self.route, model, args)

    @property
    def rows(self) -> int:
        """Samples in the batch."""
        return int(self.tensors[0].shape[0]) if self.tensors else 0


@contextlib.contextmanager
def same_streams() -> Iterator[None]:
    """Give the global random streams back as they were."""
    python, numbers, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    accelerator = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)
        torch.set_rng_state(torch_state)
        if accelerator is not None:
            torch.cuda.set_rng_state(accelerator)


@contextlib.contextmanager
def _as_at(forward: Forward) -> Iterator[None]:
    """Let torch's streams stand as they did at that forward; the caller gives them back."""
    torch.set_rng_state(forward.rng)
    if forward.device_rng is not None:
        torch.cuda.set_rng_state(forward.device_rng)
    yield


class Replica:
    """A deep copy without the user's hooks; its weights are set before each use."""

    def __init__(self, model: nn.Module) -> None:
        if any(isinstance(m, torch.jit.ScriptModule) for m in model.modules()):
            raise TypeError("a module in TorchScript takes no hooks")
        self.model = _copied(model)
        self.modules = {name: m for name, m in self.model.named_modules() if name}
        self.params = list(self.model.parameters())
        self.buffers = list(self.model.buffers())
        self.all_modules = list(self.model.modules())

    def listeners(self, name: str) -> list[Callable[..., Any]]:
        """Return what was hung into a module of the copy to hear its output."""
        return [h for h in self.modules[name]._forward_hooks.values() if not _is_torchs(h)]

    @torch.no_grad()
    def take(self, model: nn.Module) -> None:
        """Copy weights, buffers, modes and which parameters learn."""
        self._copy(self.params, list(model.parameters()))
        self._copy(self.buffers, list(model.buffers()))
        for own, other in zip(self.params, model.parameters(), strict=True):
            if own.requires_grad != other.requires_grad:
                own.requires_grad_(other.requires_grad)
        for mine, its in zip(self.all_modules, model.modules(), strict=True):
            mine.training = its.training

    @torch.no_grad()
    def take_params(self, model: nn.Module) -> None:
        """Copy the weights alone."""
        self._copy(self.params, list(model.parameters()))

    @staticmethod
    def _copy(own: list[Any], other: list[Any]) -> None:
        if [t.shape for t in own] != [t.shape for t in other]:
            raise RuntimeError("the model changed its parameters")
        if own:
            torch._foreach_copy_(own, [t.detach() for t in other])

    def run(self, forward: Forward, heard: list[LossCall], calls: list[LossCall] | None = None) -> Tensor:
        """Call the copy as the model was called and return the mean loss of that batch.

        Args:
            heard: where the watcher puts the losses that the copy computes within its forward.
        """
        heard.clear()
        with _as_at(forward), _autocast(forward):
            output = forward.through(self.model)
            losses = [call.value for call in heard[: forward.inside]]
            outside = (calls if calls is not None else forward.calls)[forward.inside :]
            known = forward.relations or [relation(c.input, forward.output) for c in outside]
            # where rows are judged, the first of several losses is asked for alone
            losses += [c.again(r.apply(output)) for c, r in zip(outside, known, strict=calls is None)]
        if not losses:
            raise LookupError("no loss was seen for this batch")
        return torch.stack([loss.float().mean() for loss in losses]).sum()

    @contextlib.contextmanager
    def mode(self, training: bool) -> Iterator[None]:
        """Run the copy in training or in evaluation mode."""
        before = [m.training for m in self.all_modules]
        self.model.train(training)
        try:
            yield
        finally:
            for module, was in zip(self.all_modules, before, strict=True):
                module.training = was


def _copied(model: nn.Module) -> nn.Module:
    with same_streams():
        twin = copy.deepcopy(model)
    for module in twin.modules():
        for table in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
            # weight and spectral norm compute their weight in a hook: those stay
            for key in [k for k, hook in table.items() if not _is_torchs(hook)]:
                del table[key]
    for param in twin.parameters():
        param.grad = None
    return twin


def _is_torchs(hook: Any) -> bool:
    return type(hook).__module__.startswith("torch.nn.utils")


def _autocast(forward: Forward) -> contextlib.AbstractContextManager[Any]:
    if forward.autocast is None:
        return contextlib.nullcontext()
    kind, dtype = forward.autocast
    # without the cache: the copy's weights change between two calls in one context
    return torch.autocast(kind, dtype=dtype, cache_enabled=False)


def tensors_of(tree: Tree) -> list[Tensor]:
    """Return the tensors of an output, in a fixed order."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, dict):
        return [t for v in tree.values() for t in tensors_of(v)]
    if isinstance(tree, list | tuple):
        return [t for v in tree for t in tensors_of(v)]
    return []


def mapped(change: Callable[[Tensor], Any], tree: Tree) -> Any:
    """Return a tree of arguments with its tensors changed; what is no plain container stays as it is."""
    if isinstance(tree, Tensor):
        return change(tree)
    if type(tree) in (list, tuple):
        return type(tree)(mapped(change, v) for v in tree)
    if type(tree) is dict:
        return {k: mapped(change, v) for k, v in tree.items()}
    return tree


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _own(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


def relation(input: Tensor, output: Tree) -> Relation:
    """Find out how the input of a loss follows from the output: itself, a view, a copy, changed, or one number a row.

    Raises:
        LookupError: it is none of these.
    """
    olds, shape = tensors_of(output), tuple(input.shape)
    for i, old in enumerate(olds):
        if old is input:
            return Relation(i, shape, None, True)
    for i, old in enumerate(olds):
        same = old.untyped_storage().data_ptr() == input.untyped_storage().data_ptr()
        if same and old.dtype == input.dtype:
            offset = int(input.storage_offset() - old.storage_offset())
            return Relation(i, shape, (input.stride(), offset, old.stride()), False)
    for i, old in enumerate(olds):
        if old.numel() == input.numel():
            change = _change(input, old)
            if change:
                return Relation(i, shape, None, False, change)
    for i, old in enumerate(olds):
        picked = _picked(input, old)
        if picked:
            return Relation(i, shape, None, False, picked=picked)
    raise LookupError("the input of the loss is not the output of the model")


@torch.no_grad()
def _picked(input: Tensor, output: Tensor) -> tuple[int, ...]:
    """Return which column each row of an output gave one number of; nothing where that is not sure."""
    if output.dim() != 2 or output.shape[1] < 2 or input.numel() != len(output) or not len(output):
        return ()
    given = input.detach().reshape(-1, 1)
    equal = (output.detach() == given) | (output.detach().isnan() & given.isnan())
    # equal columns could be any of them; of a run that blew up any is as good
    once = (equal.sum(1) == 1) | (equal.any(1) & ~given[:, 0].isfinite())
    return tuple(equal.int().argmax(1).tolist()) if bool(once.all()) else ()


@torch.no_grad()
def _change(input: Tensor, output: Tensor) -> str:
    """Return by which of the usual changes one tensor became the other, or nothing."""
    wanted = input.detach().float().reshape(-1)
    for name, change in CHANGES.items():
        found = change(output.detach().float()).reshape(-1)
        if torch.allclose(found, wanted, rtol=1e-3, atol=1e-5, equal_nan=True):
            return name
    return ""

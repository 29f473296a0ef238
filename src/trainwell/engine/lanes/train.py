"""Trains many recipes and seeds: those of one structure together in a stack, the others one after the other."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainwell.engine.assemble import Source, assemble
from trainwell.engine.feed import XY
from trainwell.engine.lanes.bits import cut_places, is_cut, places_of
from trainwell.engine.lanes.chain import ChainNetwork
from trainwell.engine.lanes.choose import Choice, choose, is_large, why_too_large
from trainwell.engine.lanes.garbage import few_to_collect
from trainwell.engine.lanes.lane import Lane, Structure
from trainwell.engine.lanes.members import align, choices
from trainwell.engine.lanes.memory import affordable
from trainwell.engine.lanes.objective import stack_objective
from trainwell.engine.lanes.paused import PAUSE, Paused, cut_out, go_on, pause_training
from trainwell.engine.lanes.spec import Build, LaneResult, LaneSpec
from trainwell.engine.lanes.stack import Network, Setting, Stack
from trainwell.engine.lanes.vmapped import VmappedNetwork
from trainwell.engine.step import forward_of
from trainwell.engine.streams import Streams, derive, kept_streams, seeded
from trainwell.engine.training import Row, Training, Watcher
from trainwell.values.errors import NonFiniteError, TrainingError, UsageError
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task

MAX_LANES = 64
"""Lanes of a stack. Source: benchmarks/lanes.py: the cost of a lane is least between 16 and 64."""

MOST_CHECKED = 16
"""Lanes of a chain whose outputs are compared with those of their own modules."""

Tell = Callable[[LaneResult], None]
OnEpoch = Callable[[LaneSpec, Row], str | None]


def train_lanes(
    runs: Iterable[LaneSpec | None],
    data: Source,
    task: Task | None,
    *,
    model: nn.Module | Build,
    loss: Any = None,
    device: torch.device | None = None,
    max_lanes: int = MAX_LANES,
    tell: Tell = lambda result: None,
    on_epoch: OnEpoch = lambda spec, row: None,
    say: Callable[[str], None] = lambda text: None,
) -> list[LaneResult]:
    """Train every run; return their results in the order of the runs.

    Each result equals that of the run trained alone with its seed, to rounding. Runs that share their modules and
    optimizer stand in one stack, whatever their doses, seeds, rows and schedules; a run that ends gives its place to
    the next one of its kind.

    Args:
        runs: the runs, or an iterator that is asked for the next one when there is room: a search. What it yields may
            depend on what `tell` has heard; None means that there is nothing to start before the next `tell`.
        data: the parts of the data as tensors.
        task: what is learned; None for a user's own loss.
        model: a module that every run copies, or a function (recipe, generator) -> module.
        loss: a user's own loss (outputs, target) -> scalar.
        max_lanes: networks in one stack, at most.
        tell: told of every result as soon as it is there.
        on_epoch: told of every epoch's row; what it returns, if anything, ends the run, as the reason; `PAUSE`
            keeps its state, so that `LaneSpec(..., resume=result.paused)` goes on.
        say: told what was chosen and why.

    Raises:
        UsageError: the data are not tensors, or a recipe does not fit.
    """
    if not isinstance(data.train, tuple) or not (data.val is None or isinstance(data.val, tuple)):
        raise UsageError("lanes need data in memory, tensors (x, y); a loader can only feed one network.")
    device = device or torch.device("cpu")
    build = model if not isinstance(model, nn.Module) else _copies_of(model)
    with few_to_collect():
        return _Work(runs, data, task, build, loss, device, max_lanes, tell, on_epoch, say).run()


def _copies_of(model: nn.Module) -> Build:
    return lambda recipe, generator: copy.deepcopy(model)


class _Work:
    """The runs that wait, and what they are trained with."""

    def __init__(
        self, runs: Iterable[LaneSpec | None], data: Source, task: Task | None, build: Build, loss: Any,
        device: torch.device, max_lanes: int, tell: Tell, on_epoch: OnEpoch, say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._asks: Iterator[LaneSpec | None] = iter(runs)
        self._data, self._task, self._build, self._loss, self._device = data, task, build, loss, device
        self._train, self._val = _on(data.train, device), _on(data.val, device)
        shapes = {part[0][0].shape[1:] for part in (self._train, self._val) if part is not None}
        self._shape = shapes.pop() if len(shapes) == 1 else None  # of a row
        self._max_lanes, self._tell, self._on_epoch, self._say = max_lanes, tell, on_epoch, say
        self._waiting: list[Lane] = []
        self._told = ""
        self._order: list[LaneSpec] = []
        self._results: dict[int, LaneResult] = {}
        self._limits: dict[Structure, int] = {}
        self._large: dict[Any, str] = {}  # by model and batch: why networks of that size are trained alone
        self._tried: Stack | None = None  # the stack with which a setting was tried

    def run(self) -> list[LaneResult]:
        """Train until nothing waits and nothing more is asked for."""
        while self._pull(self._max_lanes) or self._waiting:
            limit = min((self._limit(lane) for lane in self._waiting), default=self._max_lanes)
            count = Counter(lane.structure for lane in self._waiting)
            self._waiting.sort(key=lambda lane: -count[lane.structure])  # the fullest stack first
            group = self._take_fitting([], limit)
            if len(group) == 1 and group[0].spec.resume is None:
                self._train_alone(
                    group[0].spec,
                    "there is memory for one at a time"
                    if limit == 1
                    else "no other run shares its structure",
                )
            elif group:
                self._train_stack(group)
        return [self._results[id(spec)] for spec in self._order]

    def _pull(self, count: int, beside: Lane | None = None) -> bool:
        """Ask for runs until so many wait; say whether one came.

        Args:
            beside: a lane of a stack that has room: so many of its kind are to wait, or a stack full of others.
        """
        came, most = False, count if beside is None else self._max_lanes
        while len(self._waiting) < most and (beside is None or self._of_kind(beside) < count):
            spec = next(self._asks, None)
            if spec is None:
                break
            came = True
            self._order.append(spec)
            reason = obstacle(spec.recipe) or _checked_resume(spec) or self._large.get(_size_of(spec), "")
            lane = None if reason else Lane(spec, self._build, self._train, self._device)
            if lane is not None and lane.structure not in self._limits and spec.resume is None:
                reason = self._large[_size_of(spec)] = why_too_large(lane, self._device)
            if lane is None or reason:
                self._train_alone(spec, reason)
            else:
                self._waiting.append(lane)
                most = min(most, self._limit(lane))
        return came

    def _of_kind(self, like: Lane) -> int:
        return sum(lane.structure == like.structure for lane in self._waiting)

    def _limit(self, lane: Lane) -> int:
        """Return how many networks like this one may stand in a stack."""
        if lane.structure not in self._limits:
            count, told = affordable(lane, self._device)
            self._limits[lane.structure] = min(self._max_lanes, count)
            if count < self._max_lanes:
                self._say(f"memory for at most {count} networks in one stack: {told}")
        return self._limits[lane.structure]

    def _take_fitting(self, lanes: list[Lane], count: int) -> list[Lane]:
        """Take up to `count` waiting lanes that can stand in one stack with these."""
        taken, left = list[Lane](), list[Lane]()
        kinds = {kind_of(lane): lane for lane in lanes}  # one of a kind decides for all of it
        for lane in self._waiting:
            kind = kind_of(lane)
            if len(taken) < count and (kind in kinds or fits(list(kinds.values()), lane)):
                kinds[kind] = lane
                taken.append(lane)
            else:
                left.append(lane)
        self._waiting = left
        return taken

    def _train_stack(self, group: list[Lane]) -> None:
        made = self._setting(group)
        choice = self._choice(group, made) if isinstance(made, Setting) else Choice(0, made)
        if isinstance(made, str) or not choice.lanes:
            for lane in group:
                self._train_alone(lane.spec, choice.told)
            return
        self._waiting[:0] = group[choice.lanes :]
        group = group[: choice.lanes]
        if choice.told:
            self._say(f"measured: {choice.told}")
        if isinstance(made.network, ChainNetwork) and (reason := made.network.why_not_compiled):
            self._say(f"layers by torch: {reason}")
        alone = choice.lanes == 1
        self._say("stacks of one network each" if alone else f"{len(group)} networks in one stack")
        ready = self._tried is not None and set(self._tried.lanes) == set(group)
        stack: Stack | None = self._tried if ready else Stack(group, made)
        self._tried = None
        while stack is not None:
            ended = stack.advance()
            for lane in ended:
                asked = lane.state.stop_reason == PAUSE
                paused = cut_out(stack, stack.lanes.index(lane)) if asked else None
                self._report(lane.result(stack.weights_of(lane), "lanes", paused))
            stack = self._restacked(stack, ended, max(choice.lanes, len(group)))

    def _choice(self, group: list[Lane], setting: Setting) -> Choice:
        """Return in what number these lanes are trained together; measured, where the work is worth it."""
        if any(lane.spec.resume is not None for lane in group) or not is_large(group):
            return Choice(self._limit(group[0]), "") if len(group) > 1 else Choice(1, "")
        with kept_streams(self._device):
            made = choose(group, setting, lambda: self._assembled(group[0].spec, Watcher()), self._device)
        return made if made.lanes else Choice(0, f"a stack does not pay: {made.told}")

    def _restacked(self, stack: Stack, ended: list[Lane], most: int) -> Stack | None:
        """Take out the lanes that ended and let others in, which begin with an epoch."""
        left = [lane for lane in stack.lanes if lane not in ended]
        room = most - len(left) if stack.at == 0 and ended else 0
        if room:
            self._pull(room, stack.lanes[0])
            left += self._take_fitting(left or stack.lanes, room)
        if not left:
            return None
        if not ended and not room:
            return stack
        return Stack(left, self._new_setting(stack, left), stack)

    def _new_setting(self, stack: Stack, lanes: list[Lane]) -> Setting:
        made = stack.setting
        if not made.places and any(lane.dropouts for lane in lanes):
            fresh = self._setting(lanes)
            assert isinstance(fresh, Setting)
            return fresh
        return made

    def _setting(self, lanes: list[Lane]) -> Setting | str:
        """Return what the lanes share, or why they cannot be a stack."""
        like = next((lane for lane in lanes if lane.dropouts), lanes[0])
        tokens, lengths, places = self._train[0][0], None, places_of(like.model, like.feed.sample(2))
        if like.dropouts and len(self._train[0]) == 1 and is_cut(like.model, tokens):
            found = cut_places(like.model, tokens)
            if found is None:
                return "dropout draws as many masks as the longest text of a batch has words, each network for itself"
            places, lengths = found, (tokens != 0).sum(1).clamp_(min=1)
        network: Network = (
            VmappedNetwork(like.model)
            if like.chain is None
            else ChainNetwork(like.model, like.chain, like.plan.autocast, self._shape)
        )
        setting = Setting(
            self._train, self._val, self._task, stack_objective(self._task, self._loss), network,
            places, lambda lane, row: self._on_epoch(lane.spec, row), lengths,
        )  # fmt: skip
        self._tried = Stack(lanes, setting)
        return why_not_stack(self._tried) or setting

    def _train_alone(self, spec: LaneSpec, reason: str) -> None:
        if reason != self._told:
            self._told = reason
            self._say(f"plain engine: {reason}")
        with seeded(derive(spec.seed, "torch"), self._device):
            result = self._plain(spec, reason)
        self._report(result)

    def _plain(self, spec: LaneSpec, reason: str) -> LaneResult:
        teller = Teller(spec, self._on_epoch)
        training = self._assembled(spec, teller)
        if spec.resume is not None:
            go_on(training, spec.resume)
        try:
            training.run()
        except NonFiniteError as error:
            self._say(f"a run ended: {error}")
        except TrainingError:  # the validation loss was never finite: best_epoch 0 says so
            pass
        state = training.state
        return LaneResult(
            spec, training.model.eval(), state.history, state.best_epoch, state.best_value, state.stop_reason,
            state.step, f"plain: {reason}", teller.paused,
        )  # fmt: skip

    def _assembled(self, spec: LaneSpec, watcher: Watcher) -> Training:
        """Return the plain training of a run."""
        train, val = self._train, self._val
        if spec.val_rows is not None:
            val = _rows_of(self._train, spec.val_rows)
        if spec.train_rows is not None:
            train = _rows_of(self._train, spec.train_rows)
        module = self._build(spec.recipe, Streams(spec.seed).generator("init"))
        return assemble(
            module, spec.recipe, Source(train, val, self._data.columns), task=self._task, loss=self._loss,
            seed=spec.seed, device=self._device, watcher=watcher,
        )  # fmt: skip

    def _report(self, result: LaneResult) -> None:
        self._results[id(result.spec)] = result
        self._tell(result)


class Teller(Watcher):
    """Passes the rows of a plain run on, and ends it where it is asked to."""

    def __init__(self, spec: LaneSpec, on_epoch: OnEpoch) -> None:
        self._spec, self._on_epoch = spec, on_epoch
        self.paused: Paused | None = None

    def on_epoch(self, training: Training, row: Row) -> None:
        asked = self._on_epoch(self._spec, row)
        if asked and not training.state.stop_reason:
            training.state.stop_reason = asked
            if asked == PAUSE:
                self.paused = pause_training(training, self._spec.seed)


def _size_of(spec: LaneSpec) -> Any:
    """Return what decides how large a step is."""
    return spec.recipe.model, spec.recipe.batch_size


def kind_of(lane: Lane) -> tuple[Any, ...]:
    """Return all of a lane that decides with which others it can stand in a stack."""
    techniques = tuple((type(t), choices(t)) for t in lane.techniques)
    return lane.structure, techniques, len(lane.dropouts)


def fits(lanes: list[Lane], lane: Lane) -> bool:
    """Whether a lane can stand in one stack with these."""
    if not lanes:
        return True
    if lane.structure != lanes[0].structure:
        return False
    layers = {len(other.dropouts) for other in [*lanes, lane] if other.dropouts}
    return len(layers) <= 1 and align([other.techniques for other in [*lanes, lane]]) is not None


def _checked_resume(spec: LaneSpec) -> str:
    """Make sure that a paused run goes on as it began; return why it must do so alone, or an empty string."""
    paused = spec.resume
    if paused is None:
        return ""
    if (paused.recipe, paused.seed) != (spec.recipe, spec.seed):
        raise UsageError(
            f"a paused run goes on with its own recipe and seed: it was paused with seed {paused.seed}, the run asks "
            f"for seed {spec.seed}{'' if paused.recipe == spec.recipe else ' and another recipe'}. Leave `resume` out "
            "to start anew."
        )
    return "it was paused in the plain engine" if paused.engine == "plain" else ""


def obstacle(recipe: Recipe) -> str:
    """Return why a recipe cannot be trained in a stack; empty if nothing is in the way."""
    if recipe.seconds is not None:
        return "a budget of time is shared by all lanes of a stack"
    if not hasattr(recipe.optimizer, "direction"):
        return "the optimizer is the user's own"
    if any(hasattr(t, "hardware") and t.name == "compile" for t in recipe.active()):
        return "it is compiled"
    return ""


def why_not_stack(stack: Stack) -> str:
    """Try the network on two rows; return why it cannot be used, or an empty string.

    The outputs of every lane must be those of its own module: a module may hold something that is no parameter.
    """
    lanes, network = stack.lanes, stack.setting.network
    x = tuple(t.unsqueeze(0).expand(len(lanes), *t.shape) for t in lanes[0].feed.sample(4))
    buffers = {n: t.clone() for n, t in stack.buffers.items()}
    try:
        with torch.no_grad():
            if stack.bits is not None:
                stack.bits.draw([4], lanes=[])
            network(stack.weights, buffers, x, stack.bits, training=True)
            outputs = network(stack.weights, stack.buffers, x, training=False)
    except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:
        return f"torch.func cannot batch it: {str(error).splitlines()[0]}"
    step = 1 if lanes[0].chain is None else -(-len(lanes) // MOST_CHECKED)  # of a chain every module is known
    for lane, output in zip(lanes[::step], outputs[::step], strict=True):
        lane.model.eval()
        with torch.no_grad():
            if lane.spec.resume is not None:  # its first weights are not those of the module
                k = lanes.index(lane)
                for name, tensor in (*lane.model.named_parameters(), *lane.model.named_buffers()):
                    tensor.copy_((stack.weights | stack.buffers)[name][k])
            own = forward_of(lane.model, lane.plan)(*(t[0] for t in x))
        near = 1e-3 if lane.plan.autocast is None else 3e-2
        if not torch.allclose(output.to(own.dtype), own, rtol=near, atol=near / 100, equal_nan=True):
            return "batched, the modules give other outputs than one by one"
    return ""


def _on(part: Any, device: torch.device) -> Any:
    return None if part is None else (tuple(t.to(device) for t in part[0]), part[1].to(device))


def _rows_of(part: XY, rows: Tensor) -> XY:
    return tuple(t[rows] for t in part[0]), part[1][rows]

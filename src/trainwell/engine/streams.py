"""Named streams of random numbers: each depends on (seed, name) only, and none shifts another."""

from __future__ import annotations

import contextlib
import hashlib
import json
import operator
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from trainwell.values.errors import RunError


def derive(seed: int, name: str, *counters: int) -> int:
    """Return a number in [0, 2**63) that depends on nothing but the arguments, on every platform."""
    text = json.dumps([operator.index(seed), name, *map(operator.index, counters)])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class Streams:
    """The random streams of one training (of one lane, where several are trained together).

    Args:
        seed: the seed of the run, any whole number.
        device: where the numbers are drawn. Other devices draw other numbers.
    """

    def __init__(self, seed: int, device: str | torch.device = "cpu") -> None:
        self.seed, self.device = seed, torch.device(device)
        self._generators: dict[str, torch.Generator] = {}

    def generator(self, name: str) -> torch.Generator:
        """Return the generator of this name, always the same object; made when it is first asked for."""
        if name not in self._generators:
            self._generators[name] = torch.Generator(self.device).manual_seed(derive(self.seed, name))
        return self._generators[name]

    def order(self, num_rows: int, epoch: int) -> Tensor:
        """Return the order of the rows in an epoch: a function of seed, epoch and number of rows alone.

        Shapes: returns (num_rows,) int64 on the device of the streams, the same on every device.
        """
        generator = torch.Generator().manual_seed(derive(self.seed, "order", epoch))
        return torch.randperm(num_rows, generator=generator).to(self.device)

    def state(self) -> dict[str, Tensor]:
        """Return the state of every generator by name, as uint8 tensors for a checkpoint."""
        return {name: generator.get_state() for name, generator in self._generators.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Set every generator to its saved state, in place; one that was not saved starts anew.

        Raises:
            RunError: a state does not fit, as when it was saved on another kind of device.
        """
        for name, generator in self._generators.items():
            if name not in state:
                generator.manual_seed(derive(self.seed, name))
        for name, saved in state.items():
            try:
                self.generator(name).set_state(saved.cpu())
            except (RuntimeError, TypeError) as error:
                raise RunError(
                    f"the random stream '{name}' was saved in another form ({saved.numel()} bytes) than "
                    f"{self.device} has: another kind of device or version of torch. "
                    "Resume where the run was started."
                ) from error


def global_streams(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's own streams, from which a user's modules draw on this device."""
    states = {"torch": torch.get_rng_state()}
    if device.type != "cpu":
        states[f"torch.{device.type}"] = torch.get_device_module(device).get_rng_state()
    return states


def restore_global(states: Mapping[str, Tensor]) -> None:
    """Put the states back that `global_streams` returned."""
    for name, state in states.items():
        kind = name.partition(".")[2]
        if kind:
            torch.get_device_module(kind).set_rng_state(state.cpu())
        else:
            torch.set_rng_state(state.cpu())


@contextlib.contextmanager
def kept_streams(device: torch.device) -> Iterator[None]:
    """Put torch's own streams back when the context ends, as if nothing had been drawn in it."""
    outer = global_streams(device)
    try:
        yield
    finally:
        restore_global(outer)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's own streams for as long as the context lasts; the outer ones go on untouched.

    Args:
        device: whose streams are seeded, beside that of the CPU; those of other devices are not touched.
    """
    device = device or torch.device("cpu")
    with kept_streams(device):
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would seed every accelerator
        if device.type != "cpu":
            torch.get_device_module(device).manual_seed(seed)
        yield

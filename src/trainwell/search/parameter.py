"""One parameter of a space: a number on a scale, perhaps with an off value beside it, or one of several options."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from trainwell.values.errors import UsageError

OFF_SHARE = 0.25
"""Share of the draws that turn off what can be off: a quarter, so that three of four tell something of the dose."""

LIKELY_SHARE = 0.75
"""Share of the draws inside the likely range, where there is one; the rest go to all of the range alike."""

OFF_GAP = 0.15
"""How far beside the end of its scale, in units of the scale, a searcher that measures distances puts the off value."""


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One thing that is searched.

    Args:
        name: as in `--set`: `lr`, `batch_size`, `model.width`, `dropout.rate`, `optimizer`.
        low, high: of a number, both inclusive.
        log: draw and measure on a logarithmic scale.
        integer: only whole numbers.
        options: the values, where there are only some; `low` and `high` are then not used.
        ordered: whether the options lie on a scale in their order (numbers: on their own, logarithmic with `log`).
        off: a value outside the range that stands for nothing at all, e.g. 0 beside [1e-6, 1]; None for none.
        default: the value of the recipe that is searched around.
        likely: the part of the range where practice mostly finds the best.
        when: (name, values): it only counts where that parameter has one of these values.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False
    options: tuple[Any, ...] = ()
    ordered: bool = False
    off: Any = None
    default: Any = None
    likely: tuple[float, float] | None = None
    when: tuple[str, tuple[Any, ...]] | None = None

    def __post_init__(self) -> None:
        if self.options:
            if len(set(map(repr, self.options))) < len(self.options):
                raise UsageError(f"space: {self.name} has an option twice: {list(self.options)}.")
            return
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise UsageError(f"space: {self.name} needs low <= high, got [{self.low:g}, {self.high:g}].")
        if self.log and self.low <= 0:
            raise UsageError(
                f"space: {self.name} has a logarithmic scale, which needs low > 0, got {self.low:g}. "
                "Zero beside a logarithmic range is its off value: off=0."
            )

    @property
    def is_categorical(self) -> bool:
        """Whether its values have no order."""
        return bool(self.options) and not self.ordered

    @property
    def size(self) -> float:
        """How many values it has; infinite for a real number."""
        if self.options:
            return len(self.options)
        count = math.floor(self.high) - math.ceil(self.low) + 1 if self.integer else math.inf
        return (count if self.low < self.high else 1) + (self.off is not None)

    def place(self, value: Any) -> float:
        """Return where a value stands on the scale [0, 1]; an off value stands beside it; options by index."""
        if self.options:
            return self._place_option(value)
        if self.off is not None and value == self.off:
            return 1 + OFF_GAP if self.off > self.high else -OFF_GAP
        if self.low == self.high:
            return 0.5
        scale = math.log if self.log else float
        return (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))

    def _place_option(self, value: Any) -> float:
        index = self.options.index(value)
        if self.is_categorical or len(self.options) == 1:
            return float(index)
        if all(isinstance(o, int | float) and not isinstance(o, bool) for o in self.options):
            scale = math.log if self.log else float
            first, last = scale(self.options[0]), scale(self.options[-1])
            return (scale(value) - first) / (last - first)
        return index / (len(self.options) - 1)

    def draw(self, share: float) -> Any:
        """Return the value at a share in [0, 1) of its prior (the inverse of its distribution function)."""
        if self.options:
            return self.options[min(int(share * len(self.options)), len(self.options) - 1)]
        if self.off is not None:
            if share < OFF_SHARE:
                return self.off
            share = (share - OFF_SHARE) / (1 - OFF_SHARE)
        place = self._likely_place(share)
        return self._whole(place) if self.integer else self.at(place)

    def _whole(self, place: float) -> int:
        """Return a whole number at a place of a scale that is half a step longer at both ends.

        So the numbers at the ends come as often as the others.
        """
        low, high = self.low - 0.499, self.high + 0.499
        value = low * (high / low) ** place if self.log else low + place * (high - low)
        return int(min(self.high, max(self.low, round(value))))

    def _likely_place(self, share: float) -> float:
        if self.likely is None:
            return share
        a, b = (min(1.0, max(0.0, self.place(v))) for v in self.likely)
        if b <= a:
            return share
        # density: LIKELY_SHARE over [a, b], the rest over [0, 1]
        base = 1 - LIKELY_SHARE
        if share < base * a:
            return share / base
        inside = LIKELY_SHARE + base * (b - a)
        if share < base * a + inside:
            return a + (share - base * a) / inside * (b - a)
        return min(1.0, b + (share - base * a - inside) / base)

    def at(self, place: float) -> Any:
        """Return the allowed value nearest to a place on the scale."""
        place = min(1.0, max(0.0, place))
        if self.log:
            value = self.low * (self.high / self.low) ** place
        else:
            value = self.low + place * (self.high - self.low)
        value = min(self.high, max(self.low, value))
        return round(value) if self.integer else value

    def grid(self, count: int) -> list[Any]:
        """Return up to `count` values, evenly over the scale; all options, and the off value first."""
        if self.options:
            return list(self.options)
        off = [self.off] if self.off is not None else []
        left = max(1, count - len(off))
        places = [0.5] if left == 1 else [i / (left - 1) for i in range(left)]
        return list(dict.fromkeys([*off, *map(self.at, places)]))

    def check(self, value: Any) -> Any:
        """Return the value if it belongs to the parameter.

        Raises:
            UsageError: it does not.
        """
        if self.options:
            if value in self.options:
                return value
            raise UsageError(f"space: {self.name} is one of {list(self.options)}, got {value!r}.")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.off is not None and value == self.off:
            return value
        whole = not self.integer or (number and value == int(value))
        if not (number and whole and self.low <= value <= self.high):
            raise UsageError(f"space: {self.name} lies in [{self.low:g}, {self.high:g}], got {value!r}.")
        return value

    def at_bound(self, value: Any) -> str:
        """Return `low` or `high` where a number stands within 2 % of an end of its scale, else the empty string."""
        if self.is_categorical or self.size < 3 or (self.off is not None and value == self.off):
            return ""
        place = self.place(value)
        return "low" if place < 0.02 else "high" if place > 0.98 else ""

    def widened(self, end: str) -> Parameter:
        """Return the parameter with room beyond an end: one more option, a decade, or half of its length."""
        if self.options:
            near, last = (self.options[:2][::-1]) if end == "low" else self.options[-2:]
            more = last * last / near if self.log and near else 2 * last - near
            more = round(more) if isinstance(last, int) else more
            options = (more, *self.options) if end == "low" else (*self.options, more)
            return dataclasses.replace(self, options=options)
        if self.log:
            new = self.low / 10 if end == "low" else self.high * 10
        else:
            step = (self.high - self.low) / 2
            new = self.low - step if end == "low" else self.high + step
        new = round(new) if self.integer else float(f"{new:.2g}")
        return dataclasses.replace(self, low=new) if end == "low" else dataclasses.replace(self, high=new)

    @property
    def line(self) -> str:
        """The parameter as a line that `Space.changed` reads."""
        if self.options:
            return f"{self.name}={'|'.join(map(_word, self.options))}"
        off = "" if self.off is None else "{" + f"{self.off:g}" + "} + "
        kinds = "".join([" log"] * self.log + [" whole"] * self.integer)
        return f"{self.name}={off}[{self.low:g}, {self.high:g}]{kinds}"

    def to_dict(self) -> dict[str, Any]:
        """Return the parameter as plain data, without what is as usual."""
        usual = Parameter(self.name, options=("",))
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {
            k: v
            for k, v in fields.items()
            if k == "name" or v != (() if k == "options" else getattr(usual, k))
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Parameter:
        """Make the parameter that `to_dict` described."""
        fields = dict(data)
        for key in ("options", "likely"):
            if isinstance(fields.get(key), Sequence):
                fields[key] = tuple(fields[key])
        if fields.get("when") is not None:
            fields["when"] = (fields["when"][0], tuple(fields["when"][1]))
        return cls(**fields)

    def __str__(self) -> str:
        if self.options:
            text = "{" + ", ".join(map(_word, self.options)) + "}" + (" in order" if self.ordered else "")
        else:
            off = "" if self.off is None else "{" + f"{self.off:g}" + "} + "
            kinds = ["log"] * self.log + ["whole"] * self.integer
            text = f"{off}[{self.low:.4g}, {self.high:.4g}]" + (f" {' '.join(kinds)}" if kinds else "")
        if self.likely is not None:
            text += f"  likely [{self.likely[0]:.4g}, {self.likely[1]:.4g}]"
        if self.when is not None:
            text += f"  when {self.when[0]} is {' or '.join(map(_word, self.when[1]))}"
        return text


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

"""Small pictures of what shows an ailment, as SVG: a sick run beside its cure."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trainwell.rules.view import DEAD_RATE, View
from trainwell.values.signal import Traces

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 250, 62, 14, 46, 40
SICK, WELL, SECOND = "#c2410c", "#0f766e", "#9ca3af"
Series = tuple[str, str, Any, Any]
"""Label, colour, x and y of a line."""

HEAD = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
    'font-family="system-ui, sans-serif" font-size="12" fill="#374151">'
    f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#ffffff"/>'
)


def lines(title: str, xlabel: str, series: Sequence[Series], log: bool | None = None) -> str:
    """Draw lines over one axis; logarithmic where their values span more than two decades and are positive."""
    series = [(label, colour, *_thinned(x, y)) for label, colour, x, y in series if len(y)]
    values = np.concatenate([y for *_, y in series])
    values = values[np.isfinite(values)]
    if not values.size:
        return ""
    if log is None:
        log = bool(values.min() > 0 and values.max() / values.min() > 100)
    put = (lambda v: np.log10(np.maximum(v, 1e-30))) if log else (lambda v: np.asarray(v, float))
    low, high = float(put(values).min()), float(np.quantile(put(values), 0.995))
    low, high = (
        (low - 0.5, high + 0.5) if high <= low else (low - 0.04 * (high - low), high + 0.04 * (high - low))
    )
    last = max(float(x[-1]) for _, _, x, _ in series)
    begin = min(float(x[0]) for _, _, x, _ in series)
    across = lambda x: LEFT + (np.asarray(x) - begin) / max(last - begin, 1e-9) * (WIDTH - LEFT - RIGHT)  # noqa: E731
    down = lambda v: TOP + (high - v) / (high - low) * (HEIGHT - TOP - BOTTOM)  # noqa: E731
    parts = [HEAD, _title(title), *_grid(low, high, down, log), *_bottom(begin, last, across, xlabel)]
    for label, colour, x, y in reversed(series):  # the sick run above its cure
        good = np.isfinite(y)
        points = " ".join(
            f"{a:.1f},{b:.1f}"
            for a, b in zip(across(x[good]), np.clip(down(put(y[good])), TOP, HEIGHT - BOTTOM), strict=True)
        )
        marks = ' stroke-dasharray="5 3"' if label.startswith("- ") else ""
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"{marks}/>')
    return "".join([*parts, *_legend([(label, colour) for label, colour, *_ in series]), "</svg>"])


def bars(
    title: str, groups: Sequence[tuple[str, float, float]], log: bool = False, names: Any = ("sick", "cured")
) -> str:
    """Draw two bars a group: of the sick run and of its cure."""
    put = (lambda v: math.log10(max(v, 1e-30))) if log else float
    values = [put(v) for _, *pair in groups for v in pair]
    low, high = (
        (min(values) - 0.3, max(values) + 0.1) if log else (min(0.0, *values), max(*values, 1e-12) * 1.05)
    )
    down = lambda v: TOP + (high - v) / (high - low) * (HEIGHT - TOP - BOTTOM)  # noqa: E731
    parts = [HEAD, _title(title), *_grid(low, high, down, log)]
    room = (WIDTH - LEFT - RIGHT) / len(groups)
    every = max(1, len(groups) // 12)
    for i, (label, sick, well) in enumerate(groups):
        for j, (value, colour) in enumerate(((sick, SICK), (well, WELL))):
            x, y = LEFT + room * (i + 0.15 + 0.35 * j), down(put(value))
            tall = max(0.5, down(max(low, 0.0) if not log else low) - y)
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{0.33 * room:.1f}" height="{tall:.1f}" fill="{colour}"/>'
            )
        if i % every == 0:
            middle = LEFT + room * (i + 0.5)
            parts.append(
                f'<text x="{middle:.0f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{html.escape(label)}</text>'
            )
    return "".join([*parts, *_legend(list(zip(names, (SICK, WELL), strict=True))), "</svg>"])


def _thinned(x: Any, y: Any) -> tuple[Any, Any]:
    """Average a long series over at most 160 places."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    n = max(1, math.ceil(len(x) / 160))
    if n == 1:
        return x, y
    m = len(x) // n * n
    return x[:m].reshape(-1, n).mean(1), y[:m].reshape(-1, n).mean(1)


def _title(text: str) -> str:
    return f'<text x="{LEFT}" y="18" font-weight="600">{html.escape(text)}</text>'


def _legend(entries: Sequence[tuple[str, str]]) -> list[str]:
    parts, x = [], float(LEFT)
    for label, colour in entries:
        label = label.removeprefix("- ")
        parts.append(f'<rect x="{x:.0f}" y="29" width="12" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 17:.0f}" y="35">{html.escape(label)}</text>')
        x += 34 + 6.6 * len(label)
    return parts


def _grid(low: float, high: float, down: Callable[[float], float], log: bool) -> list[str]:
    step = _step(high - low)
    if log:
        step = max(1.0, round(step))
    parts, at = [], math.ceil(low / step) * step
    while at <= high + 1e-9:
        y = down(at)
        text = f"1e{at:.0f}" if log and abs(at) > 3 else f"{10**at:g}" if log else f"{at:.6g}"
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        at = round(at + step, 10)
    return parts


def _bottom(begin: float, last: float, across: Callable[[float], Any], label: str) -> list[str]:
    step, parts = max(1.0, _step(last - begin)), []
    at = math.ceil(begin / step) * step
    while at <= last + 1e-9:
        x = float(across(at))
        parts.append(f'<text x="{x:.0f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{at:g}</text>')
        at += step
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{label}</text>'
    )
    return parts


def _step(span: float) -> float:
    """Return a round step that cuts a span into four or so."""
    size = 10 ** math.floor(math.log10(max(span, 1e-12) / 4))
    return next(m * size for m in (1, 2, 5, 10) if m * size >= span / 4.6)


# ---------------------------------------------------------------------------------------------- what is drawn


def over_steps(signal: str, title: str, xlabel: str = "step") -> Callable[[Traces, Traces], str]:
    """Return a picture of one series of the whole run, sick and cured."""

    def draw(sick: Traces, well: Traces) -> str:
        both = [(t.get(signal).steps, t.get(signal).values) for t in (sick, well)]
        return lines(title, xlabel, [("sick", SICK, *both[0]), ("cured", WELL, *both[1])])

    return draw


def way(sick: Traces, well: Traces) -> str:
    """Draw the training loss over that of the best constant answer: free of the unit of the target."""
    both = [
        (v.get("train_loss").steps, v.get("train_loss").values / v.base_loss)
        for v in (View(sick), View(well))
    ]
    title = "training loss / loss of the best constant answer"
    return lines(title, "step", [("sick", SICK, *both[0]), ("cured", WELL, *both[1])])


def epoch_loss(sick: Traces, well: Traces) -> str:
    both = [View(t).epoch_loss for t in (sick, well)]
    title = "training loss of each epoch / loss of the best constant answer"
    made = [
        (name, c, np.arange(1, len(y) + 1), y)
        for name, c, y in zip(("sick", "cured"), (SICK, WELL), both, strict=True)
    ]
    return lines(title, "epoch", made)


def overfit(sick: Traces, well: Traces) -> str:
    made: list[Series] = []
    for name, colour, t in (("sick", SICK, sick), ("cured", WELL, well)):
        val = t.get("val_loss")
        made.append((f"validation, {name}", colour, np.arange(1, len(val) + 1), val.values))
    curve = View(sick)
    made.append(
        (
            "- training, sick",
            SECOND,
            np.arange(1, len(curve.epoch_loss) + 1),
            curve.epoch_loss * curve.train_base_loss,
        )
    )
    return lines("loss of each epoch", "epoch", made)


def gap(sick: Traces, well: Traces) -> str:
    groups = []
    for part, signal in (("training", "probe_score"), ("validation", "val_score")):
        groups.append((f"score on {part} rows", sick.get(signal).last, well.get(signal).last))
    return bars("what the network knows of rows that it trains on, and of others", groups)


def honesty(sick: Traces, well: Traces) -> str:
    groups = [("validation score", sick.get("val_score").last, well.get("val_score").last)]
    groups.append(("score on fresh rows", *(float(t.fact("clean_test")["score"]) for t in (sick, well))))
    return bars("what validation says, and what is true", groups)


def recalls(sick: Traces, well: Traces) -> str:
    names = sorted(sick.fact("val_recalls"), key=float)
    share = lambda t, n: (t.fact("val_recalls").get(n) or [1, 0])[1] / max(1, (t.fact("val_recalls").get(n) or [1, 0])[0])  # noqa: E731  # fmt: skip
    return bars(
        "share of each class that is recognised", [(n, share(sick, n), share(well, n)) for n in names]
    )


def per_layer(signal: str, title: str) -> Callable[[Traces, Traces], str]:
    """Return a picture of a scale at the first look, layer by layer."""

    def draw(sick: Traces, well: Traces) -> str:
        made = []
        for name, colour, t in (("sick", SICK, sick), ("cured", WELL, well)):
            layers = [m["name"] for m in t.fact("modules") if t.get(signal, m["name"]).values.size]
            made.append(
                (
                    name,
                    colour,
                    np.arange(1, len(layers) + 1),
                    np.array([t.get(signal, n).values[0] for n in layers]),
                )
            )
        return lines(title, "layer, from the input on", made, log=True)

    return draw


def units(signal: str, title: str, test: Callable[[Any], Any]) -> Callable[[Traces, Traces], str]:
    """Return a picture of the share of the worst layer's units that pass a test."""

    def draw(sick: Traces, well: Traces) -> str:
        worst = max(sick.layers(signal), key=lambda n: float(test(sick.get(signal, n).values[-1]).mean()))
        made = [
            (name, colour, t.get(signal, worst).steps, test(t.get(signal, worst).values).mean(1))
            for name, colour, t in (("sick", SICK, sick), ("cured", WELL, well))
        ]
        return lines(f"{title} (layer {worst})", "step", made, log=False)

    return draw


def rate(sick: Traces, well: Traces) -> str:
    made = []
    for name, colour, t in (("sick", SICK, sick), ("cured", WELL, well)):
        lr, end = t.get("lr"), int(t.number("steps"))
        steps = np.arange(1, end + 1)
        made.append((name, colour, steps, lr.values[np.searchsorted(lr.steps, steps, side="right") - 1]))
    return lines("learning rate", "step", made, log=True)


def quick(t: Traces, signal: str) -> float:
    """Return the seconds under which the fastest fifth of the steps stay: other work on the machine slows the rest."""
    return float(np.quantile(t.get(signal).values, 0.2)) if len(t.get(signal)) else 0.0


def times(sick: Traces, well: Traces) -> str:
    groups = [(name, 1e3 * quick(sick, s), 1e3 * quick(well, s))
              for name, s in (("waiting for a batch", "wait_s"), ("computing a step", "step_s"))]  # fmt: skip
    return bars("milliseconds, of the fastest fifth of the steps", groups)


def time_a_row(sick: Traces, well: Traces) -> str:
    cost = [1e6 * quick(t, "step_s") / t.number("batch_size") for t in (sick, well)]
    return bars("microseconds of computing for each row, of the fastest fifth of the steps", [("", *cost)])


def columns(sick: Traces, well: Traces) -> str:
    deviations = [np.asarray(t.fact("column_deviations")) for t in (sick, well)]
    order = np.argsort(deviations[0])
    groups = [(str(i + 1), float(deviations[0][j]), float(deviations[1][j])) for i, j in enumerate(order)]
    return bars("standard deviation of each column", groups, log=True)


PICTURES: dict[str, Callable[[Traces, Traces], str]] = {
    "train_loss": over_steps("train_loss", "training loss"), "grad_norm": over_steps("grad_norm", "norm of the gradient"),
    "weights": over_steps("weight_norm", "norm of all weights"),
    "val_loss": over_steps("val_loss", "validation loss"), "way": way, "epoch_loss": epoch_loss, "overfit": overfit,
    "gap": gap, "honesty": honesty, "recalls": recalls, "rate": rate, "time": times, "time_a_row": time_a_row,
    "columns": columns,
    "back": per_layer("back_rms", "size of the gradient at each layer, before the first step"),
    "forward": per_layer("act_rms", "size of the signal at each layer, before the first step"),
    "dead": units("unit_activity", "share of units that no row switches on", lambda v: v < DEAD_RATE),
    "saturated": units("unit_saturation", "share of units stuck at an extreme value", lambda v: v > 0.9),
}  # fmt: skip

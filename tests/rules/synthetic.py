"""Traces of trainings that never ran: one that is healthy, and for every ailment one that shows it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from trainwell.values.signal import Traces

EPOCHS, PER_EPOCH = 12, 40
STEPS = EPOCHS * PER_EPOCH
LOOKS = np.unique(np.geomspace(1, STEPS - 1, 40).astype(int))
LAYERS = ("0", "1", "2", "3", "4")
KINDS = ("Linear", "ReLU", "Linear", "ReLU", "Linear")
BASE = float(np.log(4))
ROWS = 80


class Story:
    """Series and facts of a run, which a mutation may change before they become traces."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        steps, ends = np.arange(STEPS), np.arange(1, EPOCHS + 1) * PER_EPOCH
        curve = BASE * (0.05 + 0.95 * np.exp(-steps / 60))
        at_ends = BASE * (0.08 + 0.92 * np.exp(-ends / 60))
        rows = at_ends[:, None] * rng.uniform(0.8, 1.2, (EPOCHS, ROWS))
        n = len(LOOKS)
        self.series: dict[tuple[str, str | None], tuple[Any, Any]] = {
            ("train_loss", None): (steps, curve * rng.uniform(0.95, 1.05, STEPS)),
            ("val_loss", None): (ends, rows.mean(1)), ("val_losses", None): (ends, rows),
            ("val_score", None): (ends, 1 - 0.7 * np.exp(-ends / 60)), ("probe_loss", None): (ends, at_ends * 0.9),
            ("probe_score", None): (ends, 1 - 0.7 * np.exp(-ends / 60)), ("lr", None): ([1], [1e-3]),
            ("q", None): (LOOKS, rng.uniform(0.85, 0.95, n)), ("descent", None): (LOOKS, np.full(n, 0.3)),
            ("look_loss", None): (LOOKS, curve[LOOKS]), ("grad_norm", None): (LOOKS, np.full(n, 0.5)),
            ("weight_norm", None): (LOOKS, np.full(n, 10.0)), ("update_norm", None): (LOOKS, np.full(n, 0.05)),
            ("stale_grad", None): (LOOKS, np.zeros(n)), ("norms_in_eval", None): (LOOKS, np.zeros(n)),
            ("dropouts_in_eval", None): (LOOKS, np.zeros(n)), ("val_in_train_mode", None): (ends, np.zeros(EPOCHS)),
            ("out_min", None): (LOOKS, np.full(n, -3.0)), ("out_max", None): (LOOKS, np.full(n, 3.0)),
            ("simplex", None): (LOOKS, np.zeros(n)), ("log_simplex", None): (LOOKS, np.zeros(n)),
            ("mate_effect", None): (LOOKS[:2], np.zeros(2)), ("train_mode_loss", None): ([STEPS], [at_ends[-1]]),
            ("loss_scale", None): (LOOKS, np.ones(n)), ("drops_in_eval", None): (LOOKS[:2], np.zeros(2)),
            ("made_in_forward", None): (LOOKS[:2], np.zeros(2)), ("scrambled", None): (LOOKS, np.zeros(n)),
            ("wait_s", None): (LOOKS, np.full(n, 1e-4)), ("step_s", None): (LOOKS, np.full(n, 1e-2)),
        }  # fmt: skip
        for layer in LAYERS:
            self.series["act_rms", layer] = (LOOKS, np.full(n, 1.0))
            self.series["back_rms", layer] = (LOOKS, np.full(n, 1e-3))
        for layer in ("1", "3"):
            self.series["unit_activity", layer] = (LOOKS, rng.uniform(0.3, 0.7, (n, 16)))
            self.series["unit_saturation", layer] = (LOOKS, rng.uniform(0.0, 0.2, (n, 16)))
        for layer in ("0", "2", "4"):
            for signal, value in (("grad_norm", 0.3), ("weight_norm", 6.0), ("update_norm", 0.03)):
                self.series[signal, f"{layer}.weight"] = (LOOKS, np.full(n, value))
        self.facts: dict[str, Any] = {
            "steps": STEPS, "steps_per_epoch": PER_EPOCH, "rows_per_epoch": 1280, "batch_size": 32, "accumulation": 1,
            "loss_kind": "classification", "loss_name": "cross_entropy", "base_loss": BASE, "base_score": 0.25,
            "class_counts": {str(k): 320 for k in range(4)}, "out_shape": [32, 4], "target_shape": [32],
            "target_integer": True, "reduction": "mean", "targets_per_sample": 1, "look_rows": 32,
            "modules": [{"name": n, "kind": k} for n, k in zip(LAYERS, KINDS, strict=True)],
            "layers": [{"name": n, "kind": k} for n, k in zip(LAYERS, KINDS, strict=True)],
            "params": [_param(f"{n}.weight", n, [16, 16]) for n in ("0", "2", "4")],
            "hyper": {"lr": 1e-3, "weight_decay": 0.0}, "optimizer": "Adam", "x_rms": 1.0, "x_sd_ratio": 1.5,
            "x_columns": 16.0, "y_min": 0.0, "y_max": 3.0, "y_rms": 1.8, "y_sd": 1.1, "y_mean": 1.5, "y_distinct": 4,
            "y_integral": True, "y_width": 1, "learnable": 0.9, "label_rows": 600.0, "witness_error": 0.02,
            "witness_base_error": 0.75, "witness_sure_error": 0.0, "witness_sure_rows": 150.0, "residual_r2": 0.0,
            "val_recalls": {str(k): [20, 19] for k in range(4)},
        }  # fmt: skip

    def put(self, signal: str, values: Any, layer: str | None = None) -> None:
        """Replace the values of a series; a number stands for as many of it."""
        steps = self.series[signal, layer][0]
        self.series[signal, layer] = (steps, np.broadcast_to(values, (len(steps), *np.shape(values)[1:])))

    def stuck(self, score: float = 0.4) -> None:
        """Let the run end unsolved."""
        for signal in ("probe_score", "val_score"):
            self.put(signal, score)

    def flat(self, level: float = 0.9) -> None:
        """Let the loss stay where it is."""
        self.put(
            "train_loss", np.full(STEPS, level * BASE) * np.random.default_rng(1).uniform(0.97, 1.03, STEPS)
        )

    def regression(self) -> None:
        """Make it a regression of one number."""
        self.facts |= {"loss_kind": "regression", "loss_name": "mse_loss", "out_shape": [32, 1], "base_score": 0.0,
                       "target_shape": [32, 1], "y_integral": False, "y_distinct": 900, "y_mean": 0.0, "y_rms": 1.0,
                       "y_min": -3.0, "y_max": 3.0}  # fmt: skip
        self.facts.pop("class_counts")

    def traces(self) -> Traces:
        traces = Traces(copy.deepcopy(self.facts))
        for (signal, layer), (steps, values) in self.series.items():
            traces.extend(signal, [int(s) for s in steps], list(values), layer)
        return traces


def _param(name: str, layer: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "layer": layer, "leaf": "weight", "kind": "Linear", "shape": shape, "learns": True,
            "optimized": True, "dtype": "float32", "rms": 0.2, "rms_end": 0.3, "symmetric": False, "fresh": True,
            "moved": True, "received": True}  # fmt: skip


SICK: dict[str, Callable[[Story], None]] = {}


def sick(function: Callable[[Story], None]) -> Callable[[Story], None]:
    SICK[function.__name__] = function
    return function


@sick
def bad_features(s: Story) -> None:
    s.facts["x_nonfinite_share"] = 0.01


@sick
def unscaled_inputs(s: Story) -> None:
    s.stuck()
    s.facts |= {"x_sd_ratio": 500.0, "x_rms": 90.0}


@sick
def unscaled_targets(s: Story) -> None:
    s.regression()
    s.stuck(0.1)
    s.facts |= {"y_rms": 500.0, "y_mean": 499.0}


@sick
def leakage(s: Story) -> None:
    s.facts |= {"copied_share": 0.5, "copied_rows": 100.0, "distinct_rows": 600.0, "seen_rows": 600.0}


@sick
def duplicate_images(s: Story) -> None:
    s.facts["alike"] = {"val": [9, 80]}


@sick
def inseparable_features(s: Story) -> None:
    s.stuck(0.3)
    s.facts |= {"knn_features": 0.02, "knn_inputs": 0.6, "knn_rows": 800.0}


@sick
def train_val_shift(s: Story) -> None:
    s.put("val_loss", 1.5 * BASE)
    s.facts |= {"shift_sd": 1.4, "shift_z": 20.0}


@sick
def shuffled_labels(s: Story) -> None:
    s.put("val_score", 0.25)
    s.put("val_loss", 1.05 * BASE)
    s.facts["learnable"] = 0.0


@sick
def label_noise(s: Story) -> None:
    s.stuck(0.8)
    s.facts |= {"witness_error": 0.16, "witness_sure_error": 0.14}


@sick
def class_imbalance(s: Story) -> None:
    s.stuck(0.9)
    s.facts["class_counts"] = {"0": 500, "1": 500, "2": 500, "3": 12}
    s.facts["val_recalls"] = {"0": [60, 58], "1": [60, 58], "2": [60, 59], "3": [12, 1]}


@sick
def unshuffled_data(s: Story) -> None:
    s.stuck(0.5)
    s.facts["between_batches"] = 0.95


@sick
def params_not_trained(s: Story) -> None:
    s.facts["params"][0]["optimized"] = False


@sick
def frozen_by_accident(s: Story) -> None:
    for param in s.facts["params"][:2]:
        param |= {"fresh": False, "optimized": False, "moved": False}


@sick
def norm_drift(s: Story) -> None:
    s.facts["norm_drift"] = [{"layer": "1", "drift": 0.6}, {"layer": "3", "drift": 0.8}]


@sick
def missing_zero_grad(s: Story) -> None:
    s.put("stale_grad", 1.0)


@sick
def mode_misuse(s: Story) -> None:
    s.put("val_in_train_mode", 1.0)


@sick
def batchnorm_misuse(s: Story) -> None:
    s.stuck()
    s.facts["layers"].append({"name": "n", "kind": "BatchNorm1d", "norm": "batch", "momentum": 0.1, "tracked": 9,
                              "running": True})  # fmt: skip
    s.facts["batch_size"] = 2


@sick
def loss_mismatch(s: Story) -> None:
    s.put("simplex", 1.0)


@sick
def bad_init(s: Story) -> None:
    s.stuck()
    s.facts["params"][0]["symmetric"] = True


@sick
def vanishing_gradient(s: Story) -> None:
    s.stuck()
    for i, layer in enumerate(LAYERS):
        s.put("back_rms", 10.0 ** (2 * i - 10), layer)


@sick
def saturated_units(s: Story) -> None:
    s.stuck()
    s.put("unit_saturation", np.ones((len(LOOKS), 16)), "1")


@sick
def dead_units(s: Story) -> None:
    s.stuck()
    s.put("unit_activity", np.zeros((len(LOOKS), 16)), "1")


@sick
def exploding_gradient(s: Story) -> None:
    s.stuck()
    for i, layer in enumerate(LAYERS):
        s.put("back_rms", 10.0 ** (3 - i), layer)


@sick
def weight_decay_misuse(s: Story) -> None:
    s.stuck()
    s.facts["hyper"]["weight_decay"] = 1.0


@sick
def lr_schedule(s: Story) -> None:
    s.stuck()
    s.series["lr", None] = (np.arange(1, EPOCHS + 1) * PER_EPOCH, 1e-2 * 0.1 ** np.arange(EPOCHS))


@sick
def pretrained_lr_too_high(s: Story) -> None:
    s.facts |= {"start_of_base": 0.3, "distance": {"0.weight": 0.8, "2.weight": 0.6}}
    s.put("val_loss", np.linspace(0.9, 0.5, EPOCHS) * BASE)


@sick
def lr_too_high(s: Story) -> None:
    s.stuck()
    s.put("q", 0.1)
    s.put("train_loss", BASE * (0.9 + 0.3 * np.sin(np.arange(STEPS) / 20)))


@sick
def lr_too_low(s: Story) -> None:
    s.stuck()
    s.put("q", 0.9999)
    s.put("train_loss", BASE * np.linspace(1.0, 0.8, STEPS))
    s.facts["what_if"] = {"as_is": {"steps": 24, "train": 0.01, "train_hot": 0.01},
                          "tenfold": {"steps": 24, "train": 0.1, "train_z": 30.0, "val_z": 20.0}}  # fmt: skip


@sick
def batch_too_small(s: Story) -> None:
    s.stuck()
    s.facts["batch_size"] = 2
    s.put("q", 0.3)
    s.put("train_loss", BASE * (0.9 + 0.3 * np.sin(np.arange(STEPS) / 20)))


@sick
def batch_too_large(s: Story) -> None:
    s.stuck()
    s.facts |= {"steps": EPOCHS, "steps_per_epoch": 1, "batch_size": 1280}
    ends = np.arange(1, EPOCHS + 1)
    for signal in ("val_loss", "val_losses", "val_score", "probe_loss", "probe_score"):
        s.series[signal, None] = (ends, s.series[signal, None][1])
    s.series["train_loss", None] = (ends - 1, BASE * np.linspace(1.0, 0.7, EPOCHS))
    s.series["q", None] = (ends - 1, np.full(EPOCHS, 0.98))


@sick
def undertrained(s: Story) -> None:
    s.facts["rows_per_epoch"] = 5120  # three passes over the data
    s.stuck()
    ends = s.series["val_loss", None][0]
    s.put("train_loss", BASE * np.linspace(1.0, 0.7, STEPS))
    s.put("val_loss", BASE * (1 - 0.3 * ends / STEPS))
    s.put("val_losses", np.repeat(BASE * (1 - 0.3 * ends / STEPS)[:, None], ROWS, 1))


@sick
def overfitting(s: Story) -> None:
    ends = s.series["val_loss", None][0]
    rise = BASE * (0.3 + 0.1 * np.abs(ends / PER_EPOCH - 3))
    s.put("val_loss", rise)
    s.put("val_losses", rise[:, None] * np.random.default_rng(2).uniform(0.9, 1.1, (EPOCHS, ROWS)))


@sick
def underfitting(s: Story) -> None:
    s.stuck()
    s.flat()
    s.put("val_losses", np.full((EPOCHS, ROWS), 0.9 * BASE))
    s.facts |= {"residual_r2": 0.6, "few_way": 0.4}


@sick
def input_bound(s: Story) -> None:
    s.put("wait_s", 0.1)


@sick
def launch_bound(s: Story) -> None:
    s.put("step_s", 1.0)


@sick
def wrong_dtype(s: Story) -> None:
    s.facts["params"][0]["dtype"] = "float64"


def healthy_traces() -> Traces:
    return Story().traces()


def sick_traces(ailment: str) -> Traces:
    story = Story()
    SICK[ailment](story)
    return story.traces()


def rebuilt(traces: Traces, change: Any, facts: Any = None) -> Traces:
    """Return traces whose series went through `change(signal, layer, values) -> (layer, values)`."""
    other = Traces(facts(copy.deepcopy(traces.facts)) if facts else copy.deepcopy(traces.facts))
    for signal in traces.signals():
        for layer in (None, *traces.layers(signal)):
            trace = traces.get(signal, layer)
            if len(trace):
                name, values = change(signal, layer, trace.values)
                other.extend(signal, trace.steps.tolist(), list(values), name)
    return other

"""What the numbers behind a finding measure, in words and with their units: the one place that every output reads.

A rule of a third party says it in the reading itself (`Reading(..., words=..., unit=...)`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

SHARE, DEVIATIONS, STEPS = "share", "standard deviations", "steps"

OF_BASE = "loss of a constant answer"

WORDS: Mapping[str, tuple[str, str]] = {
    # data
    "x_nonfinite_share": ("share of inputs that are no finite number", SHARE),
    "sentinel_share": ("share of inputs that are one far-off value", SHARE),
    "odd_row_share": ("share of rows far larger than the usual one", SHARE),
    "x_constant_share": ("share of columns that never change", SHARE),
    "blank_row_share": ("share of rows whose cells are all equal", SHARE),
    "filled_cost": ("loss of rows with a filled cell / loss of the others", ""),
    "own_scale": ("difference of mean and deviation between rows", DEVIATIONS),
    "stuck_share": ("share of rows with a channel that stands still", SHARE),
    "losses before / usual loss": ("loss before it broke / usual loss", ""),
    "x_sd_ratio": ("spread of the widest column / of the narrowest", ""),
    "x_rms": ("root mean square of the inputs", ""),
    "y_rms": ("root mean square of the target", ""),
    "y_sd": ("standard deviation of the target", ""),
    "y_mean_over_sd": ("mean / standard deviation of the target", ""),
    "y_min": ("smallest target", ""),
    "y_max": ("largest target", ""),
    "y_distinct": ("distinct targets", ""),
    "targets_sum_to_one": ("share of targets that sum to one", SHARE),
    "copied_share": ("share of validation rows that are in the training part", SHARE),
    "trained_on_later": ("share of the rows trained on later that stood in the first validation", SHARE),
    "later_tokens_seen": ("change of outputs when later tokens change / size of the outputs", ""),
    "target_offset": ("places by which the targets are ahead of the inputs", ""),
    "targets_alike": ("share of the rows whose targets are all equal", SHARE),
    "near_share": ("share of validation rows with a near copy in the training part", SHARE),
    "lone_score": ("score of the best single column", ""),
    "alike in val": ("share of validation images that look like one of training", SHARE),
    "alike in test": ("share of test images that look like one of training", SHARE),
    "recall_of_rare": ("share of the rare class that is found", SHARE),
    "between_batches_x": ("share of the spread of an input that lies between batches", SHARE),
    "between_batches": ("share of the spread of the target that lies between batches", SHARE),
    "witness_sure_error": ("error on rows of which similar rows leave no doubt", SHARE),
    "witness_surest_error": ("share of errors on the surest rows of each answer", SHARE),
    "witness_surest_error / witness_error": ("error on the surest rows of each answer / error elsewhere", ""),
    "witness_sure_error / witness_error": ("error where similar rows leave no doubt / error elsewhere", ""),
    "learnable": ("share of the way that similar rows tell the labels", SHARE),
    "shift_sd": ("distance of the means of the parts", DEVIATIONS),
    "shift_scale": ("spread of one part / of the other", ""),
    "shift_scaled_columns": ("share of columns whose spread differs", SHARE),
    "shift_same_side": ("share of the nearest rows that are of the same part", SHARE),
    "unseen_label_share": ("share of validation rows of an unseen class", SHARE),
    "ignored_share": ("share of the rows that the loss leaves out", SHARE),
    "shift_tokens": ("share of the validation tokens that are too many there", SHARE),
    "label_shift": ("difference of the shares of the classes", SHARE),
    "way of nearest features": ("share of the way that the nearest features tell the answer", SHARE),
    "way of nearest inputs": ("share of the way that the nearest inputs tell the answer", SHARE),
    # wiring and loss
    "params_not_trained": ("weights that no step moves", ""),
    "frozen_share": ("share of the weights that stand still", SHARE),
    "stale_grad": ("share of steps with gradients of the step before", SHARE),
    "val_in_train_mode": ("share of validations in training mode", SHARE),
    "drops_in_eval": ("share of calls in evaluation mode in which units are dropped", SHARE),
    "dropouts_in_eval": ("share of dropouts in evaluation mode while training", SHARE),
    "norms_in_eval": ("share of batch norms in evaluation mode while training", SHARE),
    "norm_drift": ("drift of the statistics of frozen norms", DEVIATIONS),
    "momentum": ("momentum of a batch norm", ""),
    "start left in running statistics": ("share of the start values that is left in running statistics", SHARE),
    "probe_loss - train_mode_loss": ("loss in evaluation mode less that in training mode", ""),
    "classes in the loss": ("classes that the targets in the loss have", ""),
    "scrambled": ("share of steps in which a reshape mixes up places and classes", SHARE),
    "loss_scale": ("what the loss is multiplied by before it is minimised", ""),
    "mate_effect": ("how far a row's output depends on its neighbours in the batch", ""),
    "simplex": ("share of outputs that are probabilities already", SHARE),
    "log_simplex": ("share of outputs that are logarithms of probabilities", SHARE),
    "outputs": ("outputs of the network", ""),
    "dimensions": ("dimensions of the outputs, against those of the target", ""),
    "target": ("farthest target, against the reach of the last activation", ""),
    "out_min": ("smallest output", ""),
    "out_max - out_min": ("spread of the outputs", ""),
    "steps uphill": ("share of steps that raise the loss", SHARE),
    "loss at the end / at the start": ("loss at the end / at the start", ""),
    "parameters in float64": ("weights in double precision", ""),
    # start and units
    "symmetric layers": ("layers whose units are all alike", ""),
    "copies": ("share of a layer's units that are copies of others to the end", SHARE),
    "zeros that never move": ("matrices that start as zeros and stay so", ""),
    "one-sided layers": ("layers whose weights start with one sign", ""),
    "relative way of a matrix / that of the others": ("how far a matrix moves / how far the others do", ""),
    "first loss / base loss": (f"first loss / {OF_BASE}", ""),
    "back_gain": ("decades that the gradient gains from the last layer to the first", ""),
    "act_gain": ("decades that the activations gain from the first layer to the last", ""),
    "back_time": ("decades that the gradient gains over the time steps, last to first", ""),
    "units that died": ("share of the units that died", SHARE),
    "units that got stuck": ("share of the units that got stuck", SHARE),
    "unit_activity": ("share of dead units", SHARE),
    "unit_saturation": ("share of saturated units", SHARE),
    # rate, decay, batch, budget
    "q, median": ("actual / predicted fall of a step, median", ""),
    "q < 0, share": ("share of the steps that went uphill", SHARE),
    "update_ratio": ("length of a step / length of the weights", ""),
    "gain of a run at a tenth of the rate": (f"gain of the run trained anew at a tenth of the rate / {OF_BASE}", ""),
    "gain of a run from usual start weights": (f"gain of the run trained anew from usual start weights / {OF_BASE}", ""),
    "gain of a run at the peak rate": (f"gain of the run trained anew at its peak rate throughout / {OF_BASE}", ""),
    "gain of a run at the median rate": (f"gain of the run trained anew at its median rate throughout / {OF_BASE}", ""),
    "gain of a run without decay": (f"gain of the run trained anew without decay / {OF_BASE}", ""),
    "gain of a run at ten times the rate": (f"gain of the run trained anew at ten times the rate / {OF_BASE}", ""),
    "longest step / weights": ("longest step / length of the weights", ""),
    "largest loss / base loss": (f"largest loss / {OF_BASE}", ""),
    "rise of the loss / base loss": (f"rise of the loss / {OF_BASE}", ""),
    "rises of the epoch loss": (f"rises of the epoch loss / {OF_BASE}", ""),
    "upward share of the epoch loss": ("share of its path on which the epoch loss rose", SHARE),
    "swings of the validation loss / base loss": (f"swings of the validation loss / {OF_BASE}", ""),
    "t of the fall of the loss": ("fall of the loss, in its standard errors", ""),
    "loss spikes": ("spikes of the loss", ""),
    "first non-finite step": ("first step that was not finite", ""),
    "losses that are no number": ("losses that are no finite number", ""),
    "norms that are no number": ("norms that are no finite number", ""),
    "gain of doubling / base loss": (f"gain of twice the steps / {OF_BASE}", ""),
    "gain of a few steps at the peak rate / base loss": (f"gain of a few steps at the peak rate / {OF_BASE}", ""),
    "what a few steps move the loss by / base loss": (f"what a few steps move the loss by / {OF_BASE}", ""),
    "fall at the end / mean fall": ("fall of the loss at the end / its mean fall", ""),
    "fall of the loss at 10 x the rate": ("fall of the loss at ten times the rate", ""),
    "gain of a cool-down / base loss": (f"gain of a cool-down / {OF_BASE}", ""),
    "gain of a tenth of the rate / base loss": (f"gain of a tenth of the rate / {OF_BASE}", ""),
    "gain of a tenth of the rate": (f"gain of a tenth of the rate / {OF_BASE}", ""),
    "rise of the validation loss / base loss": (f"rise of the validation loss / {OF_BASE}", ""),
    "z": ("the same in standard errors", ""),
    "z of new rows when it goes on": ("what new rows gain when the training goes on, in standard errors", ""),
    "z of its rows when it goes on": ("what training rows gain by it, in standard errors", ""),
    "val_loss of the first epoch - at the start": ("validation loss after the first epoch less that before it", ""),
    "val_loss": ("validation loss", ""),
    "distance from the pre-trained weights": ("way from the pre-trained weights / their length", ""),
    "distance from the start": ("way of the weights from their start / their length", ""),
    "weight rms, end / start": ("weights at the end / at the start", ""),
    "time constant of the decay": ("steps in which the decay alone shrinks a weight to a third", STEPS),
    "pull of the decay / pull of the loss": ("pull of the decay / pull of the loss", ""),
    "rate at the end / peak": ("rate at the end / its peak", ""),
    "peak rate / base rate": ("peak rate / the optimizer's rate", ""),
    "first rate / peak rate": ("first rate / peak rate", ""),
    "rate / first rate": ("rate / first rate", ""),
    "share of steps under 2 % of the peak rate": ("share of steps under 2 % of the peak rate", SHARE),
    "batch_size": ("rows in a batch", ""),
    "steps": ("optimizer steps", ""),
    "steps per epoch": ("steps per epoch", ""),
    # capacity and compute
    "residual_r2": ("share of what is left that a simple model explains", SHARE),
    "few_way": ("share of the way that it gets on a few rows", SHARE),
    "dropout": ("strongest dropout", SHARE),
    "val_score": ("best score on validation rows", ""),
    "wait_s / (wait_s + step_s)": ("share of the time that waits for data", SHARE),
    "seconds of arithmetic / step": ("share of a step that computes", SHARE),
    "columns that alone give the target": ("columns that alone give the target", ""),
}  # fmt: skip
"""Readings of the rules by name: what they measure, and the unit that is written after the number."""

COMPARED: Mapping[str, str] = {
    ">": "above", "<": "below", ">=": "at least", "<=": "at most", "=": "equal to", "!=": "other than",
}  # fmt: skip


def reading_words(name: str) -> str:
    """Return what a reading measures, in words."""
    known = WORDS.get(name)
    return known[0] if known else name.replace("base loss", OF_BASE).replace("_", " ")


def unit_of(name: str) -> str:
    """Return the unit of a reading; empty where the words say enough."""
    return WORDS.get(name, ("", ""))[1]


def quantity(value: float | None, unit: str = "") -> str:
    """Return a number with its unit as a person reads it; a share in per cent."""
    if value is None or math.isnan(value):
        return "no number"
    if unit == SHARE:
        return f"{100 * value:.3g} %"
    whole = f"{value:,.0f}" if value == round(value) and abs(value) < 1e12 else f"{value:.4g}"
    return f"{whole} {unit}" if unit else whole


def limit(comparison: str, threshold: float | None, unit: str = "") -> str:
    """Return when a rule acts, in words: `above 50 %`; another unit than per cent stands beside the value already."""
    return f"{COMPARED.get(comparison, comparison)} {quantity(threshold, unit if unit == SHARE else '')}"

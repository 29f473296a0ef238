"""For every ailment a case of `own_faults` or of faultbench, in words, and what shows it."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Shown:
    """A case of an ailment.

    Args:
        name: of the case; its repaired twin is the cure.
        told, cure: what is wrong and what the twin does instead.
        picture: what is drawn, a key of `findings_pictures.PICTURES`.
    """

    name: str
    told: str
    cure: str
    picture: str


CASES: dict[str, Shown] = {
    "bad_features": Shown(
        "bft_code999", "Wine data in which 3 % of the measurements are missing and stand as 999.",
        "The measurements themselves.", "train_loss"),
    "unscaled_inputs": Shown(
        "uns_cancer_raw", "Thirty measurements of tumours in their own units, from thousandths to thousands.",
        "Each column centred and divided by its deviation.", "columns"),
    "unscaled_targets": Shown(
        "unt_year", "A target that lies around 1990 and varies by 10.", "The target centred and scaled to one.", "way"),
    "leakage": Shown(
        "lkg_duplicates", "Half of the validation rows are copies of training rows.",
        "Validation rows that training does not hold.", "honesty"),
    "train_val_shift": Shown(
        "shf_val_unscaled", "Training rows are standardised, validation rows are three times as large and shifted.",
        "Both prepared alike.", "val_loss"),
    "shuffled_labels": Shown(
        "shl_digits", "Digits whose labels were shuffled without their images.", "Each label with its image.", "gap"),
    "label_noise": Shown(
        "lbn_digits25", "Digits of which a quarter has a wrong label.", "The right labels.", "gap"),
    "class_imbalance": Shown(
        "imb_digits", "Ten digits; of the 3 and the 8 there are 5 images each, of the others 130.",
        "A loss that weighs these two classes 25 times.", "recalls"),
    "unshuffled_data": Shown(
        "ush_cnn", "Images that come sorted by their class, in every epoch.", "`DataLoader(..., shuffle=True)`.",
        "train_loss"),
    "params_not_trained": Shown(
        "pnt_plain_list", "Layers in a plain Python list, where the optimizer does not find them.", "`nn.ModuleList`.",
        "train_loss"),
    "missing_zero_grad": Shown(
        "zgr_regression", "A loop without `optimizer.zero_grad()`.", "`optimizer.zero_grad()` in every step.",
        "grad_norm"),
    "mode_misuse": Shown(
        "mode_val_dropout", "Validation without `model.eval()`: dropout goes on dropping units.",
        "`model.eval()` before and `model.train()` after it.", "val_loss"),
    "batchnorm_misuse": Shown(
        "bn_batch3", "Batch norm with three rows in a batch.", "Batches of 20.", "val_loss"),
    "loss_mismatch": Shown(
        "lss_double_softmax", "A softmax layer before `nn.CrossEntropyLoss`, which applies its own.",
        "No softmax layer.", "train_loss"),
    "bad_init": Shown(
        "ini_huge_mlp", "Start weights with a deviation of 1 in layers of 64 units.", "A deviation of 0.12.",
        "train_loss"),
    "vanishing_gradient": Shown(
        "van_sigmoid_adam", "Eight layers of sigmoids.", "The same with ReLU.", "back"),
    "saturated_units": Shown(
        "sat_sigmoid_bigw", "Sigmoid layers whose weights begin forty times too large.", "Xavier's size, twice.",
        "saturated"),
    "dead_units": Shown(
        "dead_bias", "80 of 96 units begin with a bias of -8, so that no row switches them on.", "Biases around 0.",
        "dead"),
    "exploding_gradient": Shown(
        "exp_cnn_gain", "Weights four times He's size, in three convolutions.", "He's own size.", "forward"
    ),
    "weight_decay_misuse": Shown(
        "wdm_adamw", "AdamW with a weight decay of 30.", "A decay of 0.01.", "weights"),
    "lr_schedule": Shown(
        "sch_milestones_early", "A rate that falls tenfold after each of the first three of twelve epochs.",
        "It falls after epochs 9 and 11.", "rate"),
    "lr_too_high": Shown(
        "lrh_cnn_momentum", "SGD with momentum 0.9 and a rate of 0.4.", "A rate of 0.02.", "train_loss"),
    "lr_too_low": Shown("lrl_cnn_sgd", "SGD with a rate of 0.001.", "A rate of 0.1.", "train_loss"),
    "batch_too_small": Shown(
        "bts_friedman_b2",
        "Two samples in a batch, at a rate of 0.12.",
        "Batches of 32 at the same rate.",
        "epoch_loss",
    ),
    "batch_too_large": Shown(
        "btl_digits", "All 1,000 rows in one batch, for 15 epochs: 15 steps.", "Batches of 32.", "epoch_loss"),
    "undertrained": Shown("utr_spirals", "Eight epochs on three spirals.", "Sixty epochs.", "val_loss"),
    "overfitting": Shown(
        "ovf_topics", "A network with 17,000 weights on 150 short texts, for 40 epochs.", "Eight epochs.", "overfit"),
    "underfitting": Shown(
        "und_narrow_spirals", "Three spirals, and layers of three units.", "Layers of 48 units.", "epoch_loss"),
    "input_bound": Shown(
        "cmp_sleepy", "A data set that takes 0.3 ms for each row.", "The rows as one tensor in memory.", "time"),
    "launch_bound": Shown(
        "cmp_launch_tiny", "A network of 16 units, and four rows in a batch.", "Batches of 64.", "time_a_row"),
    "wrong_dtype": Shown("cmp_float64_mlp", "Layers of 512 units in float64.", "The same in float32.", "time"),
}  # fmt: skip
"""By ailment; every rule has one."""


def build(cases: dict[str, Any], shown: Shown, cured: bool) -> Any:
    """Return the job of a case, or that of its repaired twin."""
    case = cases[shown.name]
    return case.build_fixed(0) if cured else case.build(0)

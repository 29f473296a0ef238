"""What is left of the targets where the network answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainwell.signals.residual import _residuals


@pytest.mark.parametrize("weight", [1.0, 8.0])
def test_answers_of_a_weighted_loss_are_held_against_the_targets_as_if_it_had_not_weighed(
    weight: float,
) -> None:
    """The best answer of a weighted loss to rows of which 5 % are a yes leaves nothing on average."""
    target = torch.cat([torch.ones(50), torch.zeros(950)])
    share = 0.05 * weight / (0.05 * weight + 0.95)  # where the weighted loss is least
    weights = {"0": 1.0, "1": weight}
    logit = torch.full((1000,), float(np.log(share / (1 - share))))
    binary = _residuals([{"out": logit, "target": target}], "binary", weights)
    assert binary is not None and abs(binary.mean()) < 1e-6
    both = torch.stack([torch.zeros(1000), logit], 1)
    classes = _residuals([{"out": both, "target": target.long()}], "classification", weights)
    assert classes is not None and np.abs(classes.mean(0)).max() < 1e-6

"""What the watcher itself writes down at every step and validation."""

from __future__ import annotations

from typing import ClassVar

from trainwell.signals.family import Family
from trainwell.values.signal import Signal


class Loop(Family):
    """Declare the series of the loop; the watcher records them as it goes."""

    signals: ClassVar = (
        Signal("train_loss", "loss", cadence="step", cost="one append"),
        Signal("lr", "learning rate, at its changes", cadence="step", cost="one comparison"),
        Signal("wait_s", "seconds between a step and the next forward", cost="two clock readings"),
        Signal("step_s", "seconds between a forward and its step", cost="two clock readings"),
    )

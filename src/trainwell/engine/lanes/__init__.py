"""The fused engine: many networks of one structure in one program, each equal to its lone run."""

from trainwell.engine.lanes.paused import PAUSE, Paused
from trainwell.engine.lanes.spec import LaneResult, LaneSpec
from trainwell.engine.lanes.train import train_lanes

__all__ = ["PAUSE", "LaneResult", "LaneSpec", "Paused", "train_lanes"]

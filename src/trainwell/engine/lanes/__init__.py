"""The fused engine: many networks of one structure in one program, each equal to its lone run."""

from trainwell.engine.lanes.spec import LaneResult, LaneSpec
from trainwell.engine.lanes.train import train_lanes

__all__ = ["LaneResult", "LaneSpec", "train_lanes"]

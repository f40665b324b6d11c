"""Chips on a network: slices, and what a step of a model takes on one."""

from accsim.system.recommend import train_step
from accsim.system.schedules import SCHEDULES
from accsim.system.slices import Slice, read_slice
from accsim.system.step import StepReport
from accsim.system.step_inputs import DEDUP

__all__ = ["DEDUP", "SCHEDULES", "Slice", "StepReport", "read_slice", "train_step"]

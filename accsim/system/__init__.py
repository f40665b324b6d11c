"""Chips on a network: slices, and what a step of a model takes on one."""

from accsim.system.choices import DEDUP
from accsim.system.recommend import train_step
from accsim.system.schedules import SCHEDULES
from accsim.system.slices import Slice, read_slice
from accsim.system.step import StepReport

__all__ = ["DEDUP", "SCHEDULES", "Slice", "StepReport", "read_slice", "train_step"]

"""Chips on a network: slices, and what a step of a model takes on one."""

from accsim.system.slices import Slice, read_slice

__all__ = ["Slice", "read_slice"]

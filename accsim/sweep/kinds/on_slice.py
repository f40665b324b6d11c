"""The slice of a point: the machine's name has its shape, ``tpu_v4:4x4x8``, or the axis ``slice.shape`` gives it."""

from __future__ import annotations

from accsim.config.data_files import is_slice
from accsim.errors import InputError, Problem
from accsim.sweep.kinds.base import Work
from accsim.sweep.settings import SHAPE, SLICE, Settings, chip_name, machine_of
from accsim.system.slices import Slice, slice_of


def names_slice(work: Work) -> bool:
    """Whether the machine is several chips."""
    return is_slice(work.machine) or any(field.startswith(SLICE) for field in work.fields)


def slice_at(work: Work, setting: Settings) -> Slice:
    """The slice of a point.

    Raises
    ------
    InputError
        For a shape that is given twice, not at all or that the machine does not have, and unknown fields of a slice.
    """
    values = dict(setting.slice)
    for key in values:
        if SLICE + key != SHAPE:
            raise InputError(Problem("", SLICE + key, f"unknown field of a slice, allowed is {SHAPE}", SHAPE))
    machine, shape = work.machine, values.get(SHAPE.removeprefix(SLICE))
    if is_slice(machine) == bool(values):
        given = f"has a shape, and {SHAPE} gives one; allowed is one of them" if values else "is a single chip"
        raise InputError(f"'{machine}' {given}")
    bare = chip_name(machine)
    text = machine.removeprefix(f"{bare}:") if shape is None else str(shape)
    return slice_of(machine_of(machine, work.folder, setting.machine), text, f"{bare}:{text}")

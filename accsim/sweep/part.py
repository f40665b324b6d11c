"""Points of one machine and workload, as columns of their fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from accsim.sweep.axes import Column
from accsim.sweep.outcome import IntArray
from accsim.sweep.settings import MAPPING
from accsim.sweep.space import Space, plain


class Part(NamedTuple):
    """Points of one machine and workload: their numbers, and a column for every field that is set."""

    machine: int
    workload: int
    first: int
    columns: Mapping[str, Column]
    points: int

    @property
    def counted(self) -> list[str]:
        """The fields of mappings that are whole numbers: points that differ in nothing else can run as a block."""
        return [key for key, column in self.columns.items() if key.startswith(MAPPING) and column.dtype.kind == "i"]


def part_of(space: Space, start: int, stop: int) -> Part:
    """The points of these numbers, which are all of one machine and workload."""
    machine, workload, draw = space.place(start)
    return Part(machine, workload, start, space.columns(draw, draw + stop - start), stop - start)


def alike(column: Column) -> bool:
    """Whether all points have the same value."""
    return bool((column == column[0]).all())


def settings_of(columns: Mapping[str, Column], at: IntArray) -> Iterator[tuple[IntArray, dict[str, Any]]]:
    """Those of some points that are the same in all fields, with the values of these."""
    if not len(at):
        return
    codes = np.zeros(len(at), np.int64)
    for column in (whole[at] for whole in columns.values()):
        if not alike(column):
            distinct, code = np.unique(column, return_inverse=True)
            codes = np.unique(codes * len(distinct) + code.reshape(-1), return_inverse=True)[1].reshape(-1)
    order = np.argsort(codes, kind="stable")
    for chosen in np.split(at[order], np.cumsum(np.bincount(codes))[:-1]):
        yield chosen, {key: plain(column[chosen[0]]) for key, column in columns.items()}

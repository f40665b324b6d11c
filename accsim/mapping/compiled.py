"""Dataflows whose ``lower`` is compiled: a whole block of points is lowered, bounded and run at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from accsim.config.machine import Accelerator
from accsim.engine.energy import price_list
from accsim.engine.tables import IntArray
from accsim.errors import MappingError
from accsim.kernels.block import Block, clear_block, run_block
from accsim.kernels.bound import all_counted, all_reserved, bound_block
from accsim.kernels.layout import D0, D2, MAX_STAGE_TICKS, MAX_TICKS, OVERFLOW
from accsim.kernels.work import ACTIONS
from accsim.mapping.base import Dataflow, Step
from accsim.mapping.format_run import matrix_dtype
from accsim.mapping.machine_numbers import action_names
from accsim.mapping.shape import Shape
from accsim.units import format_quantity
from accsim.workload.ops import Op

FloatArray = npt.NDArray[np.float64]
TOO_LONG = MAX_TICKS + 1


class Points(NamedTuple):
    """Points that share one shape: ``variant`` selects the shape, each row of ``table`` is a complete mapping."""

    variant: tuple[Any, ...]
    table: IntArray


class Placed(NamedTuple):
    """Points of one shape, and which of those that were asked for they are."""

    points: Points
    at: IntArray


@dataclass(frozen=True)
class Lowered:
    """A block of points with its shape; ``copies[i]`` are the active cores of point i."""

    shape: Shape
    block: Block
    copies: FloatArray

    @classmethod
    def room(cls, shape: Shape, points: int, *, actions: bool) -> Lowered:
        """Room for so many points, and for what they count."""
        return cls(shape, shape.new_block(points, actions=actions), np.zeros(points))

    def fits(self) -> npt.NDArray[np.bool_]:
        """Whether each point fits."""
        fits = np.ones(len(self.copies), bool)
        for memory, capacity in self.shape.capacities.items():
            fits &= self.reserved_bytes(memory) <= capacity
        return fits

    def reserved_bytes(self, memory: str) -> FloatArray:
        """Bytes that the buffers of each point take in a memory."""
        need = np.empty(len(self.copies))
        all_reserved(self.block.slots, self.block.slot_bytes, self.shape.inside[memory], need)
        return need

    def most_ticks(self) -> int:
        """The limit that points exceed which are all too long: a stage's where each has such a one, or a program's."""
        longest = self.block.row[:, :, D0 : D2 + 1].max(axis=(1, 2))
        return MAX_STAGE_TICKS if longest.min() > MAX_STAGE_TICKS else MAX_TICKS

    def without_actions(self) -> Lowered:
        """The same points with nothing to count."""
        return Lowered(self.shape, self.block._replace(actions=self.block.actions[:0, :0]), self.copies)

    def select(self, chosen: npt.NDArray[Any] | slice) -> Lowered:
        """The points of an index array or a slice."""
        actions = self.block.actions[chosen] if len(self.block.actions) else self.block.actions
        arrays = (*(array[chosen] for array in self.block[:-1]), actions)
        return Lowered(self.shape, Block(*arrays), self.copies[chosen])

    def cleared(self, points: int) -> Lowered:
        """The room of the first points, empty again."""
        found = self.select(np.s_[:points]) if points < len(self.copies) else self
        clear_block(found.block)
        return found

    def counted(self, fires: IntArray, worth: FloatArray) -> FloatArray:
        """What each point counts on all cores, float64[N, weights]: ``worth`` (float64[actions, weights]) weighs it."""
        found = np.empty((len(self.copies), worth.shape[1]))
        all_counted(self.block.actions, fires, self.copies, worth, found)
        return found


class Writer(NamedTuple):
    """Writes points of one shape: ``write`` puts those of a table into empty room for as many."""

    shape: Shape
    write: Callable[[IntArray, Lowered], None]

    @classmethod
    def compiled(cls, shape: Shape, lower: Callable[..., None], *numbers: Any) -> Writer:
        """One whose kernel takes the table, some numbers, the shape's tables, and the arrays to write into."""

        def write(table: IntArray, room: Lowered) -> None:
            lower(table, *numbers, shape.level_table, shape.kinds, shape.classes, room.block, room.copies)

        return cls(shape, write)


class CompiledDataflow(Dataflow):
    """A dataflow that lowers many points at once."""

    @abstractmethod
    def space(self, op: Op, acc: Accelerator) -> list[Points]:
        """All points this mapping stands for (one, when nothing is left open)."""

    def fine_space(self, op: Op, acc: Accelerator) -> list[Points]:
        """All points of the finest grid of tile sizes, those of ``space`` included."""
        return self.space(op, acc)

    def placed(self, op: Op, acc: Accelerator, columns: Mapping[str, IntArray]) -> list[Placed]:
        """Points of this mapping with the numbers of some choices from columns: those that leave nothing to search.

        The others have to be mapped one by one.
        """
        return []

    @abstractmethod
    def writer(self, op: Op, acc: Accelerator, variant: tuple[Any, ...]) -> Writer:
        """What writes the programs of a variant's points."""

    def lower(self, op: Op, acc: Accelerator, points: Points, *, actions: bool) -> Lowered:
        """The points' programs as a block."""
        shape, write = self.writer(op, acc, points.variant)
        room = Lowered.room(shape, len(points.table), actions=actions)
        write(points.table, room)
        return room

    def lower_in_blocks(self, op: Op, acc: Accelerator, points: Points, size: int) -> Iterator[tuple[slice, Lowered]]:
        """Blocks of up to ``size`` of the points with their actions, and where they are among all.

        All are written into the same memory: a block is gone when the next one comes.
        """
        shape, write = self.writer(op, acc, points.variant)
        room = Lowered.room(shape, min(size, len(points.table)), actions=True)
        for first in range(0, len(points.table), size):
            table = points.table[first : first + size]
            block = room.cleared(len(table))
            write(table, block)
            yield slice(first, first + len(table)), block

    @abstractmethod
    def complete(self, op: Op, acc: Accelerator, points: Points, i: int) -> CompiledDataflow:
        """Point i as a mapping with nothing left open."""

    def steps(self, op: Op, acc: Accelerator) -> tuple[Step, ...]:
        points = self.space(op, acc)[0]
        lowered = self.lower(op, acc, Points(points.variant, points.table[:1]), actions=True)
        program = lowered.shape.program(lowered.block, 0, action_names(acc, matrix_dtype(op, acc)))
        return (Step(program, float(lowered.copies[0])),)


@lru_cache(maxsize=256)
def pj_per_column(acc: Accelerator, dtype: str) -> FloatArray:
    """Nominal energy of one count of each column of ``Block.actions``."""
    prices = price_list(acc)
    names = action_names(acc, dtype)
    found = np.array([prices[names[c]].nominal if names.get(c) in prices else 0.0 for c in ACTIONS])
    found.setflags(write=False)
    return found


class Bounds(NamedTuple):
    """What is known of points in closed form.

    Attributes
    ----------
    ticks : int64[N], lower bound of each point's time; ``TOO_LONG`` or more where a run is.
    fires : int64[N, rows], how often each row fires.
    busy : float64[N, resources], ticks that each resource works.
    """

    ticks: IntArray
    fires: IntArray
    busy: FloatArray

    @classmethod
    def room(cls, shape: Shape, points: int) -> Bounds:
        """Room for those of so many points."""
        rows = len(shape.stages) * int(shape.classes.prod())
        return cls(
            np.empty(points, np.int64), np.empty((points, rows), np.int64), np.empty((points, len(shape.resources)))
        )


def bounds(lowered: Lowered, *, deep: bool = False, into: Bounds | None = None) -> Bounds:
    """The bounds of fidelity ``analytic``, in room that is given or new; ``deep`` ones are tighter and take longer."""
    shape = lowered.shape
    found = Bounds.room(shape, len(lowered.copies)) if into is None else into
    bound_block(shape.static, lowered.block, shape.classes, shape.chain_table, deep, *found)
    return found


def run_points(lowered: Lowered) -> IntArray:
    """Ticks of every point from the engine; ``TOO_LONG`` where they are more than :func:`run_program` can count.

    Raises
    ------
    MappingError
        When the engine refuses one: a defect of the dataflow's lowering.
    """
    arrays = lowered.shape.static
    points = len(lowered.block.trips)
    total = np.zeros(points, np.int64)
    windows = np.ones(len(arrays.stage), np.int64)
    depths = np.ones(len(arrays.mark), np.int64)
    run_block(arrays, lowered.block, windows, depths, True, total, np.zeros((0, 0), np.int64))
    refused = total[(total < 0) & (total != -OVERFLOW)]
    if len(refused):
        raise MappingError(f"a mapping of shape '{lowered.shape.name}' is refused by the engine (code {-refused[0]})")
    widest = np.maximum(lowered.block.slots.max(axis=1), arrays.servers.max())
    return np.where((total < 0) | (total > (2**63 - 1) // widest), TOO_LONG, total)


def nearest_fit(lowered: Lowered) -> tuple[int, str]:
    """(bytes, text): what the point that comes closest to fitting needs, and what there is."""
    need = lowered.block.slots * lowered.block.slot_bytes
    i = int(np.argmin(need.sum(axis=1)))
    memories = np.array(list(lowered.shape.buffers.values()))
    parts = []
    for memory, capacity in lowered.shape.capacities.items():
        size = int(need[i, memories == memory].sum())
        unit, name = (2**20, "MiB") if size >= 2**20 else (2**10, "KiB")
        parts.append(f"needs {size / unit:,.4g} {name} in {memory}, has {format_quantity(capacity, 'bytes')}")
    return int(need[i].sum()), f"{lowered.shape.name}: nearest fit {'; '.join(parts)}"

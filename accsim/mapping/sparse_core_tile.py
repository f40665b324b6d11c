"""One tile of an embedding unit, the busiest, as bare rates: how long it holds what, for all stacks of a step.

Tiles are alike, so one stands for all. What is its own (fetch, vector unit, flush, its channels of main memory) takes
what the busiest tile has to do; what the tiles of a unit share takes the unit's part of the busiest chip; main memory
as a whole takes the mean of all tiles. ``docs/sparsecore.md`` has every formula.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from accsim.config.machine import Accelerator
from accsim.config.sparse_core import SparseCore
from accsim.embedding.work import StepWork
from accsim.engine.program import TICKS_PER_CYCLE
from accsim.errors import InputError, Problem
from accsim.mapping.embedding_counts import Spread
from accsim.mapping.embedding_pipeline import FloatArray, Link
from accsim.mapping.embedding_rows import padded, random_efficiency, row_bytes
from accsim.mapping.machine_numbers import port

COO_BYTES = 12
"""Of an id as the host gives it: sample, row and weight. Source: OpenXLA's page on SparseCore, coordinate format."""
ID_BYTES = 4
"""Of an id that a chip asks another for."""


class Runs(NamedTuple):
    """Runs of bytes in main memory, for each stack: those of the busiest tile, and of all on average.

    Attributes
    ----------
    rows
        How many, of the busiest tile and of a mean one.
    size, efficiency
        float64[stacks]: bytes of each, and the share of the peak that they reach.
    under_way
        Whether each is an access of its own, of which a tile has only so many under way.
    """

    rows: Spread
    size: FloatArray
    efficiency: FloatArray
    under_way: bool


@dataclass(frozen=True, eq=False)
class Tile:
    """The busiest tile of a machine's embedding units, at the work of a step."""

    accelerator: Accelerator
    unit: SparseCore
    work: StepWork

    @cached_property
    def row_bytes(self) -> FloatArray:
        """Bytes of a row of each stack, padded."""
        return np.array([float(row_bytes(stack, self.granule)) for stack in self.work.stacks])

    @cached_property
    def elements(self) -> FloatArray:
        """Elements of a row of each stack, padded to whole words of all lanes."""
        return np.array([float(padded(stack.width, self.unit.lanes)) for stack in self.work.stacks])

    @cached_property
    def widths(self) -> FloatArray:
        """Elements of a row of each stack."""
        return np.array([float(stack.width) for stack in self.work.stacks])

    @property
    def granule(self) -> int:
        """Bytes that rows are padded to."""
        return self.unit.word_bytes

    def cycles(self, count: FloatArray) -> FloatArray:
        """Ticks of cycles of the units' clock."""
        return count * (TICKS_PER_CYCLE * self.accelerator.clock_hz / self._clock_hz)

    def ticks(self, seconds: FloatArray) -> FloatArray:
        """Ticks of seconds."""
        return seconds * (TICKS_PER_CYCLE * self.accelerator.clock_hz)

    def stream(self, of_chip: Spread, size: FloatArray | float) -> Runs:
        """Runs that lie one behind the other, spread over all tiles of a chip."""
        efficiency = np.full_like(of_chip.mean, self.accelerator.main_memory.efficiency)
        sizes = np.broadcast_to(size, of_chip.mean.shape)
        return Runs(of_chip.scaled(1 / self.all_tiles), sizes, efficiency, under_way=False)

    def at_random(self, rows: Spread, sizes: Iterable[float], *, rewritten: bool = False) -> Runs:
        """Runs at random places, of as many bytes as `sizes` has for each stack."""
        standard = self.accelerator.main_memory.standard
        assert standard is not None
        size = np.array([*map(float, sizes)])
        efficiency = [random_efficiency(standard, int(one), rewritten=rewritten) if one else 1.0 for one in size]
        return Runs(rows, size, np.array(efficiency), under_way=True)

    def read(self, name: str, runs: Sequence[Runs], handed_bytes: FloatArray | None = None) -> Link:
        """A link of the fetch unit: runs from main memory to the tile's slice of the scratchpad."""
        return self._moved(name, "fetch", "read", "write", runs, handed_bytes)

    def write(self, name: str, runs: Sequence[Runs]) -> Link:
        """A link of the flush unit: runs from the tile's slice of the scratchpad to main memory."""
        return self._moved(name, "flush", "write", "read", runs, None)

    def vector(
        self, name: str, of_tile: Spread, operations: Mapping[str, FloatArray], handed_bytes: FloatArray | None = None
    ) -> Link:
        """A link of the vector unit: rows, and how often it does each operation on an element of them.

        Every row is read from the scratchpad.
        """
        costs = self.accelerator.vector_unit.cycles_per_element
        cycles = sum((count * costs[what] for what, count in operations.items()), np.zeros_like(self.widths))
        rows = self.all_tiles * of_tile.mean
        useful = self.widths / self.elements
        actions = {f"vector.{what}": rows * self.elements * count * useful for what, count in operations.items()}
        actions["read.spmem"] = rows * self.row_bytes
        ticks = self.cycles(of_tile.largest * self.elements * cycles / self.unit.lanes)
        return Link(name, "vector", ticks, handed_bytes=handed_bytes, actions=actions)

    def shared(self, name: str, unit: str, count: FloatArray, rate: float, **more: object) -> Link:
        """A link of what the tiles of a unit share: the busiest chip's `count`, divided over its units, at a rate."""
        return Link(name, unit, self.cycles(count / self.unit.count / rate), **more)  # type: ignore[arg-type]

    def send(self, name: str, vectors: Spread, ids: Spread | None, arrivals: Sequence[Runs]) -> Link:
        """A link of the unit's DMA: bytes of vectors, and of ids, to other chips, while as many come from them.

        Those come to main memory.
        """
        moved = vectors.largest + (0.0 if ids is None else ids.largest)
        actions = {f"write.{self.accelerator.main_memory.name}": self.bytes_of(arrivals), "read.spmem": vectors.mean}
        rates = self._memory("write", arrivals)
        return self.shared(name, "dma", moved, self.unit.move_bytes_per_cycle, rates=rates, actions=actions)

    def bytes_of(self, runs: Sequence[Runs]) -> FloatArray:
        """Bytes of runs of the chip."""
        return self.all_tiles * sum((one.rows.mean * one.size for one in runs), np.zeros_like(self.widths))

    @property
    def all_tiles(self) -> int:
        """Tiles of the chip."""
        return self.unit.all_tiles

    @property
    def latency(self) -> int:
        """Ticks from a request to main memory to its first byte."""
        return round(self.accelerator.main_memory.latency_s * self.accelerator.clock_hz * TICKS_PER_CYCLE)

    @property
    def _clock_hz(self) -> float:
        return self.unit.clock_hz or self.accelerator.clock_hz

    def _moved(
        self, name: str, unit: str, way: str, other: str, runs: Sequence[Runs], handed_bytes: FloatArray | None
    ) -> Link:
        size = self.bytes_of(runs)
        main = self.accelerator.main_memory.name
        ticks = sum((self._held(one) for one in runs), np.zeros_like(size))
        actions = {f"{way}.{main}": size, f"{other}.spmem": size}
        return Link(
            name, unit, ticks, self._memory(way, runs), self.latency, handed_bytes=handed_bytes, actions=actions
        )

    def _held(self, runs: Runs) -> FloatArray:
        """How long runs hold the tile's fetch or flush unit."""
        word = self.cycles(runs.rows.largest * runs.size / self.unit.word_bytes)
        return np.maximum(word, runs.rows.largest * self.latency / self.unit.outstanding) if runs.under_way else word

    def _memory(self, way: str, runs: Sequence[Runs]) -> dict[str, FloatArray]:
        """How long runs hold the tile's channels, and main memory as a whole."""
        main = self.accelerator.main_memory
        rate = main.read_bytes_per_s if way == "read" else main.write_bytes_per_s
        own, whole = (
            sum((one.rows[which] * one.size / one.efficiency for one in runs), np.zeros_like(self.widths))
            for which in range(2)
        )
        each = self.ticks(np.asarray(self.all_tiles / rate))
        return {"channel": own * each, port(main, way): whole * each}


def of_tile(accelerator: Accelerator, work: StepWork) -> Tile:
    """The busiest tile of a machine for a step.

    Raises
    ------
    InputError
        If the machine has no embedding units, or rows are dealt over another number of tiles than it has.
    """
    unit = accelerator.sparse_core
    if unit is None:
        raise InputError(
            Problem("", "sparse_core", f"{accelerator.name} has none; a machine file may have the section")
        )
    if work.tiles != unit.all_tiles:
        message = f"read rows dealt over {work.tiles} tiles, allowed are the {unit.all_tiles} of {accelerator.name}"
        raise InputError(Problem("", "tiles", message))
    return Tile(accelerator, unit, work)

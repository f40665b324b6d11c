"""A tile of an embedding unit, the busiest.

What is its own (fetch, vector unit, flush, its channels of main memory) takes what the busiest tile has to do; what the
tiles of a unit share takes the unit's part of the busiest chip; main memory as a whole takes the mean of all tiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from accsim.config.machine import Accelerator
from accsim.config.sparse_core import SparseCore
from accsim.errors import InputError, Problem
from accsim.mapping.embedding_counts import Spread
from accsim.mapping.embedding_pipeline import FloatArray, Link
from accsim.mapping.embedding_place import Place, Runs
from accsim.mapping.machine_numbers import port

SPMEM = "spmem"


@dataclass(frozen=True, eq=False)
class Tile(Place):
    """The busiest tile of a machine's embedding units."""

    unit: SparseCore
    forks = True

    @property
    def parts(self) -> int:
        """Tiles of the chip."""
        return self.unit.all_tiles

    @property
    def tiles(self) -> int:
        """The same: a row lies in the channel of a tile."""
        return self.parts

    @property
    def shared(self) -> tuple[str, ...]:
        """Main memory as a whole."""
        main = self.accelerator.main_memory
        return tuple(dict.fromkeys((port(main, "read"), port(main, "write"))))

    @property
    def granule(self) -> int:
        """Bytes that a tile moves in a cycle."""
        return self.unit.word_bytes

    @property
    def lanes(self) -> int:
        """Lanes of a tile's vector unit."""
        return self.unit.lanes

    @property
    def scratch(self) -> tuple[str, int]:
        """A tile's slice of the scratchpad."""
        return SPMEM, self.unit.slice_bytes

    @property
    def sums(self) -> Spread:
        """Sums of those rows of a bag that lie in the tile."""
        return self.part(self.counts.partial)

    def begin(self, links: Sequence[Link]) -> list[Link]:
        """The sequencer issues an instruction for each kind of work on a chunk."""
        unit = self.unit
        instructions = np.sum([link.busy for link in links], axis=0)
        per_stack = self._cycles(np.full_like(self.widths, unit.stack_cycles))
        return [Link("issue", "sequencer", per_stack, chunk_ticks=self._cycles(instructions * unit.instruction_cycles))]

    def sort(self, name: str, of_chip: Spread, handed_bytes: FloatArray | None = None) -> list[Link]:
        """In the unit's sort, which takes so many ids a cycle."""
        return [self._shared(name, "sort", of_chip.largest, self.unit.sort_ids_per_cycle, handed_bytes=handed_bytes)]

    def read(self, name: str, runs: Sequence[Runs], handed_bytes: FloatArray | None = None) -> Link:
        """By the fetch unit, from the tile's channels to its slice of the scratchpad."""
        return self._moved(name, "fetch", "read", "write", runs, handed_bytes)

    def write(self, name: str, runs: Sequence[Runs]) -> Link:
        """By the flush unit, from the tile's slice of the scratchpad to its channels."""
        return self._moved(name, "flush", "write", "read", runs, None)

    def compute(
        self, name: str, rows: Spread, operations: Mapping[str, FloatArray], made: Spread, *,
        beside: FloatArray | float = 0.0,
    ) -> Link:  # fmt: skip
        """In the tile's vector unit, on rows from the scratchpad."""
        costs = self.accelerator.vector_unit.cycles_per_element
        cycles = sum((count * costs[what] for what, count in operations.items()), np.zeros_like(self.widths))
        ticks = self._cycles(rows.largest * self.elements * cycles / self.unit.lanes)
        moved = {f"read.{SPMEM}": rows.mean * (self.row_bytes + beside), f"write.{SPMEM}": made.mean}
        actions = self.operated(rows, operations) | {what: self.parts * size for what, size in moved.items()}
        return Link(name, "vector", ticks, handed_bytes=made.largest, actions=actions)

    def reduce(self) -> list[Link]:
        """Sums of different tiles are added across them, in the unit's reduction."""
        counts, unit = self.counts, self.unit
        added = Spread(*(p - s for p, s in zip(counts.partial, counts.summed, strict=True)))
        read, made = (one.scaled(self.row_bytes) for one in (counts.partial, counts.summed))
        actions = {
            "vector.add": added.mean * self.widths, f"read.{SPMEM}": read.mean, f"write.{SPMEM}": made.mean
        }  # fmt: skip
        return [
            self._shared(
                "reduce sums", "reduce", added.largest * self.elements, unit.reduce_elements_per_cycle,
                handed_bytes=self.part(made).largest, actions=actions,
            )
        ]  # fmt: skip

    def fork(self, name: str, of_chip: Spread, handed_bytes: FloatArray | None = None) -> list[Link]:
        """In the unit's fork, to the slices of its tiles."""
        actions = {f"read.{SPMEM}": of_chip.mean, f"write.{SPMEM}": of_chip.mean}
        rate = self.unit.move_bytes_per_cycle
        return [self._shared(name, "fork", of_chip.largest, rate, handed_bytes=handed_bytes, actions=actions)]

    def send(self, name: str, vectors: Spread, ids: Spread | None, arrivals: Sequence[Runs]) -> Link:
        """By the unit's DMA from the scratchpad; what arrives goes to main memory."""
        moved = vectors.largest + (0.0 if ids is None else ids.largest)
        actions = {f"write.{self.accelerator.main_memory.name}": self.bytes_of(arrivals), f"read.{SPMEM}": vectors.mean}
        rates = self._memory("write", arrivals)
        return self._shared(name, "dma", moved, self.unit.move_bytes_per_cycle, rates=rates, actions=actions)

    def _cycles(self, count: FloatArray) -> FloatArray:
        """Ticks of cycles of the units' clock."""
        return self.ticks(count / (self.unit.clock_hz or self.accelerator.clock_hz))

    def _shared(
        self, name: str, unit: str, of_chip: FloatArray, rate: float, *, handed_bytes: FloatArray | None = None,
        rates: Mapping[str, FloatArray] | None = None, actions: Mapping[str, FloatArray] | None = None,
    ) -> Link:  # fmt: skip
        """A link of what the tiles of a unit share: a chip's count, divided over its units, at a rate."""
        ticks = self._cycles(of_chip / self.unit.count / rate)
        return Link(name, unit, ticks, rates or {}, handed_bytes=handed_bytes, actions=actions or {})

    def _moved(
        self, name: str, unit: str, way: str, other: str, runs: Sequence[Runs], handed_bytes: FloatArray | None
    ) -> Link:
        size = self.bytes_of(runs)
        ticks = sum((self._held(one) for one in runs), np.zeros_like(size))
        actions = {f"{way}.{self.accelerator.main_memory.name}": size, f"{other}.{SPMEM}": size}
        rates = self._memory(way, runs)
        return Link(name, unit, ticks, rates, self.latency, handed_bytes=handed_bytes, actions=actions)

    def _held(self, runs: Runs) -> FloatArray:
        """How long runs hold the fetch or flush unit: a word a cycle, and so many accesses under way."""
        word = self._cycles(runs.rows.largest * runs.size / self.unit.word_bytes)
        if not runs.single:
            return word
        return np.maximum(word, (runs.size > 0) * runs.rows.largest * self.latency / self.unit.outstanding)

    def _memory(self, way: str, runs: Sequence[Runs]) -> dict[str, FloatArray]:
        """How long runs hold the tile's channels, and main memory as a whole."""
        main = self.accelerator.main_memory
        own = (main.read_bytes_per_s if way == "read" else main.write_bytes_per_s) / self.parts
        return {"channel": self.held_by(runs, own), port(main, way): self.held_by(runs, own, mean=True)}


def busiest_tile(accelerator: Accelerator) -> Tile:
    """The busiest tile of a machine.

    Raises
    ------
    InputError
        If the machine has no embedding units.
    """
    unit = accelerator.sparse_core
    if unit is None:
        raise InputError(
            Problem("", "sparse_core", f"{accelerator.name} has none; a machine file may have such a section")
        )
    return Tile(accelerator, unit)

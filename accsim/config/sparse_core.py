"""The embedding units of a chip, and what its cores do without them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from accsim.config.fields import Area, Capacity, Count, Frequency, Text
from accsim.config.memory import Memory
from accsim.config.reader import FileModel, Wrong
from accsim.units import format_quantity

Rate = Annotated[float, Field(gt=0, le=1e6)]
Cycles = Annotated[float, Field(ge=0, le=1e9)]

WORD_BYTES = 4
"""Bytes of a lane's word, and of an id."""


class SparseCore(FileModel):
    """The embedding units (SparseCores) of a chip, all alike; cycles are of their own clock."""

    count: Count
    """Units of the chip."""
    tiles: Count
    """Tiles of a unit; all tiles of the chip share its main memory evenly, each bound to its own channels."""
    lanes: Annotated[int, Field(ge=1, le=4096)]
    """Lanes of a tile's vector unit, of 4 bytes; its operations cost what they cost in `vector_unit`."""
    clock_hz: Frequency | None = Field(default=None, alias="clock")
    """Clock of the units. Default: the chip's."""
    spmem_bytes: Capacity = Field(alias="spmem")
    """Scratchpad of a unit; each tile has an even slice."""
    outstanding: Count
    """Rows that a tile may have under way from main memory."""
    sort_ids_per_cycle: Rate
    """Ids that the sort of a unit takes, deals over tiles and frees of duplicates in a cycle."""
    reduce_elements_per_cycle: Rate
    """Elements of partial sums of different tiles that a unit adds in a cycle."""
    move_bytes_per_cycle: Rate
    """Bytes that each of a unit's DMA, fork and concatenate takes from the slices of all tiles in a cycle."""
    instruction_cycles: Cycles
    """Cycles of the sequencer for an instruction: one for each kind of work on a chunk, for all tiles at once."""
    stack_cycles: Cycles
    """Cycles of the sequencer for a stack of tables, once in each pass."""
    area_mm2: Area | None = Field(default=None, alias="area")
    """Area of all units of the chip."""
    power_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the chip's power that all its units draw."""

    @property
    def all_tiles(self) -> int:
        """Tiles of the chip."""
        return self.count * self.tiles

    @property
    def slice_bytes(self) -> int:
        """Scratchpad of a tile."""
        return self.spmem_bytes // self.tiles

    @property
    def word_bytes(self) -> int:
        """Bytes that a tile takes from main memory, or gives to it, in a cycle; rows are padded to them."""
        return self.lanes * WORD_BYTES


class RowDma(FileModel):
    """How a core without embedding units fetches rows from main memory: one transfer for each."""

    cycles: Cycles
    """Cycles of the chip's clock to begin a transfer."""
    granule_bytes: Capacity = Field(alias="granule")
    """Bytes that a transfer moves at least, and in multiples of which it moves."""
    source: Text
    """Where the numbers come from."""


def sparse_core_problems(unit: SparseCore | None, main: Memory) -> Iterator[Wrong]:
    """What a machine's embedding units get wrong with its main memory."""
    if unit is None:
        return
    if main.standard is None:
        message = f"needs 'memories.{main.name}.standard': rows at random reach what the DRAM lets them"
        yield Wrong(("sparse_core",), message, key=True)
    if unit.slice_bytes < unit.word_bytes:
        size = format_quantity(unit.spmem_bytes, "bytes")
        message = f"read {size}, allowed is at least {unit.word_bytes} bytes for each of {unit.tiles} tiles"
        yield Wrong(("sparse_core", "spmem"), message)

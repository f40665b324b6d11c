"""A core of a chip without embedding units: rows come by DMA to its local memory and are added in its vector unit.

No row is bound to a core: cores take chunks of a chip's rows as they get free, so that each has an even part of them.
The same for a TensorCore, whose scalar unit begins a transfer for each row, and for a GPU, whose threads gather rows by
sectors, sort in main memory and are launched kernel by kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from accsim.config.machine import Accelerator
from accsim.errors import InputError, Problem
from accsim.kernels.matrix import Machine
from accsim.mapping.embedding_counts import Spread
from accsim.mapping.embedding_pipeline import FloatArray, Link
from accsim.mapping.embedding_place import ID_BYTES, Place, Runs
from accsim.mapping.machine_numbers import Ways, machine_numbers, memory_plan, ways

RADIX_BYTES: Final = 72
"""Moved in main memory to sort a key of 4 bytes with a value of 4: read once for a histogram and, for each of four
digits, read and written. Source: Adinets and Merrill, arXiv 2206.01784 (onesweep)."""
KERNELS: Final = 7
"""Launched for a stack in a pass: histogram and four digits of its sort, lookup or update, the exchange's copy."""


@dataclass(frozen=True, eq=False)
class Core(Place):
    """One of a chip's cores, which share main memory.

    Attributes
    ----------
    row_cycles, row_granule
        What begins a transfer of a row, and bytes in multiples of which it moves.
    launch_s
        Of a kernel; 0 where a step is one program.
    sorts_in_memory
        Whether ids are sorted by digits in main memory; else by comparisons in the vector unit.
    """

    row_cycles: float
    row_granule: int
    launch_s: float
    sorts_in_memory: bool

    @property
    def parts(self) -> int:
        """Cores of the chip."""
        return self.accelerator.cores

    @property
    def granule(self) -> int:
        """Bytes in multiples of which a row moves."""
        return self.row_granule

    @property
    def lanes(self) -> int:
        """Rows are packed, so that none is idle."""
        return 1

    @property
    def scratch(self) -> tuple[str, int]:
        """The local memory of the core."""
        return self._local, memory_plan(self.accelerator)[1][self._local]

    @property
    def shared(self) -> tuple[str, ...]:
        """What cores hold at embeddings as at anything else."""
        return self._ways.resources("dma", "vector")

    def begin(self, links: Sequence[Link]) -> list[Link]:
        """Kernels of a stack are launched."""
        if not self.launch_s:
            return []
        return [Link("launch", "launch", self.ticks(np.full_like(self.widths, KERNELS * self.launch_s)))]

    def sort(self, name: str, of_chip: Spread, handed_bytes: FloatArray | None = None) -> list[Link]:
        """By digits in main memory, or by comparisons in the vector unit.

        A bitonic sort of n = 2^L ids compares n L (L + 1) / 4 pairs, each by a least and a largest. Source: Batcher,
        AFIPS 1968.
        """
        ids = self.part(of_chip)
        if self.sorts_in_memory:
            moved = [self.stream(ids, RADIX_BYTES)]
            memory, rates = self._ways.loads[0], self._memory(moved, self._read_rate)
            half = self.bytes_of(moved) / 2
            main = self.accelerator.main_memory.name
            actions = {f"read.{main}": half, f"write.{main}": half}
            return [Link(name, "dma", np.zeros_like(half), {memory: rates}, handed_bytes=handed_bytes, actions=actions)]
        levels = np.log2(np.maximum(ids.largest, 1.0))
        passes = levels * (levels + 1) / 2
        cycles = ids.largest * passes * self.accelerator.vector_unit.cycles_per_element["max"]
        passed = ids.scaled(ID_BYTES * passes)
        actions = {"vector.max": self.parts * ids.mean * passes}
        return [self._in_vector(name, cycles, passed, passed, actions, handed_bytes)]

    def read(self, name: str, runs: Sequence[Runs], handed_bytes: FloatArray | None = None) -> Link:
        """A transfer for each row from main memory to the core's local memory."""
        return self._moved(name, runs, "read", handed_bytes)

    def write(self, name: str, runs: Sequence[Runs]) -> Link:
        """A transfer for each row from the core's local memory to main memory."""
        return self._moved(name, runs, "write", None)

    def compute(
        self, name: str, rows: Spread, operations: Mapping[str, FloatArray], made: Spread, *,
        beside: FloatArray | float = 0.0,
    ) -> Link:  # fmt: skip
        """In the core's vector unit, on rows from the local memory."""
        costs = self.accelerator.vector_unit.cycles_per_element
        cycles = sum((count * costs[what] for what, count in operations.items()), np.zeros_like(self.widths))
        read, actions = rows.scaled(self.row_bytes + beside), self.operated(rows, operations)
        return self._in_vector(name, rows.largest * self.elements * cycles, read, made, actions, made.largest)

    def send(self, name: str, vectors: Spread, ids: Spread | None, arrivals: Sequence[Runs]) -> Link:
        """From the local memory; what arrives goes to main memory."""
        gone = vectors.mean + (0.0 if ids is None else ids.mean)
        link = Link(name, "links", np.zeros_like(self.widths), actions={f"read.{self._local}": gone})
        return self.through_memory(link, arrivals)

    def through_memory(self, link: Link, comes: Sequence[Runs], goes: Sequence[Runs] = ()) -> Link:
        """The link while runs come to main memory, and others go from there, beside the core."""
        main = self.accelerator.main_memory
        written, read = self._memory(comes, main.write_bytes_per_s), self._memory(goes, self._read_rate)
        into, out_of = self._ways.stores[0], self._ways.loads[0]
        held = {into: written + read} if into == out_of else {into: written, out_of: read}
        moved = {f"write.{main.name}": self.bytes_of(comes), f"read.{main.name}": self.bytes_of(goes)}
        return replace(link, rates={**link.rates, **held}, actions={**link.actions, **moved})

    @property
    def _ways(self) -> Ways:
        return ways(self.accelerator)

    @property
    def _local(self) -> str:
        return self.accelerator.memories[0].name

    @property
    def _numbers(self) -> Machine:
        return machine_numbers(self.accelerator, next(iter(self.accelerator.matrix_unit.rates)))

    @property
    def _read_rate(self) -> float:
        return self.accelerator.main_memory.read_bytes_per_s

    def _memory(self, runs: Sequence[Runs], rate: float) -> FloatArray:
        """How long runs of all cores hold main memory."""
        return self.held_by(runs, rate / self.parts)

    def _in_vector(
        self, name: str, cycles: FloatArray, read: Spread, made: Spread, actions: Mapping[str, FloatArray],
        handed_bytes: FloatArray | None,
    ) -> Link:  # fmt: skip
        """A link of the vector unit: a lane's cycles, and bytes from and to the core's local memory."""
        ticks = self.ticks(cycles / self.accelerator.vector_unit.lanes / self.accelerator.clock_hz)
        moved = {f"read.{self._local}": self.parts * read.mean, f"write.{self._local}": self.parts * made.mean}
        rates = {self._ways.local[0]: read.largest / self._numbers.local_read}
        return Link(name, "vector", ticks, rates, handed_bytes=handed_bytes, actions={**actions, **moved})

    def _moved(self, name: str, runs: Sequence[Runs], way: str, handed_bytes: FloatArray | None) -> Link:
        """A link of the DMA: runs of all cores over main memory, its own over the memory inside of that."""
        main, numbers = self.accelerator.main_memory, self._numbers
        read = way == "read"
        size = self.bytes_of(runs)
        own = sum((one.rows.largest * one.size for one in runs), np.zeros_like(size))
        first, second = self._ways.loads if read else self._ways.stores
        actions = {f"{way}.{main.name}": size, f"{'write' if read else 'read'}.{self._local}": size}
        if numbers.middle_capacity:
            inside = own * self.parts / (numbers.middle_read if read else numbers.middle_write)
            middle = self.accelerator.memories[1].name
            actions |= {f"read.{middle}": size, f"write.{middle}": size}
        else:
            inside = own / (numbers.local_write if read else numbers.local_read)
        begun = sum((one.rows.largest * (one.size > 0) for one in runs if one.single), np.zeros_like(size))
        rate = self._read_rate if read else main.write_bytes_per_s
        return Link(
            name,
            "dma",
            self.ticks(begun * self.row_cycles / self.accelerator.clock_hz),
            {first: self._memory(runs, rate), second: inside},
            numbers.load_latency if read else numbers.store_latency,
            handed_bytes=handed_bytes,
            actions=actions,
        )


def tensor_core(accelerator: Accelerator) -> Core:
    """A TensorCore, which begins a transfer for each row.

    Raises
    ------
    InputError
        If the machine file does not say what that costs.
    """
    dma = accelerator.row_dma
    if dma is None:
        message = f"{accelerator.name} has none; it says what a core needs to fetch a row"
        raise InputError(Problem("", "row_dma", message))
    return Core(accelerator, dma.cycles, dma.granule_bytes, 0.0, sorts_in_memory=False)


def gpu(accelerator: Accelerator) -> Core:
    """An SM of a GPU: rows move by the bursts of its DRAM, and each kernel costs the machine's overhead of an op.

    Raises
    ------
    InputError
        If the machine has no DRAM standard, or no overhead of an op.
    """
    standard, op = accelerator.main_memory.standard, accelerator.overheads.get("op")
    wrong = []
    if standard is None:
        wrong.append(Problem("", f"memories.{accelerator.main_memory.name}.standard", "missing, needed for rows"))
    if op is None:
        wrong.append(Problem("", "overheads.op", f"{accelerator.name} has none; a kernel's launch is needed"))
    if standard is None or op is None:
        raise InputError(wrong)
    return Core(accelerator, 0.0, standard.burst_bytes, op.time_s, sorts_in_memory=True)

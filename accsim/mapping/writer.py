"""A builder that knows the machine: loads, stores, matrix and vector work with their times, ports and counts.

For dataflows written in Python, one program at a time; times and counts are those of the compiled ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from accsim.config.machine import Accelerator
from accsim.engine.builder import ProgramBuilder
from accsim.engine.program import TICKS_PER_CYCLE, After, Hold, Stage
from accsim.errors import check_choice
from accsim.kernels.banks import waiting_bytes
from accsim.kernels.matrix import SUM_BYTES, Tile, local_ticks, ticks_of, tile_work, vector_ticks
from accsim.mapping.base import Step
from accsim.mapping.machine_numbers import STATIONARY, action_names, machine_numbers, memory_plan, places, ways
from accsim.workload.vector_counts import VECTOR_OPERATIONS

Holds = str | Hold | Sequence[str | Hold]
"""A buffer, or several: by its name (a slot each firing), or as a :class:`Hold` that says when."""


class TileProgram(ProgramBuilder):
    """The program of one core; resources and memories are the machine's, and need not be declared.

    Parameters
    ----------
    acc, dtype : the machine, and the data type of the work.
    copies : cores that run this program at the same time and share main memory.

    Notes
    -----
    A stage that ``fills`` a buffer takes a slot of it; one that ``empties`` it gives the slot back, and waits for the
    stage that fills it unless ``after`` says otherwise. A size that is left out is that of the buffer's slot. What else
    a :class:`Stage` has (``spans``, ``shift``, ...) is passed on; without a shift, a stage has the largest of those it
    waits for, and a store of a buffer with two slots or more is an iteration behind that, so that the next load need
    not queue behind it.

    Raises
    ------
    InputError
        When the machine's matrix unit does not support the data type.
    """

    def __init__(self, name: str, acc: Accelerator, dtype: str, copies: float = 1.0) -> None:
        super().__init__(name)
        self.copies = copies
        self._machine = machine_numbers(acc, dtype)
        self._ways, self._names = ways(acc), action_names(acc, dtype)
        self._local = acc.memories[0].name
        self._form = getattr(acc.matrix_unit, "dataflow", "output_stationary")
        self._filled_by: dict[str, str] = {}
        outer = {place: memory for place, memory in places(acc).items() if place == "middle"}
        for memory, capacity in (memory_plan(acc)[1] | {m.name: m.capacity_bytes for m in outer.values()}).items():
            self.memory(memory, capacity)

    def bytes_of(self, elements: float) -> int:
        """Bytes of so many elements, rounded up."""
        return ceil(elements * self._machine.element_bytes)

    def buffer(self, name: str, slots: int, slot_bytes: int = 0, memory: str = "") -> str:
        """Add a buffer of ``slots`` places, in the local memory unless another one is named."""
        return super().buffer(name, slots, slot_bytes, memory or self._local)

    def stage(self, stage: Stage) -> str:
        """Add any other stage after the ones so far; what it holds need not be declared."""
        known = {resource.name for resource in self._resources}
        for resource in dict.fromkeys((stage.unit, *(name for name, _ in stage.rates))):
            if resource not in known:
                self.resource(resource)
        self._filled_by |= {hold.buffer: stage.name for hold in stage.acquires}
        return super().stage(stage)

    def load(self, name: str, fills: Holds, size: float | None = None, **more: Any) -> str:
        """Add a stage that brings ``size`` bytes from main memory into a buffer."""
        size = float(self._slot_bytes(fills) if size is None else size)
        machine, (main, second) = self._machine, self._ways.loads
        held = {main: ticks_of(size * self.copies, machine.main_read), second: ticks_of(size, machine.local_write)}
        counted = {"main_read": size, "local_write": size}
        if machine.middle_capacity:
            held[second] = ticks_of(size * self.copies, machine.middle_read)
            counted |= {"middle_read": size, "middle_write": size}
        return self._add(name, "dma", 0, held, machine.load_latency, counted, fills=fills, **more)

    def store(self, name: str, empties: Holds, size: float | None = None, **more: Any) -> str:
        """Add a stage that takes ``size`` bytes out of a buffer to main memory."""
        size = float(self._slot_bytes(empties) if size is None else size)
        machine, (main, second) = self._machine, self._ways.stores
        held = {main: ticks_of(size * self.copies, machine.main_write), second: ticks_of(size, machine.local_read)}
        counted = {"main_write": size, "local_read": size}
        if machine.middle_capacity:
            held[second] = ticks_of(size * self.copies, machine.middle_write)
            counted |= {"middle_read": size, "middle_write": size}
        slots = {buffer.name: buffer.slots for buffer in self._buffers}
        behind = int(all(slots.get(hold.buffer, 1) > 1 for hold in _holds(empties)))
        return self._add(name, "dma", 0, held, machine.store_latency, counted, behind, empties=empties, **more)

    def matmul(
        self,
        name: str,
        m: int,
        n: int,
        k: int,
        *,
        form: str | None = None,
        b_along_k: bool = False,
        read: float = 0.0,
        write: float | None = None,
        **more: Any,
    ) -> str:
        """Add a stage that works on a tile C[m,n] += A[m,k] B[k,n] in the core's matrix units.

        Parameters
        ----------
        form : what stays in a systolic array, ``"weight_stationary"`` ...; None is the machine's own.
        b_along_k : True where the rows of B transposed lie in the local memory, as of K in Q Kᵀ.
        read, write : bytes at the local memory beside the operands: sums read back; results written, by default C.

        Raises
        ------
        InputError
            For an unknown form.
        """
        check_choice("form", form or self._form, tuple(STATIONARY))
        machine, stationary = self._machine, STATIONARY[form or self._form]
        tile = Tile(m, n, k, int(b_along_k), 0)
        work = tile_work(tile, stationary, machine)
        results = float(m * n * machine.element_bytes if write is None else write)
        waits = waiting_bytes(tile, work, stationary, float(read), results, machine)
        pes = machine.rows * machine.cols * machine.depth * machine.count * machine.rate
        counted = {
            "mac": float(m) * n * k,
            "pe_steady_cycles": work.steady * pes,
            "pe_busy_cycles": work.busy * pes,
            "local_read": read + (work.reads_a + work.reads_b) * machine.element_bytes + work.sum_reads * SUM_BYTES,
            "local_write": results + work.sum_writes * SUM_BYTES,
        }
        ticks = ticks_of(work.busy * TICKS_PER_CYCLE, 1.0)
        return self._add(
            name, "matrix", ticks, self._at_local(counted, waits), work.once * TICKS_PER_CYCLE, counted, **more
        )

    def vector(
        self, name: str, operations: Mapping[str, float], read: float = 0.0, write: float = 0.0, **more: Any
    ) -> str:
        """Add a stage of the vector unit: how often it does each operation, and its bytes at the local memory.

        Raises
        ------
        InputError
            For an operation that there is not.
        """
        for operation in operations:
            check_choice("vector operation", operation, VECTOR_OPERATIONS)
        cycles = sum(count * getattr(self._machine, f"cost_{operation}") for operation, count in operations.items())
        counted = {**operations, "local_read": float(read), "local_write": float(write)}
        ticks = vector_ticks(float(cycles), self._machine)
        return self._add(name, "vector", ticks, self._at_local(counted), 0, counted, **more)

    def step(self, useful: float = 1.0, early: tuple[str, ...] = ()) -> Step:
        """The checked program, run by ``copies`` cores.

        ``useful`` is the share of its MACs that no mask hides, ``early`` names loads of what is known before the op.
        """
        return Step(self.build(), self.copies, useful, early)

    def _at_local(self, counted: Mapping[str, float], waits: tuple[float, float] = (0.0, 0.0)) -> dict[str, int]:
        """How long bytes hold the port(s) of the local memory, with the bytes that they could move while they wait."""
        read, write = counted["local_read"] + waits[0], counted["local_write"] + waits[1]
        return dict(zip(self._ways.local, local_ticks(read, write, self._machine), strict=False))

    def _slot_bytes(self, holds: Holds) -> int:
        slots = {buffer.name: buffer.slot_bytes for buffer in self._buffers}
        return sum(slots.get(hold.buffer, 0) for hold in _holds(holds))

    def _inherited_shift(self, sources: Sequence[After], behind: int) -> int | None:
        """The largest shift of the stages waited for and ``behind`` more; None where a level is named with one."""
        names = {source.stage for source in sources}
        waited = [stage for stage in self._stages if stage.name in names]
        if any(stage.shift is None or stage.shift_level is not None for stage in waited):
            return None
        return max((stage.shift or 0 for stage in waited), default=0) + behind

    def _add(
        self,
        name: str,
        unit: str,
        ticks: int,
        held: Mapping[str, int],
        latency: int,
        counted: Mapping[str, float],
        behind: int = 0,
        *,
        fills: Holds = (),
        empties: Holds = (),
        after: str | After | Sequence[str | After] | None = None,
        **more: Any,
    ) -> str:
        acquires, releases = _holds(fills), _holds(empties)
        if after is None:
            after = [self._filled_by[hold.buffer] for hold in releases if hold.buffer in self._filled_by]
        listed = [after] if isinstance(after, str | After) else after
        sources = tuple(After(source) if isinstance(source, str) else source for source in listed)
        if "shift" not in more and "shift_level" not in more:
            more["shift"] = self._inherited_shift(sources, behind)
        return self.stage(
            Stage(
                name,
                unit,
                ticks,
                tuple(held.items()),
                latency,
                after=sources,
                acquires=acquires,
                releases=releases,
                actions={self._names[column]: count for column, count in counted.items()},
                **more,
            )
        )


def _holds(buffers: Holds) -> tuple[Hold, ...]:
    several = [buffers] if isinstance(buffers, str | Hold) else buffers
    return tuple(Hold(buffer) if isinstance(buffer, str) else buffer for buffer in several)

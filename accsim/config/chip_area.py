"""The area of a chip, part by part: sizes times areas of a table, except where the machine's file has an area itself.

Source of the rule: Accelergy (Wu et al., ICCAD 2019): the area of a chip is the sum over its components.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from accsim.config.area import AreaTable
from accsim.config.compute_units import MatrixUnit, SystolicArray, TensorCore, VectorUnit
from accsim.config.sparse_core import SparseCore
from accsim.units import dtype_bits

if TYPE_CHECKING:
    from accsim.config.machine import Accelerator

REST = "rest"
"""What a die has beyond the parts whose area is known."""


class _Part(NamedTuple):
    name: str
    copies: int
    given_mm2: float | None
    """Of one, as the machine's file has it."""
    modelled_mm2: Callable[[AreaTable], float]

    def area_mm2(self, table: AreaTable | None) -> float | None:
        """Area of all copies."""
        one = self.given_mm2 if self.given_mm2 is not None or table is None else self.modelled_mm2(table)
        return None if one is None else self.copies * one


def part_areas(machine: Accelerator, table: AreaTable | None) -> dict[str, float | None]:
    """Area in mm2 of each part of a chip, all copies together; None where neither the file nor a table tells.

    Parts are ``matrix_unit``, the register file of tensor cores, ``vector_unit``, the memories on the chip by name,
    and ``sparse_core``. A memory off the chip has no area.
    """
    return {part.name: part.area_mm2(table) for part in _parts(machine)}


def _parts(machine: Accelerator) -> Iterator[_Part]:
    unit, vector, units, cores = machine.matrix_unit, machine.vector_unit, machine.sparse_core, machine.cores
    yield _Part("matrix_unit", cores * unit.count, unit.area_mm2, partial(matrix_unit_mm2, unit))
    if isinstance(unit, TensorCore):
        yield _Part("matrix_unit.registers", cores, None, partial(_sram_mm2, unit.registers_bytes))
    yield _Part("vector_unit", cores, vector.area_mm2, partial(vector_unit_mm2, vector))
    for memory in machine.memories:
        if memory.kind == "sram" or memory.area_mm2 is not None:
            copies = cores if memory.scope == "core" else 1
            yield _Part(memory.name, copies, memory.area_mm2, partial(_sram_mm2, memory.capacity_bytes))
    if units is not None:
        yield _Part("sparse_core", 1, units.area_mm2, partial(sparse_core_mm2, units, vector))


def _sram_mm2(capacity_bytes: int, table: AreaTable) -> float:
    return table.sram_mm2(capacity_bytes)


def matrix_unit_mm2(unit: MatrixUnit, table: AreaTable) -> float:
    """Area of one matrix unit: PEs times what multiplies and adds in one, and in arrays its registers.

    Data types share hardware: the one that needs most, its rate times its area, decides.
    """
    mac = max(rate * table.mac_mm2(dtype) for dtype, rate in unit.rates.items())
    registers = register_bits(unit) * table.register_bit.area_mm2 if isinstance(unit, SystolicArray) else 0.0
    return unit.macs_per_cycle * (mac + registers)


def register_bits(unit: SystolicArray) -> int:
    """Bits of the registers of a PE: both operands and a sum, and the next stationary operand where it is preloaded.

    Of all data types, the one that needs most bits.
    """
    operands = 2 if unit.fold_overlap == "none" else 3
    return max(operands * round(dtype_bits(dtype)) + unit.accumulator(dtype).bits for dtype in unit.rates)


def vector_unit_mm2(unit: VectorUnit, table: AreaTable) -> float:
    """Area of the vector unit of a core: lanes times that of one, which is less where it takes more cycles."""
    return unit.lanes * table.vector.lane_mm2(unit.cycles_per_element)


def sparse_core_mm2(units: SparseCore, vector: VectorUnit, table: AreaTable) -> float:
    """Area of all embedding units: lanes like those of the vector unit, and scratchpads."""
    lanes = units.all_tiles * units.lanes * table.vector.lane_mm2(vector.cycles_per_element)
    return lanes + units.count * table.sram_mm2(units.spmem_bytes)

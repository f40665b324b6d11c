"""The machine description: frozen models of an accelerator in SI units, with the keys of its file as aliases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from accsim.config.area import AreaTable, area_table_beside, load_area_table
from accsim.config.chip_area import REST, part_areas
from accsim.config.compute_units import MatrixUnit, SystolicArray, TensorCore, VectorUnit
from accsim.config.energy import EnergyTable, load_energy_table
from accsim.config.fields import Area, Count, Frequency, Name, Notes, OverheadTime, Text, content_hash, freeze
from accsim.config.frozen import FrozenDict
from accsim.config.host import DataCenter, Host
from accsim.config.interconnect import Interconnect
from accsim.config.links import NodeLinks
from accsim.config.memory import Memory, level_problems, named_memories
from accsim.config.power import PowerLimits
from accsim.config.reader import FileModel, PlacedError, Wrong, of_file
from accsim.config.sparse_core import RowDma, SparseCore, sparse_core_problems
from accsim.errors import InputError, Problem, nearest

__all__ = [
    "Accelerator",
    "MatrixUnit",
    "Memory",
    "Overhead",
    "PowerLimits",
    "SystolicArray",
    "TensorCore",
    "VectorUnit",
]

Trust = Literal["calibrated", "transferred", "data_sheet"]


class Overhead(FileModel):
    """A named fixed cost."""

    time_s: OverheadTime = Field(alias="time")
    """How long it takes, each time."""
    source: Text
    """Where the number comes from."""


def _resolved_energy(value: Any, info: ValidationInfo) -> Any:
    return _loaded(load_energy_table, "an energy table", value, info)


def _resolved_areas(value: Any, info: ValidationInfo) -> Any:
    return None if value is None else _loaded(load_area_table, "an area table", value, info)


def _loaded(load: Callable[..., Any], what: str, value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str) or not value:
        raise ValueError(f"allowed is the name of {what} or the path of one")
    base: Path | None = (info.context or {}).get("folder")
    try:
        return load(value, base=base)
    except InputError as error:
        raise PlacedError([of_file(problem) for problem in error.problems]) from error


def _default_areas(fields: Mapping[str, Any]) -> AreaTable | None:
    return area_table_beside(fields["energy"])


class Accelerator(FileModel):
    """One chip; every number is in the unit of its name."""

    name: Name
    """Name of the machine; of a shipped one, its file's."""
    clock_hz: Frequency = Field(alias="clock")
    """Clock that cycles are counted in."""
    cores: Count
    """Identical cores on the chip."""
    matrix_unit: MatrixUnit
    """The matrix unit of one core."""
    vector_unit: VectorUnit
    """The vector unit of one core."""
    memories: Annotated[tuple[Memory, ...], BeforeValidator(named_memories)]
    """Memories by name, from the array outward; the last is main memory."""
    energy: Annotated[EnergyTable, BeforeValidator(_resolved_energy)]
    """Name or path of the energy table."""
    power: PowerLimits
    """Idle power, power cap and the clocks it can lower to."""
    overheads: Annotated[Mapping[str, Overhead], AfterValidator(freeze)] = Field(default_factory=FrozenDict)
    """Named fixed costs: 'op' of every operator of a trace; 'wave' and 'reduction' of grids of thread blocks."""
    links: NodeLinks | None = None
    """Links to the other chips of a node; without them, it runs no collective."""
    interconnect: Interconnect | None = None
    """Links to the other chips of a slice; without them, it has no slices."""
    sparse_core: SparseCore | None = None
    """Its embedding units."""
    row_dma: RowDma | None = None
    """How its cores fetch rows of embedding tables without them."""
    host: Host | None = None
    """Its host, as a place for embedding tables."""
    data_center: DataCenter | None = None
    """Servers for embedding tables across the network."""
    area_table: Annotated[AreaTable | None, BeforeValidator(_resolved_areas)] = Field(default_factory=_default_areas)
    """Name or path of the area table, for parts without an area. Default: the one named as the energy table."""
    die_mm2: Area | None = Field(default=None, alias="area")
    """Area of the chip as a whole. Default: the sum of its parts."""
    source: Text
    """Where the numbers come from."""
    sources: Notes = Field(default_factory=FrozenDict)
    """Dotted path to the source of that value, where it differs from `source`."""
    estimated: Notes = Field(default_factory=FrozenDict)
    """Dotted path to the reason why that value is not a published one."""
    trust: Trust = "data_sheet"
    """How far results can be trusted: constants measured on this machine, taken over, or from the data sheet."""

    @model_validator(mode="after")
    def _consistent(self) -> Accelerator:
        wrong = [*level_problems(self.memories, self.cores, self.clock_hz)]
        wrong += [*_missing_energies(self), *_missing_areas(self)]
        wrong += [*_mixed_without_rate(self), *sparse_core_problems(self.sparse_core, self.main_memory)]
        if wrong:
            raise PlacedError(wrong)
        return self

    @property
    def main_memory(self) -> Memory:
        """The outermost memory."""
        return self.memories[-1]

    def memory(self, name: str) -> Memory:
        """Memory of a name.

        Raises
        ------
        InputError
            If the machine has none of that name.
        """
        names = [memory.name for memory in self.memories]
        if name not in names:
            message = f"unknown memory '{name}' of {self.name}, allowed are {', '.join(names)}"
            raise InputError(Problem("", "", message, nearest(name, names)))
        return self.memories[names.index(name)]

    def peak_macs_per_s(self, dtype: str) -> float:
        """Multiply-accumulates per second of all matrix units (1 MAC = 2 FLOP).

        Raises
        ------
        InputError
            If the matrix unit does not support the data type.
        """
        unit = self.matrix_unit
        return self.cores * unit.count * unit.macs_per_cycle * unit.rate(dtype) * self.clock_hz

    @property
    def area_breakdown_mm2(self) -> dict[str, float]:
        """Area in mm2 of each part of the chip that is known, and what else a given die has as ``rest``."""
        parts = {name: area for name, area in part_areas(self, self.area_table).items() if area is not None}
        return parts if self.die_mm2 is None else {**parts, REST: self.die_mm2 - sum(parts.values())}

    @property
    def area_mm2(self) -> float | None:
        """Area of the chip: as its file has it, else the sum of its parts; None where one of them is not known."""
        if self.die_mm2 is not None:
            return self.die_mm2
        parts = list(part_areas(self, self.area_table).values())
        return None if None in parts else sum(area for area in parts if area is not None)

    @property
    def hash(self) -> str:
        """First 12 hex digits of the sha256 of the content, the tables' included."""
        return content_hash(self)


def _missing_energies(machine: Accelerator) -> Iterator[Wrong]:
    table = machine.energy
    for memory in machine.memories:
        if not table.has_memory(memory.kind):
            known = ", ".join(table.memory_kinds())
            message = f"the energy table '{table.name}' has no memory of kind '{memory.kind}', allowed are {known}"
            yield Wrong(("memories", memory.name, "kind"), message)
    for section in ("host", "data_center"):
        if getattr(machine, section) is not None and not table.has_memory("ddr"):
            yield Wrong((section,), f"the energy table '{table.name}' has no memory of kind 'ddr'", key=True)
    yield from _missing_macs(machine, "energy", table)


def _missing_areas(machine: Accelerator) -> Iterator[Wrong]:
    if machine.area_table is not None and machine.matrix_unit.area_mm2 is None:
        yield from _missing_macs(machine, "area", machine.area_table)


def _missing_macs(machine: Accelerator, what: str, table: EnergyTable | AreaTable) -> Iterator[Wrong]:
    for dtype in machine.matrix_unit.rates:
        if dtype not in table.mac:
            message = f"the {what} table '{table.name}' has no mac for {dtype}, only for {', '.join(table.mac)}"
            yield Wrong(("matrix_unit", "rates", dtype), message, key=True)


def _mixed_without_rate(machine: Accelerator) -> Iterator[Wrong]:
    for dtype in machine.matrix_unit.mixed:
        if dtype not in machine.matrix_unit.rates:
            message = f"{dtype} has no rate, allowed are {', '.join(machine.matrix_unit.rates)}"
            yield Wrong(("matrix_unit", "mixed", dtype), message, key=True)

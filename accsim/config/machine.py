"""The machine description: frozen models of an accelerator in SI units, with the keys of its file as aliases."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from accsim.config.compute_units import MatrixUnit, SystolicArray, TensorCore, VectorUnit
from accsim.config.dram import DramStandard, load_dram_standard
from accsim.config.energy import EnergyTable, load_energy_table
from accsim.config.fields import (
    Area,
    Bandwidth,
    Capacity,
    Frequency,
    Identifier,
    Latency,
    Name,
    Notes,
    OverheadTime,
    Text,
    content_hash,
    freeze,
)
from accsim.config.frozen import FrozenDict
from accsim.config.power import PowerLimits
from accsim.config.reader import FileModel, PlacedError, Wrong
from accsim.errors import InputError, Problem, nearest
from accsim.units import format_quantity

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
MemoryKind = Literal["sram", "ddr", "lpddr", "hbm2", "hbm2e", "hbm3", "hbm3e", "gddr6"]

Count = Annotated[int, Field(ge=1, le=65536)]

_PEAK_TOLERANCE = 0.025
"""Data sheets round: 1228.8 GB/s is printed as 1200, 2048 as 2000."""
"""How far a published bandwidth may be from channels times peak: both are rounded."""


def _resolved_standard(value: Any, info: ValidationInfo) -> Any:
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise ValueError("allowed is the name of a DRAM standard or the path of one")
    base: Path | None = (info.context or {}).get("folder")
    try:
        return load_dram_standard(value, base=base)
    except InputError as error:
        raise PlacedError([_of_file(problem) for problem in error.problems]) from error


def _default_kind(fields: Mapping[str, Any]) -> Any:
    standard = fields.get("standard")
    return standard.kind if standard is not None else "sram"


def _default_efficiency(fields: Mapping[str, Any]) -> float:
    standard = fields.get("standard")
    return 1.0 if standard is None else float(standard.stream_efficiency)


class Memory(FileModel):
    """One level of memory. With scope core there is one in every core, and all numbers are of one."""

    not_in_file: ClassVar[frozenset[str]] = frozenset({"name"})

    name: Identifier
    """Its key in the file."""
    capacity_bytes: Capacity = Field(alias="capacity")
    """Bytes it holds."""
    read_bytes_per_s: Bandwidth = Field(alias="read_bandwidth")
    """Bytes that leave it, towards the array, at its peak."""
    write_bytes_per_s: Bandwidth = Field(
        alias="write_bandwidth", default_factory=lambda fields: float(fields["read_bytes_per_s"])
    )
    """Bytes that enter it at its peak. Default: as reads."""
    shared_bandwidth: bool = False
    """True if reads and writes share one port."""
    double_buffered: bool = False
    """True if transfers from and to the memory outside have ports of their own, at the same bandwidths."""
    latency_s: Latency = Field(alias="latency")
    """From a request to its first byte."""
    banks: Count = 1
    """Banks that can work at the same time."""
    scope: Literal["core", "chip"] = "chip"
    """One in every core, or one for the chip."""
    standard: Annotated[DramStandard | None, BeforeValidator(_resolved_standard)] = None
    """Name or path of the DRAM standard of its channels."""
    channels: Count | None = None
    """Channels of the standard (of HBM, pseudo-channels); needed with it, and together its bandwidth within 2.5 %."""
    kind: MemoryKind = Field(default_factory=_default_kind)
    """Technology, for the energy of an access. Default: that of the standard, else sram on the chip and ddr for main
    memory."""
    efficiency: Annotated[float, Field(gt=0, le=1)] = Field(default_factory=_default_efficiency)
    """Share of the peak bandwidth that is reached. Default: what a stream reaches by the standard, else 1."""
    area_mm2: Area | None = Field(default=None, alias="area")
    """Area of one."""

    @model_validator(mode="after")
    def _channels_fit(self) -> Memory:
        wrong = [*_standard_problems(self)]
        if wrong:
            raise PlacedError(wrong)
        return self

    @property
    def usable_read_bytes_per_s(self) -> float:
        """Peak read bandwidth times efficiency."""
        return self.read_bytes_per_s * self.efficiency

    @property
    def usable_write_bytes_per_s(self) -> float:
        """Peak write bandwidth times efficiency."""
        return self.write_bytes_per_s * self.efficiency


def _standard_problems(memory: Memory) -> Iterator[Wrong]:
    standard, channels = memory.standard, memory.channels
    if standard is None or channels is None:
        if standard is not None or channels is not None:
            missing, given = ("channels", "standard") if channels is None else ("standard", "channels")
            yield Wrong((given,), f"'{given}' needs '{missing}' beside it", key=True)
        return
    if memory.kind != standard.kind:
        yield Wrong(("kind",), f"read '{memory.kind}', allowed is '{standard.kind}', the kind of {standard.name}")
    peak = channels * standard.peak_bytes_per_s
    for key, value in (("read_bandwidth", memory.read_bytes_per_s), ("write_bandwidth", memory.write_bytes_per_s)):
        if abs(value / peak - 1) > _PEAK_TOLERANCE:
            shown, whole = format_quantity(value, "bandwidth"), format_quantity(peak, "bandwidth")
            one = format_quantity(standard.peak_bytes_per_s, "bandwidth")
            message = (
                f"read {shown}, allowed is {whole} within 2.5 %: {channels} channels of {standard.name}, {one} each"
            )
            yield Wrong((key,), message)
            return


class Overhead(FileModel):
    """A named fixed cost."""

    time_s: OverheadTime = Field(alias="time")
    """How long it takes, each time."""
    source: Text
    """Where the number comes from."""


def _named_memories(value: Any) -> Any:
    """Mapping of the file to a tuple with names and the default kinds, from the array outward."""
    if not isinstance(value, Mapping):
        raise ValueError("allowed is a mapping of memory names, from the array outward")
    if len(value) < 2:
        raise ValueError("allowed are at least two memories: one on the chip and, last, the main memory")
    last = list(value)[-1]
    wrong = [
        Wrong((key, "name"), "unknown key: a memory's name is its key in 'memories'", key=True)
        for key, body in value.items()
        if isinstance(body, Mapping) and "name" in body
    ]
    if wrong:
        raise PlacedError(wrong)
    return tuple(
        {"name": key, **_usual_kind(body, key == last), **body} if isinstance(body, Mapping) else body
        for key, body in value.items()
    )


def _usual_kind(body: Mapping[str, Any], last: bool) -> dict[str, str]:
    return {"kind": "ddr"} if last and body.get("standard") is None else {}


def _resolved_energy(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str) or not value:
        raise ValueError("allowed is the name of an energy table or the path of one")
    base: Path | None = (info.context or {}).get("folder")
    try:
        return load_energy_table(value, base=base)
    except InputError as error:
        raise PlacedError([_of_file(problem) for problem in error.problems]) from error


def _of_file(problem: Problem) -> Wrong | Problem:
    """A problem with a line in its own file keeps its place; one of the whole file belongs to the key that names it."""
    if problem.where.rsplit(":", 1)[-1].isdecimal():
        return problem
    name = f"{problem.where}: " if problem.where else ""
    return Wrong((), name + problem.message, problem.suggestion)


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
    memories: Annotated[tuple[Memory, ...], BeforeValidator(_named_memories)]
    """Memories by name, from the array outward; the last is main memory."""
    energy: Annotated[EnergyTable, BeforeValidator(_resolved_energy)]
    """Name or path of the energy table."""
    power: PowerLimits
    """Idle power, power cap and the clocks it can lower to."""
    overheads: Annotated[Mapping[str, Overhead], AfterValidator(freeze)] = Field(default_factory=FrozenDict)
    """Named fixed costs; 'op' is paid by every operator of a trace."""
    area_mm2: Area | None = Field(default=None, alias="area")
    """Area of the chip."""
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
        wrong = [*_memory_order(self), *_missing_energies(self)]
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
    def hash(self) -> str:
        """First 12 hex digits of the sha256 of the content, the energy table's included."""
        return content_hash(self)


def _memory_order(machine: Accelerator) -> Iterator[Wrong]:
    main = machine.main_memory
    if main.scope == "core":
        yield Wrong(("memories", main.name, "scope"), "read 'core', allowed is 'chip' for the main memory, the last")
    totals = [m.capacity_bytes * (machine.cores if m.scope == "core" else 1) for m in machine.memories]
    for (inner, outer), (small, large) in zip(
        itertools.pairwise(machine.memories), itertools.pairwise(totals), strict=True
    ):
        if small > large:
            message = (
                f"{outer.name} holds {format_quantity(large, 'bytes')} in all, less than {inner.name} before it "
                f"({format_quantity(small, 'bytes')}); allowed is the order from the array outward"
            )
            yield Wrong(("memories", outer.name, "capacity"), message)
        if inner.scope == "chip" and outer.scope == "core" and outer is not main:
            message = f"read 'core', allowed is 'chip' outside of {inner.name}, which has the scope chip"
            yield Wrong(("memories", outer.name, "scope"), message)


def _missing_energies(machine: Accelerator) -> Iterator[Wrong]:
    table = machine.energy
    for memory in machine.memories:
        if not table.has_memory(memory.kind):
            known = ", ".join(table.memory_kinds())
            message = f"the energy table '{table.name}' has no memory of kind '{memory.kind}', allowed are {known}"
            yield Wrong(("memories", memory.name, "kind"), message)
    for dtype in machine.matrix_unit.rates:
        if dtype not in table.mac:
            message = f"the energy table '{table.name}' has no mac for {dtype}, only for {', '.join(table.mac)}"
            yield Wrong(("matrix_unit", "rates", dtype), message, key=True)

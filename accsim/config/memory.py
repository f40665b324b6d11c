"""The memories of a machine: one level's model, and the rules between levels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from accsim.config.dram import DramStandard, load_dram_standard
from accsim.config.fields import Area, Bandwidth, Capacity, Count, Identifier, Latency
from accsim.config.reader import FileModel, PlacedError, Wrong, of_file
from accsim.errors import InputError
from accsim.units import format_quantity

MemoryKind = Literal["sram", "ddr", "lpddr", "hbm2", "hbm2e", "hbm3", "hbm3e", "gddr6"]

_PEAK_TOLERANCE = 0.025
"""How far a published bandwidth may be from what channels or banks give. Data sheets round: 1228.8 GB/s is printed as
1200, 2048 as 2000."""


def _resolved_standard(value: Any, info: ValidationInfo) -> Any:
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise ValueError("allowed is the name of a DRAM standard or the path of one")
    base: Path | None = (info.context or {}).get("folder")
    try:
        return load_dram_standard(value, base=base)
    except InputError as error:
        raise PlacedError([of_file(problem) for problem in error.problems]) from error


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
    bank_width_bytes: Capacity | None = Field(default=None, alias="bank_width")
    """Bytes that one bank reads or writes in a cycle; only of the first memory. Default: all banks together give the
    larger of its bandwidths."""
    layout: Literal["skewed", "linear"] = "skewed"
    """How the rows of a tile lie over the banks: shifted so that no accesses meet in a bank, or one after the other;
    linear only in the first memory."""
    scope: Literal["core", "chip"] = "chip"
    """One in every core, or one for the chip."""
    standard: Annotated[DramStandard | None, BeforeValidator(_resolved_standard)] = None
    """Name or path of the DRAM standard of its channels."""
    channels: Count | None = None
    """Channels of the standard (of HBM, pseudo-channels); where given, together its bandwidth within 2.5 %."""
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
    def ports(self) -> str:
        """Ports of a bank as memory compilers name them: 1RW, 1R1W, or two of either where it is double-buffered."""
        port = "1RW" if self.shared_bandwidth else "1R1W"
        return f"2 x {port}" if self.double_buffered else port

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
    if standard is None:
        if channels is not None:
            yield Wrong(("channels",), "'channels' needs 'standard' beside it", key=True)
        return
    if memory.kind != standard.kind:
        yield Wrong(("kind",), f"read '{memory.kind}', allowed is '{standard.kind}', the kind of {standard.name}")
    if channels is None:
        return
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


def named_memories(value: Any) -> Any:
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


def level_problems(memories: tuple[Memory, ...], cores: int, clock_hz: float) -> Iterator[Wrong]:
    """What the memories of a machine, from the array outward, get wrong together; paths begin with ``memories``."""
    yield from _order_problems(memories, cores)
    yield from _bank_problems(memories, clock_hz)


def _order_problems(memories: tuple[Memory, ...], cores: int) -> Iterator[Wrong]:
    main = memories[-1]
    if main.scope == "core":
        yield Wrong(("memories", main.name, "scope"), "read 'core', allowed is 'chip' for the main memory, the last")
    totals = [m.capacity_bytes * (cores if m.scope == "core" else 1) for m in memories]
    for (inner, outer), (small, large) in zip(itertools.pairwise(memories), itertools.pairwise(totals), strict=True):
        if small > large:
            message = (
                f"{outer.name} holds {format_quantity(large, 'bytes')} in all, less than {inner.name} before it "
                f"({format_quantity(small, 'bytes')}); allowed is the order from the array outward"
            )
            yield Wrong(("memories", outer.name, "capacity"), message)
        if inner.scope == "chip" and outer.scope == "core" and outer is not main:
            message = f"read 'core', allowed is 'chip' outside of {inner.name}, which has the scope chip"
            yield Wrong(("memories", outer.name, "scope"), message)


def _widest(memory: Memory) -> float:
    return max(memory.read_bytes_per_s, memory.write_bytes_per_s)


def _bank_problems(memories: tuple[Memory, ...], clock_hz: float) -> Iterator[Wrong]:
    local, *outer = memories
    for memory in outer:
        only = f"only {local.name}, from which the array takes its operands, can have it"
        if memory.bank_width_bytes is not None:
            yield Wrong(("memories", memory.name, "bank_width"), f"allowed is none: {only}", key=True)
        if memory.layout != "skewed":
            yield Wrong(("memories", memory.name, "layout"), f"read '{memory.layout}', allowed is 'skewed': {only}")
    if local.bank_width_bytes is None:
        return
    whole, needed = local.bank_width_bytes * local.banks * clock_hz, _widest(local)
    if needed > whole * (1 + _PEAK_TOLERANCE):
        given, together = format_quantity(needed, "bandwidth"), format_quantity(whole, "bandwidth")
        message = (
            f"read {format_quantity(local.bank_width_bytes, 'bytes')}, allowed is what gives the bandwidth of {given}: "
            f"with {local.banks} banks it is {together}"
        )
        yield Wrong(("memories", local.name, "bank_width"), message)

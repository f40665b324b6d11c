"""Energy tables: pJ per action, each entry with its source, ranges kept as ranges."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from accsim.config.data_files import find_file
from accsim.config.fields import ByDtype, Capacity, EnergyPj, Name, Text, content_hash, freeze
from accsim.config.reader import FileModel, PlacedError, Wrong
from accsim.config.tables import read_table
from accsim.errors import InputError, Problem, nearest
from accsim.units import canonical_dtype, format_quantity

MainKind = Literal["ddr", "lpddr", "hbm2", "hbm2e", "hbm3", "hbm3e", "gddr6"]
"""Technologies of a main memory."""

VECTOR_OPS = ("max", "exp", "add", "multiply", "divide", "rescale", "convert")
"""Operations of a vector unit, with their own cost in time and energy."""


@dataclass(frozen=True)
class Range:
    """Published range of an energy, in pJ.

    Attributes
    ----------
    low, nominal, high
        In pJ, or in pJ per byte for a memory.
    estimated
        Why the value is not the published one itself; None if it is.
    """

    low: float
    nominal: float
    high: float
    estimated: str | None = None

    def scaled(self, factor: float, estimated: str | None = None) -> Range:
        """All three times `factor`; `estimated` is taken over when given."""
        return Range(self.low * factor, self.nominal * factor, self.high * factor, estimated or self.estimated)


class Entry(FileModel):
    """Energy of one action: `energy`, or all of `low`, `nominal`, `high`."""

    energy: EnergyPj | None = None
    """Published single value."""
    low: EnergyPj | None = None
    """Lower end of the range."""
    nominal: EnergyPj | None = None
    """Value that is used."""
    high: EnergyPj | None = None
    """Upper end of the range."""
    source: Text
    """Where the value was published."""
    estimated: Text | None = None
    """Why the value is not the published one itself."""

    @model_validator(mode="after")
    def _one_form(self) -> Entry:
        ends = (self.low, self.nominal, self.high)
        given = sum(end is not None for end in ends)
        if (self.energy is None) != (given == 3) or given not in (0, 3):
            raise PlacedError([Wrong((), "allowed is either 'energy' or all of 'low', 'nominal' and 'high'")])
        if given and not self.range.low <= self.range.nominal <= self.range.high:
            raise PlacedError([Wrong((), "allowed is low <= nominal <= high")])
        return self

    @property
    def range(self) -> Range:
        """The three values, equal for a single one."""
        if self.energy is not None:
            return Range(self.energy, self.energy, self.energy, self.estimated)
        return Range(self.low or 0.0, self.nominal or 0.0, self.high or 0.0, self.estimated)


class VectorEntries(FileModel):
    """Energy of each vector operation, per element."""

    max: Entry
    exp: Entry
    add: Entry
    multiply: Entry
    divide: Entry
    rescale: Entry | None = None
    """Default: as multiply."""
    convert: Entry | None = None
    """Default: as add."""


class AccessEntry(Entry):
    """Energy of one access to a memory."""

    bits: Annotated[int, Field(ge=1, le=65536)]
    """Width of one access."""

    @property
    def pj_per_byte(self) -> Range:
        """Energy of a byte."""
        return self.range.scaled(8 / self.bits)


class SramEntry(AccessEntry):
    """Energy of one access to an SRAM of one capacity."""

    capacity: Capacity
    """Size of the SRAM."""


class EnergyTable(FileModel):
    """Energy per action of one technology, all from one set of sources."""

    name: Name
    """Name that machine files use."""
    source: Text
    """Where the table comes from as a whole."""
    node_nm: Annotated[float, Field(gt=0, le=1000)]
    """Technology node."""
    mac: ByDtype[Entry]
    """One multiply-accumulate, by data type."""
    vector: VectorEntries
    """One vector operation on one element."""
    sram: Annotated[tuple[SramEntry, ...], Field(strict=False, min_length=2)]
    """Accesses to SRAM by ascending capacity; between two, the energy is interpolated in log-log."""
    main: Annotated[Mapping[MainKind, AccessEntry], AfterValidator(freeze)]
    """Accesses to main memory, by technology."""

    @model_validator(mode="after")
    def _ascending(self) -> EnergyTable:
        wrong = []
        for i, (inner, outer) in enumerate(itertools.pairwise(self.sram)):
            if inner.capacity >= outer.capacity:
                wrong.append(Wrong(("sram", i + 1, "capacity"), "allowed is a capacity above the entry before"))
        wrong += [
            Wrong(("sram", i), "allowed is an energy above 0") for i, e in enumerate(self.sram) if e.range.low <= 0
        ]
        if wrong:
            raise PlacedError(wrong)
        return self

    @property
    def hash(self) -> str:
        """First 12 hex digits of the sha256 of the content."""
        return content_hash(self)

    def mac_pj(self, dtype: str) -> Range:
        """Energy of one multiply-accumulate.

        Raises
        ------
        InputError
            If the table has no entry for the data type.
        """
        name = canonical_dtype(dtype)
        if name not in self.mac:
            raise InputError(f"the energy table '{self.name}' has no mac for {name}, only for {', '.join(self.mac)}")
        return self.mac[name].range

    def vector_pj(self, op: str) -> Range:
        """Energy of one vector operation on one element; rescale and convert fall back to multiply and add.

        Raises
        ------
        InputError
            If `op` is not one of `VECTOR_OPS`.
        """
        if op not in VECTOR_OPS:
            message = f"unknown vector operation '{op}', allowed are {', '.join(VECTOR_OPS)}"
            raise InputError(Problem("", "", message, nearest(op, VECTOR_OPS)))
        fallback = {"rescale": self.vector.multiply, "convert": self.vector.add}
        entry: Entry = getattr(self.vector, op) or fallback[op]
        return entry.range

    def has_memory(self, kind: str) -> bool:
        """True if `memory_pj_per_byte` knows this technology."""
        return kind == "sram" or kind in self.main

    def memory_kinds(self) -> tuple[str, ...]:
        """Technologies that `memory_pj_per_byte` knows."""
        return ("sram", *self.main)

    def memory_pj_per_byte(self, kind: str, capacity_bytes: int) -> Range:
        """Energy of reading or writing one byte.

        Parameters
        ----------
        kind
            ``"sram"`` or a technology of `main`.
        capacity_bytes
            Capacity of the memory (of one bank or copy as the machine file gives it); used for SRAM only.

        Raises
        ------
        InputError
            If the table has no such technology.

        Notes
        -----
        SRAM: log(energy) is linear in log(capacity) between two entries and goes on with the slope of the end segment
        outside them; anything but an exact entry is marked estimated.
        """
        if kind == "sram":
            return self._sram_pj_per_byte(capacity_bytes)
        for name, entry in self.main.items():
            if name == kind:
                return entry.pj_per_byte
        known = ", ".join(self.memory_kinds())
        raise InputError(f"the energy table '{self.name}' has no memory of kind '{kind}', allowed are {known}")

    def _sram_pj_per_byte(self, capacity_bytes: int) -> Range:
        if capacity_bytes < 1:
            raise InputError(f"read an SRAM of {capacity_bytes} bytes, allowed is at least 1")
        above = next((i for i, e in enumerate(self.sram) if e.capacity >= capacity_bytes), len(self.sram) - 1)
        if self.sram[above].capacity == capacity_bytes:
            return self.sram[above].pj_per_byte
        inner, outer = self.sram[max(above - 1, 0)], self.sram[max(above, 1)]
        share = math.log(capacity_bytes / inner.capacity) / math.log(outer.capacity / inner.capacity)
        low, high = inner.pj_per_byte, outer.pj_per_byte
        ends = ((low.low, high.low), (low.nominal, high.nominal), (low.high, high.high))
        lowest, nominal, highest = (a * (b / a) ** share for a, b in ends)
        verb = "interpolated between" if 0 < share < 1 else "extrapolated from"
        sizes = " and ".join(format_quantity(e.capacity, "bytes") for e in (inner, outer))
        return Range(lowest, nominal, highest, f"{verb} {sizes}")

    @property
    def estimated(self) -> dict[str, str]:
        """Dotted path of every entry that is not published itself, and why."""
        entries: dict[str, Entry] = {f"mac.{dtype}": entry for dtype, entry in self.mac.items()}
        entries |= {f"vector.{op}": e for op in VECTOR_OPS if (e := getattr(self.vector, op)) is not None}
        entries |= {f"sram[{i}]": entry for i, entry in enumerate(self.sram)}
        entries |= {f"main.{kind}": entry for kind, entry in self.main.items()}
        return {path: entry.estimated for path, entry in entries.items() if entry.estimated is not None}


def load_energy_table(name_or_path: str | Path, *, base: Path | None = None) -> EnergyTable:
    """Energy table of a shipped name or of a file.

    Parameters
    ----------
    name_or_path
        ``"horowitz_45nm"`` or a path.
    base
        Folder that a relative path starts from.

    Raises
    ------
    InputError
        If there is no such table or its file has problems.
    """
    return read_table(EnergyTable, find_file("hw_configs/energy", "energy table", name_or_path, base=base))

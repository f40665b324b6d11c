"""Area tables: mm2 of what a chip is made of, in one technology, each entry with its source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from accsim.config.data_files import data_folder, find_file
from accsim.config.energy import EnergyTable
from accsim.config.fields import Area, ByDtype, Name, Text, content_hash
from accsim.config.reader import FileModel
from accsim.config.tables import read_table
from accsim.errors import InputError
from accsim.units import canonical_dtype

_FOLDER = "hw_configs/area"


class AreaEntry(FileModel):
    """Area of one of a kind."""

    area_mm2: Area = Field(alias="area")
    """Area of one."""
    source: Text
    """Where the value was published."""
    estimated: Text | None = None
    """Why the value is not the published one itself."""


class VectorAreas(FileModel):
    """Area of what gives one result of a vector operation in every cycle."""

    max: AreaEntry
    add: AreaEntry
    """Also converts."""
    multiply: AreaEntry
    """Also rescales."""
    exp: AreaEntry
    divide: AreaEntry

    def lane_mm2(self, cycles: Mapping[str, float]) -> float:
        """Area of a lane that takes so many cycles for a result of each operation: that of one a cycle over them."""
        return sum(entry.area_mm2 / cycles[op] for op, entry in self.by_op.items())

    @property
    def by_op(self) -> dict[str, AreaEntry]:
        """Every entry by its operation."""
        return {"max": self.max, "add": self.add, "multiply": self.multiply, "exp": self.exp, "divide": self.divide}


class ArrayEfficiency(FileModel):
    """Share of an SRAM that its cells take."""

    share: Annotated[float, Field(gt=0, le=1)]
    """The share; the rest are decoders, sense amplifiers and wires."""
    source: Text
    """Where the value was published."""
    estimated: Text | None = None
    """Why the value is not the published one itself."""


class SramArea(FileModel):
    """Area of an SRAM: that of its cells, over the share that they take of it."""

    cell: AreaEntry
    """One bit."""
    array_efficiency: ArrayEfficiency
    """Share of the whole that cells take."""

    @property
    def bit_mm2(self) -> float:
        """Area of a bit with its part of the periphery."""
        return self.cell.area_mm2 / self.array_efficiency.share


class AreaTable(FileModel):
    """Areas in one technology."""

    name: Name
    """Name that machine files use."""
    source: Text
    """Where the table comes from as a whole."""
    node_nm: Annotated[float, Field(gt=0, le=1000)]
    """Technology node."""
    mac: ByDtype[AreaEntry]
    """What does one multiply-accumulate a cycle, by data type."""
    vector: VectorAreas
    """What a lane of a vector unit is made of."""
    register_bit: AreaEntry
    """One bit of a register."""
    sram: SramArea
    """Memories on the chip."""

    @property
    def hash(self) -> str:
        """First 12 hex digits of the sha256 of the content."""
        return content_hash(self)

    def mac_mm2(self, dtype: str) -> float:
        """Area of what does one multiply-accumulate a cycle.

        Raises
        ------
        InputError
            If the table has no entry for the data type.
        """
        name = canonical_dtype(dtype)
        if name not in self.mac:
            raise InputError(f"the area table '{self.name}' has no mac for {name}, only for {', '.join(self.mac)}")
        return self.mac[name].area_mm2

    def sram_mm2(self, capacity_bytes: int) -> float:
        """Area of an SRAM."""
        return 8 * capacity_bytes * self.sram.bit_mm2

    @property
    def estimated(self) -> dict[str, str]:
        """Dotted path of every entry that is not published itself, and why."""
        entries: dict[str, AreaEntry | ArrayEfficiency] = {f"mac.{dtype}": entry for dtype, entry in self.mac.items()}
        entries |= {f"vector.{op}": entry for op, entry in self.vector.by_op.items()}
        entries |= {"register_bit": self.register_bit, "sram.cell": self.sram.cell}
        entries["sram.array_efficiency"] = self.sram.array_efficiency
        return {path: entry.estimated for path, entry in entries.items() if entry.estimated is not None}


def load_area_table(name_or_path: str | Path, *, base: Path | None = None) -> AreaTable:
    """Area table of a shipped name or of a file.

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
    return read_table(AreaTable, find_file(_FOLDER, "area table", name_or_path, base=base))


def area_table_beside(energy: EnergyTable) -> AreaTable | None:
    """The shipped area table of the same name as an energy table; None without one."""
    path = data_folder(_FOLDER) / f"{energy.name}.yaml"
    return read_table(AreaTable, path) if path.is_file() else None

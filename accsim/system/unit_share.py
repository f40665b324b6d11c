"""What embedding units are of a chip: their share of its area, and of the energy of a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from accsim.config.machine import Accelerator


@dataclass(frozen=True)
class UnitShare:
    """Share of a chip's embedding units, from 0 to 1.

    Attributes
    ----------
    energy_j
        Joules of their vector units and scratchpads in a step, without main memory, idle power, sequencer and sort.
    energy_fraction
        That over the chip's energy, which is also their share of its power.
    area_fraction
        Their area over the die's, both from the machine file; None where it has them not.
    published_power_fraction
        What the machine file has as published; None without.
    """

    energy_j: float
    energy_fraction: float
    area_fraction: float | None
    published_power_fraction: float | None

    def to_dict(self) -> dict[str, float | None]:
        """As plain data."""
        return asdict(self)


def unit_share(chip: Accelerator, where: str, embedding_j: Mapping[str, float], chip_j: float) -> UnitShare | None:
    """The share of a chip's embedding units in a step; None where something else looks rows up.

    Parameters
    ----------
    embedding_j
        Joules of the embedding half by component.
    chip_j
        Of the whole chip.
    """
    unit = chip.sparse_core
    if unit is None or where != "sparse_core":
        return None
    spent = sum(joules for part, joules in embedding_j.items() if part != chip.main_memory.name)
    area = unit.area_mm2 / chip.area_mm2 if unit.area_mm2 and chip.area_mm2 else None
    return UnitShare(spent, spent / chip_j, area, unit.power_fraction)

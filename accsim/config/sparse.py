"""What a matrix unit does with zeros: modes, gathering, skipping, and what delivers operands and takes sums then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from accsim.config.fields import Capacity, EnergyPj, Wording, canonical_keys, freeze
from accsim.config.frozen import FrozenDict
from accsim.config.reader import FileModel, PlacedError, Wrong

Side = Annotated[int, Field(ge=1, le=65536)]


def _checked_mode(mode: str) -> str:
    n, m = mode.split(":")
    if int(m) < 2 or (n != "*" and int(n) >= int(m)):
        raise ValueError(f"read '{mode}', allowed is n:m with n below m")
    return mode


def _every_n(modes: tuple[str, ...]) -> tuple[str, ...]:
    """Modes with every n below m in place of ``*:m``."""
    found = ((mode, mode.partition(":")[2]) for mode in modes)
    every = ([f"{n}:{m}" for n in range(1, int(m))] if mode.startswith("*") else [mode] for mode, m in found)
    return tuple(dict.fromkeys(mode for expanded in every for mode in expanded))


Mode = Annotated[
    str,
    Field(pattern=r"^([1-9]\d{0,4}|\*):[1-9]\d{0,4}$"),
    AfterValidator(_checked_mode),
    Wording('a text such as "2:4" or, for every n, "*:4", in quotes'),
]
Modes = Annotated[tuple[Mode, ...], Field(strict=False, min_length=1, max_length=16), AfterValidator(_every_n)]
ModesByDtype = Annotated[Mapping[str, Modes], AfterValidator(freeze), BeforeValidator(canonical_keys)]


class RowWise(FileModel):
    """Rows of the sparse operand (columns of B) that each run in a mode of their own."""

    rows: Side = 1
    """Neighbours that share a mode: the densest of them."""
    window: Side
    """Places along k that a mode holds for, a multiple of its m."""


class LaneSkipping(FileModel):
    """Lanes that leave out the zeros of one operand, each on its own: the array's rows of A, or its columns of B."""

    window: Side
    """Places along k after which lanes that were faster have waited for the slowest."""


class OuterProduct(FileModel):
    """Outer products of the nonzeros of both operands, found in bitmaps and packed into the unit's rows and columns."""

    tile_m: Side
    """Rows of A whose nonzeros at a place along k are packed together."""
    tile_n: Side
    """Columns of B whose nonzeros are."""
    window: Side
    """Places along k after which the units of a core have waited for the slowest."""


PerCycle = Annotated[float, Field(gt=0, le=1e12)]


class Decompressor(FileModel):
    """What hands compressed operands on from the local memory to the matrix units of a core."""

    values_per_cycle: PerCycle
    """Values that it hands on in a cycle."""
    expands: bool = False
    """Fill in zeros, so that what the unit cannot run sparse lies compressed too; its zeros are values then."""
    energy_pj: EnergyPj | None = Field(default=None, alias="energy")
    """Energy of a value; not counted by default."""


class Compressor(FileModel):
    """What packs results of a core's matrix units before they are stored, where their pattern is known."""

    results_per_cycle: PerCycle
    """Results, zeros included, that it takes in a cycle."""
    energy_pj: EnergyPj | None = Field(default=None, alias="energy")
    """Energy of a result; not counted by default."""


class Sparse(FileModel):
    """What the matrix unit does with zeros; by default, multiply them."""

    modes: ModesByDtype = Field(default_factory=FrozenDict)
    """Data type to patterns n:m that it reads compressed: it multiplies n of each m places, m / n times as fast."""
    other_modes: ModesByDtype = Field(default_factory=FrozenDict)
    """Data type to patterns n:m in which it reads the other operand at the same time: fewer values, the same cycles."""
    gathered_rows: Annotated[int, Field(ge=0, le=65536)] = 0
    """Rows that share the columns of V:N:M which it gathers; V is a multiple. 0: it gathers none."""
    row_wise: RowWise | None = None
    """Each row has a mode of its own."""
    lane_skipping: LaneSkipping | None = None
    """Zeros of one operand are skipped one by one."""
    outer_product: OuterProduct | None = None
    """Zeros of both operands are skipped one by one."""
    operand_width_bytes: Capacity | None = Field(default=None, alias="operand_width")
    """Bytes of the operand selected from that one unit takes in a cycle; no limit by default."""
    accumulator_banks: Side | None = None
    """Sums that one unit adds to in a cycle; no limit by default."""
    accumulator_queue: Side | None = None
    """Sums of outer products that wait together for one unit's banks; by default so many that all banks are as full."""
    gated_energy: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Energy of a multiplication by a zero, as a share of any other's: 1 unless the unit holds it still."""

    decompressor: Decompressor | None = None
    """Unit of its own that compressed operands pass; without one, the matrix unit reads them at its own pace."""
    compressor: Compressor | None = None
    """Unit of its own that results with a pattern pass; without one, they are stored whole."""

    @property
    def reads_compressed(self) -> bool:
        """Whether it leaves anything out, and so reads an operand compressed."""
        return bool(self.modes or self.lane_skipping or self.outer_product)

    @model_validator(mode="after")
    def _fit_together(self) -> Sparse:
        wrong = []
        if self.decompressor is not None and not self.decompressor.expands and not self.reads_compressed:
            message = "read false, allowed is true for a unit that reads nothing compressed"
            wrong.append(Wrong(("decompressor", "expands"), message))
        if self.lane_skipping and self.outer_product:
            wrong.append(Wrong(("lane_skipping",), "allowed beside outer_product is none", key=True))
        if self.accumulator_queue and not (self.accumulator_banks and self.outer_product):
            message = "allowed beside accumulator_banks and outer_product only"
            wrong.append(Wrong(("accumulator_queue",), message, key=True))
        if self.row_wise is not None:
            window = self.row_wise.window
            for dtype, modes in self.modes.items():
                lengths = {int(mode.partition(":")[2]) for mode in modes}
                if len(lengths) > 1 or window % lengths.pop():
                    message = f"allowed with row_wise are modes of one m that divides its window, {window}"
                    wrong.append(Wrong(("modes", dtype), message))
            if not self.modes:
                wrong.append(Wrong(("row_wise",), "allowed beside modes only", key=True))
        if wrong:
            raise PlacedError(wrong)
        return self

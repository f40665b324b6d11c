"""Models of what computes in one core: the matrix unit and the vector unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from accsim.config.energy import VECTOR_OPS
from accsim.config.fields import Area, ByDtype, Capacity, DtypeName, canonical_keys, freeze
from accsim.config.frozen import FrozenDict
from accsim.config.reader import FileModel
from accsim.config.sparse import Side, Sparse
from accsim.errors import InputError
from accsim.units import canonical_dtype

Stationary = Literal["weight_stationary", "output_stationary", "input_stationary"]
FoldOverlap = Literal["none", "weights", "full"]

Count = Annotated[int, Field(ge=1, le=65536)]
Rate = Annotated[float, Field(gt=0, le=1024)]
Cycles = Annotated[float, Field(gt=0, le=1e6)]


Dtypes = Annotated[
    tuple[Annotated[DtypeName, AfterValidator(canonical_dtype)], ...], Field(strict=False, min_length=1, max_length=16)
]


class Accumulator(FileModel):
    """How a matrix unit adds up the products of one data type."""

    bits: Annotated[int, Field(ge=8, le=64)] = 32
    """Bits of a sum in registers and memories."""
    aligned_bits: Annotated[int, Field(ge=2, le=44)] | None = None
    """Significant bits that aligned products and their sum keep, where they are fewer than those of a sum."""


class _MatrixUnit(FileModel):
    count: Count = 1
    """Units in one core."""
    sparse: Sparse = Field(default_factory=Sparse)
    """What it does with zeros; by default, multiply them."""
    rates: ByDtype[Rate]
    """Data type to the multiple of the base rate at which it runs; a type that is absent is not supported."""
    mixed: Annotated[Mapping[str, Dtypes], AfterValidator(freeze), BeforeValidator(canonical_keys)] = Field(
        default_factory=FrozenDict
    )
    """Data type to the other ones that it multiplies it with as they are, at the rate of the first."""
    accumulators: Annotated[Mapping[str, Accumulator], AfterValidator(freeze), BeforeValidator(canonical_keys)] = Field(
        default_factory=FrozenDict
    )
    """Data type to how its products are added up; default: in sums of 32 bits, with all of their bits."""
    area_mm2: Area | None = Field(default=None, alias="area")
    """Area of one unit."""

    def accumulator(self, dtype: str) -> Accumulator:
        """How products of a data type are added up."""
        return self.accumulators.get(canonical_dtype(dtype)) or Accumulator()

    def rate(self, dtype: str) -> float:
        """Multiple of the base rate for a data type.

        Raises
        ------
        InputError
            If the unit does not support it.
        """
        name = canonical_dtype(dtype)
        if name not in self.rates:
            raise InputError(f"the matrix unit does not support {name}, only {', '.join(self.rates)}")
        return self.rates[name]


class SystolicArray(_MatrixUnit):
    """A grid of processing elements, one multiply-accumulate each a cycle at rate 1."""

    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("m", "n", "k", "registers"), "belongs to the kind tensor_core"
    )

    kind: Literal["systolic"]
    """systolic or tensor_core; each has its own keys."""
    rows: Side
    """Processing elements in a column."""
    cols: Side
    """Processing elements in a row."""
    fold_overlap: FoldOverlap = "none"
    """What of a fold's fill and drain hides behind its neighbours: none, the next preload (weights), or all (full)."""
    dataflow: Stationary = "output_stationary"
    """Operand that stays in the array unless a mapping says otherwise."""

    @property
    def macs_per_cycle(self) -> int:
        """Multiply-accumulates of one unit in a cycle at rate 1."""
        return self.rows * self.cols


class TensorCore(_MatrixUnit):
    """A unit that finishes an m x n x k block of multiply-accumulates a cycle at rate 1."""

    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("rows", "cols", "fold_overlap", "dataflow"), "belongs to the kind systolic"
    )

    kind: Literal["tensor_core"]
    """systolic or tensor_core; each has its own keys."""
    m: Side
    """Rows of the block."""
    n: Side
    """Columns of the block."""
    k: Side
    """Products summed for each element of the block."""
    registers_bytes: Capacity = Field(alias="registers")
    """Register file of one core, shared by its units: sums in progress lie in it."""

    @property
    def macs_per_cycle(self) -> int:
        """Multiply-accumulates of one unit in a cycle at rate 1."""
        return self.m * self.n * self.k


MatrixUnit = Annotated[SystolicArray | TensorCore, Field(discriminator="kind")]


class VectorCosts(FileModel):
    """Cycles that one lane takes for one element, by operation."""

    max: Cycles
    exp: Cycles
    add: Cycles
    multiply: Cycles
    divide: Cycles
    rescale: Cycles | None = None
    """Default: as multiply."""
    convert: Cycles | None = None
    """Default: as add."""
    widen: Cycles | None = None
    """An operand of a product to the data type in which it is multiplied. Default: as convert."""


class VectorUnit(FileModel):
    """Lanes for everything that is not a matrix product."""

    lanes: Annotated[int, Field(ge=1, le=2**20)]
    """Lanes in one core."""
    costs: VectorCosts = Field(alias="cycles_per_element")
    """Cycles of one lane for one element, by operation."""
    area_mm2: Area | None = Field(default=None, alias="area")
    """Area of the unit of one core."""

    @property
    def cycles_per_element(self) -> Mapping[str, float]:
        """Cycles of one lane for one element, for every operation of `VECTOR_OPS`."""
        given = {op: getattr(self.costs, op) for op in VECTOR_OPS}
        fallback = {"rescale": self.costs.multiply, "convert": self.costs.add}
        return FrozenDict({op: fallback[op] if cost is None else cost for op, cost in given.items()})

    @property
    def widen_cycles(self) -> float:
        """Cycles of one lane to convert one element of an operand of a product."""
        return self.costs.widen or self.cycles_per_element["convert"]

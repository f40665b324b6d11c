"""How operands and results of a product lie in the memories. ``docs/sparse_gemm.md`` has the model."""

from __future__ import annotations

from typing import NamedTuple

from accsim.config.machine import Accelerator
from accsim.sparsity.bitstream import index_bits
from accsim.sparsity.nm import NM
from accsim.units import dtype_bits
from accsim.workload.op_sparsity import RESULTS, operand_patterns, operand_tensor
from accsim.workload.ops import Conv2d, Gemm


class Stored(NamedTuple):
    """What is stored of an operand, of each place along k.

    Attributes
    ----------
    values : those kept.
    index_bits : of the index, on average.
    selected : values that the select network takes, 0 where it takes none.
    gathered : share of k that a group of the other operand's lines needs.
    lines : share of the array's rows or columns that its lines take, packed each in its own mode.
    expanded : whether a decompressor fills in the zeros.
    """

    values: float = 1.0
    index_bits: float = 0.0
    selected: float = 0.0
    gathered: float = 1.0
    lines: float = 1.0
    expanded: bool = False

    @property
    def decoded(self) -> float:
        """Values that the matrix unit takes of a place of what lies compressed, 0 of what does not."""
        if self.index_bits == 0:
            return 0.0
        return 1.0 if self.expanded else self.values

    def place_bytes(self, element_bytes: float) -> float:
        """Bytes of a place, index included."""
        return self.values * element_bytes + self.index_bits / 8


def expanded(op: Gemm, acc: Accelerator, operand: str, own: Stored) -> Stored:
    """An operand that nothing is left out of: a bitmap where a decompressor fills in zeros and that is smaller."""
    unpacks, pattern = acc.matrix_unit.sparse.decompressor, operand_patterns(op).get(operand)
    if pattern is None or unpacks is None or not unpacks.expands:
        return own
    density = float(pattern.density_in(*operand_tensor(op, operand)))
    bitmap = own._replace(values=density, index_bits=1.0, expanded=True)
    element = dtype_bits(op.operand_dtypes["AB".index(operand)]) / 8
    return bitmap if bitmap.place_bytes(element) < element else own


def stored_results(op: Gemm | Conv2d, acc: Accelerator) -> Stored:
    """What a compressor leaves of a place of C: of n:m along n as its values with an index, else as a bitmap."""
    if not isinstance(op, Gemm) or op.out_sparsity is None or acc.matrix_unit.sparse.compressor is None:
        return Stored()
    pattern = op.out_sparsity
    density = float(pattern.density_in(*operand_tensor(op, RESULTS)))
    runs = pattern.m if isinstance(pattern, NM) and pattern.axis == "k" else 0
    packed = Stored(density, density * index_bits(runs) if runs else 1.0)
    element = dtype_bits(op.operand_dtypes[2]) / 8
    return packed if packed.place_bytes(element) < element else Stored()


def results_told(op: Gemm, acc: Accelerator) -> str:
    """How the results of a product with a pattern are stored, in a sentence."""
    if stored_results(op, acc).index_bits:
        return f"{op.out_sparsity} of C is stored compressed"
    missing = "the machine has no compressor" if acc.matrix_unit.sparse.compressor is None else "no smaller compressed"
    return f"{op.out_sparsity} of C is stored whole: {missing}"

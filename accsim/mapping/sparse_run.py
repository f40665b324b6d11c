"""How a machine runs a product with a sparse operand: in a mode of its matrix unit, or dense, and why.

In a mode n:m the unit multiplies n of each m places along k. The operand lies compressed in every memory: n values of
each m and the place of each, as `accsim.sparsity.formats.NMIndex` stores them. ``docs/sparse_gemm.md`` has the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from accsim.config.machine import Accelerator
from accsim.kernels.matrix import Machine, kept_places
from accsim.mapping.format_run import matrix_dtype, stored_numbers
from accsim.mapping.machine_numbers import machine_numbers
from accsim.sparsity.bitstream import index_bits
from accsim.sparsity.legality import legality
from accsim.sparsity.sparse_unit import SparseUnit
from accsim.units import canonical_dtype
from accsim.workload.ops import Conv2d, Gemm, Op

DENSE_MODE = (1, 1)
_NO_MODE = "give the smaller product for its speed: "


@dataclass(frozen=True)
class SparseRun:
    """How a product with a pattern runs.

    Attributes
    ----------
    mode : n and m of the unit's mode; (1, 1) where it runs dense.
    gated : share of the executed multiplications by a pruned value, where the unit holds those still, else 0.
    reason : in a sentence.
    """

    mode: tuple[int, int]
    gated: float
    reason: str


def sparse_unit(acc: Accelerator, dtype: str) -> SparseUnit:
    """The machine's matrix unit for a data type, as legality is asked of it."""
    modes = acc.matrix_unit.sparse.modes.get(canonical_dtype(dtype), ())
    pairs = (mode.split(":") for mode in modes)
    return SparseUnit(acc.matrix_unit.kind, modes=tuple((int(n), int(m)) for n, m in pairs))


@lru_cache(maxsize=1024)
def sparse_run(op: Gemm, acc: Accelerator) -> SparseRun:
    """How a machine runs a product that has a sparsity."""
    assert op.sparsity is not None
    assert op.sparse_operand is not None
    sparse = acc.matrix_unit.sparse
    extents = {"m": op.rows, "n": op.n, "k": op.k}
    entry = legality(op.sparsity, sparse_unit(acc, matrix_dtype(op, acc)), op.sparse_operand, extents)["forward"]
    n, m = entry.mode if entry.mode and entry.legal else DENSE_MODE
    gated = 0.0
    if sparse.gated_energy < 1:
        gated = 1.0 - op.macs_effectual * op.k / (op.macs * kept_places(op.k, n, m))
    what = f"{op.sparsity} of {op.sparse_operand}"
    if (n, m) != DENSE_MODE:
        return SparseRun((n, m), gated, f"{what} runs in the mode {n}:{m}: {entry.verdict.value}: {entry.reason}")
    held = ", multiplications by its zeros gated" if gated else ""
    why = f"{_NO_MODE}{entry.reason}" if entry.legal else f"{entry.verdict.value}: {entry.reason}"
    return SparseRun((n, m), gated, f"{what} runs dense{held}: {why}")


@lru_cache(maxsize=1024)
def product_numbers(op: Gemm | Conv2d, acc: Accelerator) -> Machine:
    """Bare numbers of a machine for one product, its sparsity included.

    Raises
    ------
    InputError
        As `machine_numbers` and `format_run`.
    """
    if not isinstance(op, Gemm):
        return machine_numbers(acc, op.dtype)
    machine = stored_numbers(op, acc)
    if op.sparsity is None:
        return machine
    run = sparse_run(op, acc)
    if run.mode == DENSE_MODE:
        return machine._replace(gated=run.gated)
    n, m = run.mode
    share, index = n / m, index_bits(m) / 8
    machine = machine._replace(kept=n, run=m, gated=run.gated)
    if op.sparse_operand == "A":
        return machine._replace(bytes_a=share * (machine.bytes_a + index), decoded_a=share)
    return machine._replace(bytes_b=share * (machine.bytes_b + index), decoded_b=share)


def stored_weight_bytes(op: Op, acc: Accelerator) -> int:
    """Bytes of an op's parameters in the machine's memory: a sparse B that runs in a mode is compressed."""
    if not isinstance(op, Gemm) or not op.weights or op.sparsity is None or op.sparse_operand != "B":
        return op.weight_bytes
    return ceil(op.products * op.k * op.n * product_numbers(op, acc).bytes_b)

"""Numbers of what the vector unit does to the operands and results of a product whose number formats need it."""

from __future__ import annotations

from functools import lru_cache

from accsim.config.machine import Accelerator
from accsim.kernels.matrix import Formats, Machine, Widened
from accsim.mapping.format_run import format_run
from accsim.mapping.sparse_run import Stored, product_numbers, sparse_run
from accsim.units import dtype_bits, dtype_layout
from accsim.workload.ops import Conv2d, Gemm

AS_STORED = Widened(0.0, 0.0, 0.0, 0.0)


@lru_cache(maxsize=1024)
def lowering_numbers(op: Gemm | Conv2d, acc: Accelerator) -> tuple[Machine, Formats | None]:
    """Bare numbers of a machine for one product, and of what is converted or quantized, None where nothing is.

    Raises
    ------
    InputError
        As `product_numbers`.
    """
    machine = product_numbers(op, acc)
    run = format_run(op, acc)
    if not run.converted and not run.quantized:
        return machine, None
    a, b = _widened(op, "A", acc), _widened(op, "B", acc)
    array = machine._replace(bytes_a=_taken(machine.bytes_a, a, machine), bytes_b=_taken(machine.bytes_b, b, machine))
    block_c = dtype_layout(op.operand_dtypes[2]).block if run.quantized else 0
    return machine, Formats(array, a, b, int(bool(run.converted)), block_c)


def _widened(op: Gemm | Conv2d, operand: str, acc: Accelerator) -> Widened:
    """A conversion of each value, and a multiplication by the scale of its block where the result has none.

    Of a sparse operand, the values that are stored; what says where they belong stays as it is.
    """
    run = format_run(op, acc)
    if operand not in run.converted:
        return AS_STORED
    stored, made = dtype_layout(op.operand_dtypes["AB".index(operand)]), dtype_layout(run.dtype)
    multiplies = float(stored.scale_bits > 0 and made.scale_bits == 0)
    unit = acc.vector_unit
    cycles = unit.widen_cycles + multiplies * unit.cycles_per_element["multiply"]
    sparse = isinstance(op, Gemm) and op.sparsity is not None
    kept = sparse_run(op, acc).stored["AB".index(operand)] if sparse else Stored()
    share, size = kept.values, kept.values * dtype_bits(run.dtype) + kept.index_bits
    return Widened(size / 8, share * cycles, share, share * multiplies)


def _taken(stored: float, widened: Widened, machine: Machine) -> float:
    """Bytes of a place that the matrix unit takes from the local memory: none of what lies in registers."""
    if widened.bytes == 0:
        return stored
    return widened.bytes if machine.systolic else 0.0


def converted(formats: Formats | None) -> tuple[str, ...]:
    """Operands that the vector unit converts, of ``"a"`` and ``"b"``."""
    pairs = (("a", formats.widened_a), ("b", formats.widened_b)) if formats is not None else ()
    return tuple(name for name, widened in pairs if widened.bytes > 0)

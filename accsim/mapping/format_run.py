"""How a machine multiplies operands of given data types: as they are, or after the vector unit has converted them.

``docs/number_formats.md`` has the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from accsim.config.machine import Accelerator
from accsim.errors import InputError
from accsim.kernels.matrix import Machine
from accsim.mapping.machine_numbers import machine_numbers
from accsim.sparsity.number_formats import WIDER
from accsim.units import dtype_bits, dtype_layout
from accsim.workload.ops import Conv2d, Gemm, Op


@dataclass(frozen=True)
class FormatRun:
    """In which data type a product is multiplied.

    Attributes
    ----------
    dtype : that of the multiplication: its rate and its energy.
    converted : operands that the vector unit converts to it, of ``"A"`` and ``"B"``.
    quantized : whether C gets scales of blocks.
    reason : in a sentence.
    """

    dtype: str
    converted: tuple[str, ...]
    quantized: bool
    reason: str


@lru_cache(maxsize=1024)
def format_run(op: Gemm | Conv2d, acc: Accelerator) -> FormatRun:
    """How a machine runs a product, whatever the data types of its operands are.

    Raises
    ------
    InputError
        When the matrix unit has no data type that holds the values of both A and B.
    """
    a, b, c = op.operand_dtypes
    dtype = _multiplied_in(a, b, acc)
    native = _as_they_are(a, b, dtype, acc)
    converted = () if native else tuple(name for name, own in (("A", a), ("B", b)) if own != dtype)
    quantized = dtype_layout(c).scale_bits > 0
    told = [f"A in {a} and B in {b} are multiplied as they are"] if native and a != b else []
    told += [f"{name} in {own} is converted to {dtype}" for name, own in (("A", a), ("B", b)) if name in converted]
    told += [f"C is quantized to {c}"] if quantized else []
    kept = acc.matrix_unit.accumulator(dtype).aligned_bits
    told += [f"products are added up with {kept} bits"] if kept is not None else []
    return FormatRun(dtype, converted, quantized, ", ".join(told))


def _as_they_are(a: str, b: str, dtype: str, acc: Accelerator) -> bool:
    mixed = acc.matrix_unit.mixed.get(dtype, ())
    return all(own == dtype or own in mixed for own in (a, b))


def _multiplied_in(a: str, b: str, acc: Accelerator) -> str:
    """A's data type or else B's where the unit takes the other one with it or it holds the other's values.

    Without either, the fastest of those that hold both, the narrowest first.
    """
    rates = acc.matrix_unit.rates
    for dtype in (a, b):
        if dtype in rates and _as_they_are(a, b, dtype, acc):
            return dtype
    wide = [dtype for dtype in (a, b, *WIDER.get(a, ())) if dtype in rates and _holds(dtype, a) and _holds(dtype, b)]
    if not wide:
        asked, held = (a, "its values") if a == b else (f"{a} with weights of {b}", "the values of both")
        raise InputError(f"the matrix unit does not support {asked}, only {', '.join(rates)}, and none holds {held}")
    return wide[0] if wide[0] in (a, b) else max(wide, key=lambda dtype: rates[dtype])


def _holds(dtype: str, values: str) -> bool:
    return dtype == values or dtype in WIDER.get(values, ())


def matrix_dtype(op: Op, acc: Accelerator) -> str:
    """Data type in which the matrix work of an op is done; that of the op where it has none."""
    if isinstance(op, Gemm | Conv2d):
        return format_run(op, acc).dtype
    return _multiplied_in(op.dtype, op.dtype, acc) if op.macs else op.dtype


def stored_numbers(op: Gemm | Conv2d, acc: Accelerator) -> Machine:
    """Bare numbers of a machine for one product, its operands as they are stored, without its sparsity.

    Raises
    ------
    InputError
        As `format_run` and `machine_numbers`.
    """
    machine = summing_numbers(acc, format_run(op, acc).dtype)
    a, b, c = (dtype_bits(dtype) / 8 for dtype in op.operand_dtypes)
    return machine._replace(element_bytes=c, bytes_a=a, bytes_b=b)


def summing_numbers(acc: Accelerator, dtype: str) -> Machine:
    """Bare numbers of a machine for products of one data type, in sums as wide as its accumulators.

    Raises
    ------
    InputError
        As `machine_numbers`.
    """
    return machine_numbers(acc, dtype)._replace(sum_bytes=acc.matrix_unit.accumulator(dtype).bits / 8)

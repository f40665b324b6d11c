"""What happens to the operands and results of a product beside the matrix unit: conversion, decompression and so on."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from accsim.config.machine import Accelerator
from accsim.kernels.matrix import Formats, Machine, Widened
from accsim.mapping.format_run import format_run
from accsim.mapping.sparse_run import product_numbers, sparse_run
from accsim.mapping.stored import Stored, stored_results
from accsim.units import dtype_bits, dtype_layout
from accsim.workload.ops import Conv2d, Gemm

AS_STORED = Widened(0.0, 0.0, 0.0, 0.0)


@lru_cache(maxsize=1024)
def lowering_numbers(op: Gemm | Conv2d, acc: Accelerator) -> tuple[Machine, Formats | None]:
    """Bare numbers of a machine for one product, and of work on its formats, None where there is none.

    Raises
    ------
    InputError
        As `product_numbers`.
    """
    machine = product_numbers(op, acc)
    run, (decompressed, compressed) = format_run(op, acc), _codec(op, acc, machine)
    if not run.converted and not run.quantized and not decompressed and not compressed:
        return machine, None
    a, b = _widened(op, "A", acc), _widened(op, "B", acc)
    array = machine._replace(bytes_a=_taken(machine.bytes_a, a, machine), bytes_b=_taken(machine.bytes_b, b, machine))
    block_c = dtype_layout(op.operand_dtypes[2]).block if run.quantized else 0
    return machine, Formats(array, a, b, int(bool(run.converted)), block_c, decompressed, compressed, 0.0)


def promoting(machine: Machine, formats: Formats | None, promoted: float) -> Formats | None:
    """Work on a product's formats, with so many promotions of its sums to fp32 in a k step."""
    if promoted == 0:
        return formats
    plain = formats or Formats(machine, AS_STORED, AS_STORED, 0, 0, 0.0, 0.0, 0.0)
    return plain._replace(promoted=promoted)


def _codec(op: Gemm | Conv2d, acc: Accelerator, machine: Machine) -> tuple[float, float]:
    """Values of operands and results that the decompressor and the compressor take a cycle, 0 where none pass them."""
    unpacks, packs = acc.matrix_unit.sparse.decompressor, acc.matrix_unit.sparse.compressor
    return (
        unpacks.values_per_cycle if unpacks is not None and machine.decoded_a + machine.decoded_b > 0 else 0.0,
        packs.results_per_cycle if packs is not None and stored_results(op, acc).index_bits > 0 else 0.0,
    )


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


class Passed(NamedTuple):
    """What a product's operands, of ``"a"`` and ``"b"``, and results pass on their way."""

    converted: tuple[str, ...] = ()
    decompressed: tuple[str, ...] = ()
    quantized: bool = False
    compressed: bool = False
    promoted: bool = False


def passed(formats: Formats | None) -> Passed:
    """The stages that work on a product's formats, by what passes them."""
    if formats is None:
        return Passed()
    widened, array = (("a", formats.widened_a.bytes), ("b", formats.widened_b.bytes)), formats.array
    decoded = (("a", array.decoded_a), ("b", array.decoded_b)) if formats.decompressed else ()
    return Passed(
        tuple(name for name, size in widened if size > 0),
        tuple(name for name, values in decoded if values > 0),
        formats.block_c > 0,
        formats.compressed > 0,
        formats.promoted > 0,
    )

"""What the figures of sparse products run: a product with and without a pattern, in the engine and on an ideal unit."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import ceil

from accsim.config.catalogue import load_accelerator
from accsim.config.machine import Accelerator
from accsim.mapping.sparse_run import sparse_unit
from accsim.report.simulate import simulate
from accsim.sparsity.bitstream import index_bits
from accsim.sparsity.legality import legality
from accsim.sparsity.sparse_unit import SparseUnit
from accsim.units import dtype_bits
from accsim.workload.ops import Gemm

ENGINE, IDEAL = "engine", "ideal unit"
SPEEDUP = "speedup"

DENSE_ROWS, SPARSE_ROWS = 8, 32
"""Rows of activations come in multiples of these: a tensor instruction's side (PTX ISA, mma.m16n8k16), and what sparse
kernels ask for (PyTorch issue 111339)."""

RTX_3090: dict[str, object] = {
    "clock": "1.695 GHz", "cores": 82, "matrix_unit.rates.fp16": 0.5, "matrix_unit.sparse.modes.fp16": ["2:4"],
    "memories.smem.read_bandwidth": "216.96 GB/s", "memories.l2.capacity": "8.4 MB",
    "memories.l2.read_bandwidth": "3.33 TB/s", "memories.l2.write_bandwidth": "1.02 TB/s",
    "memories.gddr.capacity": "24 GB", "memories.gddr.read_bandwidth": "936 GB/s",
}  # fmt: skip
"""The RTX 3090 as changes of the L40S, whose SMs have as many tensor cores, lanes and bytes. Clock, SMs, memory, half
the rate where sums are of fp32: NVIDIA, GA102 white paper (2021). L2 bandwidths: those of the A100 by SMs and clock;
its 6 MB are 8.4 here, as a memory holds no less than those before it."""


@cache
def machine(name: str) -> Accelerator:
    """A shipped machine, or ``rtx_3090``."""
    return load_accelerator("l40s", set=RTX_3090) if name == "rtx_3090" else load_accelerator(name)


def engine_speedup(op: Gemm, acc: Accelerator) -> float:
    """How many times as fast as dense a product with a pattern is in the engine, at the full clock."""
    dense, sparse = (simulate(one, acc, power_cap=False).latency_s for one in (dense_of(op), op))
    return dense / sparse


def both_speedups(op: Gemm, name: str, unit: SparseUnit | None = None) -> dict[str, float]:
    """Speedup on an ideal unit and in the engine, by mode of a figure's rows."""
    acc = machine(name)
    ideal = ideal_s(dense_of(op), acc) / ideal_s(op, acc, unit)
    return {IDEAL: ideal, ENGINE: engine_speedup(op, acc)}


def dense_of(op: Gemm) -> Gemm:
    """The product without its pattern."""
    return replace(op, sparsity=None, sparse_operand=None)


def ideal_s(op: Gemm, acc: Accelerator, unit: SparseUnit | None = None) -> float:
    """Seconds of a product of weights B on a unit that does nothing in vain: launch, then the longer of two.

    Multiplications at the machine's peak, as many as the unit executes of the pattern, with rows padded; operands and
    result once through main memory at its peak bandwidth, of the weights the executed ones with a place each.

    Parameters
    ----------
    unit
        What can be skipped; default: the modes of the machine's own unit.
    """
    share, place_bits, rows = 1.0, 0, DENSE_ROWS
    if op.sparsity is not None:
        unit = unit or sparse_unit(acc, op.dtype)
        found = legality(op.sparsity, unit, "B", {"n": op.n, "k": op.k})["forward"]
        share, rows = float(found.executed_density), SPARSE_ROWS
        place_bits = index_bits((found.mode or unit.modes[0])[1])
    macs = ceil(op.rows / rows) * rows * op.n * op.k * share
    element = dtype_bits(op.dtype) / 8
    moved = op.k * op.n * share * (element + place_bits / 8) + (op.rows * op.k + op.rows * op.n) * element
    return acc.overheads["op"].time_s + max(
        macs / acc.peak_macs_per_s(op.dtype), moved / acc.main_memory.read_bytes_per_s
    )

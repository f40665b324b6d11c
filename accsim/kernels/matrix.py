"""Time and operand traffic of one tile on a matrix unit, and what lowers know of a machine."""

from __future__ import annotations

import math
from typing import NamedTuple

from accsim.kernels.jit import kernel
from accsim.kernels.systolic import OUTPUT_STATIONARY, WEIGHT_STATIONARY, gemm_fold_timing

TICKS = 4096
MOST_TICKS = 2**61
SUM_BYTES = 4
"""Bytes of a sum that is fp32 or int32."""


class Machine(NamedTuple):
    """Bare numbers of a machine for one data type. Bandwidths are bytes a tick of the whole chip, local ones a core's.

    ``middle_*`` is the memory between the local one and main memory; its capacity is 0 where there is none.
    ``costs`` of the vector unit are cycles an element on one lane. ``local_banks`` is 1 where no accesses meet in a
    bank; ``local_*_words`` are words of ``local_bank_bytes`` that a port moves a cycle.

    ``operand_width`` are bytes that the select network of a unit takes a cycle, ``accumulator_banks`` sums that a unit
    adds to in a cycle; 0 where neither limits. ``sum_bytes`` are those of a sum in progress.

    The last fields are of a product: of each ``run`` places along k the unit multiplies ``kept``; ``bytes_*`` are those
    stored for a place of A and B, indices included, and ``decoded_*`` the values that the unit takes of it where it is
    compressed; ``gated`` is the share of the executed multiplications whose operand is zero and held still. Of a dense
    one, 1, 1, the bytes of an element, and 0. Where zeros are skipped apart from that, steady cycles take ``pace`` of
    their time, ``issued`` of the multiplications are executed and ``added`` of the sums updated. ``selected_*`` are
    bytes of a place that the select network takes; ``gathered_*`` the share of k whose values of A or B ``group``
    columns or rows of the other operand need; ``lines_*`` the share of the array's rows or columns that lines of A or B
    take, where each has a mode of its own. Of a dense product, 1, 1, 1, 0, 0, and 1 five times.
    """

    cores: int
    systolic: int
    rows: int
    cols: int
    depth: int
    count: int
    overlap: int
    rate: float
    element_bytes: float
    lanes: int
    cost_max: float
    cost_exp: float
    cost_add: float
    cost_multiply: float
    cost_divide: float
    cost_rescale: float
    cost_convert: float
    local_read: float
    local_write: float
    local_shared: int
    local_banks: int
    local_bank_bytes: float
    local_read_words: float
    local_write_words: float
    middle_capacity: int
    middle_read: float
    middle_write: float
    main_read: float
    main_write: float
    load_latency: int
    store_latency: int
    sum_bytes: float
    operand_width: float
    accumulator_banks: int
    kept: int
    run: int
    bytes_a: float
    bytes_b: float
    decoded_a: float
    decoded_b: float
    gated: float
    pace: float
    issued: float
    added: float
    selected_a: float
    selected_b: float
    gathered_a: float
    gathered_b: float
    group: int
    lines_a: float
    lines_b: float


class Widened(NamedTuple):
    """What the vector unit does to a place of an operand: bytes that it makes of it, cycles of one lane, operations.

    Of an operand that is multiplied as it is stored, all 0.
    """

    bytes: float
    cycles: float
    converts: float
    multiplies: float


class Formats(NamedTuple):
    """Work on the formats of a product: of the vector unit on number formats, of a codec on compressed tensors.

    ``array`` is the machine as its matrix unit sees it: ``bytes_*`` of a converted operand are those that it takes from
    the local memory. ``converts`` is 1 where an operand is converted; ``block_c`` elements of C share a scale that is
    found, 0 without. ``decompressed`` are values of operands and ``compressed`` results of which a core's codec takes
    so many a cycle, 0 where none pass it. ``promoted`` is how often a k step's sums are added to others in fp32.
    """

    array: Machine
    widened_a: Widened
    widened_b: Widened
    converts: int
    block_c: int
    decompressed: float
    compressed: float
    promoted: float


class Tile(NamedTuple):
    """A tile C[m,n] += A[m,k] B[k,n] of a matrix unit, and where its operands lie.

    Row after row in the local memory; ``b_along_k`` is 1 where those are the rows of B transposed, as of K in Q Kᵀ.
    ``a_in_registers`` is 1 where A is not in the local memory.
    """

    m: int
    n: int
    k: int
    b_along_k: int
    a_in_registers: int


class TileWork(NamedTuple):
    """What one tile costs a matrix unit: cycles busy, cycles steady, latency once, elements read and written.

    ``reads_a`` and ``reads_b`` are elements of the operands that the array takes from the local memory; partial sums
    that leave the array and come back are ``sum_reads`` and ``sum_writes`` (in fp32).
    """

    busy: float
    steady: float
    once: int
    reads_a: float
    reads_b: float
    sum_reads: int
    sum_writes: int


@kernel
def ceil_div(a, b):
    """Whole number of b's that cover a."""
    return -(-a // b)


@kernel
def kept_places(k, kept, run):
    """Most places along k that a pattern kept:run keeps: those that have a value of their own."""
    return k // run * kept + min(k % run, kept)


@kernel
def slots_of(k, machine):
    """Places along k that the unit multiplies: ``kept`` of each ``run``, a last short run like a whole one."""
    return ceil_div(k, machine.run) * machine.kept


@kernel
def ticks_of(count, per_tick):
    """Ticks to move ``count`` (bytes, cycles of lanes) at ``per_tick``, rounded up; 0 for nothing.

    No more than ``MOST_TICKS``, which no program may hold a stage for.
    """
    if count <= 0:
        return 0
    if count / per_tick >= MOST_TICKS:
        return MOST_TICKS
    whole = int(count / per_tick)
    return whole if whole * per_tick >= count else whole + 1


@kernel(inline="late")
def gathered(tile_m, tile_n, machine):
    """Shares of A and of B that a tile of C needs: all, but where columns of k are gathered for groups of it."""
    if machine.gathered_a == 1.0 and machine.gathered_b == 1.0:
        return 1.0, 1.0
    return (
        min(1.0, machine.gathered_a * ceil_div(tile_n, machine.group)),
        min(1.0, machine.gathered_b * ceil_div(tile_m, machine.group)),
    )


@kernel(inline="late")
def slowest(cycles, tile, times, steps, machine):
    """Cycles of the multipliers, of the select network and of the accumulators, the most of them.

    ``times`` are how often A and B pass the array, ``steps`` of k those in which each sum is updated once.

    Notes
    -----
    The select network takes an operand as often as the array does; a place of it is ``selected_*`` bytes. The places of
    a step are added up on the way to the accumulators.

    Source: ``docs/sparse_gemm.md``.
    """
    if machine.operand_width > 0:
        taken = tile.m * times[0] * machine.selected_a + tile.n * times[1] * machine.selected_b
        cycles = max(cycles, taken * tile.k / (machine.operand_width * machine.count))
    if machine.accumulator_banks > 0:
        sums = float(tile.m) * tile.n * steps * machine.added / machine.rate
        cycles = max(cycles, sums / (machine.accumulator_banks * machine.count))
    return cycles


@kernel(inline="late")
def tile_work(tile, stationary, machine):
    """Cost of a tile on all matrix units of one core.

    Notes
    -----
    Systolic: the folds of ``gemm_fold_timing``, spread over ``count`` arrays by columns of C (by rows of C where that
    is better); what an overlap mode pays once is latency, so that a stretch without a flush pays it once. Tensor core:
    one rows x cols x depth block a cycle and unit. ``rate`` multiplies the speed of a data type. A sparse product has
    fewer multiplications along k; all of the operand that is not compressed is read, in less time: :func:`slowest`.

    Source: operand counts follow from what stays in the array (SCALE-Sim, ISPASS 2020): the streamed operand is read
    once a fold, the stationary one once.
    """
    m, n, k = tile.m, tile.n, tile.k
    if machine.lines_a < 1.0 or machine.lines_b < 1.0:
        m, n = math.ceil(m * machine.lines_a), math.ceil(n * machine.lines_b)
    slots = slots_of(k, machine)
    share_a, share_b = gathered(m, n, machine)
    a, b = tile.m * k * share_a * (1 - tile.a_in_registers), k * tile.n * share_b
    if machine.systolic == 0:
        down, across, steps = ceil_div(m, machine.rows), ceil_div(n, machine.cols), ceil_div(slots, machine.depth)
        cycles = ceil_div(down * across, machine.count) * steps / machine.rate * machine.pace
        busy = slowest(cycles, tile, (across, down), steps, machine)
        return TileWork(busy, cycles, 0, a, b, 0, 0)
    folds, steady, overhead, once = gemm_fold_timing(
        m, ceil_div(n, machine.count), slots, machine.rows, machine.cols, stationary, machine.overlap
    )
    if machine.count > 1:
        by_rows = gemm_fold_timing(
            ceil_div(m, machine.count), n, slots, machine.rows, machine.cols, stationary, machine.overlap
        )
        if by_rows[0] * (by_rows[1] + by_rows[2]) < folds * (steady + overhead):
            folds, steady, overhead, once = by_rows
    cycles = folds * steady / machine.rate * machine.pace
    busy = folds * (steady * machine.pace + overhead) / machine.rate
    steps = ceil_div(slots, machine.rows)
    if stationary == OUTPUT_STATIONARY:
        times, sums, steps = (ceil_div(n, machine.cols), ceil_div(m, machine.rows)), 0, 0
    elif stationary == WEIGHT_STATIONARY:
        times, sums = (ceil_div(n, machine.cols), 1), (steps - 1) * tile.m * tile.n
    else:
        times, sums = (1, ceil_div(m, machine.cols)), (steps - 1) * tile.m * tile.n
    busy = slowest(busy, tile, times, steps, machine)
    return TileWork(busy, cycles, once, a * times[0], b * times[1], sums, sums)


@kernel
def local_ticks(read, write, machine):
    """How long bytes hold the read and the write port of the local memory; all is the first's where they are one."""
    if machine.local_shared:
        return ticks_of(read + write, machine.local_read), 0
    return ticks_of(read, machine.local_read), ticks_of(write, machine.local_write)


@kernel
def vector_ticks(cycles_of_one_lane, machine):
    """Ticks of the vector unit for work given in cycles of one lane, spread over all lanes."""
    return ticks_of(cycles_of_one_lane * TICKS, machine.lanes)

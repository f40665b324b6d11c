"""What stages cost and count: lowers write ticks and actions of loads, stores, matrix and vector work with these."""

from __future__ import annotations

from accsim.kernels.banks import waiting_bytes
from accsim.kernels.jit import kernel
from accsim.kernels.layout import D0, D1, D2
from accsim.kernels.matrix import (
    TICKS,
    TileWork,
    kept_places,
    local_ticks,
    slots_of,
    ticks_of,
    tile_work,
    vector_ticks,
)
from accsim.kernels.systolic import OUTPUT_STATIONARY, gemm_fold_timing

ACTIONS = (
    "mac",
    "mac_padded",
    "max",
    "exp",
    "add",
    "multiply",
    "divide",
    "rescale",
    "convert",
    "local_read",
    "local_write",
    "middle_read",
    "middle_write",
    "main_read",
    "main_write",
    "pe_steady_cycles",
    "pe_busy_cycles",
    "mac_exp",
    "mac_gated",
    "decode",
    "encode",
)
"""Columns of ``Block.actions``, in order; memories by their place from the array outward. ``mac_gated`` are MACs by a
zero that is held still, ``decode`` the values of compressed operands that the matrix unit takes, ``encode`` the results
that are compressed."""

MAC, MAC_PADDED, VECTOR = 0, 1, 2
MAX, ADD, MULTIPLY, CONVERT = 2, 4, 5, 8
LOCAL_READ, LOCAL_WRITE, MIDDLE_READ, MIDDLE_WRITE, MAIN_READ, MAIN_WRITE = 9, 10, 11, 12, 13, 14
PE_STEADY, PE_BUSY, MAC_EXP = 15, 16, 17
MAC_GATED, DECODE, ENCODE = 18, 19, 20
VECTOR_OPERATIONS = 7


@kernel(inline="late")
def write_local(block, i, row, read, write, waits, machine, want):
    """Bytes that a matrix or vector stage reads and writes in the local memory, and how long they hold its port(s).

    ``waits`` are the bytes that the ports could have read and written while they wait for banks.
    """
    block.row[i, row, D1], block.row[i, row, D2] = local_ticks(read + waits[0], write + waits[1], machine)
    if want:
        block.actions[i, row, LOCAL_READ] = read
        block.actions[i, row, LOCAL_WRITE] = write


@kernel(inline="late")
def write_load(block, i, row, size, main, active, machine, want):
    """A load of ``size`` bytes of which ``main`` come from main memory, by each of ``active`` copies."""
    block.row[i, row, D1] = ticks_of(main * active, machine.main_read)
    if machine.middle_capacity > 0:
        block.row[i, row, D2] = ticks_of(size * active, machine.middle_read)
    else:
        block.row[i, row, D2] = ticks_of(size, machine.local_write)
    if want:
        block.actions[i, row, LOCAL_WRITE] = size
        block.actions[i, row, MAIN_READ] = main
        if machine.middle_capacity > 0:
            block.actions[i, row, MIDDLE_READ] = size
            block.actions[i, row, MIDDLE_WRITE] = main


@kernel(inline="late")
def write_store(block, i, row, size, active, machine, want):
    """A store of ``size`` bytes to main memory by each of ``active`` copies."""
    block.row[i, row, D1] = ticks_of(size * active, machine.main_write)
    if machine.middle_capacity > 0:
        block.row[i, row, D2] = ticks_of(size * active, machine.middle_write)
    else:
        block.row[i, row, D2] = ticks_of(size, machine.local_read)
    if want:
        block.actions[i, row, LOCAL_READ] = size
        block.actions[i, row, MAIN_WRITE] = size
        if machine.middle_capacity > 0:
            block.actions[i, row, MIDDLE_READ] = size
            block.actions[i, row, MIDDLE_WRITE] = size


@kernel(inline="late")
def scale_counts(block, i, row, factor):
    """Multiply all that a row counts, where one copy does not stand for all."""
    for column in range(block.actions.shape[2]):
        block.actions[i, row, column] *= factor


@kernel(inline="late")
def scale_bytes(block, i, row, factor, main):
    """Multiply a row's counted bytes where one copy does not stand for all; those of main memory by ``main`` too."""
    for column in range(LOCAL_READ, MAIN_WRITE + 1):
        block.actions[i, row, column] *= factor
    block.actions[i, row, MIDDLE_WRITE] *= main
    block.actions[i, row, MAIN_READ] *= main


@kernel(inline="late")
def write_matmul(block, i, row, tile, useful, form, read, write, machine, want):
    """A :class:`~accsim.kernels.matrix.Tile` on the matrix unit; ``useful`` of its dense MACs are not masked.

    Counts A and B as the stationary form moves them, and partial sums that leave the array and come back.
    ``read`` and ``write`` are the bytes of the local memory besides: sums of earlier tiles, results. Returns what
    a stretch of such tiles pays once, in ticks.
    """
    work = tile_work(tile, form, machine)
    waits = waiting_bytes(tile, work, form, read, write, machine)
    read += work.reads_a * machine.bytes_a + work.reads_b * machine.bytes_b + work.sum_reads * machine.sum_bytes
    write_local(block, i, row, read, write + work.sum_writes * machine.sum_bytes, waits, machine, want)
    block.row[i, row, D0] = ticks_of(work.busy * TICKS, 1.0)
    if want:
        done = float(tile.m) * tile.n * slots_of(tile.k, machine) * machine.issued
        executed = min(useful * kept_places(tile.k, machine.kept, machine.run) / tile.k * machine.issued, done)
        block.actions[i, row, MAC] = executed * (1.0 - machine.gated)
        block.actions[i, row, MAC_GATED] = executed * machine.gated
        block.actions[i, row, MAC_PADDED] = done - executed
        block.actions[i, row, DECODE] = work.reads_a * machine.decoded_a + work.reads_b * machine.decoded_b
        pes = machine.rows * machine.cols * machine.depth * machine.count * machine.rate
        block.actions[i, row, PE_STEADY] = work.steady * pes
        block.actions[i, row, PE_BUSY] = work.busy * pes
    return work.once * TICKS


@kernel
def write_array(block, i, row, steps, tile, streamed, counts, write, machine, want):
    """``steps`` operations of every PE of a systolic array on what it holds, one fold of an array that overlaps folds.

    Of the operands of a :class:`~accsim.kernels.matrix.Tile`, A along the array's rows and B along its columns,
    ``streamed`` elements come in. ``counts`` are useful MACs, MACs of exponentials, maxima and additions on all PEs;
    ``write`` the bytes that stream out.
    """
    overhead = gemm_fold_timing(1, 1, steps, machine.rows, machine.cols, OUTPUT_STATIONARY, machine.overlap)[2]
    block.row[i, row, D0] = ticks_of((steps + overhead) / machine.rate * TICKS, 1.0)
    work = TileWork(steps + overhead, steps, 0, streamed[0], streamed[1], 0, 0)
    waits = waiting_bytes(tile, work, OUTPUT_STATIONARY, 0.0, 0.0, machine)
    read = streamed[0] * machine.bytes_a + streamed[1] * machine.bytes_b
    write_local(block, i, row, read, write, waits, machine, want)
    if want:
        block.actions[i, row, MAC] = counts[0]
        block.actions[i, row, MAC_EXP] = counts[1]
        block.actions[i, row, MAX] = counts[2]
        block.actions[i, row, ADD] = counts[3]
        pes = machine.rows * machine.cols * machine.count
        block.actions[i, row, PE_STEADY] = float(steps) * pes
        block.actions[i, row, PE_BUSY] = float(steps + overhead) * pes


@kernel(inline="late")
def write_vector(block, i, row, counts, read, write, machine, want):
    """Vector work: counts of max, exp, add, multiply, divide, rescale, convert, and bytes at the local memory."""
    cycles = (
        counts[0] * machine.cost_max
        + counts[1] * machine.cost_exp
        + counts[2] * machine.cost_add
        + counts[3] * machine.cost_multiply
        + counts[4] * machine.cost_divide
        + counts[5] * machine.cost_rescale
        + counts[6] * machine.cost_convert
    )
    block.row[i, row, D0] = vector_ticks(cycles, machine)
    write_local(block, i, row, read, write, (0.0, 0.0), machine, want)
    if want:
        for op in range(VECTOR_OPERATIONS):
            block.actions[i, row, VECTOR + op] = counts[op]


@kernel
def write_convert(block, i, row, places, factors, formats, machine, want):
    """The vector unit converts so many places of A and B, of the operands that are not multiplied as they are stored.

    They are read from the local memory and left where the matrix unit takes them: there, or in the registers of a
    tensor core. ``factors`` multiply the counts of A and of B where one copy does not stand for all.
    """
    a, b = formats.widened_a, formats.widened_b
    stored_a = places[0] * machine.bytes_a if a.bytes > 0 else 0.0
    stored_b = places[1] * machine.bytes_b if b.bytes > 0 else 0.0
    made_a, made_b = places[0] * a.bytes * machine.systolic, places[1] * b.bytes * machine.systolic
    block.row[i, row, D0] = vector_ticks(places[0] * a.cycles + places[1] * b.cycles, machine)
    write_local(block, i, row, stored_a + stored_b, made_a + made_b, (0.0, 0.0), machine, False)
    if want:
        all_a, all_b = places[0] * factors[0], places[1] * factors[1]
        block.actions[i, row, MULTIPLY] = all_a * a.multiplies + all_b * b.multiplies
        block.actions[i, row, CONVERT] = all_a * a.converts + all_b * b.converts
        block.actions[i, row, LOCAL_READ] = stored_a * factors[0] + stored_b * factors[1]
        block.actions[i, row, LOCAL_WRITE] = made_a * factors[0] + made_b * factors[1]


@kernel
def write_decompress(block, i, row, tile, form, formats):
    """A tile's compressed operands pass the decompressor, as often as the matrix unit takes them."""
    machine = formats.array
    work = tile_work(tile, form, machine)
    values = work.reads_a * machine.decoded_a + work.reads_b * machine.decoded_b
    block.row[i, row, D0] = ticks_of(values * TICKS, formats.decompressed)


@kernel
def write_compress(block, i, row, results, counted, formats, want):
    """So many results pass the compressor, and are counted as so many."""
    block.row[i, row, D0] = ticks_of(results * TICKS, formats.compressed)
    if want:
        block.actions[i, row, ENCODE] = counted


@kernel
def write_promote(block, i, row, sums, formats, machine, want):
    """The vector unit adds a k step's sums to those in fp32; both lie in registers."""
    write_vector(block, i, row, (0.0, 0.0, sums * formats.promoted, 0.0, 0.0, 0.0, 0.0), 0.0, 0.0, machine, want)


@kernel(inline="late")
def rounding(results, added, block_c):
    """Vector operations on sums that become results, after ``added`` additions: a conversion of each.

    Where ``block_c`` of them share a scale also the largest magnitude of a block, its inverse as a scale, rounded
    itself, and a multiplication of each by it.
    """
    if block_c == 0:
        return 0.0, 0.0, added, 0.0, 0.0, 0.0, results
    blocks = results / block_c
    return results, 0.0, added, results, blocks, 0.0, results + blocks


@kernel(inline="late")
def write_fill(block, i, row, size, fetched, active, machine, want):
    """A load into shared memory through the memory between; ``fetched`` is the share that main memory delivers."""
    write_load(block, i, row, size, size * fetched, active, machine, want)
    if machine.middle_capacity > 0:
        block.row[i, row, D0] = ticks_of(size, machine.local_write)


@kernel
def leave_between(block, i, row, want):
    """A store's bytes stay in the memory between."""
    block.row[i, row, D1] = 0
    if want:
        block.actions[i, row, MAIN_WRITE] = 0.0
        block.actions[i, row, MIDDLE_READ] = 0.0


@kernel(inline="late")
def write_result(block, i, row, size, partial, active, machine, want):
    """A tile's results leave the registers through shared memory; partial sums stay in the memory between."""
    write_store(block, i, row, size, active, machine, want)
    if want:
        block.actions[i, row, LOCAL_WRITE] = size
    if partial:
        leave_between(block, i, row, want)


@kernel
def write_reduction(block, i, row, results, partial_bytes, work, full, machine, want):
    """All SMs add the partial sums of ``results`` elements and round them, once.

    ``work`` has the vector operations of one result; counts are the share of one of ``full`` copies.
    """
    result_bytes = results * machine.element_bytes
    own = results / machine.cores
    counts = (
        own * work[0],
        own * work[1],
        own * work[2],
        own * work[3],
        own * work[4],
        own * work[5],
        own * work[6],
    )
    write_vector(block, i, row, counts, 0.0, 0.0, machine, want)
    block.row[i, row, D1] = ticks_of(result_bytes, machine.main_write)
    block.row[i, row, D2] = ticks_of(partial_bytes, machine.middle_read)
    if want:
        scale_counts(block, i, row, machine.cores / float(full))
        block.actions[i, row, MIDDLE_READ] = (partial_bytes + result_bytes) / full
        block.actions[i, row, MIDDLE_WRITE] = result_bytes / full
        block.actions[i, row, MAIN_WRITE] = result_bytes / full

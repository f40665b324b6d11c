"""What the fused attention dataflows share: how work is split over cores, which keys a row tile sees, tile costs.

Query heads that share keys (grouped-query attention) are folded into rows: a *group* is one KV head of one sequence,
its rows are q_len positions times heads / kv_heads. With a causal mask a row tile covers whole positions and sees a
number of key blocks of its own; tiles go from the longest to the shortest, which alone may be ragged, so that the core
with the first one has the most work.
"""

from __future__ import annotations

from typing import NamedTuple

from accsim.config.compute_units import SystolicArray
from accsim.config.machine import Accelerator
from accsim.kernels.jit import kernel
from accsim.kernels.matrix import TICKS, ceil_div, ticks_of, tile_work, vector_ticks
from accsim.mapping.gemm import REGISTER_FILE_BYTES, scale_bytes
from accsim.mapping.machine_numbers import STATIONARY, ports
from accsim.mapping.tiling import tile_sizes
from accsim.workload.ops import Attention

SCORE_BYTES = 4
TENSOR_CORE_ROWS = 16
PART_TILES = (1, 2, 3, 4, 6)
"""Row tiles of so many eighths of the array's rows are tried too: where a row of scores is long, no larger one fits."""


class Problem(NamedTuple):
    """Extents of one attention op: groups, positions, heads that share keys, keys, head dim, mask."""

    groups: int
    positions: int
    shared: int
    keys: int
    dim: int
    causal: int


class Share(NamedTuple):
    """What one core gets: groups and rows; ``stride`` cores take the row tiles of a group in turn."""

    groups: int
    rows: int
    stride: int
    active: int


def problem_of(op: Attention) -> Problem:
    """The extents of an op, query heads folded into rows."""
    return Problem(op.batch * op.kv_heads, op.q_len, op.heads // op.kv_heads, op.kv_len, op.head_dim, int(op.causal))


def row_tile_sizes(op: Attention, acc: Accelerator, given: int | None) -> list[int]:
    """Rows of a tile worth trying, or those given: whole positions under a causal mask."""
    shared = op.heads // op.kv_heads
    unit = acc.matrix_unit
    base = unit.rows if isinstance(unit, SystolicArray) else TENSOR_CORE_ROWS
    rows = op.q_len * shared
    parts = {base * eighths // 8 for eighths in PART_TILES} if isinstance(unit, SystolicArray) else set()
    sizes = [given] if given else sorted({*tile_sizes(rows, base, 12), *(part for part in parts if 0 < part < rows)})
    if not op.causal:
        return sizes
    return sorted({max(shared, size // shared * shared) for size in sizes})


def forms(acc: Accelerator, form: str | None) -> list[int]:
    """Codes of the stationary forms to try; a tensor core has but one."""
    if acc.matrix_unit.kind != "systolic":
        return [STATIONARY["output_stationary"]]
    return [STATIONARY[form]] if form else sorted(STATIONARY.values())


def memory_plan(acc: Accelerator) -> tuple[str, dict[str, int]]:
    """(memory that sums lie in, capacities): the register file of a tensor core, else the local memory.

    Source: 256 KiB of registers in a streaming multiprocessor (NVIDIA H100 white paper; the same since Volta).
    """
    local = acc.memories[0]
    capacities = {local.name: local.capacity_bytes // (1 if local.scope == "core" else acc.cores)}
    if acc.matrix_unit.kind == "systolic":
        return local.name, capacities
    return "registers", capacities | {"registers": REGISTER_FILE_BYTES}


def attention_resources(acc: Accelerator) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """(all resources, rates of a load, rates of a store, ports of the local memory)."""
    at = ports(acc)
    middle = "middle_read" in at
    loads = (at["main_read"], at["middle_read"] if middle else at["local_write"])
    stores = (at["main_write"], at["middle_write"] if middle else at["local_read"])
    local = tuple(dict.fromkeys((at["local_read"], at["local_write"])))
    return ("dma", "matrix", "vector", *dict.fromkeys((*loads, *stores, *local))), loads, stores, local


@kernel
def share_of(problem, row_tile, cores):
    """Split groups over the cores, then the row tiles of a group over the cores that are left."""
    split = min(problem.groups, cores)
    groups = ceil_div(problem.groups, split)
    used = ceil_div(problem.groups, groups)
    tiles = ceil_div(problem.positions * problem.shared, row_tile)
    stride = max(1, min(tiles, cores // used))
    own = ceil_div(tiles, stride)
    stride = ceil_div(tiles, own)
    rows = min(own * row_tile, problem.positions * problem.shared)
    return Share(groups, rows, stride, used * stride)


@kernel
def seen_keys(problem, row_tile, share, tile):
    """Keys that the last position of a core's row tile sees; tile 0 is the longest."""
    if not problem.causal:
        return problem.keys
    return problem.keys - tile * share.stride * (row_tile // problem.shared)


@kernel
def tile_rows(problem, row_tile, share, tile):
    """(rows, visible scores) of a core's row tile."""
    if not problem.causal:
        rows = min(row_tile, share.rows - tile * row_tile)
        return rows, rows * problem.keys
    last = problem.positions - tile * share.stride * (row_tile // problem.shared)
    first = max(0, last - row_tile // problem.shared)
    hidden = problem.keys - problem.positions
    count = last - first
    visible = count * hidden + (last * (last + 1) - first * (first + 1)) // 2
    return count * problem.shared, visible * problem.shared


@kernel
def write_matmul(block, i, row, m, n, k, useful, form, scores_in, scores_out, machine, want):
    """A Logit or Attend tile on the matrix unit; ``useful`` of its MACs are not masked.

    ``scores_in`` and ``scores_out`` are bytes of scores read and written in the local memory (0 in registers); the
    other operand and the sums are counted from the tile.
    """
    work = tile_work(m, n, k, form, machine)
    element = machine.element_bytes
    sums = (work.sum_reads + work.sum_writes) * SCORE_BYTES if machine.systolic else 0
    read = work.reads * element + sums * 0.5 + scores_in
    write = sums * 0.5 + scores_out
    block.row[i, row, 0] = ticks_of(work.busy * TICKS, 1.0)
    if machine.local_shared:
        block.row[i, row, 1] = ticks_of(read + write, machine.local_read)
    else:
        block.row[i, row, 1] = ticks_of(read, machine.local_read)
        block.row[i, row, 2] = ticks_of(write, machine.local_write)
    if want:
        done = float(m) * n * k
        block.actions[i, row, 0] = min(useful, done)
        block.actions[i, row, 1] = max(0.0, done - useful)
        block.actions[i, row, 9] = read
        block.actions[i, row, 10] = write
        pes = machine.rows * machine.cols * machine.depth * machine.count * machine.rate
        block.actions[i, row, 15] = work.steady * pes
        block.actions[i, row, 16] = work.busy * pes


@kernel
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
    block.row[i, row, 0] = vector_ticks(cycles, machine)
    if machine.local_shared:
        block.row[i, row, 1] = ticks_of(read + write, machine.local_read)
    else:
        block.row[i, row, 1] = ticks_of(read, machine.local_read)
        block.row[i, row, 2] = ticks_of(write, machine.local_write)
    if want:
        for op in range(7):
            block.actions[i, row, 2 + op] = counts[op]
        block.actions[i, row, 9] = read
        block.actions[i, row, 10] = write


@kernel
def kv_share(problem, share, passes, machine, resident):
    """Share of K and V loads that reach main memory.

    Without a middle memory every load does. With one, cores that work on the same group fetch a block once, and later
    row tiles find it there when the keys and values of all groups in flight fit: ``passes`` is a core's loads over
    those of its longest row tile.
    """
    if machine.middle_capacity == 0:
        return 1.0
    in_flight = ceil_div(share.active, share.stride)
    touched = 2.0 * in_flight * problem.keys * problem.dim * machine.element_bytes
    share_cores = 1.0 / share.stride
    if not resident and touched <= machine.middle_capacity:
        return share_cores / passes
    return share_cores


@kernel
def key_blocks(problem, row_tile, share, tiles, key_block):
    """Key blocks that ``tiles`` row tiles of a core see, together."""
    if not problem.causal:
        return tiles * ceil_div(problem.keys, key_block)
    total = 0
    for tile in range(tiles):
        total += ceil_div(seen_keys(problem, row_tile, share, tile), key_block)
    return total


@kernel
def count_all(block, i, stages, combos, problem, row_tile, share, own_rows, key_block, copies, machine, resident):
    """Correct the counted bytes of every load and store for what cores with shorter rows, or fewer of them, move.

    ``copies`` makes the scores of all cores equal to the op's, from those of the core with the most. Bytes do not go
    with the scores: queries and outputs go with the rows (``own_rows`` of one core and group), keys and values with the
    blocks that each row tile sees.
    ``stages`` are the load of Q, the store of O, the loads of K and V.
    """
    counted = copies * share.groups
    all_rows = problem.positions * problem.shared
    rows = problem.groups * all_rows / (counted * own_rows)
    everyone = Share(share.groups, all_rows, 1, share.active)
    mine = 1 if resident else ceil_div(share.rows, row_tile)
    tiles = min(mine * share.stride, ceil_div(all_rows, row_tile))
    own = key_blocks(problem, row_tile, share, mine, key_block)
    keys = problem.groups * key_blocks(problem, row_tile, everyone, tiles, key_block) / (counted * own)
    main = 1.0 if machine.middle_capacity == 0 else problem.groups * share.stride / (counted * keys)
    for c in range(combos):
        scale_bytes(block, i, stages[0] * combos + c, rows, 1.0)
        scale_bytes(block, i, stages[1] * combos + c, rows, 1.0)
        scale_bytes(block, i, stages[2] * combos + c, keys, main)
        scale_bytes(block, i, stages[3] * combos + c, keys, main)

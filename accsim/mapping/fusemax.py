"""FuseMax: one pass over the keys, exponentials on the array's PEs, corrections of maximum and sum on the lanes.

A tile is one score a PE: keys along the rows of the array, queries along its columns. Scores and weights never leave
the PEs; what goes to the vector unit is one maximum and one column of partial outputs a query. Several tiles are in the
PEs at once, so that array and vector unit both work all the time. Source: Nayak et al., "FuseMax: Leveraging Extended
Einsums to Optimize Attention Accelerator Design", MICRO 2024 (arXiv 2406.10491), and its artifact
(github.com/FPSG-UIUC/micro24-fusemax-artifact). ``docs/attention.md`` has the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from accsim.config.compute_units import SystolicArray
from accsim.config.machine import Accelerator
from accsim.engine.program import After, Hold
from accsim.errors import MappingError
from accsim.kernels.block import END, START, fill_spans
from accsim.kernels.jit import kernel
from accsim.kernels.layout import TRIP0
from accsim.kernels.matrix import TICKS, Tile, ceil_div
from accsim.kernels.work import write_array, write_load, write_store, write_vector
from accsim.mapping.attention import (
    MOST_ROWS,
    check_equal_lengths,
    count_all,
    fetched_share,
    problem_of,
    share_of,
    write_latencies,
)
from accsim.mapping.base import check_choices, register_dataflow
from accsim.mapping.compiled import CompiledDataflow, Points, Writer
from accsim.mapping.kv_format import CONVERSIONS, convert_on_arrival, kv_numbers, write_conversions, write_stored
from accsim.mapping.machine_numbers import memory_plan, ways
from accsim.mapping.shape import Shape, StageShape
from accsim.mapping.tiling import fine_sizes, tile_sizes
from accsim.workload.ops import Attention, Op

LOAD_Q, LOAD_K, LOAD_V, LOGIT, MAXIMUM, ACCUMULATE, FINISH, EXP, ATTEND, STORE, CONVERT_K, CONVERT_V = range(12)
STATISTICS = 2
"""Numbers a query has beside its output: the maximum so far, and the sum."""
LAGS = (1, 2, 3)


@dataclass(frozen=True)
class FuseMax(CompiledDataflow):
    """A FuseMax mapping; choices left ``None`` are searched. Systolic arrays only; no mask, no shared keys and values.

    Parameters
    ----------
    block_q : query rows whose inputs and partial outputs stay in the local memory while all keys pass, in tiles of as
        many rows as the array has columns.
    lag : tiles that are worked on while the maximum of one goes down a column to its lane, its maximum so far back up,
        and its partial output down again: 3 lag + 1 tiles of scores are in the PEs at once.
    exp_macs : multiply-accumulates of an exponential, on a PE and on a lane. The artifact has 6, after a subtraction.
    """

    kinds: ClassVar[tuple[str, ...]] = ("attention",)

    block_q: int | None = None
    lag: int | None = None
    exp_macs: int = 6

    def __post_init__(self) -> None:
        check_choices(self, positive=("block_q", "lag", "exp_macs"), among={})

    def space(self, op: Op, acc: Accelerator) -> list[Points]:
        return self._space(op, acc, fine=False)

    def fine_space(self, op: Op, acc: Accelerator) -> list[Points]:
        return self._space(op, acc, fine=True)

    def _space(self, op: Op, acc: Accelerator, *, fine: bool) -> list[Points]:
        assert isinstance(op, Attention)
        unit = acc.matrix_unit
        if not isinstance(unit, SystolicArray):
            raise MappingError(f"fusemax needs a systolic array, which {acc.name} does not have")
        check_equal_lengths(op, "fusemax")
        if op.causal or op.shared_kv:
            raise MappingError(f"'{op.name}': fusemax is written without a mask, and for keys and values apart")
        rows, tile = op.q_len * op.heads // op.kv_heads, unit.cols * unit.count
        sizes = {self.block_q} if self.block_q else set(tile_sizes(rows, tile, 12))
        if fine and not self.block_q:
            sizes |= fine_sizes(rows, tile, MOST_ROWS)
        table = np.array([(size,) for size in sorted(sizes)], np.int64)
        return [Points((lag,), table) for lag in ((self.lag,) if self.lag else LAGS)]

    def complete(self, op: Op, acc: Accelerator, points: Points, i: int) -> FuseMax:
        return FuseMax(int(points.table[i, 0]), points.variant[0], self.exp_macs)

    def writer(self, op: Op, acc: Accelerator, variant: tuple[Any, ...]) -> Writer:
        assert isinstance(op, Attention)
        (lag,) = variant
        machine, conversion = kv_numbers(op, acc)
        array = machine if conversion is None else conversion.array
        array = array._replace(bytes_a=array.bytes_b, bytes_b=array.element_bytes)  # keys go along the rows
        shape = _shape(acc, lag, conversion is not None)
        return Writer.compiled(shape, _lower, problem_of(op), lag, self.exp_macs, machine, array, conversion)


register_dataflow("fusemax", FuseMax)


@lru_cache(maxsize=64)
def _shape(acc: Accelerator, lag: int, converted: bool) -> Shape:
    """A tile's Logit is ``lag`` tiles behind its load, and each way between array and lanes takes as many more.

    In an iteration the lanes come before the array's second half: a port serves in the order of the list. Conversions
    are at its end, since no tile needs one of its own iteration.
    """
    way = ways(acc)
    local, capacities = memory_plan(acc)
    logit, maximum, exp, accumulate = (lag * ways_gone for ways_gone in (1, 2, 3, 4))
    stages: tuple[StageShape, ...] = (
        StageShape("load_q", "dma", way.loads, {"key": START}, acquires=(Hold("q"),)),
        StageShape("load_k", "dma", way.loads, {"tile": START}, acquires=(Hold("k"),)),
        StageShape("load_v", "dma", way.loads, {"tile": START}, acquires=(Hold("v"),), **_behind(maximum)),
        StageShape(
            "logit", "matrix", way.local,
            after=(After("load_q", level="tile", carried=True), After("load_k", level="key")),
            acquires=(Hold("scores"),), releases=(Hold("q", last=("key",)), Hold("k", last=("tile",))),
            **_behind(logit),
        ),
        StageShape("maximum", "vector", way.local, after=(After("logit"),), **_behind(maximum)),
        StageShape(
            "accumulate", "vector", way.local, after=(After("attend"),), acquires=(Hold("out", first=("key",)),),
            releases=(Hold("partial"),), **_behind(accumulate),
        ),
        StageShape("finish", "vector", way.local, {"key": END}, after=(After("accumulate"),), **_behind(accumulate)),
        StageShape("exp", "matrix", after=(After("maximum"),), **_behind(exp)),
        StageShape(
            "attend", "matrix", way.local, after=(After("exp"), After("load_v", level="key")),
            acquires=(Hold("partial"),), releases=(Hold("scores"), Hold("v", last=("tile",))), **_behind(exp),
        ),
        StageShape(
            "store_o", "dma", way.stores, {"key": END}, after=(After("finish"),), releases=(Hold("out"),),
            **_behind(accumulate + 1),
        ),
    )  # fmt: skip
    buffers = {"q": local, "k": local, "v": local, "scores": "", "partial": local, "out": local}
    if converted:
        stages, buffers = convert_on_arrival(stages, buffers, way.local)
        stages = tuple(sorted(stages, key=lambda stage: stage.name in CONVERSIONS))
    return Shape(
        f"fusemax, {3 * lag + 1} tiles in the array",
        (("head", 1), ("row", 1), ("key", 1), ("tile", 1)),
        way.resources("dma", "matrix", "vector"),
        buffers,
        stages,
        capacities,
    )


def _behind(tiles: int) -> dict[str, Any]:
    return {"shift": tiles, "shift_level": "tile"}


@kernel(allocates=True)
def _lower(points, problem, lag, exp_macs, machine, array, conversion, level, kinds, classes, block, copies):
    """Write the numbers of every point (column: rows of the queries that stay).

    Rows are dealt evenly over the tiles and keys over the blocks, so that there are no ragged ones: a tile's time on
    the array is that of the whole array, its bytes and its work on the lanes those of an even share.
    """
    want = block.actions.shape[0] > 0
    for i in range(points.shape[0]):
        resident = min(points[i, 0], problem.positions * problem.shared)
        share = share_of(problem, resident, machine.cores)
        passes = ceil_div(share.rows, resident)
        tiles = ceil_div(ceil_div(share.rows, machine.cols * machine.count), passes)
        blocks = ceil_div(problem.keys, machine.rows)
        block.trips[i, level[0, TRIP0]] = share.groups
        block.trips[i, level[1, TRIP0]] = passes
        block.trips[i, level[2, TRIP0]] = blocks
        block.trips[i, level[3, TRIP0]] = tiles
        fill_spans(block, i, level, kinds, classes)
        tile = (share.rows / float(passes * tiles), problem.keys / float(blocks), problem.dim, problem.value_dim)
        fetched = fetched_share(problem, resident, share, passes, machine.rows, machine, False)
        copies[i] = float(problem.groups * problem.positions * problem.shared) / (share.rows * share.groups)
        _write_buffers(block, i, tile, tiles, lag, array)
        if conversion is not None:
            stored = np.ceil(tile[1]) * machine.bytes_b
            write_stored(block, i, 6, 2, (stored * tile[2], stored * tile[3]))
            converted = (tile[1] * tile[2], tile[1] * tile[3])
            write_conversions(block, i, (CONVERT_K, CONVERT_V), converted, conversion, machine, want)
        _write_moves(block, i, tile, fetched, share.active, machine, want)
        _write_work(block, i, tile, exp_macs, array, want)
        if want:
            converts = (-1, -1) if conversion is None else (CONVERT_K, CONVERT_V)
            moves = (LOAD_Q, STORE, LOAD_K, LOAD_V, *converts)
            own_rows, resident_kv = float(share.rows), (False, False)
            count_all(
                block, i, moves, 1, problem, resident, share, own_rows, machine.rows, copies[i], machine, resident_kv
            )


@kernel
def _write_buffers(block, i, tile, tiles, lag, array):
    """Slots and bytes: all tiles of a pass stay, besides those that are on their way for ``lag`` tiles."""
    queries, keys, dim, value_dim = np.ceil(tile[0]), np.ceil(tile[1]), tile[2], tile[3]
    element = array.element_bytes
    block.slots[i, 0] = tiles + lag + 1
    block.slots[i, 1] = block.slots[i, 2] = 2 + ceil_div(lag, tiles)
    block.slots[i, 3] = 3 * lag + 1
    block.slots[i, 4] = lag + 1
    block.slots[i, 5] = tiles + 1
    block.slot_bytes[i, 0] = int(np.ceil(queries * dim * element))
    block.slot_bytes[i, 1] = int(np.ceil(keys * dim * array.bytes_a))
    block.slot_bytes[i, 2] = int(np.ceil(keys * value_dim * array.bytes_a))
    block.slot_bytes[i, 3] = int(np.ceil(queries * keys * element))
    block.slot_bytes[i, 4] = int(np.ceil(queries * value_dim * element))
    block.slot_bytes[i, 5] = int(np.ceil(queries * (value_dim + STATISTICS) * element))


@kernel
def _write_moves(block, i, tile, fetched, active, machine, want):
    """Loads, the store, and the latencies of all that leaves a unit: a value goes along a column of the array."""
    queries, keys, dim, value_dim = tile
    element = machine.element_bytes
    q_bytes = queries * dim * element
    k_bytes, v_bytes = keys * dim * machine.bytes_b, keys * value_dim * machine.bytes_b
    write_load(block, i, LOAD_Q, q_bytes, q_bytes, active, machine, want)
    write_load(block, i, LOAD_K, k_bytes, k_bytes * fetched, active, machine, want)
    write_load(block, i, LOAD_V, v_bytes, v_bytes * fetched, active, machine, want)
    write_store(block, i, STORE, queries * value_dim * element, active, machine, want)
    write_latencies(block, i, (LOAD_Q, LOAD_K, LOAD_V, STORE), machine)
    for stage in (LOGIT, MAXIMUM, ATTEND):
        block.latency[i, stage] = machine.rows * TICKS


@kernel
def _write_work(block, i, tile, exp_macs, machine, want):
    """A tile's steps on the array and operations on the lanes.

    Source: the operations of each Einsum of the cascade, as the artifact counts them. An exponential is a subtraction
    and ``exp_macs`` multiply-accumulates. On the array: Logit and the local maximum; exponential and local sum; Attend.
    On the lanes: the maximum so far and the factor of what came before it; that factor times sum and outputs so far,
    and the local ones added; a division.
    """
    queries, keys, dim, value_dim = tile
    element = machine.element_bytes
    scores, outputs, state = queries * keys, queries * value_dim, queries * (value_dim + 1)
    one, passed, out_bytes = queries * element, state * element, outputs * element
    logit, exp = (scores * dim, 0.0, scores, 0.0), (0.0, scores * exp_macs, 0.0, 2 * scores)
    keys_queries, keys_values = (keys * dim, queries * dim), (keys * value_dim, 0.0)
    operands = Tile(keys, queries, dim, 1, 0)
    write_array(block, i, LOGIT, dim + 1, operands, keys_queries, logit, 0.0, machine, want)
    write_array(block, i, EXP, exp_macs + 2, operands, (0.0, 0.0), exp, 0.0, machine, want)
    operands = Tile(keys, queries, value_dim, 0, 0)
    attend = (scores * value_dim, 0.0, 0.0, 0.0)
    write_array(block, i, ATTEND, value_dim, operands, keys_values, attend, out_bytes, machine, want)
    maximum = (queries, 0.0, queries, queries * exp_macs, 0.0, 0.0, 0.0)
    write_vector(block, i, MAXIMUM, maximum, one, one, machine, want)
    corrected = (0.0, 0.0, state, 0.0, 0.0, state, 0.0)
    write_vector(block, i, ACCUMULATE, corrected, passed + out_bytes, passed, machine, want)
    write_vector(block, i, FINISH, (0.0, 0.0, 0.0, 0.0, outputs, 0.0, 0.0), passed, out_bytes, machine, want)

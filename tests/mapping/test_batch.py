"""The batch path against the program path: arrays, ticks, counted firings and bounds of every point of a space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

import accsim
from accsim.config.machine import Accelerator
from accsim.engine.analytic import bound_program
from accsim.engine.arrays import flatten
from accsim.engine.run import run_program
from accsim.kernels import layout as k
from accsim.kernels import work
from accsim.kernels.bound import all_counted
from accsim.mapping.compiled import CompiledDataflow, Lowered, Points, bounds, run_points
from accsim.mapping.machine_numbers import action_names
from accsim.workload.ops import Attention, Elementwise, Gemm, Norm, Op, Softmax

RAGGED = Attention(batch=1, heads=3, q_len=100, kv_len=150, head_dim=24)
CAUSAL = Attention(batch=2, heads=4, q_len=90, kv_len=130, head_dim=16, kv_heads=2, causal=True)
DECODE = Attention(heads=8, head_dim=32, q_len=1, kv_heads=2, causal=True, kv_lens=(900, 70, 500, 500))
LATENT = Attention(batch=2, heads=4, q_len=50, kv_len=83, head_dim=24, kv_heads=1, v_dim=16, shared_kv=True)
CASES: list[tuple[str, CompiledDataflow, Op]] = [
    ("flat_edge", accsim.OutputStationary(order="mn"), Gemm(70, 100, 65)),
    ("systolic_128", accsim.WeightStationary(), Gemm(200, 130, 300, batch=2, weights=False)),
    ("tpu_v4", accsim.InputStationary(tile_k=128), Gemm(513, 300, 257)),
    ("h100_sxm", accsim.OutputStationary(tile_k=64, split_n=4), Gemm(100, 150, 200)),
    ("h100_sxm", accsim.ThreadBlocks(), Gemm(1000, 1500, 200)),
    ("h100_sxm", accsim.ThreadBlocks(tile_m=64), Gemm(100, 150, 3000, batch=2, weights=False)),
    ("flat_edge", accsim.Flat(), RAGGED),
    ("flat_edge", accsim.Flash(), RAGGED),
    ("flat_edge", accsim.Flat(block_kv=32, spill=3), RAGGED),
    ("flat_cloud", accsim.Flat(rows=16, block_kv=16, spill=5), CAUSAL),
    ("flat_cloud", accsim.Flat(rows=16), CAUSAL),
    ("flat_edge", accsim.Flat(staged="qkv"), RAGGED),
    ("flat_edge", accsim.Flat(rows=48, block_kv=32, staged="none", softmax=None, spill=2), CAUSAL),
    ("tpu_v4", accsim.Flat(granularity="batch", block_kv=65, staged="kv"), CAUSAL),
    ("flat_edge", accsim.Flash(block_kv=32), CAUSAL),
    ("tpu_v4", accsim.Flat(rows=64), CAUSAL),
    ("h100_sxm", accsim.Flash(block_q=32), CAUSAL),
    ("h100_sxm", accsim.Flash(), RAGGED),
    ("h100_sxm", accsim.Flash(block_kv=64), Attention(2, 8, 1, 1000, 32, kv_heads=2, causal=True)),
    ("flat_edge", accsim.Flash(execution="ping_pong"), RAGGED),
    ("tpu_v4", accsim.Flash(block_q=32, execution="ping_pong"), CAUSAL),
    ("flat_edge", accsim.FuseMax(), RAGGED),
    ("tpu_v4", accsim.FuseMax(lag=2), Attention(2, 8, 700, 600, 32, kv_heads=2)),
    ("tpu_v4", accsim.Flash(block_kv=64), DECODE),
    ("tpu_v5p", accsim.Flash(block_q=8, block_kv=64, split_kv=3), DECODE),
    ("h100_sxm", accsim.Flash(block_kv=64), DECODE),
    ("tpu_v4", accsim.Flash(block_kv=64), Attention(1, 8, 1, 1000, 32, kv_heads=1, causal=True)),
    ("flat_edge", accsim.Flat(block_kv=32), LATENT),
    ("flat_edge", accsim.Flash1(block_kv=32), LATENT),
    ("flat_edge", accsim.Flash(block_kv=32), LATENT),
    ("flat_edge", accsim.Flash1(block_q=12, block_kv=40), CAUSAL),
    ("tpu_v4", accsim.Flash1(block_q=8), replace(CAUSAL, window=50)),
    ("tpu_v4", accsim.Streamed(), Softmax(rows=1000, cols=77)),
    ("flat_edge", accsim.Streamed(), Softmax(rows=5, cols=200_001)),
    ("flat_edge", accsim.Streamed(), Norm(rows=13, cols=500)),
    ("h100_sxm", accsim.Streamed(), Elementwise(elements=100_001, function="gelu")),
]
cases = pytest.mark.parametrize(("machine", "dataflow", "op"), CASES)


def blocks(machine: str, dataflow: CompiledDataflow, op: Op) -> Iterator[tuple[Accelerator, Points, Lowered]]:
    """Every block of a space, its feasible points only."""
    acc = accsim.load_accelerator(machine)
    for points in dataflow.space(op, acc):
        lowered = dataflow.lower(op, acc, points, actions=True)
        fits = np.flatnonzero(lowered.fits())
        if len(fits):
            yield acc, Points(points.variant, points.table[fits]), lowered.select(fits)


def iteration_classes(arrays: k.ProgramArrays, lowered: Lowered) -> list[list[int]]:
    """The class of each iteration of each level: how many ends of its runs, the last one apart, lie at or before it."""
    most = int(arrays.trips.max())
    found = []
    for level, count in enumerate(lowered.shape.classes):
        ends = arrays.runs[arrays.level[level, k.RUN0] :][: count - 1]
        found.append([int((ends <= i).sum()) for i in range(most)])
    return found


@cases
def test_arrays_of_a_point_are_those_of_its_program(machine: str, dataflow: CompiledDataflow, op: Op) -> None:
    seen = 0
    for _, points, lowered in blocks(machine, dataflow, op):
        static = lowered.shape.static
        for i in range(len(points.table)):
            own = flatten(lowered.shape.program(lowered.block, i)).arrays
            np.testing.assert_array_equal(own.trips, lowered.block.trips[i])
            assert iteration_classes(own, lowered) == iteration_classes(
                own._replace(runs=lowered.block.runs[i]), lowered
            )
            np.testing.assert_array_equal(own.row, lowered.block.row[i])
            np.testing.assert_array_equal(own.slots, lowered.block.slots[i])
            np.testing.assert_array_equal(own.stage[:, k.LATENCY], lowered.block.latency[i])
            same_stage = np.delete(own.stage, k.LATENCY, axis=1) == np.delete(static.stage, k.LATENCY, axis=1)
            assert same_stage.all()
            for name in ("level", "dep", "hold", "servers", "cursor", "mark"):
                np.testing.assert_array_equal(getattr(own, name), getattr(static, name))
            seen += 1
    assert seen > 1


@cases
def test_ticks_firings_and_bounds_of_every_point(machine: str, dataflow: CompiledDataflow, op: Op) -> None:
    for acc, points, lowered in blocks(machine, dataflow, op):
        ticks = run_points(lowered)
        least, fires, busy = bounds(lowered)
        for i in range(len(points.table)):
            program = lowered.shape.program(lowered.block, i, action_names(acc, op.dtype))
            run = run_program(program, attribution=False)
            analytic = bound_program(program)
            assert ticks[i] == run.total_ticks
            assert least[i] <= ticks[i]
            assert analytic.total_ticks <= ticks[i]
            by_stage = fires[i].reshape(len(program.stages), -1).sum(axis=1)
            assert dict(zip((s.name for s in program.stages), by_stage, strict=True)) == run.fires == analytic.fires
            assert analytic.busy == run.busy == dict(zip(lowered.shape.resources, busy[i], strict=True))
            assert analytic.actions == pytest.approx(run.actions, rel=1e-12)


@cases
def test_a_completed_point_lowers_to_itself(machine: str, dataflow: CompiledDataflow, op: Op) -> None:
    for acc, points, lowered in blocks(machine, dataflow, op):
        for i in {0, len(points.table) - 1}:
            # Of tiles that differ, a run has a pool in place of this program (test_flash_blocks.py).
            (step,) = CompiledDataflow.steps(dataflow.complete(op, acc, points, i), op, acc)
            expected = lowered.shape.program(lowered.block, i)
            np.testing.assert_array_equal(flatten(step.program).arrays.row, flatten(expected).arrays.row)
            assert step.program.buffers == expected.buffers
            assert step.copies == lowered.copies[i]


@cases
def test_blocks_in_the_same_memory_are_parts_of_one_block(machine: str, dataflow: CompiledDataflow, op: Op) -> None:
    acc = accsim.load_accelerator(machine)
    points = max(dataflow.space(op, acc), key=lambda points: len(points.table))
    points = Points(points.variant, points.table[:40])
    whole = dataflow.lower(op, acc, points, actions=True)
    for at, part in dataflow.lower_in_blocks(op, acc, points, 7):
        expected = whole.select(at)
        np.testing.assert_array_equal(part.copies, expected.copies)
        for mine, theirs in zip(part.block, expected.block, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_machines_of_other_sizes_share_the_arrays_of_a_shape() -> None:
    small, large = (
        accsim.load_accelerator("flat_edge", set={"memories.sg.capacity": size}) for size in ("1 MiB", "4 MiB")
    )
    variant = accsim.Flash(pipeline=True).space(RAGGED, small)[0].variant
    one, other = (accsim.Flash().writer(RAGGED, acc, variant).shape for acc in (small, large))
    assert one.capacities != other.capacities
    assert one.static is other.static


def test_a_batch_may_mix_points_that_need_long_rings_with_others() -> None:
    # The rings of finish times grow for one point and stay grown for the next: order must not matter.
    acc = accsim.load_accelerator("flat_cloud")
    dataflow = accsim.Flat(staged="qo", pipelined=True, stationary="output_stationary")
    op = Attention(batch=1, heads=1, q_len=64, kv_len=4096, head_dim=16)
    variant = dataflow.space(op, acc)[0].variant
    form = dataflow.space(op, acc)[0].table[0, 2]
    table = np.array([(16, keys, form) for keys in (4096, 8, 2048, 16, 4096, 8)], np.int64)
    lowered = dataflow.lower(op, acc, Points(variant, table), actions=False)
    together = run_points(lowered)
    alone = [int(run_points(lowered.select(np.array([i])))[0]) for i in range(len(table))]
    assert together.tolist() == alone
    assert together[1] == together[5]


def test_columns_of_actions_have_the_names_they_are_written_under() -> None:
    named = {name.lower(): getattr(work, name.upper()) for name in work.ACTIONS if hasattr(work, name.upper())}
    named |= {"max": work.VECTOR, "convert": work.VECTOR + work.VECTOR_OPERATIONS - 1}
    named |= {"pe_steady_cycles": work.PE_STEADY, "pe_busy_cycles": work.PE_BUSY}
    assert len(named) == 18
    assert {name: work.ACTIONS.index(name) for name in named} == named


def test_what_all_rows_count_is_their_sum() -> None:
    rng = np.random.default_rng(0)
    actions, fires, worth = rng.random((5, 7, 3)), rng.integers(0, 4, (5, 7)), rng.random((3, 2))
    copies, found = rng.random(5), np.empty((5, 2))
    all_counted(actions, fires, copies, worth, found)
    assert found == pytest.approx(np.einsum("n,nr,nrc,ck->nk", copies, fires, actions, worth), rel=1e-12)

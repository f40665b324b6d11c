"""FlashAttention-1: traffic and work by naive counts, its limits, and what cannot be."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim.config.catalogue import load_accelerator
from accsim.engine.counters import Counters
from accsim.engine.run import run_program
from accsim.mapping.base import Step
from accsim.mapping.search import search
from accsim.workload.ops import Attention


def run(
    mapping: accsim.Flash1, op: Attention, machine: str = "flat_edge", *, jump: bool = True
) -> tuple[Step, Counters]:
    """The one program of a complete mapping and its run; flat_edge has room for every tile."""
    acc = load_accelerator(machine, set={"memories.sg.capacity": "64 MiB"} if machine == "flat_edge" else {})
    (step,) = mapping.steps(op, acc)
    return step, run_program(step.program, attribution=False, jump=jump)


@settings(max_examples=40)
@given(
    op=st.builds(
        lambda batch, kv, shared, q, keys, dim, v_dim, one: Attention(
            batch, kv * shared, q, keys, dim, kv, v_dim=min(dim, v_dim) if one else v_dim, shared_kv=one
        ),
        st.integers(1, 3),
        st.integers(1, 3),
        st.integers(1, 3),
        st.integers(2, 90),
        st.integers(2, 90),
        st.sampled_from([8, 16, 24]),
        st.sampled_from([8, 16, 24]),
        st.booleans(),
    ),
    rows=st.integers(1, 50),
    block=st.integers(1, 60),
)
def test_work_and_traffic(op: Attention, rows: int, block: int) -> None:
    all_rows, groups = op.q_len * op.heads // op.kv_heads, op.batch * op.kv_heads
    mapping = accsim.Flash1(rows, block, "output_stationary")
    if rows >= all_rows and block < op.kv_len:
        with pytest.raises(accsim.MappingError, match="two row tiles on a core at each of two key blocks"):
            run(mapping, op)
        return
    step, done = run(mapping, op)
    read = write = 0
    counts = dict.fromkeys(("max", "exp", "add", "rescale", "divide", "convert"), 0)
    blocks = ceil(op.kv_len / block)
    for j in range(blocks):
        keys = min(block, op.kv_len - j * block)
        read += 2 * keys * op.kv_width
        for first in range(0, all_rows, rows):
            tile = min(rows, all_rows - first)
            read += 2 * tile * op.head_dim + 4 * tile * (op.value_dim + 2)
            write += 2 * tile * op.value_dim if j == blocks - 1 else 4 * tile * (op.value_dim + 2)
            for name in ("max", "exp", "add"):
                counts[name] += tile * keys
            for name in ("rescale", "divide"):
                counts[name] += tile * op.value_dim
    counts["convert"] = all_rows * op.value_dim
    assert step.copies == 1
    assert done.actions["read.dram"] == groups * read
    assert done.actions["write.dram"] == groups * write
    assert done.actions["mac.bf16"] == op.macs
    assert {name: done.actions[f"vector.{name}"] for name in counts} == {n: groups * c for n, c in counts.items()}
    assert run(mapping, op, jump=False)[1] == done


@pytest.mark.parametrize("machine", ["tpu_v4", "h100_sxm", "flat_cloud"])
def test_every_core_counts(machine: str) -> None:
    op = Attention(batch=2, heads=5, q_len=520, kv_len=300, head_dim=16)
    step, done = run(accsim.Flash1(1, 128, "output_stationary"), op, machine)
    assert done.actions["mac.bf16"] * step.copies == pytest.approx(op.macs, rel=1e-12)
    main = load_accelerator(machine).main_memory.name
    rows = op.batch * op.heads * op.q_len
    assert done.actions[f"write.{main}"] * step.copies == pytest.approx(op.output_bytes + 2 * 4 * rows * 18, rel=1e-9)


def test_with_free_memory_and_softmax_the_array_binds() -> None:
    # flat_edge, full overlap: folds of 32 x 32 steps for Logit (32 x 256 x 64) and Attend (32 x 64 x 256).
    fast = "1000000 TB/s"
    sets: dict[str, object] = {f"memories.{m}.{w}_bandwidth": fast for m in ("sg", "dram") for w in ("read", "write")}
    sets |= {"vector_unit.lanes": 65536, "memories.sg.capacity": "64 MiB", "memories.sg.latency": "0 ns"}
    acc = load_accelerator("flat_edge", set=sets | {"memories.dram.latency": "0 ns"})
    op = Attention(batch=1, heads=4, q_len=1024, kv_len=1024, head_dim=64)
    rep = accsim.simulate(op, acc, dataflow=accsim.Flash1(32, 256, "output_stationary"))
    cycles = 4 * 32 * 4 * (8 * 64 + 2 * 256)
    assert cycles <= rep.total_cycles <= cycles * 1.2


def test_it_moves_more_than_flash2_and_a_search_knows() -> None:
    op = Attention(batch=4, heads=12, q_len=2048, kv_len=2048, head_dim=64)
    acc = load_accelerator("flat_cloud")
    assert search(accsim.Flash1(), op, acc).cost >= search(accsim.Flash(), op, acc).cost


@settings(max_examples=25)
@given(
    op=st.builds(
        lambda batch, kv, shared, q, past, window: Attention(
            batch, kv * shared, q, q + past, 16, kv, True, v_dim=8, window=window
        ),
        st.integers(1, 2),
        st.integers(1, 2),
        st.integers(1, 2),
        st.integers(20, 90),
        st.integers(0, 60),
        st.integers(1, 100),
    ),
    each=st.integers(1, 20),
    block=st.integers(4, 60),
    machine=st.sampled_from(["flat_edge", "tpu_v4", "tpu_v5p"]),
)
def test_under_a_window_a_key_block_meets_the_row_tiles_whose_windows_reach_it(
    op: Attention, each: int, block: int, machine: str
) -> None:
    shared, groups, width = op.heads // op.kv_heads, op.batch * op.kv_heads, op.window or op.kv_len
    tiles = [range(max(0, last - each), last) for last in range(op.q_len, 0, -each)]
    unseen = op.kv_len - op.seen_keys  # keys before the first query's window are left out of the grid
    ends = [[op.kv_len - op.q_len + at + 1 for at in tile] for tile in tiles]
    sees = [set().union(*(range(max(0, end - width), end) for end in tile)) for tile in ends]
    grid = [range(first, min(first + block, op.kv_len)) for first in range(unseen, op.kv_len, block)]
    acc = load_accelerator(machine)
    stride = ceil(
        len(tiles) / ceil(len(tiles) / max(1, acc.cores // groups))
    )  # cores that take the tiles of a head in turn
    mapping = accsim.Flash1(each * shared, block, "output_stationary")
    own = [sum(not seen.isdisjoint(keys) for seen in sees[::stride]) for keys in grid]
    if len(grid) > 1 and min(own) < 2:
        with pytest.raises(accsim.MappingError, match="two row tiles on a core at each of two key blocks"):
            run(mapping, op, machine)
        return
    step, done = run(mapping, op, machine)
    read = write = visible = 0
    for keys in grid:
        met = [t for t, seen in enumerate(sees) if not seen.isdisjoint(keys)]
        loads = len({t % stride for t in met}) if len(acc.memories) == 2 else 1  # from a middle memory it comes once
        read += loads * 2 * len(keys) * op.kv_width
        for t in met:
            rows = len(tiles[t]) * shared
            read += 2 * rows * 16 + 4 * rows * (8 + 2)
            write += 2 * rows * 8 if max(sees[t]) in keys else 4 * rows * (8 + 2)
            visible += shared * sum(max(0, end - width) <= key < end for end in ends[t] for key in keys)
    main = acc.main_memory.name
    assert op.macs == groups * visible * (16 + 8)
    assert done.actions["mac.bf16"] * step.copies == pytest.approx(op.macs, rel=1e-9)
    assert done.actions[f"read.{main}"] * step.copies == pytest.approx(groups * read, rel=1e-9)
    assert done.actions[f"write.{main}"] * step.copies == pytest.approx(groups * write, rel=1e-9)
    if machine == "flat_edge":
        assert done.fires["logit"] == groups * sum(own)
    assert run(mapping, op, machine, jump=False)[1] == done


def test_a_window_saves_what_it_hides() -> None:
    # Row tile t, of 64 positions, ends in key block t // 2 of 128 keys, and its window of 1024 begins 1023 keys before.
    op = Attention(batch=2, heads=4, q_len=4096, kv_len=4096, head_dim=64, causal=True)
    mapping = accsim.Flash1(64, 128, "output_stationary")
    near, far = run(mapping, replace(op, window=1024)), run(mapping, op)
    pairs = [t // 2 + 1 for t in range(64)]
    seen = [pair - max(0, 64 * t - 1023) // 128 for t, pair in enumerate(pairs)]
    assert near[1].fires["logit"] == 8 * sum(seen)
    assert far[1].fires["logit"] == 8 * sum(pairs)
    assert near[1].total_ticks / far[1].total_ticks == pytest.approx(sum(seen) / sum(pairs), rel=0.02)


@settings(max_examples=40)
@given(
    op=st.builds(
        lambda batch, kv, shared, q, past, one: Attention(
            batch, kv * shared, q, q + past, 16, kv, True, v_dim=8, shared_kv=one
        ),
        st.integers(1, 3),
        st.integers(1, 3),
        st.integers(1, 3),
        st.integers(2, 90),
        st.integers(0, 60),
        st.booleans(),
    ),
    rows=st.integers(1, 50),
    block=st.integers(1, 60),
)
def test_under_a_mask_a_key_block_meets_the_row_tiles_that_see_it(op: Attention, rows: int, block: int) -> None:
    shared, groups = op.heads // op.kv_heads, op.batch * op.kv_heads
    rows = max(shared, rows // shared * shared)
    positions = [list(range(max(0, last - rows // shared), last)) for last in range(op.q_len, 0, -(rows // shared))]
    sees = [tile[-1] + 1 + op.kv_len - op.q_len for tile in positions]  # keys of each tile, the longest first
    blocks = ceil(op.kv_len / block)
    mapping = accsim.Flash1(rows, block, "output_stationary")
    if blocks > 1 and sum(keys > (blocks - 1) * block for keys in sees) < 2:
        with pytest.raises(accsim.MappingError, match="two row tiles on a core at each of two key blocks"):
            run(mapping, op)
        return
    step, done = run(mapping, op)
    read = write = fires = visible = 0
    for j in range(blocks):
        keys = range(j * block, min(op.kv_len, (j + 1) * block))
        read += 2 * len(keys) * op.kv_width
        for tile, last in zip(positions, sees, strict=True):
            if last > j * block:
                fires += 1
                tile_rows = len(tile) * shared
                read += 2 * tile_rows * 16 + 4 * tile_rows * (8 + 2)
                write += 2 * tile_rows * 8 if last <= (j + 1) * block else 4 * tile_rows * (8 + 2)
                visible += shared * sum(k <= p + op.kv_len - op.q_len for p in tile for k in keys)
    assert step.copies == 1
    assert done.fires["logit"] == groups * fires
    assert done.actions["read.dram"] == pytest.approx(groups * read, rel=1e-12)
    assert done.actions["write.dram"] == pytest.approx(groups * write, rel=1e-12)
    assert done.actions["mac.bf16"] == pytest.approx(groups * visible * (16 + 8), rel=1e-12)
    assert op.macs == groups * visible * (16 + 8)
    assert done.actions["vector.convert"] == pytest.approx(groups * op.q_len * shared * 8, rel=1e-12)
    assert run(mapping, op, jump=False)[1] == done


@pytest.mark.parametrize("machine", ["tpu_v4", "flat_cloud"])
def test_every_core_counts_under_a_mask(machine: str) -> None:
    op = Attention(batch=1, heads=1, q_len=2048, kv_len=2048, head_dim=64, causal=True)
    step, done = run(accsim.Flash1(128, 512, "output_stationary"), op, machine)
    assert done.actions["mac.bf16"] * step.copies == pytest.approx(op.macs, rel=1e-12)
    main = load_accelerator(machine).main_memory.name
    passes = sum(ceil(last / 512) for last in range(128, 2049, 128))
    partial = 4 * 128 * (passes - 16) * 66
    assert done.actions[f"write.{main}"] * step.copies == pytest.approx(op.output_bytes + partial, rel=1e-9)
    full = run(accsim.Flash1(128, 512, "output_stationary"), Attention(1, 1, 2048, 2048, 64), machine)[1]
    assert 0.5 < done.total_ticks / full.total_ticks < 0.75  # 10 of 16 pairs of 512 x 512 are not hidden

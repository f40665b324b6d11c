"""FlashAttention as thread blocks against closed forms, a pool of SMs, naive counts, and laws."""

from __future__ import annotations

import heapq
from math import ceil

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import accsim
from accsim.config.machine import Accelerator
from accsim.engine.run import run_program
from accsim.errors import MappingError
from accsim.mapping.attention import problems_of
from accsim.mapping.base import Step
from accsim.mapping.compiled import CompiledDataflow
from accsim.mapping.flash import Flash
from accsim.mapping.flash_pool import pool_of_tiles
from accsim.mapping.flash_tiles import MOST_LENGTHS, busiest, even_tiles, tiles_of
from accsim.mapping.search import search
from accsim.workload.ops import Attention

TICKS = 4096
FAST = "1000000 TB/s"
CLOCK = 1.83e9
LAUNCH_S = 2.65e-6  # an op of h100_sxm, as in its file
HBM, L2_READ, L2_WRITE, SMEM = (x / CLOCK for x in (3.35e12 * 0.855, 11e12, 3.9e12, 234.24e9))  # bytes a cycle
LATENCY = 440e-9 * CLOCK
NAMES = ("smem", "l2", "hbm")


def machine(cores: int = 132, **more: object) -> Accelerator:
    """h100_sxm with fewer SMs, each as fast as ever; the shared memories keep their rates."""
    return accsim.load_accelerator("h100_sxm", set={"cores": cores, **more})


def infinite_bandwidth(cores: int) -> Accelerator:
    """An H100 of so many SMs that waits for nothing but its own units."""
    faster = {f"memories.{name}.{way}_bandwidth": FAST for name in NAMES for way in ("read", "write")}
    return machine(cores, **faster, **{f"memories.{name}.latency": "0 ns" for name in NAMES})


def step_of(mapping: Flash, op: Attention, acc: Accelerator) -> Step:
    """The one program of a complete mapping."""
    (step,) = mapping.steps(op, acc)
    return step


def cycles_of(mapping: Flash, op: Attention, acc: Accelerator) -> float:
    """Cycles of the grid, without the launch."""
    return run_program(step_of(mapping, op, acc).program, attribution=False).total_ticks / TICKS


# Closed forms: 128 rows and 128 keys a block, cycles a block of an SM


def units(dim: int) -> tuple[float, float, float, float]:
    """Logit, softmax, Attend, and the end of a tile: 2048 MACs a cycle; max 1, exp 8, add 1, rescale 1, divide 9,
    convert 2 cycles on one of 128 lanes."""
    matrix = 128 * 128 * dim / 2048
    return matrix, 128 * 128 * 10 / 128 + dim, matrix, dim * 11.0


@pytest.mark.parametrize("blocks", [2, 3, 9])
@pytest.mark.parametrize(
    ("batch", "heads", "tiles", "causal"),
    [(1, 4, 1, False), (1, 5, 1, True), (2, 3, 2, False), (1, 1, 1, False), (2, 2, 1, True)],
)
def test_infinite_bandwidth_leaves_the_units(blocks: int, batch: int, heads: int, tiles: int, causal: bool) -> None:
    # 4 SMs, d = 128: 1024 cycles of Logit, 1408 of softmax, 1024 of Attend a block. A tile of queries that come after
    # all keys but its own sees one number of blocks, with a mask or without one.
    op = Attention(batch, heads, 128 * tiles, 128 * blocks, 128, causal=causal)
    logit, softmax, attend, end = units(128)
    waves = ceil(batch * heads * tiles / 4)
    # One behind the other; or Attend beside the softmax of the next block: what shows is the first softmax beyond the
    # next Logit, and the last one beyond the Attend before.
    serial = waves * (blocks * (logit + softmax + attend) + end)
    assert cycles_of(Flash(128, 128, False), op, infinite_bandwidth(4)) == pytest.approx(serial, abs=2)
    hidden = waves * (blocks * (logit + attend) + (softmax - logit) + (softmax - attend) + end)
    assert cycles_of(Flash(128, 128, True), op, infinite_bandwidth(4)) == pytest.approx(hidden, abs=2)


def test_narrow_heads_are_bound_by_the_softmax() -> None:
    # d = 64: 512 cycles of Logit and of Attend, 1344 of softmax.
    op = Attention(1, 4, 128, 128 * 20, 64)
    logit, softmax, attend, end = units(64)
    total = cycles_of(Flash(128, 128, True), op, infinite_bandwidth(4))
    assert total == pytest.approx(logit + 20 * softmax + attend + end, abs=2)


def test_one_tile_begins_with_q_and_k_and_ends_with_o() -> None:
    op = Attention(1, 1, 128, 128 * 8, 128)
    logit, softmax, attend, end = units(128)
    block = 128 * 128 * 2
    # Q and the first K come through shared memory's port, one after the other, V behind them; O leaves by main memory.
    start = 2 * block / SMEM + LATENCY
    store = max(end, block / HBM)
    expected = start + 8 * (logit + attend) + (softmax - logit) + (softmax - attend) + store
    assert cycles_of(Flash(128, 128, True), op, machine()) == pytest.approx(expected, abs=0.01)


def test_decoding_is_bytes_over_bandwidth() -> None:
    # 132 sequences with one KV head of 8 query heads each: every SM streams its own keys and values.
    op = Attention(132, 8, 1, 16384, 128, kv_heads=1, causal=True)
    total = cycles_of(Flash(16, 128, True, split_kv=1), op, machine())
    moved = (op.input_bytes + op.output_bytes) / HBM
    assert moved <= total <= moved + 2 * LATENCY + 3000


def test_few_sequences_split_their_keys() -> None:
    # 8 KV heads, 65536 keys: 8 SMs alone would pull 128 bytes a cycle each; 128 of them keep main memory busy.
    op = Attention(1, 64, 1, 65536, 128, kv_heads=8, causal=True)
    moved = op.kv_bytes / HBM
    one = cycles_of(Flash(16, 128, True, split_kv=1), op, machine())
    many = cycles_of(Flash(16, 128, True, split_kv=16), op, machine())
    assert one >= op.kv_bytes / 8 / SMEM > 1.5 * moved
    assert moved <= many <= 1.05 * moved
    step = step_of(Flash(16, 128, True, split_kv=16), op, machine())
    run = run_program(step.program)
    actions = {name: count * step.copies for name, count in run.actions.items()}
    partial_bytes = 64 * (128 + 2) * 16 * 4
    assert actions["write.l2"] - actions["read.hbm"] == pytest.approx(partial_bytes + op.output_bytes)
    assert actions["write.hbm"] == pytest.approx(op.output_bytes)
    assert actions["read.hbm"] == pytest.approx(op.input_bytes + 15 * 64 * 128 * 2)  # each part loads its Q
    found = search(Flash(), op, machine())
    assert isinstance(found.mapping, Flash)
    assert (found.mapping.split_kv or 1) > 1
    assert (found.cost - LAUNCH_S) * CLOCK <= 1.02 * moved


# Tiles that differ: a pool of SMs, and the queue that a search takes in its stead


def queue_of(mapping: Flash, op: Attention, acc: Accelerator) -> Step:
    """The program that a search runs: the tiles of the SM that is busy longest."""
    (step,) = CompiledDataflow.steps(mapping, op, acc)
    return step


def inside_of(step: Step) -> dict[int, int]:
    """Ticks of a tile by its key blocks, from the inner programs of a pool."""
    return {
        int(stage.name.removeprefix("tile_")): stage.inner.counters.total_ticks
        for stage in step.program.stages
        if stage.inner is not None
    }


def tile_lengths(op: Attention, row: int, block: int) -> list[int]:
    """Key blocks of every tile, longest first, counted one by one."""
    shared = op.heads // op.kv_heads
    lengths = []
    for run in op.runs:
        rows = run.q_len * shared
        for first in range(0, rows, row):
            last = (min(first + row, rows) - 1) // shared
            seen = run.kv_len - run.q_len + last + 1 if op.causal else run.kv_len
            lengths += [ceil(seen / block)] * (run.batch * op.kv_heads)
    return sorted(lengths, reverse=True)


@st.composite
def unlike_cases(draw: st.DrawFn) -> tuple[Attention, Flash, Accelerator]:
    """An attention whose tiles differ (a mask, or lengths), a mapping that fits, and a machine of few SMs."""
    shared, kv_heads, q_len = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(260, 700))
    if draw(st.booleans()):
        op = Attention(
            draw(st.integers(1, 3)), shared * kv_heads, q_len, q_len + draw(st.integers(0, 300)), 32, kv_heads, True
        )
    else:
        queries = (q_len, *draw(st.lists(st.integers(1, 150), min_size=1, max_size=3)))
        op = Attention(
            heads=shared * kv_heads, head_dim=32, kv_heads=kv_heads, causal=draw(st.booleans()), q_lens=queries,
            kv_lens=tuple(length + draw(st.integers(0, 50)) for length in queries),
        )  # fmt: skip
    mapping = Flash(draw(st.sampled_from((50, 128))), draw(st.sampled_from((16, 48))), draw(st.booleans()))
    return op, mapping, machine(draw(st.sampled_from((1, 3, 16, 132))))


@given(unlike_cases())
@settings(max_examples=40, deadline=None)
def test_a_pool_is_naive_list_scheduling_of_its_tiles(case: tuple[Attention, Flash, Accelerator]) -> None:
    op, mapping, acc = case
    step = step_of(mapping, op, acc)
    inside = inside_of(step)
    lengths = tile_lengths(op, mapping.block_q or 0, mapping.block_kv or 0)
    servers = [0] * min(acc.cores, len(lengths))
    for length in lengths:
        heapq.heapreplace(servers, servers[0] + inside[length])
    run = run_program(step.program)
    assert run.total_ticks == max(servers)
    assert run.busy["sm"] == sum(servers)
    assert sum(run.critical_path.values()) == run.total_ticks
    for name, ticks in run.busy.items():
        assert run.done[name] >= 0
        assert ticks + sum(run.stalls[name].values()) + run.done[name] == run.total_ticks * run.servers[name]


@given(unlike_cases())
@settings(max_examples=40, deadline=None)
def test_a_queue_stands_for_the_pool(case: tuple[Attention, Flash, Accelerator]) -> None:
    op, mapping, acc = case
    pool, queue = step_of(mapping, op, acc), queue_of(mapping, op, acc)
    ran, alone = run_program(pool.program), run_program(queue.program)
    # One after the other, the tiles of the queue take as long as each on its own, to a few ticks of rounding.
    assert alone.total_ticks == pytest.approx(ran.total_ticks, rel=1e-6)
    assert alone.total_ticks >= ran.busy["sm"] / ran.servers["sm"] * (1 - 1e-6)
    for action in {*ran.actions, *alone.actions}:
        assert ran.actions[action] == pytest.approx(alone.actions[action] * queue.copies, rel=1e-12)


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("tiles", [264, 265])
def test_a_pool_of_equal_tiles_comes_in_waves(tiles: int, ahead: bool) -> None:
    op, mapping = Attention(1, tiles, 128, 128 * 9, 128), Flash(128, 128, ahead)
    free = run_program(pool_of_tiles(op, infinite_bandwidth(132), ahead, 128, 128).program)
    assert free.total_ticks / TICKS == pytest.approx(cycles_of(mapping, op, infinite_bandwidth(132)), rel=1e-6)
    waves = run_program(step_of(mapping, op, machine()).program)
    pool = run_program(pool_of_tiles(op, machine(), ahead, 128, 128).program)
    if tiles == 2 * 132:
        assert pool.total_ticks == pytest.approx(waves.total_ticks, abs=2 * 16)
        # The shared memories are as busy as one SM's share of them, the units of all SMs as those of one.
        for name, ticks in waves.busy.items():
            assert pool.busy[name] / pool.servers[name] == pytest.approx(ticks, rel=1e-6)
    else:
        # The last tile has the memories for itself in a tail wave, and shares them with all SMs in a pool.
        last = pool.total_ticks / 3
        assert waves.total_ticks < pool.total_ticks < waves.total_ticks + last


def test_short_blocks_are_dealt_by_time() -> None:
    # With 32 keys a block, a tile's fill and drain take as long as a dozen blocks. The SM with most blocks is then not
    # the one that is busy longest, and its queue would end before the mean of all SMs.
    op, mapping, acc = Attention(1, 32, 2048, 2048, 128, kv_heads=8, causal=True), Flash(128, 32, True), machine()
    step = step_of(mapping, op, acc)
    inside, tiles = inside_of(step), tiles_of(problems_of(op), 128, 32)
    by_blocks = busiest(np.array(tiles.lengths) + 1, tiles.counts, acc.cores)
    queue = sum(inside[length] * count for length, count in zip(tiles.lengths, by_blocks, strict=True))
    mean = sum(inside[length] * count for length, count in zip(tiles.lengths, tiles.counts, strict=True)) / acc.cores
    total = run_program(step.program).total_ticks
    assert queue < mean <= total
    assert total <= mean + max(inside.values())


def test_a_pool_has_few_inner_programs() -> None:
    few = Attention(1, 2, 128 * MOST_LENGTHS, 128 * MOST_LENGTHS, 64, causal=True)
    many = Attention(1, 2, 128 * MOST_LENGTHS + 128, 128 * MOST_LENGTHS + 128, 64, causal=True)
    assert len(step_of(Flash(128, 128, True), few, machine()).program.stages) == MOST_LENGTHS
    assert step_of(Flash(128, 128, True), many, machine()).program.resources[0].name == "dispatch"


@given(
    st.integers(1, 40), st.integers(1, 500), st.integers(1, 6), st.integers(0, 300), st.integers(1, 12),
    st.sampled_from((16, 48, 128)), st.sampled_from((16, 80)), st.data(),
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_the_busiest_queue_is_that_of_naive_list_scheduling(
    groups: int, positions: int, shared: int, hidden: int, cores: int, row: int, block: int, data: st.DataObject
) -> None:
    op = Attention(1, groups * shared, positions, positions + hidden, 64, groups, True)
    tiles = tiles_of(problems_of(op), row, block)
    lengths = tile_lengths(op, row, block)
    assert tiles.blocks == sum(lengths)
    assert tiles.rows == groups * positions * shared
    assert tiles.in_all == len(lengths)
    assert list(tiles.lengths) == sorted(set(lengths), reverse=True)
    assert [lengths.count(length) for length in tiles.lengths] == list(tiles.counts)
    time = {length: data.draw(st.integers(1, 1000)) for length in tiles.lengths}
    servers = [0] * cores
    for length in lengths:
        heapq.heapreplace(servers, servers[0] + time[length])
    own = busiest(np.array(list(time.values())), tiles.counts, cores)
    assert sum(time[length] * count for length, count in zip(tiles.lengths, own, strict=True)) == max(servers)


def test_very_many_tiles_are_dealt_in_rounds() -> None:
    # 1000 groups of 256 tiles on 7 SMs: no queue is longer than that of naive list scheduling by more than one tile.
    tiles = tiles_of(problems_of(Attention(1, 1000, 256 * 16, 256 * 16, 64, causal=True)), 16, 16)
    servers = [0] * 7
    for length in range(256, 0, -1):
        for _ in range(1000):
            heapq.heapreplace(servers, servers[0] + length + 1)
    counts = busiest(np.array(tiles.lengths) + 1, tiles.counts, 7)
    own = sum((length + 1) * count for length, count in zip(tiles.lengths, counts, strict=True))
    assert abs(own - max(servers)) <= 257


# Laws


@st.composite
def cases(draw: st.DrawFn) -> tuple[Attention, Flash, Accelerator]:
    """A small attention, a mapping that fits, and a machine of few SMs."""
    shared, kv_heads = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    q_len = draw(st.integers(1, 200))
    op = Attention(
        draw(st.integers(1, 3)), shared * kv_heads, q_len, q_len + draw(st.integers(0, 300)), 32, kv_heads,
        draw(st.booleans()), draw(st.sampled_from(("bf16", "fp8"))), v_dim=draw(st.sampled_from((16, 32))),
        shared_kv=draw(st.booleans()),
    )  # fmt: skip
    mapping = Flash(draw(st.sampled_from((16, 50, 128))), draw(st.sampled_from((16, 80))), draw(st.booleans()))
    if q_len == 1:
        mapping = Flash(mapping.block_q, mapping.block_kv, mapping.pipeline, split_kv=draw(st.integers(1, 4)))
    return op, mapping, machine(draw(st.sampled_from((1, 3, 16, 132))))


@given(cases())
@example((Attention(1, 1, 1, 1, 32, 1, False, "bf16", v_dim=16), Flash(16, 16, split_kv=2), machine(1)))
@settings(max_examples=80, deadline=None)
def test_work_and_bytes_are_conserved(case: tuple[Attention, Flash, Accelerator]) -> None:
    op, mapping, acc = case
    step = step_of(mapping, op, acc)
    run = run_program(step.program)
    total = {name: count * step.copies for name, count in run.actions.items()}
    row, block = mapping.block_q or 0, mapping.block_kv or 0
    shared, groups = op.heads // op.kv_heads, op.batch * op.kv_heads
    element = 2 if op.dtype == "bf16" else 1
    rows = op.q_len * shared
    blocks = keys = tiles = 0
    split = 1
    for first in range(0, rows, row):
        last = (min(first + row, rows) - 1) // shared
        seen = op.kv_len - op.q_len + last + 1 if op.causal else op.kv_len
        length = ceil(seen / block)
        each = ceil(length / (mapping.split_kv or 1))
        split = ceil(length / each)
        tiles += split
        blocks += each * split
        keys += min(length * block, op.kv_len)
    assert 1 <= step.copies <= acc.cores + 1e-9
    assert total[f"mac.{op.dtype}"] == pytest.approx(op.macs)
    padded = groups * blocks * row * block * (op.head_dim + op.value_dim)
    assert total[f"mac.{op.dtype}"] + total.get(f"mac_padded.{op.dtype}", 0.0) == pytest.approx(padded)
    q_bytes, kv_bytes = groups * rows * 32 * element * split, groups * keys * op.kv_width * element
    partials = groups * rows * (op.value_dim + 2) * 4 * split if split > 1 else 0
    assert total["read.l2"] == pytest.approx(q_bytes + kv_bytes + partials + op.output_bytes)
    assert total["write.smem"] == pytest.approx(q_bytes + kv_bytes + (partials or op.output_bytes))
    assert total["write.l2"] == pytest.approx(total["read.hbm"] + partials + op.output_bytes)
    assert total["write.hbm"] == pytest.approx(op.output_bytes)
    # All keys and values fit the L2: they come once, and the queries of every part.
    assert total["read.hbm"] == pytest.approx(q_bytes + op.kv_bytes)
    assert total["vector.divide"] == pytest.approx(groups * rows * op.value_dim)


@given(cases())
@settings(max_examples=60, deadline=None)
def test_no_time_is_below_what_work_and_bytes_need(case: tuple[Attention, Flash, Accelerator]) -> None:
    op, mapping, acc = case
    rep = accsim.simulate(op, acc, dataflow=mapping)
    seconds = rep.latency_s - 2.65e-6
    hbm = sum(rep.traffic_bytes["hbm"].values())
    assert seconds >= op.macs / acc.peak_macs_per_s(op.dtype) * (1 - 1e-9)
    assert seconds >= hbm / acc.memory("hbm").usable_read_bytes_per_s * (1 - 1e-9)
    assert sum(rep.critical_path.values()) == pytest.approx(rep.total_cycles)
    assert accsim.simulate(op, acc, dataflow=mapping, fidelity="analytic").total_cycles <= rep.total_cycles


def test_keys_that_the_l2_loses_are_read_again() -> None:
    # One head, 131072 keys of d = 128: 64 MiB of keys and values in 50 MB. 1024 tiles take 8 waves on 132 SMs.
    op = Attention(1, 1, 131072, 131072, 128)
    step = step_of(Flash(128, 128, True), op, machine())
    read = run_program(step.program, attribution=False).actions["read.hbm"] * step.copies
    assert read == pytest.approx(op.input_bytes + 7 * (op.kv_bytes - 50e6))


# What is tried, and what is refused


@pytest.mark.parametrize(
    "op",
    [
        Attention(2, 3, 300, 500, 64),
        Attention(1, 4, 700, 700, 128, causal=True),
        Attention(3, 16, 1, 3000, 64, kv_heads=2, causal=True),
    ],
)
def test_a_search_finds_the_least_time_of_its_space(op: Attention) -> None:
    acc = machine(16)
    best, tried = float("inf"), 0
    for points in Flash().space(op, acc):
        for i in range(len(points.table)):
            tried += 1
            try:
                mapping = Flash().complete(op, acc, points, i)
                assert isinstance(mapping, Flash)
                best = min(best, cycles_of(mapping, op, acc))
            except MappingError:
                continue
    found = search(Flash(), op, acc)
    assert found.points == tried
    assert (found.cost - LAUNCH_S) * CLOCK == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize(("dim", "rows", "block"), [(64, 192, 128), (128, 128, 176), (192, 128, 112), (256, 128, 80)])
def test_the_tiles_of_flash_attention_3_fit(dim: int, rows: int, block: int) -> None:
    op = Attention(1, 16, 2048, 2048, dim)
    assert cycles_of(Flash(rows, block, True), op, machine()) > 0
    with pytest.raises(MappingError, match=r"in matrix_unit\.registers, has 209715 B"):
        cycles_of(Flash(2 * rows, block, True), op, machine())


def test_latent_attention_has_the_tiles_of_flashmla() -> None:
    # One latent of 576 columns for keys, its first 512 for values: 64 rows and 64 keys a block fill an SM of Hopper
    # (FlashMLA, DeepSeek, 2025). Stored apart, keys and values do not fit beside the queries.
    latent = Attention(64, 128, 1, 8192, 576, kv_heads=1, causal=True, v_dim=512, shared_kv=True)
    moved = (latent.input_bytes + latent.output_bytes) / HBM
    assert moved <= cycles_of(Flash(64, 64, False, split_kv=1), latent, machine())
    apart = Attention(64, 128, 1, 8192, 576, kv_heads=1, causal=True, v_dim=512)
    with pytest.raises(MappingError, match="needs 352256 B in smem, has 233472 B"):
        cycles_of(Flash(64, 64, False, split_kv=1), apart, machine())


def test_what_cannot_be_split_is_refused() -> None:
    causal = Attention(1, 4, 512, 512, 64, causal=True)
    apart = accsim.load_accelerator("h100_sxm")
    apart = apart.model_copy(update={"memories": (apart.memories[0], apart.memories[2])})
    with pytest.raises(MappingError, match="meet in no memory of h100_sxm: split_kv must be 1"):
        accsim.simulate(causal, apart, dataflow=Flash(split_kv=2))


def test_tensor_cores_get_thread_blocks_or_three_kernels() -> None:
    rep = accsim.simulate(Attention(1, 8, 1024, 1024, 64), "h100_sxm")
    assert isinstance(rep.ops[0].mapping, Flash)
    assert rep.utilization["matrix"] > 0
    parts = accsim.simulate(Attention(1, 8, 1024, 1024, 64), "h100_sxm", dataflow="unfused").ops[0].mapping
    assert isinstance(parts, accsim.Unfused)
    assert isinstance(parts.logit, accsim.ThreadBlocks)


@given(rows=st.integers(1, 900), keys=st.integers(1, 900), tile=st.integers(1, 300), parts=st.integers(1, 9))
def test_even_tiles_are_those_cut_one_by_one(rows: int, keys: int, tile: int, parts: int) -> None:
    problems = problems_of(Attention(2, 6, rows, keys, 16, kv_heads=3))
    points = np.array([(tile, block, parts) for block in (1, 7, 64, 1000)])
    queue, totals = np.zeros((len(points), 2, 1), np.int64), np.zeros((len(points), 4), np.int64)
    even_tiles(points, problems[0], queue, totals)
    for point, own, found in zip(points.tolist(), queue, totals.tolist(), strict=True):
        tiles = tiles_of(problems, *point)
        assert own.tolist() == [list(tiles.lengths), [1]]
        assert found == [tiles.in_all, tiles.rows, tiles.blocks, tiles.keys]

"""Attention mappings: work and traffic by closed forms and naive loops, and what FuseMax published for FLAT."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim.config.catalogue import load_accelerator
from accsim.config.machine import Accelerator
from accsim.engine.counters import Counters
from accsim.engine.run import run_program
from accsim.mapping.base import Dataflow, Step
from accsim.mapping.search import search
from accsim.workload.ops import Attention

TICKS = 4096
ROOM = {"memories.sg.capacity": "64 MiB"}


def run(mapping: Dataflow, op: Attention, acc: Accelerator, *, jump: bool = True) -> tuple[Step, Counters]:
    """The one program of a complete mapping and its run."""
    (step,) = mapping.steps(op, acc)
    return step, run_program(step.program, attribution=False, jump=jump)


def edge() -> Accelerator:
    """flat_edge with room for every tile of these tests."""
    return load_accelerator("flat_edge", set=ROOM)


# The naive count


@dataclass
class Work:
    """What a mapping does in all, counted tile by tile, in elements and operations."""

    visible: int = 0
    computed: int = 0
    rescaled: int = 0
    rows: int = 0
    keys_once: int = 0
    keys_each_tile: int = 0
    away: int = 0


def sees(op: Attention, position: int) -> set[int]:
    """Keys that a query position sees, one by one."""
    own = op.kv_len - op.q_len + position
    if not op.causal:
        return set(range(op.kv_len))
    return {key for key in range(op.kv_len) if key <= own and (op.window is None or own - key < op.window)}


def count(op: Attention, row_tile: int, block: int, stays: int = 2**62) -> Work:
    """Go through the row tiles of every group, from the last position, and the key blocks that each of them needs.

    Scores beyond ``stays`` keys of a row are away from the chip.
    """
    work = Work()
    shared = op.heads // op.kv_heads
    rows = [position for position in reversed(range(op.q_len)) for _ in range(shared)]
    for _ in range(op.batch * op.kv_heads):
        most = 0
        for first in range(0, len(rows), row_tile):
            tile = rows[first : first + row_tile]
            keys = len(set().union(*(sees(op, position) for position in tile)))
            blocks = ceil(keys / block)
            loaded = blocks * block if op.causal else keys  # under a mask the last block is worked on as a whole
            work.visible += sum(len(sees(op, position)) for position in tile)
            work.computed += len(tile) * loaded
            work.rescaled += len(tile) * blocks * op.value_dim
            work.rows += len(tile)
            work.away += len(tile) * max(0, loaded - stays)
            work.keys_each_tile += loaded
            most = max(most, loaded)
        work.keys_once += most
    return work


SHAPES = [
    Attention(batch=2, heads=3, q_len=96, kv_len=96, head_dim=32),
    Attention(batch=1, heads=2, q_len=70, kv_len=100, head_dim=24),
    Attention(batch=1, heads=8, q_len=40, kv_len=64, head_dim=16, kv_heads=2),
    Attention(batch=1, heads=2, q_len=64, kv_len=64, head_dim=16, causal=True),
    Attention(batch=2, heads=4, q_len=50, kv_len=83, head_dim=16, kv_heads=2, causal=True),
    Attention(batch=3, heads=4, q_len=1, kv_len=77, head_dim=16, kv_heads=1),
    Attention(batch=3, heads=4, q_len=1, kv_len=77, head_dim=16, kv_heads=2, causal=True),
    Attention(batch=1, heads=2, q_len=96, kv_len=96, head_dim=16, causal=True, window=20),
    Attention(batch=2, heads=4, q_len=50, kv_len=83, head_dim=16, kv_heads=2, causal=True, window=33),
    Attention(batch=1, heads=2, q_len=1, kv_len=77, head_dim=16, causal=True, window=30),
    Attention(batch=2, heads=3, q_len=70, kv_len=100, head_dim=24, v_dim=16),
    Attention(batch=1, heads=2, q_len=64, kv_len=64, head_dim=16, causal=True, v_dim=40),
    Attention(batch=3, heads=4, q_len=1, kv_len=77, head_dim=24, kv_heads=1, causal=True, v_dim=16, shared_kv=True),
    Attention(batch=2, heads=4, q_len=50, kv_len=83, head_dim=24, kv_heads=2, v_dim=16, shared_kv=True),
    Attention(batch=1, heads=2, q_len=70, kv_len=70, head_dim=16, causal=True, window=20, shared_kv=True),
]
TILES = [(32, 32), (24, 20), (16, 100), (400, 64)]
shapes = pytest.mark.parametrize(
    "op",
    SHAPES,
    ids=lambda op: f"{op.q_len}x{op.kv_len}/{op.heads}/{op.kv_heads}/{op.causal}/{op.window}/{op.v_dim}/{op.shared_kv}",
)
tiles = pytest.mark.parametrize(("rows", "block"), TILES)


def clamp(op: Attention, rows: int, block: int) -> tuple[int, int]:
    """Tile sizes no larger than the op."""
    return min(rows, op.q_len * op.heads // op.kv_heads), min(block, op.seen_keys)


@shapes
@tiles
@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize("staged", ["qo", "qkvo"])
def test_flat_work_and_traffic(op: Attention, rows: int, block: int, pipelined: bool, staged: str) -> None:
    if op.window and staged == "qkvo":
        with pytest.raises(accsim.MappingError, match="allowed are qo"):
            run(accsim.Flat(rows=rows, block_kv=block, staged=staged, pipelined=pipelined), op, edge())
        return
    step, done = run(accsim.Flat(rows=rows, block_kv=block, staged=staged, pipelined=pipelined), op, edge())
    work = count(op, *clamp(op, rows, block))
    assert step.copies == 1
    width = op.head_dim + op.value_dim
    assert done.actions["mac.bf16"] == pytest.approx(work.visible * width, rel=1e-12)
    assert done.actions.get("mac_padded.bf16", 0) == pytest.approx((work.computed - work.visible) * width, abs=1e-6)
    # Three passes: max; subtract and exp; sum; divide.
    for name in ("max", "exp", "add", "divide"):
        assert done.actions[f"vector.{name}"] == work.computed
    assert "vector.rescale" not in done.actions
    # Keys that are values too come once where they stay; without, once for Logit and once, in part, for Attend.
    keys = work.keys_once * op.kv_width if staged == "qkvo" else work.keys_each_tile * width
    assert done.actions["read.dram"] == 2 * (work.rows * op.head_dim + keys)
    assert done.actions["write.dram"] == op.output_bytes


@shapes
@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize("staged", ["qo", "qkvo"])
def test_spilled_scores_leave_and_come_back_twice(op: Attention, pipelined: bool, staged: str) -> None:
    if op.window and staged == "qkvo":
        return  # refused
    rows, block = clamp(op, 24, 16)
    longest = ceil(count(op, rows, block).keys_once / (op.batch * op.kv_heads) / block)
    spill = min(2, longest - 1)
    whole = accsim.Flat(rows=rows, block_kv=block, staged=staged, pipelined=pipelined, spill=0)
    _, kept = run(whole, op, edge())
    step, done = run(replace(whole, spill=spill), op, edge())
    _, direct = run(replace(whole, spill=spill), op, edge(), jump=False)
    # Once as scores and once as weights: every score beyond the key blocks that stay, block by block under a mask.
    away = count(op, rows, block, (longest - spill) * block).away
    assert away > 0
    assert step.copies == 1
    assert done.actions["write.dram"] == kept.actions["write.dram"] + 2 * 2 * away
    assert done.actions["read.dram"] == kept.actions["read.dram"] + 2 * 2 * away
    for name in ("mac.bf16", "vector.max", "vector.exp", "vector.add", "vector.divide"):
        assert done.actions[name] == pytest.approx(kept.actions[name], rel=1e-12)
    assert done.total_ticks >= kept.total_ticks
    assert direct == done


def test_a_search_spills_as_little_as_it_must() -> None:
    # With one tile size left, the scores that stay fill the buffer up to less than one more key block.
    op = Attention(batch=1, heads=1, q_len=64, kv_len=2**15, head_dim=64)
    mapping = accsim.Flat(rows=32, block_kv=256, staged="qo", pipelined=False, stationary="output_stationary")
    acc = load_accelerator("flat_edge")
    found = search(mapping, op, acc).mapping
    assert isinstance(found, accsim.Flat)
    assert found.spill is not None
    assert 0 < found.spill < 2**15 // 256
    (step,) = found.steps(op, acc)
    held = sum(b.slots * b.slot_bytes for b in step.program.buffers)
    assert held <= 512 * 2**10 < held + 32 * 256 * 2
    with pytest.raises(accsim.MappingError, match=r"needs .* in sg, has"):
        replace(found, spill=found.spill - 1).steps(op, acc)


@shapes
@tiles
@pytest.mark.parametrize("pipeline", [False, True])
def test_flash_work_and_traffic(op: Attention, rows: int, block: int, pipeline: bool) -> None:
    step, done = run(accsim.Flash(block_q=rows, block_kv=block, pipeline=pipeline), op, edge())
    work = count(op, *clamp(op, rows, block))
    assert step.copies == 1
    assert done.actions["mac.bf16"] == pytest.approx(work.visible * (op.head_dim + op.value_dim), rel=1e-12)
    for name in ("max", "exp", "add"):
        assert done.actions[f"vector.{name}"] == work.computed
    # Online: one multiply an output element and key block, one division of each output element at the end.
    assert done.actions["vector.rescale"] == work.rescaled
    assert done.actions["vector.divide"] == op.batch * op.heads * op.q_len * op.value_dim
    assert done.actions["read.dram"] == 2 * (work.rows * op.head_dim + work.keys_each_tile * op.kv_width)
    assert done.actions["write.dram"] == op.output_bytes


@shapes
def test_unfused_moves_the_scores_out_and_in_twice(op: Attention) -> None:
    # Logit writes them, softmax reads and writes them, Attend reads them: a mask saves nothing of it.
    rep = accsim.simulate(op, edge(), dataflow="unfused")
    scores = 2 * op.batch * op.heads * op.q_len * op.seen_keys
    assert rep.traffic_bytes["dram"]["write"] == 2 * scores + op.output_bytes
    assert rep.traffic_bytes["dram"]["read"] >= 2 * scores + op.input_bytes
    assert rep.actions["mac.bf16"] == pytest.approx(op.macs)
    assert rep.actions["mac.bf16"] + rep.actions.get("mac_padded.bf16", 0) == pytest.approx(
        scores / 2 * (op.head_dim + op.value_dim)
    )
    for name in ("max", "exp", "add", "divide"):
        assert rep.actions[f"vector.{name}"] == scores / 2


# Not the IPU: with 1472 tiles and all data in them, rows are rightly spread over tiles that each fetch the keys anew.
WITH_DRAM = [name for name in accsim.list_accelerators() if load_accelerator(name).main_memory.kind != "sram"]


@shapes
@pytest.mark.parametrize("machine", WITH_DRAM)
def test_searched_fused_attention_never_moves_more_than_unfused(op: Attention, machine: str) -> None:
    def off_chip(dataflow: str) -> float:
        rep = accsim.simulate(op, machine, dataflow=dataflow)
        assert rep.actions["mac.bf16"] == pytest.approx(op.macs)
        return float(sum(rep.traffic_bytes[rep.accelerator.main_memory.name].values()))

    compulsory = op.input_bytes + op.output_bytes
    unfused = off_chip("unfused")
    assert compulsory * (1 - 1e-9) <= off_chip("flat") <= unfused
    assert compulsory * (1 - 1e-9) <= off_chip("flash") <= unfused


def test_rows_of_a_tile_are_whole_positions_under_a_mask() -> None:
    # Four heads share their keys: 30 rows are 7 positions, 3 rows are 1 position.
    op = Attention(batch=1, heads=4, q_len=50, kv_len=50, head_dim=16, kv_heads=1, causal=True)
    for given_rows, whole_rows in ((30, 28), (3, 4), (4, 4)):
        for mapping in (accsim.Flash(given_rows, 16, True), accsim.Flat(rows=given_rows, block_kv=16, staged="qo")):
            step, done = run(mapping, op, edge())
            work = count(op, whole_rows, 16)
            assert step.copies == 1
            assert done.actions["mac.bf16"] == pytest.approx(op.macs)
            assert done.actions["read.dram"] == 2 * op.head_dim * (work.rows + 2 * work.keys_each_tile)


def test_one_row_tile_of_all_keys_moves_every_tensor_once() -> None:
    for op in SHAPES:
        if not op.causal:
            staged = "qkvo" if op.shared_kv else "qo"
            for mapping in (accsim.Flat(rows=10**6, block_kv=10**6, staged=staged), accsim.Flash(10**6, 10**6)):
                _, done = run(mapping, op, edge())
                assert done.actions["read.dram"] == op.input_bytes
                assert done.actions["write.dram"] == op.output_bytes


def test_grouped_queries_read_their_keys_once() -> None:
    # Eight query heads on one KV head are rows of one tile: an eighth of the key and value bytes of full heads.
    read = {}
    for kv_heads in (1, 8):
        op = Attention(batch=2, heads=8, q_len=1, kv_len=512, head_dim=64, kv_heads=kv_heads)
        _, done = run(accsim.Flash(8, 128, True), op, edge())
        read[kv_heads] = done.actions["read.dram"] - 2 * 2 * 8 * 64
    assert read[8] == 8 * read[1] == 2 * 2 * 2 * 8 * 512 * 64


# Many cores


@st.composite
def mapped(draw: st.DrawFn) -> tuple[str, Attention, Dataflow]:
    """A machine of several cores, an attention and a complete mapping of it."""
    shared, kv_heads = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    q_len, causal = draw(st.integers(1, 120)), draw(st.booleans())
    op = Attention(
        draw(st.integers(1, 3)),
        shared * kv_heads,
        q_len,
        q_len + draw(st.integers(0, 80)),
        16,
        kv_heads,
        causal,
        window=draw(st.none() | st.integers(1, 90)) if causal else None,
        v_dim=draw(st.sampled_from((8, 16))),
        shared_kv=draw(st.booleans()),
    )
    rows, block = draw(st.integers(1, 80)), draw(st.integers(8, 80))
    flag = draw(st.booleans())
    if draw(st.booleans()):
        staged = "qo" if op.window else draw(st.sampled_from(("qo", "qkvo")))
        mapping = accsim.Flat("row", rows, block, staged, flag)
        return draw(st.sampled_from(("tpu_v4", "h100_sxm"))), op, mapping
    return "tpu_v4", op, accsim.Flash(rows, block, flag)  # test_flash_blocks.py has that of h100_sxm


@given(case=mapped())
@settings(max_examples=40)
def test_cores_move_every_tensor_at_least_once(case: tuple[str, Attention, Dataflow]) -> None:
    machine, op, mapping = case
    acc = accsim.load_accelerator(machine)
    step, done = run(mapping, op, acc)
    total = {action: count * step.copies for action, count in done.actions.items()}
    main, middle = acc.main_memory.name, acc.memories[1].name
    assert 1 <= step.copies <= acc.cores + 1e-9
    assert total["mac.bf16"] == pytest.approx(op.macs, rel=1e-9)
    assert total[f"write.{main}"] == pytest.approx(op.output_bytes, rel=1e-9)
    assert total[f"read.{main}"] >= op.input_bytes * (1 - 1e-9)
    assert total[f"write.{middle}"] == pytest.approx(total[f"read.{main}"] + total[f"write.{main}"], rel=1e-9)
    # The representative core takes at least the time that main memory needs for all of these bytes.
    per_tick = acc.main_memory.usable_read_bytes_per_s / acc.clock_hz / TICKS
    assert done.total_ticks >= total[f"read.{main}"] / per_tick * (1 - 1e-9)


@given(case=mapped())
@settings(max_examples=40)
def test_cores_load_what_their_row_tiles_need(case: tuple[str, Attention, Dataflow]) -> None:
    machine, op, mapping = case
    acc = accsim.load_accelerator(machine)
    assert isinstance(mapping, (accsim.Flash, accsim.Flat))
    if isinstance(mapping, accsim.Flat) and mapping.staged == "qkvo":
        mapping = accsim.Flat("row", mapping.rows, mapping.block_kv, "qo", mapping.pipelined)
    step, done = run(mapping, op, acc)
    shared = op.heads // op.kv_heads
    given_rows = (mapping.block_q if isinstance(mapping, accsim.Flash) else mapping.rows) or 1
    rows = max(shared, given_rows // shared * shared) if op.causal else given_rows
    work = count(op, *clamp(op, rows, mapping.block_kv or 1))
    # Out of the middle memory: Q once, K and V once a row tile; and O on its way out.
    width = op.kv_width if isinstance(mapping, accsim.Flash) else op.head_dim + op.value_dim
    moved = 2 * (work.rows * op.head_dim + work.keys_each_tile * width) + op.output_bytes
    assert done.actions[f"read.{acc.memories[1].name}"] * step.copies == pytest.approx(moved, rel=1e-9)


# Published numbers and limits


@pytest.mark.parametrize(("heads", "dim", "utilization"), [(12, 64, 0.125), (16, 128, 0.25)], ids=["BERT", "XLM"])
@pytest.mark.parametrize("seq", [4096, 16384])
def test_flat_with_a_charged_softmax_is_as_fast_as_fusemax_published(
    heads: int, dim: int, utilization: float, seq: int
) -> None:
    # FuseMax (MICRO 2024), artifact FPSG-UIUC/micro24-fusemax-artifact, attn-flat.csv, cloud, batch 64: util_2d
    # 0.125 for BERT and TrXL (d = 64), 0.25 for XLM (d = 128). The 1-D array of 256 lanes does 4 operations a score
    # and is full.
    op = Attention(batch=64, heads=heads, q_len=seq, kv_len=seq, head_dim=dim)
    rep = accsim.simulate(op, "flat_cloud", dataflow="flat")
    assert rep.overall_utilization == pytest.approx(utilization, rel=0.01)
    assert rep.total_cycles == pytest.approx(4 * 64 * heads * seq * seq / 256, rel=0.01)
    assert rep.utilization["vector"] == pytest.approx(1, abs=0.01)
    assert rep.bound_by.startswith("vector/")


@pytest.mark.parametrize(
    ("heads", "seq", "latency_s"),
    [(12, 4096, 0.2141772255319149), (12, 16384, 3.4268356085106384), (16, 16384, 4.569114144680851)],
)
def test_flat_latency_as_published(heads: int, seq: int, latency_s: float) -> None:
    # The same file, column latency_s: BERT at 4K and 16K, TrXL at 16K.
    op = Attention(batch=64, heads=heads, q_len=seq, kv_len=seq, head_dim=64)
    assert accsim.simulate(op, "flat_cloud", dataflow="flat").latency_s == pytest.approx(latency_s, rel=0.01)


@pytest.mark.parametrize(("heads", "dim", "utilization", "least"), [(12, 64, 0.125, 0.95), (16, 128, 0.25, 0.8)])
def test_flat_at_64k_falls_short_for_want_of_room(heads: int, dim: int, utilization: float, least: float) -> None:
    # The artifact still has 0.125 and 0.25. Its traffic shows row tiles of about 159 rows, one in the buffer at a time;
    # here Attend of one tile overlaps Logit of the next only with two, and two of 128 rows would fill all of 32 MiB.
    # With less than half of the array's rows in use, Logit and Attend take almost as long as the softmax.
    op = Attention(batch=64, heads=heads, q_len=65536, kv_len=65536, head_dim=dim)
    rep = accsim.simulate(op, "flat_cloud", dataflow="flat")
    assert rep.accelerator.memory("sg").capacity_bytes == 2 * 128 * 65536 * 2
    assert least * utilization <= rep.overall_utilization <= utilization
    assert rep.total_cycles >= 4 * 64 * heads * 65536**2 / 256


def test_flash_is_bound_by_three_operations_a_score_and_the_rescale() -> None:
    # 3 operations a score, and a rescale of each output element a key block: (3 + 64 / 256) / 4 of FLAT's vector work.
    op = Attention(batch=16, heads=12, q_len=4096, kv_len=4096, head_dim=64)
    rep = accsim.simulate(op, "flat_cloud", dataflow=accsim.Flash(1024, 256, True, "output_stationary"))
    scores = 16 * 12 * 4096 * 4096
    end = 2 * 16 * 12 * 4096 * 64
    assert rep.total_cycles == pytest.approx((scores * 3.25 + end) / 256, rel=0.02)


def test_flat_with_a_fast_softmax_is_bound_by_the_array() -> None:
    # Lanes and ports enough that the softmax takes 64 cycles a row tile and the ports none. Logit has 16 folds of 64
    # steps, Attend one of 4096, and each drains once (2 R + C - 2 = 766): the softmax waits for the whole of Logit, and
    # Logit of the tile after next for the scores that Attend has read.
    fast = {f"memories.sg.{way}_bandwidth": "1000000 TB/s" for way in ("read", "write")}
    acc = accsim.load_accelerator("flat_cloud", set=fast | {"vector_unit.lanes": 65536})
    op = Attention(batch=4, heads=16, q_len=4096, kv_len=4096, head_dim=64)
    rep = accsim.simulate(op, acc, dataflow=accsim.Flat(rows=256, block_kv=4096, stationary="output_stationary"))
    assert rep.bound_by.startswith("matrix/")
    assert rep.compute_cycles == 64 * 16 * (16 * 64 + 4096) + 766
    assert rep.total_cycles == pytest.approx(64 * 16 * (16 * 64 + 766 + 4096 + 766), rel=0.02)


def test_attend_one_row_behind_fills_the_vector_unit() -> None:
    op = Attention(batch=8, heads=12, q_len=4096, kv_len=4096, head_dim=64)
    acc = accsim.load_accelerator("flat_cloud")
    behind = accsim.simulate(op, acc, dataflow=accsim.Flat(rows=256, staged="qkvo", pipelined=True))
    one_by_one = accsim.simulate(op, acc, dataflow=accsim.Flat(rows=256, staged="qkvo", pipelined=False))
    assert behind.utilization["vector"] > 0.99
    # Without, Logit, its drain, softmax, Attend and its drain add up (FLAT's interleaving).
    tile = 16 * 64 + 766 + 4 * 256 * 4096 / 256 + 4096 + 766
    assert one_by_one.total_cycles == pytest.approx(8 * 12 * 16 * tile, rel=0.01)


# What cannot be


@pytest.mark.parametrize(
    ("keywords", "fragment"),
    [
        ({"granularity": "heads"}, "granularity: read 'heads', allowed are row, head, batch, batch_head"),
        ({"staged": "kq"}, "staged: read 'kq', allowed are qkvo, qkv, qko, qvo, kvo, qk"),
        ({"stationary": "row_stationary"}, "stationary: read 'row_stationary'"),
        ({"rows": 0}, "rows: read 0, allowed is a positive whole number"),
        ({"block_kv": 1.5}, "block_kv: read 1.5, allowed is a positive whole number"),
    ],
)
def test_bad_flat(keywords: dict[str, object], fragment: str) -> None:
    with pytest.raises(accsim.InputError, match=fragment):
        accsim.Flat(**keywords)


@pytest.mark.parametrize("keywords", [{"block_q": -1}, {"block_kv": "64"}, {"stationary": "ws"}])
def test_bad_flash(keywords: dict[str, object]) -> None:
    with pytest.raises(accsim.InputError, match="allowed"):
        accsim.Flash(**keywords)


def test_a_row_of_scores_that_may_not_spill() -> None:
    # 32 rows of 2^20 scores in bf16 are 64 MiB; sg has 512 KiB.
    op = Attention(batch=1, heads=1, q_len=64, kv_len=2**20, head_dim=64)
    with pytest.raises(accsim.MappingError, match=r"nearest fit needs .* in sg, has 512 KiB"):
        accsim.simulate(op, "flat_edge", dataflow=accsim.Flat(spill=0))


def test_a_spill_that_leaves_nothing_on_the_chip() -> None:
    op = Attention(batch=1, heads=1, q_len=64, kv_len=256, head_dim=64)
    with pytest.raises(accsim.MappingError, match="spill=4 leaves no key block"):
        accsim.simulate(op, "flat_edge", dataflow=accsim.Flat(block_kv=64, spill=4))


def test_unsupported_dtype() -> None:
    op = Attention(batch=1, heads=1, q_len=64, kv_len=64, head_dim=64, dtype="fp32")
    with pytest.raises(accsim.InputError, match="fp32"):
        accsim.simulate(op, "flat_edge", dataflow="flash")

"""Every axis of FLAT's space: traffic and work by naive counts, footprints of the paper's Table 1, and its laws."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim.config.catalogue import load_accelerator
from accsim.config.machine import Accelerator
from accsim.engine.arrays import flatten
from accsim.engine.counters import Counters
from accsim.engine.run import run_program
from accsim.mapping.base import Step
from accsim.mapping.compiled import Points
from accsim.mapping.flat import Flat
from accsim.mapping.flat_shape import Variant
from accsim.mapping.flat_tile import GRANULARITIES, STAYS
from accsim.mapping.search import search
from accsim.workload.ops import Attention

OP = Attention(batch=2, heads=6, q_len=96, kv_len=128, head_dim=32, kv_heads=3)
ROWS = OP.q_len * OP.heads // OP.kv_heads
GROUPS = OP.batch * OP.kv_heads
WINDOW = replace(OP, causal=True, window=20)
GIVEN = Flat(rows=40, block_kv=32, staged="qkvo", pipelined=False, stationary="output_stationary", spill=0)
FORMS = ("output_stationary", "weight_stationary", "input_stationary")


def edge(capacity: str = "256 MiB") -> Accelerator:
    """flat_edge with room for every tile."""
    return load_accelerator("flat_edge", set={"memories.sg.capacity": capacity})


def run(mapping: Flat, op: Attention = OP, *, jump: bool = True) -> tuple[Step, Counters]:
    """The one program of a complete mapping and its run."""
    (step,) = mapping.steps(op, edge())
    return step, run_program(step.program, attribution=False, jump=jump)


@pytest.mark.parametrize("softmax", ["three_pass", "two_pass"])
@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize("spill", [0, 2])
@pytest.mark.parametrize("staged", STAYS)
def test_work_and_traffic_of_a_staging(staged: str, spill: int, pipelined: bool, softmax: str) -> None:
    mapping = replace(GIVEN, staged=staged, spill=spill, pipelined=pipelined, softmax=softmax)
    step, done = run(mapping)
    # Row tiles and key blocks one by one: Q once or for every key block, K and V once or for every tile, O once or as
    # sums of 4 bytes out after every key block but the last and in before every one but the first.
    kept, blocks = STAYS[staged], ceil(OP.kv_len / 32)
    read = write = 0
    for first in range(0, ROWS, 40):
        rows = min(40, ROWS - first)
        read += 2 * rows * OP.head_dim * (1 if "q" in kept else blocks)
        read += sum(2 * OP.kv_len * OP.head_dim for letter in "kv" if first == 0 or letter not in kept)
        partial = 0 if "o" in kept else 4 * rows * OP.head_dim * (blocks - 1)
        read, write = read + partial, write + 2 * rows * OP.head_dim + partial
    away = 2 * ROWS * 32 * spill
    assert done.actions["read.dram"] == GROUPS * (read + 2 * away)
    assert done.actions["write.dram"] == GROUPS * (write + 2 * away)
    assert done.actions["mac.bf16"] == OP.macs
    scores, outputs = GROUPS * ROWS * OP.kv_len, GROUPS * ROWS * OP.head_dim
    expected = {"max": scores, "exp": scores, "add": scores}
    expected |= {"divide": scores} if softmax == "three_pass" else {"divide": outputs, "convert": outputs}
    assert {name: done.actions.get(f"vector.{name}", 0) for name in expected} == expected
    assert sum(count for name, count in done.actions.items() if name.startswith("vector.")) == sum(expected.values())
    assert step.copies == 1
    reserved = sum(buffer.slots * buffer.slot_bytes for buffer in step.program.buffers)
    assert reserved == footprint(kept, spill, pipelined)
    assert all(done.occupancy[b.name].peak <= b.slots for b in step.program.buffers)
    assert run(mapping, jump=False)[1] == done


def footprint(kept: frozenset[str], spill: int, pipelined: bool) -> int:
    """Bytes of GIVEN with what stays and spills: pieces of the array's 32 rows of Q and O pass if these do not stay."""
    blocks, d, rows = ceil(OP.kv_len / 32), OP.head_dim, 40
    q = 2 * (rows if "q" in kept else 32) * d * 2
    k, v = (2 * (blocks if letter in kept else 1) * 32 * d * 2 for letter in "kv")
    scores = (2 if pipelined else 1) * rows * (blocks - spill) * 32 * 2
    out = 2 * rows * d * 4 if "o" in kept else 3 * 32 * d * 4
    return q + k + v + scores + out + (3 * 2 * rows * 32 * 2 if spill else 0)


def paper_words(granularity: str, b: int, h: int, n: int, d: int, r: int) -> int:
    """Live footprint of FLAT, ASPLOS 2023, Table 1: {Q, K, V, O tile} twice for double buffering, the scores once."""
    return {
        "row": 4 * r * d + 4 * n * d + r * n,
        "head": 8 * n * d + n * n,
        "batch": 8 * h * n * d + h * n * n,
        "batch_head": 8 * b * h * n * d + b * h * n * n,
    }[granularity]


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_footprint_is_the_papers(granularity: str) -> None:
    op = Attention(batch=2, heads=3, q_len=512, kv_len=512, head_dim=64)
    mapping = replace(GIVEN, granularity=granularity, rows=256 if granularity == "row" else None, block_kv=512)
    step, done = run(mapping, op)
    reserved = sum(buffer.slots * buffer.slot_bytes for buffer in step.program.buffers)
    assert reserved == 2 * paper_words(granularity, op.batch, op.heads, op.kv_len, op.head_dim, 256)
    assert all(done.occupancy[b.name].peak <= b.slots for b in step.program.buffers)


def test_all_rows_are_a_head() -> None:
    rows, head = replace(GIVEN, rows=ROWS), replace(GIVEN, granularity="head", rows=None)
    ((one, _), (other, _)) = run(rows), run(head)
    for a, b in zip(flatten(one.program).arrays, flatten(other.program).arrays, strict=True):
        assert (a == b).all()


@pytest.mark.parametrize(("seq", "granularity"), [(256, "head"), (128, "batch")])
def test_a_search_lets_outputs_pass_where_a_tile_does_not_fit(seq: int, granularity: str) -> None:
    op, acc = Attention(batch=4, heads=4, q_len=seq, kv_len=seq, head_dim=128), load_accelerator("flat_edge")
    found = search(Flat(granularity=granularity), op, acc)
    assert isinstance(found.mapping, Flat)
    assert (found.mapping.staged, found.mapping.spill) == ("q", 0)
    with pytest.raises(accsim.MappingError, match="nearest fit"):
        search(Flat(granularity=granularity, staged="qo", spill=0), op, acc)
    for points in Flat(granularity=granularity).space(op, acc):
        variant, table = Variant(*points.variant), points.table
        if not variant.o:
            stays = Points(variant._replace(o=True, partial=False), table)
            assert not Flat().lower(op, acc, stays, actions=False).fits().any()


@st.composite
def masked(draw: st.DrawFn) -> Attention:
    """Causal attention, some of it in a window."""
    kv_heads, shared, queries = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(2, 90))
    return Attention(
        draw(st.integers(1, 3)), kv_heads * shared, queries, queries + draw(st.integers(0, 40)), 16, kv_heads, True,
        window=draw(st.none() | st.integers(1, 70)), v_dim=draw(st.sampled_from((8, 16))),
    )  # fmt: skip


@settings(max_examples=40)
@given(
    op=masked(), rows=st.integers(1, 80), block=st.integers(4, 40), staged=st.sampled_from(sorted(STAYS)),
    pipelined=st.booleans(),
)  # fmt: skip
def test_under_a_mask_row_tiles_skip_key_blocks(
    op: Attention, rows: int, block: int, staged: str, pipelined: bool
) -> None:
    kept, shared = STAYS[staged], op.heads // op.kv_heads
    each = min(op.q_len, max(1, rows // shared))
    mapping = Flat("row", each * shared, block, staged, pipelined, "output_stationary", spill=0)
    if ("o" not in kept and each * shared <= 32) or (op.window and kept & {"k", "v"}):
        with pytest.raises(accsim.MappingError, match=f"staged {staged}"):
            run(mapping, op)
        return
    _, done = run(mapping, op)
    d, v, block = op.head_dim, op.value_dim, min(block, op.seen_keys)
    read = write = dense = 0
    for last in range(op.q_len, 0, -each):  # the tile with the last positions first
        positions = range(max(0, last - each), last)
        ends = [op.kv_len - op.q_len + at + 1 for at in positions]
        first = max(0, ends[0] - op.window) if op.window else 0
        blocks, tile = ceil((ends[-1] - first) / block), len(positions) * shared
        dense += tile * blocks * block
        partial = 0 if "o" in kept else 4 * tile * v * (blocks - 1)
        read += 2 * tile * d * (1 if "q" in kept else blocks) + partial
        read += sum(
            2 * width * blocks * block for name, width in (("k", d), ("v", v)) if last == op.q_len or name not in kept
        )
        write += 2 * tile * v + partial
    groups = op.batch * op.kv_heads
    assert done.actions["read.dram"] == pytest.approx(groups * read, rel=1e-12)
    assert done.actions["write.dram"] == pytest.approx(groups * write, rel=1e-12)
    assert done.actions["mac.bf16"] == pytest.approx(op.macs, rel=1e-12)
    padded = done.actions.get("mac_padded.bf16", 0.0)
    assert padded == pytest.approx(groups * dense * (d + v) - op.macs, rel=1e-9, abs=1e-3)
    assert run(mapping, op, jump=False)[1] == done


@settings(max_examples=30)
@given(
    op=masked(), granularity=st.sampled_from(["head", "batch", "batch_head"]), data=st.data(), pipelined=st.booleans()
)
def test_under_a_mask_heads_are_whole(op: Attention, granularity: str, data: st.DataObject, pipelined: bool) -> None:
    keys, rows, groups = op.seen_keys, op.q_len * op.heads // op.kv_heads, op.batch * op.kv_heads
    block = data.draw(st.sampled_from([size for size in range(1, keys + 1) if keys % size == 0 and keys // size < 30]))
    heads = {"head": 1, "batch": op.kv_heads, "batch_head": groups}[granularity]
    names = [
        n for n, k in STAYS.items() if ("o" in k or rows > 32) and not (op.window and heads == 1 and k & {"k", "v"})
    ]
    staged = data.draw(st.sampled_from(names))
    kept, blocks = STAYS[staged], keys // block
    step, done = run(Flat(granularity, None, block, staged, pipelined, "output_stationary", spill=0), op)
    partial = 0 if "o" in kept else 4 * rows * op.value_dim * (blocks - 1)
    read = 2 * rows * op.head_dim * (1 if "q" in kept else blocks) + 2 * keys * op.kv_width + partial
    assert step.program.levels[0].trips == groups // heads
    assert done.actions["read.dram"] == pytest.approx(groups * read, rel=1e-12)
    assert done.actions["write.dram"] == pytest.approx(op.output_bytes + groups * partial, rel=1e-12)
    assert done.actions["mac.bf16"] == pytest.approx(op.macs, rel=1e-12)
    padded = done.actions.get("mac_padded.bf16", 0.0)
    assert padded == pytest.approx(groups * rows * keys * (op.head_dim + op.value_dim) - op.macs, rel=1e-9, abs=1e-3)
    assert (
        run(Flat(granularity, None, block, staged, pipelined, "output_stationary", spill=0), op, jump=False)[1] == done
    )


@pytest.mark.parametrize("machine", ["tpu_v4", "tpu_v5e"])
@pytest.mark.parametrize("window", [None, 300])
@pytest.mark.parametrize("staged", ["qo", "o", "q", "none"])
def test_the_bytes_of_every_core_count_under_a_mask(machine: str, window: int | None, staged: str) -> None:
    op = Attention(batch=1, heads=1, q_len=2048, kv_len=2048, head_dim=64, causal=True, window=window)
    acc = load_accelerator(machine)
    (step,) = Flat("row", 256, 128, staged, False, "output_stationary", spill=0).steps(op, acc)
    done = run_program(step.program, attribution=False)
    main, passes = acc.main_memory.name, 0
    for last in range(256, 2049, 256):
        passes += ceil(min(last, 256 + (window or 2048) - 1) / 128)
    partial = 0 if "o" in STAYS[staged] else 4 * 256 * 64 * (passes - 8)
    assert done.actions["mac.bf16"] * step.copies == pytest.approx(op.macs, rel=1e-12)
    assert done.actions[f"write.{main}"] * step.copies == pytest.approx(op.output_bytes + partial, rel=1e-9)
    if len(acc.memories) == 2:
        queries = 2 * 64 * (2048 if "q" in STAYS[staged] else 256 * passes)
        read = queries + partial + 2 * passes * 128 * 2 * 64
        assert done.actions[f"read.{main}"] * step.copies == pytest.approx(read, rel=1e-9)


@pytest.mark.parametrize("granularity", ["batch", "batch_head"])
@pytest.mark.parametrize("staged", ["qkvo", "qo", "qv", "none"])
@pytest.mark.parametrize("pipelined", [False, True])
def test_heads_together_move_and_do_what_they_do_apart(granularity: str, staged: str, pipelined: bool) -> None:
    apart = replace(GIVEN, granularity="head", rows=None, staged=staged, pipelined=pipelined)
    together = replace(apart, granularity=granularity)
    (one, alone), (step, done) = run(apart), run(together)
    tiles = step.program.levels[0].trips
    assert tiles == (OP.batch if granularity == "batch" else 1)
    assert done.actions == pytest.approx(alone.actions, rel=1e-12)
    busy = {name: ticks for name, ticks in done.busy.items() if name in ("matrix", "vector")}
    assert busy == {name: pytest.approx(alone.busy[name], abs=GROUPS) for name in busy}
    scores = {b.name: b.slots * b.slot_bytes for b in step.program.buffers}["scores"]
    assert scores == GROUPS // tiles * {b.name: b.slots * b.slot_bytes for b in one.program.buffers}["scores"]
    assert run(together, jump=False)[1] == done


def test_each_operator_has_a_form_of_its_own() -> None:
    # The array's time is the sum of both operators': what one form takes for Logit does not depend on that of Attend.
    busy = {
        (logit, attend): run(replace(GIVEN, stationary=logit, stationary_attend=attend))[1].busy["matrix"]
        for logit in FORMS
        for attend in FORMS
    }
    for a in FORMS:
        for b in FORMS:
            assert busy[a, b] + busy[b, a] == busy[a, a] + busy[b, b]
    assert len(set(busy.values())) >= 3


def test_a_flash_block_of_all_keys_moves_what_flat_moves() -> None:
    _, flat = run(replace(GIVEN, staged="qo", block_kv=OP.kv_len))
    (step,) = accsim.Flash(block_q=40, block_kv=OP.kv_len, pipeline=False, stationary=FORMS[0]).steps(OP, edge())
    flash = run_program(step.program, attribution=False)
    for way in ("read", "write"):
        assert flash.actions[f"{way}.dram"] == flat.actions[f"{way}.dram"]


def test_the_search_has_every_staging_and_pair_of_forms() -> None:
    acc = load_accelerator("flat_cloud")
    found = search(Flat(), OP, acc)
    tried = {
        (variant.staged, logit, attend)
        for points in Flat().space(OP, acc)
        for variant in [points.variant]
        for logit, attend in points.table[:, 2:4].tolist()
    }
    assert len(tried) == 4 * 3 * 3
    for mapping in (GIVEN, replace(GIVEN, staged="qo", pipelined=True), replace(GIVEN, stationary_attend=FORMS[1])):
        assert found.cost <= search(mapping, OP, acc).cost * (1 + 1e-12)


@pytest.mark.parametrize(
    ("mapping", "op", "message"),
    [
        (replace(GIVEN, granularity="batch", rows=None), WINDOW, "divide a head's 115 keys"),
        (replace(GIVEN, granularity="batch", rows=None, block_kv=48), OP, "key blocks that divide a head's 128 keys"),
        (replace(GIVEN, staged="kvo"), WINDOW, "allowed are qo, q, o, none, or more in tiles"),
        (replace(GIVEN, staged="ko"), replace(OP, shared_kv=True), "keys and values as one; allowed is both or none"),
        (replace(GIVEN, staged="qkv", rows=32), OP, "in pieces of the array's 32 rows: allowed .* or qkvo"),
        (
            Flat("batch", None, 32, "none", softmax="two_pass"), OP,
            "of several heads with a three_pass softmax, or o",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be(mapping: Flat, op: Attention, message: str) -> None:
    with pytest.raises(accsim.MappingError, match=message):
        mapping.steps(op, edge())


def test_sums_of_tensor_cores_stay() -> None:
    with pytest.raises(accsim.MappingError, match=r"stay in the registers of .*; allowed is kvo"):
        Flat(rows=64, staged="kv").steps(OP, load_accelerator("h100_sxm"))


def test_rows_belong_to_granularity_row() -> None:
    with pytest.raises(accsim.InputError, match="rows: a tile of granularity head has all rows"):
        Flat(granularity="head", rows=64)

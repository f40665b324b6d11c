"""Every axis of FLAT's space: traffic and work by naive counts, footprints of the paper's Table 1, and its laws."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import pytest

import accsim
from accsim.config.catalogue import load_accelerator
from accsim.config.machine import Accelerator
from accsim.engine.arrays import flatten
from accsim.engine.counters import Counters
from accsim.engine.run import run_program
from accsim.mapping.base import Step
from accsim.mapping.flat import GRANULARITIES, STAGED, Flat
from accsim.mapping.search import search
from accsim.workload.ops import Attention

OP = Attention(batch=2, heads=6, q_len=96, kv_len=128, head_dim=32, kv_heads=3)
ROWS = OP.q_len * OP.heads // OP.kv_heads
GROUPS = OP.batch * OP.kv_heads
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
@pytest.mark.parametrize("staged", STAGED)
def test_work_and_traffic_of_a_staging(staged: str, spill: int, pipelined: bool, softmax: str) -> None:
    mapping = replace(GIVEN, staged=staged, spill=spill, pipelined=pipelined, softmax=softmax)
    step, done = run(mapping)
    # Row tiles and key blocks one by one, in elements: Q once or for every key block, K and V once or for every tile.
    read = 0
    for first in range(0, ROWS, 40):
        rows = min(40, ROWS - first)
        blocks = ceil(OP.kv_len / 32)
        read += rows * OP.head_dim * (1 if "q" in staged else blocks)
        read += sum(OP.kv_len * OP.head_dim for letter in "kv" if first == 0 or letter not in staged)
    away = ROWS * 32 * spill
    assert done.actions["read.dram"] == 2 * GROUPS * (read + 2 * away)
    assert done.actions["write.dram"] == OP.output_bytes + 2 * GROUPS * 2 * away
    assert done.actions["mac.bf16"] == OP.macs
    scores, outputs = GROUPS * ROWS * OP.kv_len, GROUPS * ROWS * OP.head_dim
    expected = {"max": scores, "exp": scores, "add": scores}
    expected |= {"divide": scores} if softmax == "three_pass" else {"divide": outputs, "convert": outputs}
    assert {name: done.actions.get(f"vector.{name}", 0) for name in expected} == expected
    assert sum(count for name, count in done.actions.items() if name.startswith("vector.")) == sum(expected.values())
    assert step.copies == 1
    assert run(mapping, jump=False)[1] == done


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


@pytest.mark.parametrize("granularity", ["batch", "batch_head"])
@pytest.mark.parametrize("staged", ["qkvo", "qo"])
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
        (replace(GIVEN, granularity="batch", rows=None), replace(OP, causal=True), "without a mask only"),
        (replace(GIVEN, granularity="batch", rows=None, block_kv=48), OP, "key blocks that divide a head's 128 keys"),
        (replace(GIVEN, staged="kvo"), replace(OP, causal=True), "under the causal mask of 'attention' allowed are"),
    ],
)
def test_what_cannot_be(mapping: Flat, op: Attention, message: str) -> None:
    with pytest.raises(accsim.MappingError, match=message):
        mapping.steps(op, edge())


def test_rows_belong_to_granularity_row() -> None:
    with pytest.raises(accsim.InputError, match="rows: a tile of granularity head has all rows"):
        Flat(granularity="head", rows=64)

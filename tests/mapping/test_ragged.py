"""Sequences of different lengths, and keys that cores share: naive queues, sums of single sequences, laws."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import replace
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim.config.machine import Accelerator
from accsim.engine.run import run_program
from accsim.mapping.attention import problems_of
from accsim.mapping.base import Step
from accsim.mapping.by_length import ByLength, by_length
from accsim.mapping.flash import EXECUTIONS, Flash
from accsim.mapping.flash1 import Flash1
from accsim.mapping.flash_queue import part_ticks, queue_of
from accsim.mapping.flash_tiles import Part, busiest, kinds_of, tiles_of
from accsim.mapping.flat import Flat
from accsim.mapping.gemm import OutputStationary
from accsim.mapping.machine_numbers import STATIONARY
from accsim.mapping.naive import Naive
from accsim.mapping.search import search
from accsim.mapping.unfused import Unfused
from accsim.report.tables import mapping_dict
from accsim.workload.ops import Attention

TICKS = 4096


def step_of(mapping: Flash, op: Attention, acc: Accelerator) -> Step:
    """The one program of a complete mapping."""
    (step,) = mapping.steps(op, acc)
    return step


def counted(mapping: Flash, op: Attention, acc: Accelerator) -> tuple[dict[str, float], int]:
    """(actions of all cores, ticks) of a complete mapping; direct and jumping runs agree."""
    step = step_of(mapping, op, acc)
    run = run_program(step.program, attribution=False)
    assert run == run_program(step.program, attribution=False, jump=False)
    return {name: count * step.copies for name, count in run.actions.items()}, run.total_ticks


@st.composite
def ragged(draw: st.DrawFn, causal: bool | None = None) -> Attention:
    """Some sequences of lengths of their own."""
    shared, kv_heads = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    sequences = draw(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 90)), min_size=2, max_size=6))
    masked = draw(st.booleans()) if causal is None else causal
    return Attention(
        heads=shared * kv_heads, kv_heads=kv_heads, head_dim=16, causal=masked, v_dim=draw(st.sampled_from((8, 16))),
        window=draw(st.none() | st.integers(1, 70)) if masked else None, shared_kv=draw(st.booleans()),
        q_lens=tuple(q for q, _ in sequences), kv_lens=tuple(q + more for q, more in sequences),
    )  # fmt: skip


def naive_tiles(op: Attention, row_tile: int) -> Counter[tuple[int, int, int]]:
    """(rows, keys that any of them sees, visible scores) of every row tile, score by score."""
    found: Counter[tuple[int, int, int]] = Counter()
    shared = op.heads // op.kv_heads
    queries = op.q_lens or (op.q_len,) * op.batch
    keys = op.kv_lens or (op.kv_len,) * op.batch
    for q_len, kv_len in zip(queries, keys, strict=True):
        sees = []
        for position in range(q_len):
            own = kv_len - q_len + position
            first = 0 if op.window is None else max(0, own - op.window + 1)
            sees += [set(range(first, own + 1)) if op.causal else set(range(kv_len))] * shared
        for start in range(0, len(sees), row_tile):
            tile = sees[start : start + row_tile]
            found[len(tile), len(set().union(*tile)), sum(map(len, tile))] += op.kv_heads
    return found


@given(
    op=ragged(), row=st.integers(1, 70), key=st.integers(4, 80), parts=st.integers(1, 4), cores=st.integers(1, 9),
    data=st.data(),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_the_queue_is_that_of_naive_list_scheduling(
    op: Attention, row: int, key: int, parts: int, cores: int, data: st.DataObject
) -> None:
    tiles = naive_tiles(op, row)
    most = ceil(max(ceil(keys / key) for _, keys, _ in tiles) / parts)
    cut = []
    for (rows, keys, visible), count in tiles.items():
        blocks = ceil(keys / key)
        share = ceil(blocks / most)
        cut += [(ceil(blocks / share), rows, keys, visible, share)] * (count * share)
    kinds, together = kinds_of(problems_of(op), row, key, parts), tiles_of(problems_of(op), row, key, parts)
    assert kinds == Counter(Part(*part) for part in cut)
    assert dict(zip(together.lengths, together.counts, strict=True)) == Counter(part[0] for part in cut)
    assert together.rows == sum(part[1] for part in cut)
    assert sum(visible * count for (_, _, visible), count in tiles.items()) == op.scores
    time = {kind: data.draw(st.integers(1, 1000)) for kind in kinds}
    servers = [0] * cores
    for part in sorted(cut, reverse=True):
        heapq.heapreplace(servers, servers[0] + time[Part(*part)])
    own = busiest(np.array(list(time.values())), tuple(kinds.values()), cores)
    assert sum(time[kind] * count for kind, count in zip(kinds, own, strict=True)) == max(servers)


def room(machine: str) -> Accelerator:
    """A machine with room for every tile of these tests."""
    return accsim.load_accelerator(machine, set={"memories.sg.capacity": "64 MiB"} if machine == "flat_edge" else {})


@given(
    op=ragged(), row=st.integers(1, 70), key=st.integers(4, 80), execution=st.sampled_from(EXECUTIONS),
    parts=st.integers(1, 4), machine=st.sampled_from(("flat_edge", "tpu_v4", "tpu_v5p", "h100_sxm")),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_work_and_bytes_are_conserved(
    op: Attention, row: int, key: int, execution: str, parts: int, machine: str
) -> None:
    acc = room(machine)
    parts = max(parts, 2) if len(op.runs) == 1 else parts  # equal lengths, keys not split: test_attention.py has that
    shared = op.heads // op.kv_heads
    row = max(shared, row // shared * shared)
    total, ticks = counted(Flash(row, key, split_kv=parts, execution=execution), op, acc)
    main = acc.main_memory.name
    tiles = naive_tiles(op, row)
    most = ceil(max(ceil(keys / key) for _, keys, _ in tiles) / parts)
    part_rows = sum(rows * ceil(ceil(keys / key) / most) * count for (rows, keys, _), count in tiles.items())
    assert total["mac.bf16"] == pytest.approx(op.macs, rel=1e-9)
    assert total["vector.divide"] == pytest.approx(sum(rows * n for (rows, _, _), n in tiles.items()) * op.value_dim)
    # Partial outputs of 4 bytes, with a maximum and a sum each, leave and come back; a single block is not split.
    split = part_rows > sum(rows * count for (rows, _, _), count in tiles.items())
    partial = 4 * part_rows * (op.value_dim + 2) if split else 0
    meets_here = len(acc.memories) == 2
    assert total[f"write.{main}"] == pytest.approx(op.output_bytes + (partial if meets_here else 0), rel=1e-9)
    queries = 2 * part_rows * op.head_dim
    if meets_here:
        keys = 2 * op.kv_width * sum(keys * count for (_, keys, _), count in tiles.items())
        assert total[f"read.{main}"] == pytest.approx(queries + keys + partial, rel=1e-9)
    else:
        assert total[f"read.{main}"] == pytest.approx(queries + op.kv_bytes, rel=1e-9)
        middle = acc.memories[1].name
        moved = total[f"read.{main}"] + total[f"write.{main}"] + partial
        assert total[f"write.{middle}"] == pytest.approx(moved, rel=1e-9)
    per_tick = acc.main_memory.usable_read_bytes_per_s / acc.clock_hz / TICKS
    assert ticks >= total[f"read.{main}"] / per_tick * (1 - 1e-9)
    assert ticks >= op.macs / acc.peak_macs_per_s("bf16") * acc.clock_hz * TICKS * (1 - 1e-9)


@given(op=ragged(causal=False), row=st.integers(1, 70), key=st.integers(4, 80))
@settings(max_examples=30, deadline=None)
def test_the_bytes_are_the_sum_of_the_sequences(op: Attention, row: int, key: int) -> None:
    acc = room("flat_edge")
    mapping = Flash(row, key, True, "output_stationary", 1)
    together, _ = counted(mapping, op, acc)
    alone = [counted(mapping, run, acc)[0] for run in op.runs]
    for name in ("mac.bf16", "read.dram", "write.dram", "vector.divide"):
        assert together[name] == pytest.approx(sum(actions[name] for actions in alone), rel=1e-9)
    for name in ("macs", "scores", "input_bytes", "output_bytes", "kv_bytes"):
        assert getattr(op, name) == sum(getattr(run, name) for run in op.runs)


def test_equal_lengths_are_the_op_without() -> None:
    assert Attention(heads=8, q_len=1, head_dim=64, kv_lens=(512,) * 6) == Attention(6, 8, 1, 512, 64)


@pytest.mark.parametrize("machine", ["flat_cloud", "tpu_v4", "tpu_v5p", "h100_sxm"])
def test_a_ragged_batch_takes_less_than_a_padded_one_and_more_than_its_bytes(machine: str) -> None:
    acc = accsim.load_accelerator(machine)
    op = Attention(
        heads=32, kv_heads=8, head_dim=128, q_len=1, causal=True, kv_lens=tuple(range(256, 256 * 33, 256))
    )  # fmt: skip
    rep, padded = (accsim.simulate(one, acc, dataflow="flash") for one in (op, replace(op, kv_lens=None)))
    assert op.macs == pytest.approx(replace(op, kv_lens=None).macs * 33 / 64)
    assert 33 / 64 * 0.9 <= rep.latency_s / padded.latency_s <= 33 / 64 * 1.15
    assert rep.latency_s >= op.kv_bytes / acc.main_memory.usable_read_bytes_per_s
    bound = accsim.simulate(op, acc, dataflow="flash", fidelity="analytic")
    assert bound.total_cycles <= rep.total_cycles


def test_the_longest_sequence_goes_first() -> None:
    # Two cores: one has 4096 keys, the other 3072 and 1024; in the order given, 3072 and 4096 would follow each other.
    acc = accsim.load_accelerator("tpu_v4")
    op = Attention(heads=1, head_dim=128, q_len=1, kv_lens=(3072, 1024, 4096))
    own = queue_of(op, acc, "pipelined", 8, 256, STATIONARY["output_stationary"], 1)
    kinds = kinds_of(problems_of(op), 8, 256)
    assert [kind.keys for kind in kinds] == [4096, 3072, 1024]
    assert own in ((1, 0, 0), (0, 1, 1))


@given(
    op=ragged(),
    row=st.integers(8, 70),
    key=st.integers(16, 80),
    parts=st.integers(1, 3),
    execution=st.sampled_from(EXECUTIONS),
)
@settings(max_examples=30, deadline=None)
def test_no_core_is_busy_longer_than_the_queue_by_more_than_a_tile(
    op: Attention, row: int, key: int, parts: int, execution: str
) -> None:
    # Two cores: the queue takes at least half of what both have, and at most a part more than that.
    acc, form = room("tpu_v4"), STATIONARY["output_stationary"]
    kinds = kinds_of(problems_of(op), row, key, parts)
    alone = part_ticks(op, acc, execution, row, key, form, parts)
    own = queue_of(op, acc, execution, row, key, form, parts)
    work = sum(ticks * count for ticks, count in zip(alone, kinds.values(), strict=True))
    queue = sum(ticks * count for ticks, count in zip(alone, own, strict=True))
    assert work <= acc.cores * queue <= work + (acc.cores - 1) * max(alone)


# Split keys


@pytest.mark.parametrize("machine", ["tpu_v4", "tpu_v5p"])
def test_a_long_sequence_with_one_head_of_keys_keeps_both_cores_busy(machine: str) -> None:
    # 8 query heads on one KV head: one row tile. Vector work is most of it, and halves; what the merge costs is small.
    op = Attention(1, 8, 1, 2**17, 128, kv_heads=1, causal=True)
    acc = accsim.load_accelerator(machine)
    whole = search(Flash(split_kv=1), op, acc)
    found = search(Flash(), op, acc)
    assert isinstance(found.mapping, Flash)
    assert found.mapping.split_kv == 2
    assert op.kv_bytes / acc.main_memory.usable_read_bytes_per_s <= found.cost < 0.75 * whole.cost


def test_one_core_gains_nothing_from_a_split() -> None:
    op = Attention(1, 8, 1, 2**15, 128, kv_heads=1, causal=True)
    acc = accsim.load_accelerator("flat_cloud")
    mapping = Flash(8, 512, True, "output_stationary", 1)
    whole, split = (counted(replace(mapping, split_kv=parts), op, acc) for parts in (1, 2))
    assert split[1] > whole[1]
    assert split[0]["write.dram"] == whole[0]["write.dram"] + 2 * 8 * (128 + 2) * 4
    found = search(Flash(), op, acc).mapping
    assert isinstance(found, Flash)
    assert found.split_kv == 1


# Dataflows that do not mix lengths

OTHERS = {
    "flat": Flat("row", 64, 32, "qo", False, "output_stationary", spill=0),
    "flash1": Flash1(16, 32, "output_stationary"),
    "unfused": Unfused(OutputStationary(), None, OutputStationary()),
    "naive": Naive(),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("masked", [False, True])
def test_lengths_in_turn_are_the_sum_of_the_lengths(name: str, masked: bool) -> None:
    acc = room("flat_edge")
    op = Attention(
        heads=4, kv_heads=2, head_dim=16, causal=masked, q_lens=(100, 64, 100, 40), kv_lens=(160, 112, 160, 80)
    )
    mapping = ByLength((OTHERS[name],) * 3, (1, 1, 1))
    together = accsim.simulate(op, acc, dataflow=mapping)
    alone = [accsim.simulate(run, acc, dataflow=OTHERS[name]) for run in op.runs]
    assert [run.batch for run in op.runs] == [2, 1, 1]
    assert together.total_cycles == sum(report.total_cycles for report in alone)
    for action in {action for report in alone for action in report.actions}:
        assert together.actions[action] == pytest.approx(sum(report.actions.get(action, 0.0) for report in alone))
    assert together.actions["mac.bf16"] == pytest.approx(op.macs, rel=1e-12)


@pytest.mark.parametrize("name", OTHERS)
def test_a_group_of_lengths_is_padded_and_counts_as_work_what_is_seen(name: str) -> None:
    acc = room("flat_edge")
    op = Attention(heads=4, kv_heads=2, head_dim=16, causal=True, q_lens=(100, 64, 90), kv_lens=(160, 112, 97))
    rep = accsim.simulate(op, acc, dataflow=ByLength((OTHERS[name],), (3,)))
    whole = accsim.simulate(Attention(3, 4, 100, 160, 16, 2, True), acc, dataflow=OTHERS[name])
    assert rep.total_cycles == whole.total_cycles
    assert rep.traffic_bytes == whole.traffic_bytes
    assert rep.actions["mac.bf16"] == pytest.approx(op.macs, rel=1e-12)
    executed = [report.actions["mac.bf16"] + report.actions["mac_padded.bf16"] for report in (rep, whole)]
    assert executed[0] == pytest.approx(executed[1], rel=1e-12)


@given(
    op=ragged(), name=st.sampled_from(("flat", "unfused", "naive")), machine=st.sampled_from(("flat_edge", "tpu_v4"))
)
@settings(max_examples=12, deadline=None)
def test_a_search_of_lengths_keeps_to_the_bounds_and_below_the_padded_batch(
    op: Attention, name: str, machine: str
) -> None:
    acc = room(machine)
    rep = accsim.simulate(op, acc, dataflow=OTHERS[name])
    padded = replace(op, q_lens=None, kv_lens=None)
    assert rep.actions["mac.bf16"] == pytest.approx(op.macs, rel=1e-9)
    assert sum(rep.traffic_bytes[acc.main_memory.name].values()) >= (op.input_bytes + op.output_bytes) * (1 - 1e-9)
    assert rep.latency_s >= op.macs / acc.peak_macs_per_s("bf16") * (1 - 1e-9)
    assert rep.latency_s >= (op.input_bytes + op.output_bytes) / acc.main_memory.usable_read_bytes_per_s / 2
    assert rep.latency_s <= accsim.simulate(padded, acc, dataflow=OTHERS[name]).latency_s * (1 + 1e-12)


@pytest.mark.parametrize("name", ["flat", "flash1", "unfused", "naive"])
def test_a_searched_batch_takes_less_than_a_padded_one(name: str) -> None:
    op = Attention(heads=4, head_dim=64, causal=True, q_lens=(2048, 1536, 1024, 1024, 512))
    rep, padded = (
        accsim.simulate(o, "flat_cloud", dataflow=name) for o in (op, replace(op, q_lens=None, kv_lens=None))
    )
    assert op.macs / replace(op, q_lens=None, kv_lens=None).macs == pytest.approx(0.425, abs=1e-3)
    assert rep.latency_s < 0.6 * padded.latency_s


def test_few_sequences_of_each_length_share_many_cores() -> None:
    # Each length alone leaves most of 132 SMs idle: groups, which are padded, are faster, and all of them together too.
    op = Attention(heads=32, kv_heads=8, head_dim=128, q_len=1, causal=True, kv_lens=tuple(range(256, 256 * 17, 256)))
    acc = accsim.load_accelerator("h100_sxm")
    found = search(Unfused(), op, acc)
    assert isinstance(found.mapping, ByLength)
    assert sum(found.mapping.lengths) == 16
    alone = search(ByLength((Unfused(),) * 16, (1,) * 16), op, acc)
    padded = search(Unfused(), replace(op, kv_lens=None), acc)
    assert found.cost < 0.95 * padded.cost
    assert found.cost < 0.95 * alone.cost


def test_few_sequences_take_less_than_many_groups() -> None:
    op = Attention(heads=1, head_dim=16, q_len=1, kv_lens=tuple(range(1, 101)))
    options = by_length(Flat(), op)
    assert [len(option.lengths) for option in options if isinstance(option, ByLength)] == [16, 4, 1]
    for option in options:
        assert isinstance(option, ByLength)
        assert sum(option.lengths) == 100
        parts = option.parts(op, room("flat_edge")).values()
        assert sum(part.op.scores * part.useful for part in parts) == pytest.approx(op.scores)
    assert by_length(Flash(), op) == (Flash(),)


def test_bad_groups() -> None:
    op = Attention(heads=1, head_dim=16, q_len=1, kv_lens=(10, 20))
    with pytest.raises(accsim.MappingError, match="has 2 pairs of lengths: there are 1 mappings for 1 of them"):
        accsim.simulate(op, "flat_edge", dataflow=ByLength((Flat(),), (1,)))


def test_a_report_tells_the_mapping_of_each_group() -> None:
    op = Attention(heads=2, head_dim=16, q_len=64, kv_lens=(128, 64))
    rep = accsim.simulate(op, "flat_edge", dataflow=ByLength((OTHERS["flat"], Flat(rows=32)), (1, 1)))
    text = " ".join(str(rep.program).split())
    assert "mapping: ByLength mappings Flat rows 64, block_kv 32, qo, OS; Flat rows 32" in text
    assert ", lengths 1x2" in text
    assert [item["rows"] for item in mapping_dict(rep.ops[0].mapping)["mappings"]] == [64, 32]

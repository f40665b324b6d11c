"""Embedding units: their programs against counts by hand, closed forms and laws."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim.config.machine import Accelerator
from accsim.embedding import EmbeddingSet, Feature, Popularity, Table, Valency, count_unique, draw_batches
from accsim.embedding.imbalance import Imbalance
from accsim.embedding.work import Exchange, StackWork, StepWork
from accsim.engine.counters import Counters
from accsim.engine.dram import RandomRows, dram_access
from accsim.engine.program import TICKS_PER_CYCLE
from accsim.engine.run import run_program
from accsim.errors import InputError, MappingError
from accsim.mapping.sparse_core import unit_programs

TILES = 64
NONE = Imbalance(0.0, 0.0)


def even(count: float) -> Imbalance:
    return Imbalance(count, count)


def over(counts: np.ndarray) -> Imbalance:
    return Imbalance(float(counts.mean()), float(counts.max()))


def stack(name: str = "t", **given: Any) -> StackWork:
    """Sums at the owner of bags of 8 rows of 128 fp32, 1024 bags a chip, no duplicates, all spread evenly."""
    lookups = 8192.0
    usual: dict[str, Any] = {
        "features": 1, "width": 128, "dtype": "fp32", "optimizer": "adagrad", "looked_up": lookups,
        "asked": even(lookups), "served": even(lookups), "fetched": even(lookups / TILES),
        "combined": even(lookups / TILES), "sent": even(1024.0), "received": 1024.0, "joined": 0.0,
        "updated": even(lookups / TILES),
    }  # fmt: skip
    return StackWork(name, **usual | given)


def scaled(one: StackWork, factor: float) -> StackWork:
    """The same with more samples."""
    grown = {}
    for name, value in vars(one).items():
        if isinstance(value, Imbalance):
            grown[name] = Imbalance(value.mean * factor, value.largest * factor)
        elif isinstance(value, float):
            grown[name] = value * factor
    return replace(one, **grown)


def step(*stacks: StackWork, samples: float = 1024.0) -> StepWork:
    return StepWork(samples, 128, TILES, "none", stacks, Exchange(0.0, 0.0))


@cache
def machine(**given: object) -> Accelerator:
    """TPU v4 at 1 GHz, with DRAM at the rate of its standard, and short latencies in whole cycles."""
    usual = {"clock": "1 GHz", "memories.hbm.read_bandwidth": "1228.8 GB/s"}
    return accsim.load_accelerator("tpu_v4", set=usual | {key.replace("__", "."): v for key, v in given.items()})


def both(acc: Accelerator, work: StepWork) -> tuple[Counters, Counters]:
    programs = unit_programs(acc, work)
    return run_program(programs.forward), run_program(programs.backward)


def random_share(size: int, writes: float = 0.0) -> float:
    return dram_access(RandomRows(size, 2**40 // size, write_fraction=writes), "hbm2_2400").efficiency


def up(cycles: float) -> int:
    return math.ceil(cycles * TICKS_PER_CYCLE * (1 - 1e-12))


def test_a_tiny_step_by_hand() -> None:
    """Four rows a tile, one chunk: every stage waits for the one before, so that their times add up."""
    acc = machine()
    tiny = scaled(stack(), 1 / 32)  # 256 ids, 32 bags; 4 rows a tile
    stream, latency = acc.main_memory.efficiency, 500 * TICKS_PER_CYCLE
    channel = 19.2  # bytes a cycle
    ids, rows = (256 * 12 + 256 * 4) / 64, 4 * 512
    parts = 32 * 64 * (1 - (1 - 1 / 64) ** 8)
    forward = [
        up(1000 + 6 * 100),  # six kinds of work behind it
        up(ids / (channel * stream)) + latency,
        up((256 + 256) / 4 / 16),
        up(rows / (channel * random_share(512))) + latency,
        up(4 * 128 / 8),
        up((parts - 32) * 128 / 4 / 128),
        max(up((32 * 512 + 256 * 4) / 4 / 512), up((32 * 512 + 256 * 4) / 64 / (channel * stream))),
    ]
    backward = [
        up(1000 + 10 * 100),
        up(32 * 512 / 64 / (channel * stream)) + latency,
        up(32 * 512 / 4 / 512),
        max(up(32 * 512 / 4 / 512), up(32 * 512 / 64 / (channel * stream))),
        up((32 * 512 + 256 * 4) / 64 / (channel * stream)) + latency,
        up(256 / 4 / 16),
        up(256 * 512 / 4 / 512),
        up(4 * 128 / 8),
        up(2 * rows / (channel * random_share(512, 0.5))) + latency,
        up(4 * 128 * (3 + 3 + 8) / 8),
        up(2 * rows / (channel * random_share(512, 0.5))) + latency,
    ]
    found = both(acc, step(tiny, samples=32.0))
    assert [one.total_ticks for one in found] == [sum(forward), sum(backward)]


def test_a_pass_counts_the_bytes_of_its_rows() -> None:
    """Forward U rows; backward, per optimizer, as often as a row and its state are read and written."""
    acc = machine()
    expected = {"sgd": 2 * 512, "adagrad": 4 * 512, "adam": 6 * 512, "rowwise_adagrad": 2 * (512 + 32)}
    for optimizer, each in expected.items():
        one = stack(optimizer=optimizer, sent=NONE, received=0.0, features=0, served=NONE, asked=NONE, looked_up=0.0)
        forward, backward = both(acc, step(one))
        rows = 8192
        assert forward.actions["read.hbm"] == pytest.approx(rows * 512)
        assert backward.actions["read.hbm"] == pytest.approx(rows * each / 2)
        assert backward.actions["write.hbm"] == pytest.approx(rows * each / 2)
        assert forward.actions["vector.add"] == pytest.approx(rows * 128)


def test_what_travels_passes_main_memory_of_the_receiver() -> None:
    forward, backward = both(machine(), step(stack()))
    vectors, ids = 1024 * 512, 8192
    assert forward.actions["read.hbm"] == pytest.approx(8192 * 512 + ids * (12 + 4))
    assert forward.actions["write.hbm"] == pytest.approx(vectors + ids * 4)
    assert backward.actions["read.hbm"] == pytest.approx(2 * 8192 * 512 + 2 * vectors + ids * 4)
    assert backward.actions["write.hbm"] == pytest.approx(2 * 8192 * 512 + vectors)


def test_rows_that_travel_are_joined_by_the_chip_that_asked() -> None:
    """6144 distinct rows for 8192 lookups: each lookup reads a row again and adds it, each bag is written."""
    one = stack(combined=NONE, sent=even(6144.0), received=6144.0, joined=6144.0, fetched=even(96.0))
    forward, backward = both(machine(), step(one))
    ids = 8192 * (12 + 4)
    assert forward.actions["read.hbm"] == pytest.approx((6144 + 8192) * 512 + ids)
    assert forward.actions["write.hbm"] == pytest.approx((6144 + 1024) * 512 + 8192 * 4)
    assert forward.actions["vector.add"] == pytest.approx(8192 * 128)
    # Backward: the lookups of a row are added up before they are sent, and again at its owner.
    adds = 8192 + 6144 + 3 * 8192
    assert backward.actions["vector.add"] == pytest.approx(adds * 128)


BINDING = {
    "channel": {},
    "vector": {"vector_unit.cycles_per_element.add": 8},
    "sort": {"sparse_core.sort_ids_per_cycle": 0.05},
    "reduce": {"sparse_core.reduce_elements_per_cycle": 4},
    "fetch": {"sparse_core.outstanding": 4},
    "sequencer": {"sparse_core.instruction_cycles": 2000},
}


@pytest.mark.parametrize("resource", BINDING)
def test_a_large_step_takes_as_long_as_what_binds(resource: str) -> None:
    """Each unit's share in closed form; the forward pass of a large step is within 2 % of the largest."""
    acc = accsim.load_accelerator(
        "tpu_v4", set={"clock": "1 GHz", "memories.hbm.read_bandwidth": "1228.8 GB/s"} | BINDING[resource]
    )
    unit, rows = acc.sparse_core, 8192.0 * 64 / TILES
    assert unit is not None
    counters, _ = both(acc, step(scaled(stack(), 64.0), samples=65536.0))
    stream = acc.main_memory.efficiency
    streamed = (8192 * 16 + 1024 * 512 + 8192 * 4) * 64 / TILES
    word = (rows * 512 + 8192 * 64 * 16 / TILES) / 32
    chunks = counters.fires["issue"]
    parts = 1024 * 64 * (1 - (1 - 1 / 64) ** 8) - 1024
    cycles = {
        "channel": rows * 512 / (19.2 * random_share(512)) + streamed / (19.2 * stream),
        "vector": rows * 128 * acc.vector_unit.cycles_per_element["add"] / 8,
        "sort": 2 * 8192 * 64 / 4 / unit.sort_ids_per_cycle,
        "reduce": 64 * parts * 128 / 4 / unit.reduce_elements_per_cycle,
        "fetch": max(word, rows * 500 / unit.outstanding + 8192 * 64 * 16 / TILES / 32),
        "sequencer": 1000 + chunks * 6 * unit.instruction_cycles,
    }
    assert max(cycles, key=lambda name: cycles[name]) == resource
    assert counters.bound_by == f"{resource}/resource"
    for name, expected in cycles.items():
        assert counters.busy[name] / TICKS_PER_CYCLE == pytest.approx(expected, rel=1e-4)
    assert cycles[resource] <= counters.total_ticks / TICKS_PER_CYCLE <= 1.02 * cycles[resource]


@pytest.mark.parametrize("stacks", [1, 2, 26])
def test_a_small_step_takes_its_fixed_costs(stacks: int) -> None:
    """Next to no samples: the sequencer's instructions, then the latency of two reads of the last stack."""
    small = step(*(scaled(stack(f"t{i}"), 1e-6) for i in range(stacks)), samples=1e-3)
    forward, backward = both(machine(), small)
    assert forward.total_ticks / TICKS_PER_CYCLE == pytest.approx(stacks * (1000 + 6 * 100) + 2 * 500, rel=1e-3)
    assert backward.total_ticks / TICKS_PER_CYCLE == pytest.approx(stacks * (1000 + 10 * 100) + 4 * 500, rel=1e-3)


def test_main_memory_is_held_by_all_tiles_on_average() -> None:
    """The busiest tile has twice the rows of a mean one: its channels bind, main memory is half free for others."""
    skewed = stack(
        fetched=Imbalance(128.0, 256.0),
        combined=Imbalance(128.0, 256.0),
        looked_up=0.0,
        sent=NONE,
        received=0.0,
        served=NONE,
    )
    counters, _ = both(machine(), step(scaled(skewed, 64.0)))
    assert counters.busy["hbm"] / counters.busy["channel"] == pytest.approx(0.5, rel=1e-3)


RATES = {
    "memories.hbm.latency": [500, "{} ns", -1],
    "sparse_core.outstanding": [16, "{:.0f}", 1],
    "sparse_core.sort_ids_per_cycle": [0.5, "{}", 1],
    "sparse_core.reduce_elements_per_cycle": [8, "{}", 1],
    "sparse_core.move_bytes_per_cycle": [64, "{}", 1],
    "sparse_core.instruction_cycles": [100, "{}", -1],
    "sparse_core.stack_cycles": [1000, "{}", -1],
    "vector_unit.cycles_per_element.add": [2, "{}", -1],
}


@given(st.sampled_from(sorted(RATES)), st.integers(1, 4), st.floats(0.01, 16.0))
@settings(max_examples=40, deadline=None)
def test_nothing_gets_slower_with_a_faster_part(key: str, factor: int, size: float) -> None:
    usual, form, sign = RATES[key]
    slow, fast = ((usual, usual * factor), (usual * factor, usual))[sign < 0]
    work = step(scaled(stack(), size), scaled(stack("u", width=16), size), samples=1024.0 * size)
    slower, faster = (both(machine(**{key.replace(".", "__"): form.format(rate)}), work) for rate in (slow, fast))
    for one, other in zip(slower, faster, strict=True):
        assert other.total_ticks <= one.total_ticks


@given(st.floats(0.05, 1.0))
@settings(max_examples=20, deadline=None)
def test_fewer_distinct_rows_never_cost_bytes(distinct: float) -> None:
    """Dedup at the owner: lookups are combined as before, rows fetched and updated once; its sort is charged anyway."""
    acc, rows = machine(), even(8192 / TILES * distinct)
    with_dedup, without = (both(acc, step(one)) for one in (stack(fetched=rows, updated=rows), stack()))
    for one, other in zip(with_dedup, without, strict=True):
        for what in ("read.hbm", "write.hbm"):
            assert one.actions[what] <= other.actions[what] * (1 + 1e-12)
        assert one.busy["sort"] == pytest.approx(other.busy["sort"], rel=1e-3)


def test_chunks_fit_a_tile() -> None:
    programs = unit_programs(machine(), step(scaled(stack(), 64.0), scaled(stack("narrow", width=8), 64.0)))
    for program in (programs.forward, programs.backward):
        assert program.reserved_bytes("spmem") <= 160 * 1024
        assert program.capacities["spmem"] == 160 * 1024
    with pytest.raises(MappingError, match="rows of stack 't' are too wide"):
        unit_programs(machine(sparse_core__spmem="16 KiB"), step(stack()))


def test_what_cannot_be() -> None:
    with pytest.raises(InputError, match="h100_sxm has none"):
        unit_programs(accsim.load_accelerator("h100_sxm"), step(stack()))
    with pytest.raises(InputError, match="read rows dealt over 64 tiles, allowed is 32 in this place of tpu_v3"):
        unit_programs(accsim.load_accelerator("tpu_v3"), step(stack()))
    with pytest.raises(InputError, match="Did you mean 'sparse_core'"):
        unit_programs(machine(), step(stack()), where="sparsecore")


@pytest.mark.parametrize("dedup", [True, False])
def test_lookups_of_a_trace_are_those_of_tiles_and_bytes(dedup: bool) -> None:
    """A skewed batch on one chip: ids counted one by one are what main memory and the vector unit see."""
    table = Table("t", 5000, 128, popularity=Popularity(1.0, 3.0))
    (batch,) = draw_batches(EmbeddingSet((table,), (Feature("f", "t", Valency(20)),)), 500, seed=3)
    found = count_unique(batch, shards=TILES)
    looked_up, unique = found.lookups.sum(axis=(0, 1)), found.unique.sum(axis=(0, 1))
    fetched = unique if dedup else looked_up
    bags, lookups = 500, len(batch.indices)
    one = stack(
        looked_up=float(lookups), asked=even(lookups), served=even(lookups), sent=even(bags), received=float(bags),
        fetched=over(fetched), updated=over(unique), combined=over(looked_up),
    )  # fmt: skip
    forward, backward = both(machine(), step(one, samples=float(bags)))
    rows = len(np.unique(batch.indices)) if dedup else lookups
    assert forward.actions["read.hbm"] == pytest.approx(rows * 512 + lookups * 16)
    distinct = len(np.unique(batch.indices))
    assert backward.actions["write.hbm"] == pytest.approx(2 * distinct * 512 + bags * 512)
    parts = bags * 64 * (1 - (1 - 1 / 64) ** (lookups / bags))
    assert forward.actions["vector.add"] == pytest.approx((lookups + parts - bags) * 128)
    # Its channels take what the busiest tile fetches, main memory the mean; ids and vectors come evenly.
    evenly = (lookups * (12 + 4 + 4) + bags * 512) / TILES / (19.2 * machine().main_memory.efficiency)
    for resource, count in (("channel", fetched.max()), ("hbm", fetched.mean())):
        cycles = count * 512 / (19.2 * random_share(512)) + evenly
        assert forward.busy[resource] / TICKS_PER_CYCLE == pytest.approx(cycles, rel=1e-3)


def test_replicated_tables_serve_their_own_chip() -> None:
    """Nothing comes or goes; sums of bags are written for the dense half, whose gradients are read."""
    alone = stack(replicated=True, asked=NONE, served=NONE, sent=NONE, received=0.0)
    forward, backward = both(machine(), step(alone))
    rows, vectors = 8192 * 512, 1024 * 512
    assert forward.actions["read.hbm"] == pytest.approx(rows + 8192 * 12)
    assert forward.actions["write.hbm"] == pytest.approx(vectors)
    parts = 1024 * 64 * (1 - (1 - 1 / 64) ** 8)
    assert forward.actions["vector.add"] == pytest.approx((8192 + parts - 1024) * 128)
    assert backward.actions["read.hbm"] == pytest.approx(2 * rows + vectors)
    assert backward.actions["write.hbm"] == pytest.approx(2 * rows)
    of_chip = replace(alone, fetched=even(8192.0), combined=even(8192.0), updated=even(8192.0))
    for where in ("tensor_core", "host", "variable_server"):
        programs = unit_programs(machine(), replace(step(of_chip), tiles=1), where)
        lookups = run_program(programs.forward).actions
        memory = {"tensor_core": "hbm", "host": "host", "variable_server": "server"}[where]
        assert lookups[f"read.{memory}"] >= rows


def test_pieces_of_rows_are_vectors_of_their_own() -> None:
    """Columns cut in two: twice as many vectors of half the width, as many bytes; ids are sorted once, asked twice."""
    whole, cut = stack(), stack(
        width=64, pieces=2, asked=even(2 * 8192.0), served=even(2 * 8192.0), fetched=even(2 * 8192 / TILES),
        combined=even(2 * 8192 / TILES), sent=even(2048.0), received=2048.0, updated=even(2 * 8192 / TILES),
    )  # fmt: skip
    (one, one_back), (two, two_back) = both(machine(), step(whole)), both(machine(), step(cut))
    ids = 8192 * 4
    assert two.actions["read.hbm"] == pytest.approx(one.actions["read.hbm"] + ids)
    assert two.actions["write.hbm"] == pytest.approx(one.actions["write.hbm"] + ids)
    assert two_back.actions["read.hbm"] == pytest.approx(one_back.actions["read.hbm"] + ids)
    assert two.actions["vector.add"] == pytest.approx(one.actions["vector.add"])
    assert two.busy["sort"] / one.busy["sort"] == pytest.approx(3 / 2, rel=1e-3)


def test_gradients_of_rows_that_travelled_come_to_the_tiles_that_sent_them() -> None:
    """The busiest tile sent twice as many rows as a mean one, and adds up as many gradients."""
    rows = {"combined": NONE, "sent": even(8192.0), "received": 8192.0, "joined": 0.0, "features": 8}
    added = 128 * 128 / 8
    for fetched in (Imbalance(128.0, 128.0), Imbalance(128.0, 256.0)):
        _, backward = both(machine(), step(stack(fetched=fetched, **rows)))
        update = 128 * 128 * (3 + 3 + 8) / 8
        expected = added * fetched.ratio + update
        assert backward.busy["vector"] / TICKS_PER_CYCLE == pytest.approx(expected, rel=1e-4)

"""Places for embeddings without embedding units: bytes, binding resources in closed form, and laws."""

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
from accsim.embedding import (
    EmbeddingSet,
    Feature,
    Imbalance,
    Popularity,
    Table,
    Valency,
    count_step_work,
    draw_batches,
    row_sharded,
    step_work,
)
from accsim.embedding.work import Exchange, StackWork, StepWork
from accsim.engine.counters import Counters
from accsim.engine.dram import RandomRows, dram_access
from accsim.engine.run import run_program
from accsim.errors import InputError
from accsim.mapping.sparse_core import PLACES, place_of, unit_programs

LOOKUPS, BAGS, ROW = 524288.0, 65536.0, 512
"""Of a chip: bags of 8 rows of 128 fp32, no duplicates."""


def even(count: float) -> Imbalance:
    return Imbalance(count, count)


def work(tiles: int = 1, scale: float = 1.0, **given: Any) -> StepWork:
    n, bags = LOOKUPS * scale, BAGS * scale
    usual: dict[str, Any] = {
        "features": 1, "width": 128, "dtype": "fp32", "optimizer": "adagrad", "looked_up": n, "asked": even(n),
        "served": even(n), "fetched": even(n / tiles), "combined": even(n / tiles), "sent": even(bags),
        "received": bags, "joined": 0.0, "updated": even(n / tiles),
    }  # fmt: skip
    return StepWork(bags, 128, tiles, "none", (StackWork("t", **usual | given),), Exchange(0.0, 0.0))


@cache
def machine(name: str) -> Accelerator:
    return accsim.load_accelerator(name)


def run(acc: Accelerator, where: str, step: StepWork) -> tuple[Counters, Counters]:
    programs = unit_programs(acc, step, where)
    return run_program(programs.forward), run_program(programs.backward)


def seconds(counters: Counters, acc: Accelerator) -> float:
    return counters.total_ticks / 4096 / acc.clock_hz


def test_a_tensor_core_begins_a_transfer_for_each_row() -> None:
    """Two cores, 9.5 cycles a row: lookups, then gradients, rows, state and both written again."""
    acc = accsim.load_accelerator("tpu_v4")
    forward, backward = run(acc, "tensor_core", work())
    assert forward.bound_by == backward.bound_by == "dma/resource"
    lookup = LOOKUPS / 2 * 9.5 / 1050e6
    ids = LOOKUPS * 16 / (1200e9 * acc.main_memory.efficiency)
    assert lookup <= seconds(forward, acc) <= 1.01 * (lookup + ids)
    assert forward.busy["dma"] / 4096 / acc.clock_hz == pytest.approx(lookup, rel=1e-4)
    assert 5 * lookup <= seconds(backward, acc) <= 1.05 * 5 * lookup


@pytest.mark.parametrize(("width", "moved"), [(128, 512), (16, 512), (200, 1024)])
def test_a_transfer_moves_whole_granules(width: int, moved: int) -> None:
    forward, _ = run(accsim.load_accelerator("tpu_v4"), "tensor_core", work(width=width))
    assert forward.actions["read.hbm"] == pytest.approx(LOOKUPS * (moved + 12 + 4))


def test_a_gpu_gathers_at_the_random_rate_of_its_memory() -> None:
    acc = accsim.load_accelerator("h100_sxm")
    forward, backward = run(acc, "gpu", work())
    assert forward.bound_by == backward.bound_by == "hbm/resource"

    def rate(writes: float) -> float:
        return 3.35e12 * dram_access(RandomRows(ROW, 2**40 // ROW, write_fraction=writes), "hbm3").efficiency

    stream = 3.35e12 * acc.main_memory.efficiency
    sort = 72 * LOOKUPS / stream
    vectors = BAGS * ROW
    lookup = LOOKUPS * ROW / rate(0) + (LOOKUPS * (16 + 4) + vectors) / stream + 2 * sort
    update = LOOKUPS * ROW * (1 / rate(0) + 4 / rate(0.5)) + (LOOKUPS * 4 + 2 * vectors) / stream + sort
    for counters, expected in ((forward, lookup), (backward, update)):
        assert counters.busy["hbm"] / 4096 / acc.clock_hz == pytest.approx(expected, rel=1e-3)
        assert expected <= seconds(counters, acc) <= 1.03 * expected


def test_small_steps_of_a_gpu_are_launches() -> None:
    """Seven kernels of 2.65 us."""
    acc = accsim.load_accelerator("h100_sxm")
    for counters in run(acc, "gpu", work(scale=1e-6)):
        assert seconds(counters, acc) == pytest.approx(7 * 2.65e-6, rel=0.1)
        assert counters.bound_by == "launch/end" or counters.bound_by.startswith("launch")


def test_a_host_reads_rows_at_the_random_rate_of_a_quarter_of_its_memory() -> None:
    acc = accsim.load_accelerator("tpu_v4")
    assert acc.host is not None
    forward, backward = run(acc, "host", work())
    rate = acc.host.memory_bytes_per_s * acc.host.random_efficiency / 4
    lookup = LOOKUPS * ROW / rate
    assert forward.bound_by == backward.bound_by == "host_memory/resource"
    assert forward.actions["read.host"] == pytest.approx(LOOKUPS * ROW)
    assert backward.actions["read.host"] == pytest.approx(2 * LOOKUPS * ROW)
    assert backward.actions["write.host"] == pytest.approx(2 * LOOKUPS * ROW)
    assert lookup <= seconds(forward, acc) <= 1.05 * lookup
    assert 4 * lookup <= seconds(backward, acc) <= 1.05 * 4 * lookup
    assert forward.busy["pcie_down"] / 4096 / acc.clock_hz == pytest.approx(BAGS * ROW / 16e9, rel=1e-6)


def test_pcie_binds_where_rows_travel() -> None:
    acc = accsim.load_accelerator("tpu_v4")
    rows = work(combined=even(0.0), sent=even(LOOKUPS), received=LOOKUPS, joined=LOOKUPS)
    forward, _ = run(accsim.load_accelerator("tpu_v4", set={"host.memory_bandwidth": "2 TB/s"}), "host", rows)
    assert forward.bound_by == "pcie_down/resource"
    assert seconds(forward, acc) == pytest.approx(LOOKUPS * ROW / 16e9, rel=0.05)


def test_servers_are_shared_by_chips() -> None:
    acc = accsim.load_accelerator("tpu_v4")
    assert acc.data_center is not None
    programs = unit_programs(acc, work(), "variable_server")
    assert not programs.exchanged
    forward = run_program(programs.forward)
    memory = LOOKUPS * ROW / (acc.data_center.memory_bytes_per_s * acc.data_center.random_efficiency / 2)
    network = BAGS * ROW / 6.25e9
    assert forward.busy["server_memory"] / 4096 / acc.clock_hz == pytest.approx(memory, rel=1e-3)
    assert forward.busy["network_down"] / 4096 / acc.clock_hz == pytest.approx(network, rel=1e-3)
    assert max(memory, network) <= seconds(forward, acc) <= 1.05 * max(memory, network)


@pytest.mark.parametrize("where", sorted(PLACES))
def test_programs_share_resources_with_dense_work(where: str) -> None:
    acc = machine("h100_sxm" if where == "gpu" else "tpu_v4")
    programs = unit_programs(acc, work(place_of(acc, where).tiles), where)
    names = {r.name for program in (programs.forward, programs.backward) for r in program.resources}
    assert programs.where == where
    assert acc.main_memory.name in names & set(programs.shared)


@given(st.sampled_from(sorted(PLACES)), st.floats(0.001, 1.0), st.floats(1.0, 8.0))
@settings(max_examples=60, deadline=None)
def test_more_samples_never_take_less_time(where: str, scale: float, factor: float) -> None:
    acc = machine("h100_sxm" if where == "gpu" else "tpu_v4")
    tiles = place_of(acc, where).tiles
    few, many = (run(acc, where, work(tiles, s)) for s in (scale / 8, scale / 8 * factor))
    for one, other in zip(few, many, strict=True):
        assert one.total_ticks <= other.total_ticks * 1.02


def test_what_a_machine_lacks_is_named() -> None:
    edge = accsim.load_accelerator("flat_edge")
    lacking = {
        "sparse_core": "sparse_core", "tensor_core": "row_dma", "host": "host", "variable_server": "data_center",
        "gpu": "memories.dram.standard",
    }  # fmt: skip
    for where, missing in lacking.items():
        with pytest.raises(InputError) as caught:
            unit_programs(edge, work(), where)
        assert missing in [problem.path for problem in caught.value.problems]


def test_rows_bound_to_tiles_are_refused_elsewhere() -> None:
    with pytest.raises(InputError, match="tiles: read rows dealt over 64 tiles, allowed is 1 in this place of tpu_v4"):
        unit_programs(machine("tpu_v4"), work(64), "host")


SKEWED = EmbeddingSet((Table("t", 50_000, 128, popularity=Popularity(1.3)),), (Feature("f", "t", Valency(20, 20)),))


@pytest.mark.parametrize("where", ["host", "variable_server", "tensor_core", "gpu"])
def test_the_busiest_chip_has_its_own_distinct_rows_not_its_share_of_lookups(where: str) -> None:
    """A steep law: the hottest row is a quarter of all lookups and one row behind dedup. Ids counted one by one."""
    chips, samples = 8, 100
    acc = machine("h100_sxm" if where == "gpu" else "tpu_v4")
    (batch,) = draw_batches(SKEWED, chips * samples, seed=4)
    placement = row_sharded(SKEWED, chips)
    owners = np.unique(batch.indices) % chips
    distinct = np.bincount(owners, minlength=chips)
    lookups = np.bincount(batch.indices % chips, minlength=chips)
    assert lookups.max() / lookups.mean() > 1.5 > 1.1 > distinct.max() / distinct.mean()
    counted = count_step_work(batch, SKEWED, placement, dedup="owner", tiles=1)
    expected = step_work(SKEWED, samples, placement, dedup="owner", tiles=1)
    (stack,) = counted.stacks
    level = replace(counted, stacks=(replace(stack, fetched=even(distinct.mean())),))
    (forward, _), (evenly, _) = run(acc, where, counted), run(acc, where, level)
    random = acc.main_memory.read_bytes_per_s * dram_access(RandomRows(ROW, 2**40 // ROW), "hbm3").efficiency
    share = acc.host.random_efficiency if acc.host else 1.0
    held, a_row = {
        "tensor_core": ("dma", 9.5 / 1050e6 / 2),
        "gpu": ("hbm", ROW / random),
        "host": ("host_memory", ROW / (256e9 * share / 4)),
        "variable_server": ("server_memory", ROW / (256e9 * share / 2)),
    }[where]
    longer = (forward.busy[held] - evenly.busy[held]) / 4096 / acc.clock_hz
    assert longer == pytest.approx((distinct.max() - distinct.mean()) * a_row, rel=0.02)
    # Without a trace: as long, but for chance.
    for found, due in zip(run(acc, where, expected), run(acc, where, counted), strict=True):
        assert found.total_ticks == pytest.approx(due.total_ticks, rel=0.15)


def test_energy_is_of_a_mean_chip_and_time_of_the_busiest() -> None:
    """Twice the lookups on the busiest chip: not a joule more, and local memories are read and written."""
    twice = {name: Imbalance(LOOKUPS, 2 * LOOKUPS) for name in ("served", "fetched", "combined", "updated")}
    tiles = {name: Imbalance(LOOKUPS / 64, 2 * LOOKUPS / 64) for name in ("fetched", "combined", "updated")}
    for where in PLACES:
        acc = machine("h100_sxm" if where == "gpu" else "tpu_v4")
        count = place_of(acc, where).tiles
        even_, skewed = (
            run(acc, where, step) for step in (work(count), work(count, **(twice if count == 1 else twice | tiles)))
        )
        for one, other in zip(even_, skewed, strict=True):
            assert other.total_ticks > 1.3 * one.total_ticks
            for what in one.actions.keys() - {"vector.max"}:  # a bitonic sort of more ids has more rounds
                allowed = 0.2 if where == "tensor_core" and "vmem" in what else 1e-9
                assert other.actions[what] == pytest.approx(one.actions[what], rel=allowed), (where, what)


def test_rows_pass_the_memories_of_a_core() -> None:
    """A TPU's rows pass CMEM and lie in VMEM, where the adds read them; an SM's come to its shared memory at once."""
    rows, sums = LOOKUPS * ROW, BAGS * ROW
    forward, _ = run(machine("h100_sxm"), "gpu", work())
    assert forward.actions["write.smem"] == pytest.approx(rows + sums + LOOKUPS * 16)
    assert forward.actions["read.smem"] == pytest.approx(rows + sums + LOOKUPS * 4)
    forward, backward = run(machine("tpu_v4"), "tensor_core", work())
    assert forward.actions["read.cmem"] == forward.actions["write.cmem"] == pytest.approx(rows + LOOKUPS * 16)
    ids = LOOKUPS  # of a core: half of those of its samples and of those that it serves
    levels = math.log2(ids)
    sorted_bytes = 2 * ids * levels * (levels + 1) / 2 * 4
    assert forward.actions["write.vmem"] == pytest.approx(rows + sums + LOOKUPS * 16 + sorted_bytes)
    assert forward.actions["read.vmem"] == pytest.approx(rows + sums + LOOKUPS * 4 + sorted_bytes)
    # Gradients of bags, then of lookups; rows and state, twice each of 512 bytes.
    assert backward.actions["read.cmem"] == pytest.approx(sums + rows + LOOKUPS * 4 + 4 * rows)


def test_rates_of_places_are_those_that_bind_a_row() -> None:
    """Memory, network and adders of a chip in closed form, with 50 GB/s to the others of its slice."""
    acc = machine("tpu_v4")
    share = dram_access(RandomRows(256, 2**40 // 256), "hbm2_2400").efficiency
    elements = {"sparse_core": 64 * 8 * 1050e6, "tensor_core": 2 * 2048 * 1050e6, "host": 48 * 16 * 2e9 / 4,
                "variable_server": 48 * 16 * 2e9 / 2}  # fmt: skip
    memory = {"sparse_core": 1200e9 * share, "tensor_core": 2 * 512 * 1050e6 / 9.5, "host": 256e9 / 4,
              "variable_server": 256e9 / 2}  # fmt: skip
    network = {"sparse_core": 50e9, "tensor_core": 50e9, "host": 16e9, "variable_server": 6.25e9}
    granules = {"sparse_core": 32, "tensor_core": 512, "host": 64, "variable_server": 64}
    for where in memory:
        found = place_of(acc, where).rates(50e9)
        beside = {"host": acc.host, "variable_server": acc.data_center}.get(where)
        random = beside.random_efficiency if beside else 1.0
        assert found.memory_bytes_per_s == pytest.approx(memory[where] * random)
        assert found.network_bytes_per_s == pytest.approx(network[where])
        assert found.granule_bytes == granules[where]
        assert found.elements_per_s <= elements[where] * (1 + 1e-9)
    assert place_of(acc, "host").rates(2e9).network_bytes_per_s == pytest.approx(2e9)
    found = place_of(machine("h100_sxm"), "gpu").rates(450e9)
    random = dram_access(RandomRows(256, 2**40 // 256), "hbm3").efficiency
    assert (found.memory_bytes_per_s, found.network_bytes_per_s) == pytest.approx((3.35e12 * random, 450e9))

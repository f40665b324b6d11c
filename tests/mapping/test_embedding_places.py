"""Places for embeddings without embedding units: bytes, binding resources in closed form, and laws."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim.config.machine import Accelerator
from accsim.embedding.imbalance import Imbalance
from accsim.embedding.work import Exchange, StackWork, StepWork
from accsim.engine.counters import Counters
from accsim.engine.dram import RandomRows, dram_access
from accsim.engine.run import run_program
from accsim.errors import InputError
from accsim.mapping.sparse_core import PLACES, unit_programs

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
    programs = unit_programs(acc, work(64), where)
    names = {r.name for program in (programs.forward, programs.backward) for r in program.resources}
    assert programs.where == where
    assert acc.main_memory.name in names & set(programs.shared)


@given(st.sampled_from(sorted(PLACES)), st.floats(0.001, 1.0), st.floats(1.0, 8.0))
@settings(max_examples=60, deadline=None)
def test_more_samples_never_take_less_time(where: str, scale: float, factor: float) -> None:
    acc = machine("h100_sxm" if where == "gpu" else "tpu_v4")
    few, many = (run(acc, where, work(64, s)) for s in (scale / 8, scale / 8 * factor))
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

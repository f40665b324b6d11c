"""Weights loaded while the op before runs: traces worked out by hand, what forbids it, and laws of every report."""

from __future__ import annotations

import json
from functools import cache

import pytest

import accsim
from accsim.config.machine import Accelerator
from accsim.mapping.base import Dataflow, Step
from accsim.workload.ops import Attention, Gemm, Op, Softmax
from accsim.workload.trace import Entry, Workload
from tests.report.shipped import PAIRS, SMALL, report

pairs = pytest.mark.parametrize(("machine", "workload"), PAIRS, ids=lambda value: str(value))

# One tile of 128 x 128 x 128 on a 128 x 128 array, operands of 32 KiB through one port of 128 B/cycle, latency 100:
# two loads of 256 cycles, 100 until the tiles are there, 2 R + C + T - 2 = 510 of the array, and a store of 256 whose
# end is seen 100 later: 1478. With B there already, one load less.
TILE = accsim.OutputStationary(128, 128, 128, "mn", False, 1, 1)
ALONE, EARLY = 256 + 256 + 100 + 510 + 256 + 100, 256 + 100 + 510 + 256 + 100
OP = Gemm(128, 128, 128)


def machine(**changes: str) -> Accelerator:
    """systolic_128 with a main memory of 128 bytes a cycle, or of another rate."""
    given = {"memories.dram.read_bandwidth": "128 GB/s"} | {key.replace("__", "."): v for key, v in changes.items()}
    return accsim.load_accelerator("systolic_128", set=given)


def trace(*entries: Entry | Op) -> Workload:
    """A trace of ops or entries, named by their places."""
    found = [item if isinstance(item, Entry) else Entry(item) for item in entries]
    return Workload("trace", tuple(Entry(e.op, e.repeat, f"{e.op.kind}{i}") for i, e in enumerate(found)))


def prefetched(work: Workload, acc: Accelerator, fidelity: str = "tile") -> accsim.Report:
    return accsim.simulate(work, acc, dataflow=TILE, fidelity=fidelity, prefetch_weights=True)


def rows(rep: accsim.Report) -> list[tuple[str, int, bool]]:
    return [(row.op.kind, row.count, bool(row.early)) for row in rep.ops]


# By hand


def test_the_second_of_two_products_starts_with_its_weights() -> None:
    work = trace(OP, OP)
    acc = machine()
    without = accsim.simulate(work, acc, dataflow=TILE)
    rep = prefetched(work, acc)
    assert without.total_cycles == 2 * ALONE
    assert rep.total_cycles == ALONE + EARLY
    assert [row.ticks for row in rep.ops] == [4096 * ALONE, 4096 * EARLY]
    assert rows(rep) == [("gemm", 1, False), ("gemm", 1, True)]
    assert (rep.ops_with_early_weights, without.ops_with_early_weights) == (1, 0)
    # The port of dram worked as long as before: 6 x 256 cycles; bytes and energy stay, but for idle power (none here).
    assert rep.utilization["dram"] * rep.total_cycles == pytest.approx(6 * 256)
    assert rep.actions == without.actions
    assert rep.energy_j == pytest.approx(without.energy_j)
    assert rep.diff(without).by_op == {"gemm0": 256.0}


def test_the_first_op_has_none_before_it() -> None:
    assert rows(prefetched(trace(OP), machine())) == [("gemm", 1, False)]
    # Repeats follow one another: all but the first.
    assert rows(prefetched(trace(Entry(OP, 5)), machine())) == [("gemm", 1, False), ("gemm", 4, True)]


def test_activations_are_never_early() -> None:
    product = Gemm(128, 128, 128, weights=False)
    assert rows(prefetched(trace(OP, product), machine())) == [("gemm", 1, False), ("gemm", 1, False)]


@pytest.mark.parametrize(("capacity", "early"), [("223 KiB", False), ("224 KiB", True)])
def test_room_beside_what_the_op_before_reserves(capacity: str, early: bool) -> None:
    # Three buffers of 2 x 32 KiB, and 32 KiB for the next B.
    rep = prefetched(trace(OP, OP), machine(memories__sram__capacity=capacity))
    assert rep.ops_with_early_weights == early
    assert rep.total_cycles == ALONE + (EARLY if early else ALONE)


@pytest.mark.parametrize(("bandwidth", "early"), [("46 GB/s", False), ("47 GB/s", True)])
@pytest.mark.parametrize("fidelity", ["tile", "analytic"])
def test_main_memory_must_be_idle_long_enough(bandwidth: str, early: bool, fidelity: str) -> None:
    # The port stands still for 710 of the cycles, 100 + 510 + 100. A load takes 712.3 and 697.2.
    rep = prefetched(trace(OP, OP), machine(memories__dram__read_bandwidth=bandwidth), fidelity)
    assert rep.ops_with_early_weights == early


def test_time_before_counts_with_its_own_weights_early_too() -> None:
    # A product whose own first load was early has one load and 256 cycles less: 710 idle cycles as before.
    slow = machine(memories__dram__read_bandwidth="47 GB/s")
    assert rows(prefetched(trace(Entry(OP, 9)), slow)) == [("gemm", 1, False), ("gemm", 8, True)]


@pytest.mark.parametrize(("bandwidth", "early"), [("46 GB/s", False), ("47 GB/s", True)])
def test_so_must_a_middle_memory_and_the_dma(bandwidth: str, early: bool) -> None:
    # Loads pass a middle memory, whose port is the slowest on the way: 712.3 or 697.2 cycles. The DMA, which does one
    # transfer at a time, stands still for 100 + 510 + 100 cycles; dram for far longer than the 256 it is asked for.
    sram, dram = machine().memories
    rate = accsim.load_accelerator("systolic_128", set={"memories.dram.read_bandwidth": bandwidth}).memories[1]
    ports = {"read_bytes_per_s": rate.read_bytes_per_s, "write_bytes_per_s": sram.write_bytes_per_s}
    middle = sram.model_copy(update={"name": "middle", "capacity_bytes": 2**30, **ports})
    acc = machine().model_copy(update={"memories": (sram, middle, dram)})
    rep = prefetched(trace(OP, OP), acc)
    run = rep.ops[0].parts[0].counters
    assert run.total_ticks - run.busy["dram"] > 4096 * 1000
    assert rep.ops_with_early_weights == early


@pytest.mark.parametrize("dataflow", ["flash", "unfused"])
def test_attention_between_products(dataflow: str) -> None:
    attention = Attention(1, 2, 128, 128, 64)
    acc = machine()
    work = trace(OP, attention, OP)
    rep = accsim.simulate(work, acc, dataflow=dataflow, prefetch_weights=True)
    without = accsim.simulate(work, acc, dataflow=dataflow)
    assert rows(rep) == [("gemm", 1, False), ("gemm", 1, True), ("attention", 1, False)]
    product, early, between = rep.ops
    assert between.ticks == without.ops[1].ticks
    assert product.ticks == without.ops[0].ticks
    # One tile of B is the whole of it, 32 KiB: 256 cycles, however A is tiled.
    assert product.ticks - early.ticks <= 4096 * 256
    assert rep.total_cycles == without.total_cycles - (product.ticks - early.ticks) / 4096


def test_layers_are_rounds() -> None:
    # Product, softmax, product, softmax, ...: each product but the first comes after a softmax, which has the time.
    layers = trace(Entry(OP, 12), Entry(Softmax(128, 128), 12))
    assert rows(prefetched(layers, machine())) == [("gemm", 1, False), ("gemm", 11, True), ("softmax", 12, False)]


class Nothing(Dataflow):
    """Takes no time."""

    kinds = ("softmax",)

    def steps(self, op: Op, acc: Accelerator) -> tuple[Step, ...]:
        del op, acc
        return ()


def test_an_op_without_programs_has_no_time_to_spare() -> None:
    rep = accsim.simulate(trace(Softmax(4, 4), OP), machine(), dataflow=Nothing(), prefetch_weights=True)
    assert rep.ops_with_early_weights == 0


# Fidelities, what-ifs, plain data


def test_the_array_emulated() -> None:
    rep = prefetched(trace(OP, OP), machine(), "cycle")
    assert rep.total_cycles == ALONE + EARLY


def test_what_if_decides_again() -> None:
    work = trace(Entry(OP, 4))
    rep = prefetched(work, machine())
    assert rep.what_if({}).to_dict() == rep.to_dict()
    # A port three times as slow takes 768 for a load, and is idle for 710.
    slow = rep.what_if({"dram": 1 / 3})
    assert slow.prefetch_weights
    assert slow.ops_with_early_weights == 0
    assert slow.what_if({"dram": 3.0}).to_dict() == rep.to_dict()
    searched = rep.what_if({"dram": 2.0}, search=True)
    assert (searched.prefetch_weights, searched.ops_with_early_weights) == (True, 3)


def test_events_of_both_rows() -> None:
    rep = accsim.simulate(trace(OP, OP), machine(), dataflow=TILE, events=True, prefetch_weights=True)
    loads = {name: [e for e in events if e.stage == "load_b"] for name, events in rep.events.items()}
    (late,), (early,) = loads["gemm0"], loads["gemm0 (weights early)"]
    assert (late.start, late.end) == (4096 * 256, 4096 * 512)
    assert early.start == early.end == 4096 * 256


def test_plain_data_and_text() -> None:
    rep = prefetched(trace(OP, OP), machine())
    data = json.loads(json.dumps(rep.to_dict(), allow_nan=False))
    assert (data["prefetch_weights"], data["ops_with_early_weights"]) == (True, 1)
    assert [op["weights_early"] for op in data["ops"]] == [False, True]
    assert "early: the first load_b is done while the op before runs" in rep.program


# Laws


@cache
def early_report(machine: str, workload: str, fidelity: str = "tile") -> accsim.Report:
    return accsim.simulate(SMALL[workload], machine, fidelity=fidelity, prefetch_weights=True)


@pairs
def test_never_slower_and_the_same_work(machine: str, workload: str) -> None:
    rep, without = early_report(machine, workload), report(machine, workload)
    assert rep.total_cycles <= without.total_cycles
    assert rep.actions == pytest.approx(without.actions, rel=1e-12)
    assert rep.memory == without.memory
    assert sum(rep.critical_path.values()) == pytest.approx(rep.total_cycles, rel=1e-12)
    for name, share in rep.utilization.items():
        assert share <= 1
        assert share * rep.total_cycles == pytest.approx(without.utilization[name] * without.total_cycles)
    counts: dict[Op, int] = {}
    for row in rep.ops:
        counts[row.op] = counts.get(row.op, 0) + row.count
    assert counts == dict(rep.workload.distinct_ops())
    assert sum(rep.diff(without).by_op.values()) == pytest.approx(without.total_cycles - rep.total_cycles, abs=1e-3)


@pairs
def test_analytic_is_never_above_tile(machine: str, workload: str) -> None:
    bound, rep = early_report(machine, workload, "analytic"), early_report(machine, workload)
    assert [(row.op, row.count, row.early) for row in bound.ops] == [(row.op, row.count, row.early) for row in rep.ops]
    assert bound.total_cycles <= rep.total_cycles


def test_some_of_them_are_early() -> None:
    assert sum(early_report(*pair).ops_with_early_weights > 0 for pair in PAIRS) > len(PAIRS) / 2

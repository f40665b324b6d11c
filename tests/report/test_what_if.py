"""What-ifs and differences: identities, monotony, and the next bound."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim.engine.inner import programs_within
from accsim.workload.ops import Attention, Elementwise, Gemm
from tests.report.shipped import PAIRS, report

pairs = pytest.mark.parametrize(("machine", "workload"), PAIRS, ids=lambda value: str(value))
LOW = Gemm(16, 4096, 4096, name="thin")
"""Bound by memory on every machine."""


def resources(rep: accsim.Report) -> list[str]:
    programs = [program for row in rep.ops for step in row.steps for program in programs_within(step.program)]
    # An SM is as fast as what is in it.
    return sorted({r.name for program in programs for r in program.resources} - {"sm"})


@pairs
def test_as_fast_as_before_is_the_same(machine: str, workload: str) -> None:
    rep = report(machine, workload)
    same = rep.what_if(dict.fromkeys(resources(rep), 1.0))
    assert same.total_cycles == rep.total_cycles
    assert same.critical_path == rep.critical_path
    assert same.energy_j == rep.energy_j
    assert rep.what_if({}).to_dict() == rep.to_dict()


@given(pair=st.sampled_from(PAIRS), data=st.data())
@settings(max_examples=25)
def test_faster_is_never_slower(pair: tuple[str, str], data: st.DataObject) -> None:
    rep = report(*pair)
    names = data.draw(st.lists(st.sampled_from(resources(rep)), min_size=1, max_size=3, unique=True))
    factor = data.draw(st.floats(1, 100))
    faster, slower = rep.what_if(dict.fromkeys(names, factor)), rep.what_if(dict.fromkeys(names, 1 / factor))
    assert faster.total_cycles <= rep.total_cycles <= slower.total_cycles
    # The same work in all of them, and no more than the factor is won or lost.
    assert faster.actions == rep.actions == slower.actions
    assert slower.total_cycles <= rep.total_cycles * factor * (1 + 1e-6) + 1e4
    assert [row.mapping for row in faster.ops] == [row.mapping for row in rep.ops]


@pytest.mark.parametrize(
    ("machine", "main"), [("tpu_v4", "hbm"), ("h100_sxm", "hbm"), ("flat_cloud", "dram"), ("systolic_128", "dram")]
)
def test_infinitely_fast_memory_is_never_the_bound(machine: str, main: str) -> None:
    rep = accsim.simulate(LOW, machine)
    assert rep.bound_by.startswith(f"{main}/")
    free = rep.what_if({main: math.inf})
    assert free.total_cycles < rep.total_cycles
    assert not free.bound_by.startswith(f"{main}/")
    # Ports of that memory take no time any more; its latency stays.
    assert {key for key in free.critical_path if key.startswith(f"{main}/")} <= {f"{main}/latency"}
    assert all(free.utilization[name] == 0 for name in resources(rep) if name.startswith(main))


def test_twice_the_bandwidth_halves_a_copy() -> None:
    # With the ports of sg out of the way; what-ifs go on from what-ifs.
    machine = accsim.load_accelerator("flat_edge", set={"memories.dram.latency": "0 ns"})
    rep = accsim.simulate(Elementwise(2**24, "copy"), machine).what_if({"sg": math.inf})
    twice = rep.what_if({"dram": 2.0})
    assert twice.total_cycles == pytest.approx(rep.total_cycles / 2, rel=0.02)
    assert rep.what_if({"dram": 0.5}).total_cycles == pytest.approx(rep.total_cycles * 2, rel=0.02)


def test_a_memory_stands_for_all_of_its_ports() -> None:
    rep = accsim.simulate(Attention(1, 4, 512, 512, 64), "flat_edge", dataflow="flat")
    assert rep.what_if({"sg": 3.0}).to_dict() == rep.what_if({"sg_read": 3.0, "sg_write": 3.0}).to_dict()


def test_with_search_the_mapping_may_change() -> None:
    rep = accsim.simulate(LOW, "flat_cloud")
    searched = rep.what_if({"dram": 4.0}, search=True)
    assert searched.total_cycles <= rep.what_if({"dram": 4.0}).total_cycles + 1e-3
    assert searched.accelerator.main_memory.read_bytes_per_s == 4 * rep.accelerator.main_memory.read_bytes_per_s
    assert searched.ops[0].searched > 1


@pytest.mark.parametrize(
    ("faster", "search", "fragments"),
    [
        ({"hmb": 2.0}, False, ["unknown resource 'hmb'", "Did you mean 'hbm'?"]),
        ({"hbm": 0.0}, False, ["what_if.hbm: read 0.0, allowed is a factor above 0"]),
        ({"hbm": -1.0, "vmen": 2.0}, False, ["read -1.0", "unknown resource 'vmen'"]),
        ({"hbm": math.nan}, False, ["read nan, allowed is a factor above 0"]),
        ({"matrix": 2.0}, True, ["what_if.matrix: with search, allowed are the memories of the machine"]),
    ],
)
def test_bad_what_if(faster: dict[str, float], search: bool, fragments: list[str]) -> None:
    with pytest.raises(accsim.InputError) as caught:
        report("tpu_v4", "bert_base").what_if(faster, search=search)
    assert all(fragment in str(caught.value) for fragment in fragments)
    assert len(caught.value.problems) == len(faster)


# Differences


@pytest.mark.parametrize("workload", ["bert_base", "attention_layer", "llama3_8b_decode"])
def test_difference_is_antisymmetric(workload: str) -> None:
    a, b = report("tpu_v4", workload), report("systolic_128", workload)
    there, back = a.diff(b), b.diff(a)
    scale = a.accelerator.clock_hz / b.accelerator.clock_hz
    assert scale != 1
    assert there.total_cycles / a.accelerator.clock_hz == pytest.approx(b.latency_s - a.latency_s)
    assert there.total_cycles == pytest.approx(-back.total_cycles * scale)
    assert there.speedup * back.speedup == pytest.approx(1)
    for name in ("by_op", "by_cause", "by_op_cause"):
        forward, backward = getattr(there, name), getattr(back, name)
        assert forward == pytest.approx({key: -cycles * scale for key, cycles in backward.items()})
        assert sum(forward.values()) == pytest.approx(there.total_cycles)
        sizes = [abs(cycles) for cycles in forward.values()]
        assert sizes == sorted(sizes, reverse=True)


def test_no_difference() -> None:
    rep = report("flat_edge", "bert_base")
    same = rep.diff(rep)
    assert (same.total_cycles, same.speedup) == (0, 1)
    assert not any(same.by_op.values())
    assert str(same).splitlines()[0] == "+0 cycles (1.000 x as fast)"


def test_difference_names_the_op_and_the_cause() -> None:
    op = Attention(1, 4, 512, 512, 64)
    unfused, flash = (accsim.simulate(op, "flat_cloud", dataflow=name) for name in ("unfused", "flash"))
    change = unfused.diff(flash)
    assert change.total_cycles < 0
    assert change.speedup > 1
    assert change.total_cycles == flash.total_cycles - unfused.total_cycles
    assert change.by_op == {"attention": change.total_cycles}
    assert change.by_op_cause == {f"attention: {cause}": cycles for cause, cycles in change.by_cause.items()}
    assert "attention" in str(change)

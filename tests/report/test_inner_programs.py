"""Reports of programs whose stages stand for inner programs: causal attention on the pool of an H100's SMs."""

from __future__ import annotations

import json
import math
from functools import cache
from math import ceil

import pytest

import accsim
from accsim.engine.inner import programs_within
from accsim.errors import InputError
from accsim.report.describe import describe_row
from accsim.report.early_weights import _idle
from tests.report.test_trace_events import bars, check_rules, threads

ROW, BLOCK = 128, 64
OP = accsim.Attention(2, 16, 1024, 1024, 128, causal=True)
MAPPING = accsim.Flash(ROW, BLOCK, True)
GEMM = accsim.Gemm(m=2048, n=2048, k=2048, name="after")
SMS, CLOCK = 132, 1.83e9
"""256 tiles of 2 to 16 blocks."""


@cache
def causal(events: bool = False) -> accsim.Report:
    return accsim.simulate(OP, "h100_sxm", dataflow=MAPPING, events=events)


def padded_macs() -> int:
    """MACs of whole tiles, counted tile by tile."""
    blocks = sum(ceil((first + ROW) / BLOCK) for first in range(0, OP.q_len, ROW)) * OP.batch * OP.heads
    return 2 * blocks * ROW * BLOCK * OP.head_dim


def test_shares_of_the_time_are_those_of_work_and_bytes() -> None:
    rep = causal()
    # 2048 MACs a cycle on each SM; every byte of main memory once, through its one port.
    assert rep.utilization["matrix"] == pytest.approx(padded_macs() / 2048 / SMS / rep.total_cycles)
    assert rep.compute_cycles == pytest.approx(padded_macs() / 2048 / SMS)
    moved = (OP.input_bytes + OP.output_bytes) / (3.35e12 * 0.855 / CLOCK)
    assert rep.utilization["hbm"] == pytest.approx(moved / rep.total_cycles, rel=1e-5)
    assert rep.utilization["vector"] < rep.utilization["sm"] < 1
    assert sum(rep.critical_path.values()) == pytest.approx(rep.total_cycles)
    assert {key.partition("/")[0] for key in rep.critical_path} <= {*rep.utilization, "overhead"} - {"sm"}
    for name, causes in rep.stalls.items():
        assert rep.utilization[name] + sum(causes.values()) / rep.total_cycles <= 1 + 1e-9


def test_a_trace_weighs_pools_and_single_copies_alike() -> None:
    two = accsim.Workload("two", (accsim.load_workload(OP).entries[0], accsim.load_workload(GEMM).entries[0]))
    rep = accsim.simulate(two, "h100_sxm", dataflow=MAPPING)
    each = [accsim.simulate(op, "h100_sxm", dataflow=MAPPING if op is OP else None) for op in (OP, GEMM)]
    assert rep.total_cycles == sum(one.total_cycles for one in each)
    for name in ("matrix", "hbm", "vector", "smem_read"):
        busy = sum(one.utilization[name] * one.total_cycles for one in each)
        assert rep.utilization[name] == pytest.approx(busy / rep.total_cycles)
        waits = sum(sum(one.stalls[name].values()) for one in each)
        assert sum(rep.stalls[name].values()) == pytest.approx(waits)
    assert rep.compute_cycles == pytest.approx(sum(one.compute_cycles for one in each))
    assert sum(rep.diff(each[0]).by_cause.values()) == pytest.approx(each[0].total_cycles - rep.total_cycles)


@pytest.mark.parametrize(
    ("faster", "machine"),
    [
        ({"hbm": 2.0}, {"memories.hbm.read_bandwidth": "6.7 TB/s", "memories.hbm.write_bandwidth": "6.7 TB/s"}),
        ({"matrix": 2.0}, {"matrix_unit.count": 8}),
        ({"vector": 0.5}, {"vector_unit.lanes": 64}),
    ],
    ids=["hbm", "matrix", "vector"],
)
def test_a_faster_resource_inside_is_that_of_a_faster_machine(
    faster: dict[str, float], machine: dict[str, object]
) -> None:
    rep = causal()
    other = accsim.simulate(OP, accsim.load_accelerator("h100_sxm", set=machine), dataflow=MAPPING, power_cap=False)
    changed = rep.what_if(faster)
    assert changed.total_cycles == pytest.approx(other.total_cycles, rel=1e-6)
    assert changed.critical_path == pytest.approx(other.critical_path, rel=1e-3, abs=1)
    assert changed.actions == rep.actions
    assert (changed.total_cycles < rep.total_cycles) == (min(faster.values()) > 1)


def test_what_is_in_a_pool_can_be_faster_and_not_the_pool() -> None:
    rep = causal()
    assert rep.what_if({}).to_dict() == rep.to_dict()
    free = rep.what_if(dict.fromkeys(("hbm", "l2", "smem", "dma", "matrix", "vector"), math.inf))
    # What is left is the latency of loads, a whole number of them, and the launch of the op.
    assert all(key.endswith("/latency") or key == "overhead/op" for key in free.critical_path)
    loads = (free.total_cycles - 2.65e-6 * CLOCK) / (440e-9 * CLOCK)
    assert loads == pytest.approx(round(loads), rel=1e-5)
    with pytest.raises(InputError, match="unknown resource 'sm', allowed are dispatch, dma, hbm"):
        rep.what_if({"sm": 2.0})


def test_analytic_is_below_tile_and_counts_the_same() -> None:
    bound = accsim.simulate(OP, "h100_sxm", dataflow=MAPPING, fidelity="analytic")
    rep = causal()
    assert 0.9 * rep.total_cycles < bound.total_cycles <= rep.total_cycles
    assert bound.actions == pytest.approx(rep.actions)
    assert sum(bound.critical_path.values()) == pytest.approx(bound.total_cycles)
    assert not any(key.startswith("sm/") for key in bound.critical_path)


def test_buffers_of_all_sms_are_part_full() -> None:
    use = causal().occupancy
    assert set(use) == {f"attention.sm.{name}" for name in ("q", "k", "v", "scores", "out")}
    assert all(0 < share["average"] < share["peak"] == 1 for share in use.values())
    # A tile's sums are held from its launch to its end.
    assert use["attention.sm.out"]["average"] == pytest.approx(
        causal().utilization["sm"] * causal().total_cycles / (causal().total_cycles - 2.65e-6 * CLOCK), rel=0.02
    )


def test_events_are_of_all_tiles_and_inside_those_of_one_sm() -> None:
    events = causal(events=True).events["attention"]
    tiles = [event for event in events if "/" not in event.stage]
    inside = [event for event in events if "/" in event.stage]
    assert len(tiles) == 256
    ends = sorted((event.start, event.end) for event in tiles if event.stage in {e.stage.split("/")[0] for e in inside})
    assert inside[0].stage == "tile_16/launch"
    for event in inside:
        assert any(start <= event.start <= event.end <= end for start, end in ends)
    finishes = [event.end for event in inside if event.stage.endswith("/finish")]
    assert finishes[0] == tiles[0].end
    assert finishes == sorted(finishes)
    # One SM has at most one tile at a time: they follow one another without a gap.
    assert len(finishes) in (1, 2, 3)
    assert causal().events["attention"] == ()


def test_a_trace_shows_every_sm_and_the_inside_of_one() -> None:
    events = causal().trace_events()
    check_rules(events)
    names = threads(events)
    assert {f"sm {number}" for number in range(SMS)} < set(names)
    stages = {event["name"] for event in bars(events)[names["matrix"]]}
    assert stages == {"logit", "attend"}
    ends = [e["ts"] + e["dur"] for e in bars(events)[names["sm 0"]]]
    assert max(e["ts"] + e["dur"] for e in bars(events)[names["matrix"]]) <= max(ends)


def test_a_timeline_shows_the_inside_of_one_sm() -> None:
    axes = causal().plot_timeline().axes[0]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == ["matrix", "vector", "dma", "sm", "smem_read", "l2_read", "hbm"]
    assert "on the first server" in axes.get_title(loc="left") + "".join(t.get_text() for t in axes.texts)


def test_the_nest_has_the_tiles_and_one_inner_program() -> None:
    text = causal().program
    assert text.count("stands for a run of 'flash thread blocks pipelined'") == 8
    assert text.count("inside tile_16, 7 more alike, to tile_2: flash thread blocks pipelined, hbm shared by 132") == 1
    assert text.count("softmax") == 2
    assert "for key in [0:17)" in text


def test_a_description_has_all_inner_programs() -> None:
    (program,) = json.loads(json.dumps(describe_row(causal().ops[0])))["programs"]
    inside = [stage["inner"] for stage in program["stages"]]
    assert [one["levels"][1]["trips"] for one in inside] == [blocks + 1 for blocks in range(16, 0, -2)]
    assert all(one["shares"] == {"hbm": 132, "l2_read": 132, "l2_write": 132} for one in inside)
    assert [one["cycles"] for one in inside] == sorted((one["cycles"] for one in inside), reverse=True)


def test_room_and_time_that_a_pool_leaves() -> None:
    row = causal().ops[0]
    program, run = row.steps[0].program, row.parts[0].counters
    inner = max(programs_within(program), key=lambda p: len(p.buffers))
    memories = {buffer.memory for buffer in inner.buffers}
    assert all(program.reserved_bytes(name) == inner.reserved_bytes(name) > 0 for name in memories)
    assert memories
    # The average SM's DMA has no stage on it for as long as it is neither at work nor held.
    held = sum(ticks for cause, ticks in run.stalls["dma"].items() if cause.startswith("held:"))
    assert _idle(run, "dma") == run.total_ticks - (run.busy["dma"] + held) // SMS
    assert 0 < _idle(run, "dma") < run.total_ticks

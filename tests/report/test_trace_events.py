"""The trace: rules of the Trace Event Format, and what it shows."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import pytest

import accsim
from accsim.report.trace_events import MOST_ENTRIES, MOST_FIRINGS, MOST_IN_ALL, trace_text
from accsim.workload.trace import Entry
from tests.report.shipped import PAIRS, report

Event = dict[str, Any]
MODELS = ("attention_layer", "bert_base", "llama3_8b_decode")
pairs = pytest.mark.parametrize(("machine", "workload"), [pair for pair in PAIRS if pair[1] in MODELS])


def check_rules(events: list[Event]) -> None:
    """Fail unless events keep the format's rules."""
    assert {event["ph"] for event in events} <= set("MXsfC")
    assert all(isinstance(event["pid"], int) and isinstance(event["ts"], int | float) for event in events)
    kinds = [event["ph"] == "M" for event in events]
    assert kinds == sorted(kinds, reverse=True), "metadata comes first"
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)
    check_names(events)
    check_nesting(events)
    check_flows(events)
    check_counters(events)


def bars(events: list[Event]) -> dict[int, list[Event]]:
    """Complete events of each thread."""
    found: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            found[event["tid"]].append(event)
    return found


def threads(events: list[Event]) -> dict[str, int]:
    """Name of each thread to its number."""
    return {e["args"]["name"]: e["tid"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}


def check_names(events: list[Event]) -> None:
    assert sum(event["name"] == "process_name" for event in events) == 1
    named = [event["tid"] for event in events if event["name"] == "thread_name"]
    placed = [event["args"]["sort_index"] for event in events if event["name"] == "thread_sort_index"]
    assert len(set(named)) == len(named) == len(threads(events)) == len(set(placed))
    assert {event["tid"] for event in events if event["ph"] in "Xsf"} == set(named)


def check_nesting(events: list[Event]) -> None:
    """Bars of a thread lie beside or within each other, and come after those they lie within.

    So they do for viewers that add in floating point and for those that first round to nanoseconds.
    """
    for of_thread in bars(events).values():
        nested([(e["ts"], e["ts"] + e["dur"]) for e in of_thread])
        nested([(round(e["ts"] * 1000), round(e["ts"] * 1000) + round(e["dur"] * 1000)) for e in of_thread])


def nested(spans: list[tuple[float, float]]) -> None:
    stack: list[float] = []
    for start, end in spans:
        assert end > start
        while stack and stack[-1] <= start:
            stack.pop()
        assert not stack or end <= stack[-1], (start, end)
        stack.append(end)


def check_flows(events: list[Event]) -> None:
    """Every arrow has a start and then an end, each at the start of a bar of its thread."""
    starts = {(event["tid"], event["ts"]) for event in events if event["ph"] == "X"}
    open_flows: dict[int, Event] = {}
    ids = Counter(event["id"] for event in events if event["ph"] in "sf")
    assert set(ids.values()) <= {2}
    for event in events:
        if event["ph"] == "s":
            open_flows[event["id"]] = event
        elif event["ph"] == "f":
            begun = open_flows.pop(event["id"])
            assert (begun["name"], begun["cat"]) == (event["name"], event["cat"])
            assert event["bp"] == "e"
        if event["ph"] in "sf":
            assert (event["tid"], event["ts"]) in starts
    assert not open_flows


def check_counters(events: list[Event]) -> None:
    last: dict[tuple[str, str], int] = {}
    for event in events:
        if event["ph"] == "C":
            series = ["slots"] if event["name"].startswith("buffer ") else ["read", "write"]
            assert list(event["args"]) == series
            for name, value in event["args"].items():
                assert isinstance(value, int)
                assert value >= 0
                last[event["name"], name] = value
    assert not any(last.values()), "what is held is given back, and what is moved has arrived"


@pairs
def test_rules_of_the_format(machine: str, workload: str) -> None:
    rep = report(machine, workload)
    events = rep.trace_events()
    check_rules(events)
    assert json.loads("".join(trace_text(events, rep)))["traceEvents"] == json.loads(json.dumps(events))


@pytest.mark.parametrize("broken", ["order", "overlap", "flow", "thread", "counter buffer", "counter bandwidth"])
def test_the_rules_see_what_is_wrong(broken: str) -> None:
    events = [dict(event) for event in report("flat_edge", "attention_layer").trace_events()]
    by_phase = {phase: [i for i, event in enumerate(events) if event["ph"] == phase] for phase in "XsC"}
    if broken == "order":
        events.append(events.pop(by_phase["X"][0]))
    elif broken == "overlap":
        row = next(found for found in bars(events).values() if len(found) > 2 and found[0]["cat"] == "stage")
        row[0]["dur"] += row[1]["ts"] + row[1]["dur"] / 2 - row[0]["ts"] - row[0]["dur"]
    elif broken == "flow":
        del events[by_phase["s"][0]]
    elif broken == "thread":
        events[by_phase["X"][-1]]["tid"] = 999
    else:
        kind = broken.removeprefix("counter ")
        last = next(i for i in reversed(by_phase["C"]) if events[i]["name"].startswith(kind))
        events[last]["args"] = dict.fromkeys(events[last]["args"], 1)
    with pytest.raises(AssertionError):
        check_rules(events)


@pairs
def test_ops_fill_the_time(machine: str, workload: str) -> None:
    rep = report(machine, workload)
    events = rep.trace_events()
    outer = [e for e in bars(events)[threads(events)["ops"]] if "kind" in e["args"]]
    assert [e["name"].partition(" x ")[0] for e in outer] == [entry.name for entry in rep.workload.entries]
    assert outer[0]["ts"] == 0
    for before, after in pairwise(outer):
        assert before["ts"] + before["dur"] == pytest.approx(after["ts"], abs=1e-5)
    assert outer[-1]["ts"] + outer[-1]["dur"] == pytest.approx(rep.latency_s * 1e6, rel=1e-9, abs=1e-3)


@dataclass(frozen=True)
class LoadAndMultiply(accsim.Dataflow):
    """Three tiles of one cycle to load and two to multiply, two slots; on ``servers`` multipliers."""

    kinds: ClassVar[tuple[str, ...]] = ("gemm",)
    servers: int = 1

    def steps(self, *_: object) -> tuple[accsim.Step, ...]:
        p = accsim.ProgramBuilder("load and multiply")
        p.level("tile", 3)
        p.resource("dma"), p.resource("port"), p.resource("multiplier", servers=self.servers)
        p.buffer("a", slots=2)
        cycle = accsim.TICKS_PER_CYCLE
        p.stage(accsim.Stage("load", "dma", cycle, rates=(("port", cycle // 2),), acquires=(accsim.Hold("a"),)))
        p.stage(
            accsim.Stage(
                "multiply", "multiplier", 2 * cycle, after=(accsim.After("load"),), releases=(accsim.Hold("a"),)
            )
        )
        return (accsim.Step(p.build()),)


def by_hand(servers: int = 1, repeat: int = 1) -> accsim.Report:
    """Its report on a machine of 1 MHz, where a cycle is a microsecond."""
    slow = accsim.load_accelerator("flat_edge", set={"clock": "1 MHz"})
    work = accsim.Workload("by hand", (Entry(accsim.Gemm(4, 4, 4), repeat=repeat),))
    return accsim.simulate(work, slow, dataflow=LoadAndMultiply(servers))


def spans(events: list[Event], thread: str) -> list[tuple[str, float, float]]:
    """Name, start and end of a thread's bars, to a nanosecond."""
    return [(e["name"], e["ts"], round(e["ts"] + e["dur"], 3)) for e in bars(events)[threads(events)[thread]]]


def test_worked_out_by_hand() -> None:
    # Load 2 takes the slot that multiply 0 gives back at 3.
    events = by_hand().trace_events()
    check_rules(events)
    assert spans(events, "ops") == [("gemm", 0, 7)]
    assert spans(events, "dma") == [("load", 0, 1), ("load", 1, 2), ("load", 3, 4)]
    assert spans(events, "port") == [("load", 0, 0.5), ("load", 1, 1.5), ("load", 3, 3.5)]
    assert spans(events, "multiplier") == [("multiply", 1, 3), ("multiply", 3, 5), ("multiply", 5, 7)]
    arrows = {phase: [e["ts"] for e in events if e["ph"] == phase] for phase in "sf"}
    assert arrows == {"s": [0, 1, 3], "f": [1, 3, 5]}
    assert [e["args"].get("cycles") for e in bars(events)[threads(events)["multiplier"]]] == [2, 2, 2]
    held = [(e["ts"], e["args"]["slots"]) for e in events if e["ph"] == "C"]
    assert held == [(0, 1), (1, 2), (3, 2), (5, 1), (7, 0)]


def test_a_pool_has_a_thread_for_each_server() -> None:
    events = by_hand(servers=2).trace_events()
    check_rules(events)
    assert spans(events, "multiplier 0") == [("multiply", 1, 3), ("multiply", 4, 6)]
    assert spans(events, "multiplier 1") == [("multiply", 2, 4)]


SLOW = accsim.load_accelerator("flat_edge", set={"clock": "1 MHz"})
"""Where a cycle is a microsecond, so that a trace rounds next to nothing."""
WHOLE = {
    "flash": accsim.Attention(batch=1, heads=2, q_len=64, kv_len=64, head_dim=32),
    "flat": accsim.Attention(batch=1, heads=2, q_len=64, kv_len=64, head_dim=32),
    "output_stationary": accsim.Gemm(m=128, n=96, k=64),
}


def whole_trace(dataflow: str) -> tuple[accsim.Report, list[Event]]:
    """Return a report of one op, and its trace with all firings."""
    rep = accsim.simulate(WHOLE[dataflow], SLOW, dataflow=dataflow)
    return rep, rep.trace_events(most_firings=10**6)


@pytest.mark.parametrize("dataflow", WHOLE)
def test_bars_of_a_thread_are_its_busy_time(dataflow: str) -> None:
    # A port is held for its own bytes; a unit as long as the slowest, so the stalls `held` are among its bars.
    rep, events = whole_trace(dataflow)
    check_rules(events)
    (row,) = rep.ops
    drawn = {name: bars(events)[number] for name, number in threads(events).items() if name != "ops"}
    busy: dict[str, float] = {}
    for part in row.parts:
        for name, ticks in part.counters.busy.items():
            held = sum(t for cause, t in part.counters.stalls[name].items() if cause.startswith("held:"))
            busy[name] = busy.get(name, 0.0) + (ticks + held) / accsim.TICKS_PER_CYCLE
    assert {name for name, ticks in busy.items() if ticks} == set(drawn)
    for name, found in drawn.items():
        assert sum(bar["dur"] for bar in found) == pytest.approx(busy[name], abs=0.001 * len(found)), name


@pytest.mark.parametrize("dataflow", WHOLE)
def test_the_integral_of_a_bandwidth_is_the_bytes_moved(dataflow: str) -> None:
    rep, events = whole_trace(dataflow)
    for memory, moved in rep.traffic_bytes.items():
        counts = [e for e in events if e["ph"] == "C" and e["name"] == f"bandwidth {memory} (B/s)"]
        for way, size in moved.items():
            spans = [(a["args"][way], (b["ts"] - a["ts"]) * 1e-6) for a, b in pairwise(counts)]
            rounding = sum(rate * 1e-9 + 0.5 * seconds for rate, seconds in spans)
            assert rounding < 0.1 * size + 1
            assert sum(rate * seconds for rate, seconds in spans) == pytest.approx(size, abs=rounding), (memory, way)


def test_repeats_are_one_bar_with_the_first_run_in_it() -> None:
    # In issue order: a multiplication is issued one tile behind its load.
    events = by_hand(repeat=5).trace_events(most_firings=4)
    check_rules(events)
    assert spans(events, "ops") == [("gemm x 5", 0, 35), ("first run", 0, 7), ("first 4 of 6 firings", 0, 4)]
    assert spans(events, "dma") == [("load", 0, 1), ("load", 1, 2), ("load", 3, 4)]
    assert spans(events, "multiplier") == [("multiply", 1, 3)]


def test_a_lower_bound_has_ops_only() -> None:
    events = report("flat_edge", "bert_base", "analytic").trace_events()
    check_rules(events)
    assert list(threads(events)) == ["ops"]


def test_the_size_is_bounded() -> None:
    sizes = range(2_000, 2_060)
    entries = [Entry(accsim.Gemm(size, size, size), name=f"g{size}") for size in sizes]
    entries += [Entry(accsim.Gemm(2_000, 2_000, 2_000), name=f"again{i}", repeat=2) for i in range(MOST_ENTRIES)]
    rep = accsim.simulate(accsim.Workload("long", tuple(entries)), "flat_edge", dataflow="output_stationary")
    firings = sum(sum(part.counters.fires.values()) for row in rep.ops for part in row.parts)
    assert firings > MOST_IN_ALL * MOST_FIRINGS
    events = rep.trace_events()
    check_rules(events)
    shown = [e for e in events if e["ph"] == "X" and "firing" in e["args"]]
    assert MOST_IN_ALL * MOST_FIRINGS // 2 < len(shown) <= MOST_IN_ALL * MOST_FIRINGS
    last = bars(events)[threads(events)["ops"]][-1]
    assert last["name"] == f"{len(sizes)} more entries"
    assert last["ts"] + last["dur"] == pytest.approx(rep.latency_s * 1e6)
    assert len("".join(trace_text(events, rep))) < 8_000_000

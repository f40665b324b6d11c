"""A report as a list of Trace Event Format events, for Perfetto, speedscope and ``chrome://tracing``.

One process is the chip. Its first thread has the ops one after the other, over the whole time of the report; every
resource has a thread with the stages that hold it. Of equal ops the first run is shown by stages, up to a bounded
number of firings, so that the trace of any workload stays small. ``docs/reports.md`` says what is shown and what not.

Source of the format: Trace Event Format, Google, 2016.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from accsim.engine.inner import programs_within
from accsim.engine.program import TICKS_PER_CYCLE, Program
from accsim.report.firings import Firing, bytes_per_tick, first_firings, inner_firings, slots_in_use
from accsim.report.result import SCHEMA_VERSION, OpRow, Report

MOST_FIRINGS = 400
"""Firings that are shown of one program."""

MOST_IN_ALL = 20
"""Firings that are shown of all programs, as a multiple of those of one."""

MOST_ENTRIES = 1_000
"""Entries of the workload that have a bar of their own."""

NS_PER_US = 1_000
"""Times are whole nanoseconds, as Perfetto rounds them."""

GAP_US = 1e-6
"""Bars are this much shorter for each level that they may lie within others, counting the first. Less than any viewer
shows, it keeps bars that touch from overlapping where a viewer adds start and duration in floating point."""

CHIP = 1
OPS = 1
_UNITS = ("matrix", "vector", "dma")
_RANKS = {"X": 0, "s": 1, "f": 2, "C": 3}

Event = dict[str, Any]


def trace_events(report: Report, most_firings: int = MOST_FIRINGS) -> list[Event]:
    """Events in order of time, metadata first; see :meth:`Report.trace_events`."""
    trace = _Trace(report, most_firings)
    trace.draw()
    return [*trace.metadata(), *sorted(trace.events, key=_place)]


def trace_text(events: Iterable[Event], report: Report) -> Iterator[str]:
    """The text of a trace file piece by piece, one event a line."""
    about = {
        "schema_version": SCHEMA_VERSION,
        "machine": report.accelerator.name,
        "workload": report.workload.name,
        "fidelity": report.fidelity,
    }
    yield f'{{"displayTimeUnit": "ns", "otherData": {json.dumps(about)}, "traceEvents": [\n'
    comma = ""
    for event in events:
        yield comma + json.dumps(event, separators=(",", ":"), allow_nan=False)
        comma = ",\n"
    yield "\n]}\n"


def _place(event: Event) -> tuple[float, int, float]:
    """By time; then bars before arrows and counters, and longer bars before those within them."""
    return event["ts"], _RANKS[event["ph"]], -event.get("dur", 0.0)


def resources(report: Report) -> dict[str, int]:
    """All resources of a report's programs with their servers: units first, then the memories' ports, outward.

    Those of inner programs are among them, once: one server of a pool stands for all.
    """
    programs = [part for row in report.ops for step in row.steps for part in programs_within(step.program)]
    units = {stage.unit for program in programs for stage in program.stages}
    memories = [memory.name for memory in report.accelerator.memories]
    servers: dict[str, int] = {}
    for resource in (resource for program in programs for resource in program.resources):
        servers[resource.name] = max(resource.servers, servers.get(resource.name, 1))

    def rank(name: str) -> tuple[bool, int, str]:
        known = list(_UNITS) if name in units else memories
        plain = name if name in units else name.removesuffix("_read").removesuffix("_write")
        return name not in units, known.index(plain) if plain in known else len(known), name

    return {name: servers[name] for name in sorted(servers, key=rank)}


class _Trace:
    """Gathers the events of one report; its methods take ticks from the report's start."""

    def __init__(self, report: Report, most_firings: int) -> None:
        self.report = report
        self.events: list[Event] = []
        self.first_thread: dict[str, int] = {}
        free = OPS + 1
        for name, servers in resources(report).items():
            self.first_thread[name] = free
            free += servers
        self.threads: dict[int, tuple[str, int]] = {}
        self.entries = report.workload.entries[:MOST_ENTRIES]
        self.rows = {row.op.key: row for row in report.ops}
        shown = {entry.op.key for entry in self.entries}
        programs = sum(min(2, len([*programs_within(s.program)])) for key in shown for s in self.rows[key].steps)
        self.most = min(most_firings, max(1, MOST_IN_ALL * most_firings // max(1, programs)))
        self.arrows = 0
        self.ns_per_tick = 1e9 / TICKS_PER_CYCLE / report.accelerator.clock_hz

    def draw(self) -> None:
        """All ops in order, the first run of each distinct one with its stages."""
        seen = set()
        now = 0
        for entry in self.entries:
            row = self.rows[entry.op.key]
            end = now + row.ticks * entry.repeat
            times = f" x {entry.repeat}" if entry.repeat > 1 else ""
            self.bar(OPS, entry.name + times, now, end, _about(row, entry.repeat))
            if row.op.key not in seen:
                seen.add(row.op.key)
                if entry.repeat > 1:
                    self.bar(OPS, "first run", now, now + row.ticks, {}, level=1)
                self.programs(row, now)
            now = end
        rest = self.report.workload.entries[MOST_ENTRIES:]
        if rest:
            ticks = sum(self.rows[entry.op.key].ticks * entry.repeat for entry in rest)
            self.bar(OPS, f"{len(rest):,} more entries", now, now + ticks, {})

    def programs(self, row: OpRow, now: int) -> None:
        """The programs of one run of an op, each after its overhead."""
        for step, part in zip(row.steps, row.parts, strict=True):
            begin = now + part.overhead_ticks
            self.bar(OPS, "overhead", now, begin, {}, level=2)
            now = begin + part.counters.total_ticks
            if len(row.steps) > 1:
                self.bar(OPS, step.program.name, begin, now, {"copies": step.copies}, level=2)
            if self.report.fidelity != "analytic":
                self.firings(step.program, begin, sum(part.counters.fires.values()))

    def firings(self, program: Program, begin: int, in_all: int) -> None:
        """The first firings of a program, and of the inner programs that the first server of a pool runs."""
        found = first_firings(program, self.most)
        self.run(program, found, begin)
        self.bandwidths(found, begin)
        if len(found) < in_all:
            cut = begin + max(firing.end for firing in found)
            self.bar(OPS, f"first {len(found):,} of {in_all:,} firings", begin, cut, {}, level=3)
        for inner, inside in inner_firings(found, self.most):
            self.run(inner, inside, begin)

    def run(self, program: Program, found: list[Firing], begin: int) -> None:
        """Firings of one program: bars on what they hold, arrows between them, slots of buffers in use."""
        names = [level.name for level in program.levels]
        for firing in found:
            start, end = begin + firing.start, begin + firing.end
            place = " ".join(f"{name}={i}" for name, i in zip(names, firing.index, strict=True))
            cycles = (end - start) / TICKS_PER_CYCLE
            args = {"firing": firing.firing, "index": place, "cycles": cycles, "slowest": firing.slowest}
            self.bar(self.thread(firing.stage.unit, firing.server), firing.stage.name, start, end, args)
            for name, ticks in firing.rates:
                self.bar(self.thread(name), firing.stage.name, start, start + ticks, {})
            for producer in firing.producers:
                self.arrow(found[producer], firing, begin)
        self.buffers(program, found, begin)

    def buffers(self, program: Program, found: list[Firing], begin: int) -> None:
        """Slots in use of every buffer, from 0 back to 0 where the shown firings end."""
        first = min((firing.start for firing in found), default=0)
        last = max((firing.finish for firing in found), default=0)
        for buffer in program.buffers:
            name = f"buffer {buffer.name}" + (f" in {buffer.memory}" if buffer.memory else "")
            for at, held in {first: 0, **dict(slots_in_use(buffer.name, found)), last: 0}.items():
                self.counter(name, begin + at, {"slots": held})

    def bandwidths(self, found: list[Firing], begin: int) -> None:
        """Whole bytes a second out of and into each memory."""
        for memory, changes in bytes_per_tick(found).items():
            for at, (read, write) in changes:
                rates = {way: round(rate * 1e9 / self.ns_per_tick) for way, rate in (("read", read), ("write", write))}
                self.counter(f"bandwidth {memory} (B/s)", begin + at, rates)

    def counter(self, name: str, at: int, args: Event) -> None:
        """The values of a counter from a time on."""
        self.events.append({"ph": "C", "pid": CHIP, "ts": self.us(at), "name": name, "args": args})

    def bar(self, thread: int, name: str, start: int, end: int, args: Event, level: int = 0) -> None:
        """A complete event; nothing where it takes no time. ``level``: how many others it may lie within."""
        begin, ns = self.us(start), self.ns(end) - self.ns(start)
        if ns:
            kind = "op" if thread == OPS else "stage"
            times = {"ts": begin, "dur": round(ns / NS_PER_US - (level + 1) * GAP_US, 6)}
            event = {"ph": "X", "pid": CHIP, "tid": thread, **times, "name": name, "cat": kind, "args": args}
            self.events.append(event)

    def arrow(self, producer: Firing, consumer: Firing, begin: int) -> None:
        """A flow from one bar to another; both ends lie at the start of their bars, so that they bind to them."""
        ends = [("s", producer), ("f", consumer)]
        if any(self.ns(begin + firing.end) == self.ns(begin + firing.start) for _, firing in ends):
            return
        self.arrows += 1
        for phase, firing in ends:
            thread = self.thread(firing.stage.unit, firing.server)
            event = {"ph": phase, "pid": CHIP, "tid": thread, "ts": self.us(begin + firing.start), "id": self.arrows}
            self.events.append({**event, "name": "data", "cat": "data", **({"bp": "e"} if phase == "f" else {})})

    def thread(self, resource: str, server: int = 0) -> int:
        """Number of the thread of a resource, or of one server of a pool."""
        number = self.first_thread[resource] + server
        self.threads[number] = (resource, server)
        return number

    def metadata(self) -> Iterator[Event]:
        """Names of the process and of the threads that have bars, and the order of these."""

        def named(kind: str, thread: int, **args: object) -> Event:
            return {"ph": "M", "pid": CHIP, "tid": thread, "ts": 0, "name": kind, "args": args}

        yield named("process_name", 0, name=f"{self.report.accelerator.name}: {self.report.workload.name}")
        yield named("thread_name", OPS, name="ops")
        yield named("thread_sort_index", OPS, sort_index=OPS)
        pools = {name for name, server in self.threads.values() if server}
        drawn = {event["tid"] for event in self.events if event["ph"] == "X"}
        for number, (name, server) in sorted(self.threads.items()):
            if number not in drawn:
                continue
            yield named("thread_name", number, name=f"{name} {server}" if name in pools else name)
            yield named("thread_sort_index", number, sort_index=number)

    def ns(self, ticks: int) -> int:
        """Whole nanoseconds."""
        return round(ticks * self.ns_per_tick)

    def us(self, ticks: int) -> float:
        """Microseconds, the unit of the format."""
        return self.ns(ticks) / NS_PER_US


def _about(row: OpRow, repeat: int) -> Event:
    one = row.ticks / TICKS_PER_CYCLE
    return {
        "kind": row.op.kind,
        "runs": repeat,
        "cycles_of_one": one,
        "bound_by": row.bound_by,
        "copies": row.steps[0].copies,
    }

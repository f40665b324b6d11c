"""Reports as tables for a terminal: one run, and several dataflows side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from accsim.engine.program import TICKS_PER_CYCLE
from accsim.report.result import OpRow, Report
from accsim.report.sheet import GAP, Sheet, put
from accsim.report.words import binary, cycles, mapping_short, parameters, percent, si
from accsim.units import format_quantity
from accsim.workload.trace import Entry, Workload

TRUST = {
    "calibrated": "calibrated on this machine",
    "transferred": "constants transferred from another machine",
    "data_sheet": "data sheet only",
}
"""What each level of trust means."""

TOP_CAUSES = 3
LEAST_SHARE = 0.0005
MOST_LETTERS = 28


def show(console: Console, title: str, content: Sheet) -> None:
    """A table under its title, after a blank line."""
    console.print()
    put(console, Text(title, style="bold"))
    put(console, content, GAP)


def print_header(console: Console, report: Report) -> None:
    """What was run on what, and how far to trust it."""
    acc = report.machine
    given = parameters(report.workload.parameters)
    put(console, Text(f"{report.workload.name}{f' ({given})' if given else ''} on {acc.name}", style="bold"))
    asked = ", ".join([report.objective, *(str(constraint) for constraint in report.goal.constraints)])
    effort = "" if report.goal.effort == "standard" else f", {report.goal.effort} search"
    put(console, Text(f"fidelity {report.fidelity}, objective {asked}{effort}, trust: {TRUST[report.trust]}"))
    if report.prefetch_weights:
        count = f"{report.ops_with_early_weights:,} of {report.workload.op_count:,} ops"
        put(console, Text(f"weights prefetched: the first weight tile of {count} was loaded while the op before ran"))
    put(console, Text(f"machine {acc.hash}, energy table {acc.energy.name} {acc.energy.hash}"))


def print_run(console: Console, report: Report, *, ops: bool) -> None:
    """One run: summary, resources, memories, energy and (with ``ops``) a row for each distinct op."""
    print_header(console, report)
    summary = Sheet(("", ""), words=(0, 1), wrap=(1,))
    for name, text in _summary(report):
        summary.add(name, text)
    console.print()
    put(console, summary, GAP)
    show(console, "Resources", _resources(report))
    show(console, "Memories", _memories(report))
    put(console, Text(_main_memory(report)), GAP)
    show(console, "Energy", _energy(report))
    if ops:
        print_ops(console, report)


def print_ops(console: Console, report: Report) -> None:
    """A row for each distinct op."""
    show(console, "Ops (time and energy of all their runs)", _ops(report))
    if report.sparsity:
        sparse = Sheet(("op", "patterns"), words=(0, 1), wrap=(1,))
        for name, how in report.sparsity.items():
            sparse.add(name, how)
        show(console, "Sparsity", sparse)
    if report.formats:
        formats = Sheet(("op", "number formats"), words=(0, 1), wrap=(1,))
        for name, how in report.formats.items():
            formats.add(name, how)
        show(console, "Number formats", formats)


def print_runners_up(console: Console, report: Report) -> None:
    """The best mappings that were not chosen, and why; an op where nothing else was tried has none."""
    found = Sheet(("op", "not chosen: why"), words=(0, 1), wrap=(1,))
    for op, losers in report.runners_up.items():
        for loser in losers:
            found.add(_brief(op), str(loser))
    show(console, "Next best mappings", found)


def _summary(report: Report) -> Iterable[tuple[str, str]]:
    short = _not_held(report)
    if short is not None:
        yield report.accelerator.main_memory.name, short
    low, high = report.energy_range_j
    yield "total cycles", cycles(report.total_cycles)
    yield "latency", si(report.latency_s, "s")
    yield "energy", f"{si(report.energy_j, 'J')} ({si(low, 'J')} to {si(high, 'J')})"
    yield "average power", si(report.power_w, "W") + (f"; {report.cap}" if report.cap else "")
    yield "utilization", ", ".join(f"{name} {percent(share)}" for name, share in _utilizations(report).items())
    yield "bound by", ", ".join(_causes(report))
    yield f"{_place(report)} traffic", f"{_off_chip(report, 'read')} read, {_off_chip(report, 'write')} written"


def _utilizations(report: Report) -> Mapping[str, float]:
    return {
        "overall": report.overall_utilization,
        "mapping": report.mapping_utilization,
        "array": report.array_utilization,
    }


def _causes(report: Report) -> list[str]:
    """The largest entries of the critical path with their shares."""
    total = report.total_cycles or 1.0
    shares = {key: part / total for key, part in report.critical_path.items()}
    return [f"{key} {percent(share)}" for key, share in list(shares.items())[:TOP_CAUSES] if share >= LEAST_SHARE]


def _place(report: Report) -> str:
    """Where main memory is: ``off-chip``, or its name on a chip that has it in SRAM."""
    main = report.accelerator.main_memory
    return main.name if main.kind == "sram" else "off-chip"


def _off_chip(report: Report, way: str) -> str:
    return si(report.traffic_bytes[report.accelerator.main_memory.name][way], "B")


def _resources(report: Report) -> Sheet:
    found = Sheet(("resource", "busy", "waits most for", "of the time"), words=(0, 2))
    total = report.total_cycles or 1.0
    stalls = report.stalls
    for name, share in sorted(report.utilization.items(), key=lambda item: -item[1]):
        if share == 0:
            continue
        causes = stalls.get(name, {})
        worst = max(causes, key=lambda cause: causes[cause], default="")
        found.add(name, percent(share), worst.replace(":", " "), percent(causes[worst] / total) if worst else "")
    return found


def _memories(report: Report) -> Sheet:
    found = Sheet(("memory", "capacity", "read", "written", "read rate", "write rate"))
    for memory in report.accelerator.memories:
        moved = report.traffic_bytes[memory.name]
        many = report.accelerator.cores if memory.scope == "core" else 1
        rates = [si(moved[way] / report.latency_s, "B/s") if report.latency_s else "" for way in ("read", "write")]
        capacity = (f"{many} x " if many > 1 else "") + binary(memory.capacity_bytes)
        found.add(memory.name, capacity, si(moved["read"], "B"), si(moved["write"], "B"), *rates)
    return found


def _main_memory(report: Report) -> str:
    held = report.memory
    names = [name for name in ("weights", "tables", "kv_cache", "activations") if held[name]]
    parts = ", ".join(f"{name.replace('_', ' ')} {si(held[name], 'B')}" for name in names)
    verdict = "fits" if held["fits"] else "DOES NOT FIT"
    return f"{report.accelerator.main_memory.name} holds {parts} of {si(held['capacity'], 'B')}: {verdict}"


def _not_held(report: Report) -> str | None:
    """What main memory is short of; None if it holds all."""
    held = report.memory
    if held["fits"]:
        return None
    needed, capacity = si(held["needed"], "B"), si(held["capacity"], "B")
    return f"DOES NOT FIT: {needed} needed, {capacity} there; times are as if it did"


def _energy(report: Report) -> Sheet:
    found = Sheet(("part", "energy", "share"))
    for part, joules in sorted(report.energy_breakdown_j.items(), key=lambda item: -item[1]):
        if joules:
            found.add(part, si(joules, "J"), percent(joules / report.energy_j))
    return found


def _ops(report: Report) -> Sheet:
    names = ("op", "count", "cycles", "time", "energy", "power", "bound by", "mapping")
    found = Sheet(names, words=(0, 6, 7), wrap=(7,))
    total = report.total_cycles or 1.0
    for row in report.ops:
        more = f" +{len(row.names) - 1}" if len(row.names) > 1 else ""
        spent = row.count * row.ticks / TICKS_PER_CYCLE
        energy = si(row.count * row.energy.total_j, "J")
        share, power = percent(spent / total), si(row.power_w, "W")
        cells = (str(row.count), cycles(spent), share, energy, power, row.bound_by)
        found.add(_brief(row.names[0]) + more, *cells, _mapped_as(row))
    return found


def _mapped_as(row: OpRow) -> str:
    return mapping_short(row.mapping) + (", weights early" if row.early else "")


def _brief(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 3] + "..."


def only(report: Report, kinds: Iterable[str]) -> Report | None:
    """The report of the ops of some kinds alone; None when they are all or none of them."""
    rows = tuple(row for row in report.ops if row.op.kind in set(kinds))
    if not rows or len(rows) == len(report.ops):
        return None
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.names[0]] = counts.get(row.names[0], 0) + row.count
    ops = {row.names[0]: row.op for row in rows}
    workload = Workload(report.workload.name, tuple(Entry(ops[name], count, name) for name, count in counts.items()))
    return replace(report, workload=workload, ops=rows)


def print_comparison(console: Console, reports: Mapping[str, Report], kinds: Sequence[str], *, ops: bool) -> None:
    """Several dataflows side by side: the whole workload, then the kinds of ops that they map."""
    first = next(iter(reports.values()))
    print_header(console, first)
    show(console, "Whole workload", _comparison(reports))
    put(console, Text(_main_memory(first)), GAP)
    parts = {name: only(report, kinds) for name, report in reports.items()}
    inside = {name: part for name, part in parts.items() if part is not None}
    chosen = inside or reports
    if inside:
        count = sum(row.count for row in next(iter(inside.values())).ops)
        show(console, f"{' and '.join(kinds)} only ({count} of {first.workload.op_count} ops)", _comparison(inside))
    if ops:
        show(console, "Mappings", _mappings(chosen, kinds))


def _mappings(reports: Mapping[str, Report], kinds: Sequence[str]) -> Sheet:
    found = Sheet(("dataflow", "op", "cycles", "mapping"), words=(0, 1, 3), wrap=(3,))
    for name, report in reports.items():
        for row in _mapped(report, kinds):
            found.add(name, _brief(row.names[0]), cycles(row.ticks / TICKS_PER_CYCLE), _mapped_as(row))
    return found


def _mapped(report: Report, kinds: Sequence[str]) -> list[OpRow]:
    return [row for row in report.ops if row.op.kind in kinds]


def _comparison(reports: Mapping[str, Report]) -> Sheet:
    """One column a dataflow, one row a figure."""
    found = Sheet(("", *reports))
    first = next(iter(reports.values()))

    def line(name: str, text: Callable[[Report], str]) -> None:
        found.add(name, *(text(report) for report in reports.values()))

    line("latency", lambda r: si(r.latency_s, "s"))
    line("speedup", lambda r: f"{first.latency_s / r.latency_s:.2f} x" if r.latency_s else "")
    line("total cycles", lambda r: cycles(r.total_cycles))
    line("energy", lambda r: si(r.energy_j, "J"))
    line("energy, low to high", lambda r: " to ".join(si(end, "J") for end in r.energy_range_j))
    line("average power", lambda r: si(r.power_w, "W"))
    if any(report.cap for report in reports.values()):
        line("clock", lambda r: format_quantity(r.clock_hz, "frequency"))
    for name in ("overall", "mapping", "array"):
        line(f"{name} utilization", lambda r, name=name: percent(_utilizations(r)[name]))  # type: ignore[misc]
    line(f"{_place(first)} read", lambda r: _off_chip(r, "read"))
    line(f"{_place(first)} written", lambda r: _off_chip(r, "write"))
    for place in range(TOP_CAUSES):
        line("bound by" if place == 0 else "", lambda r, place=place: "".join(_causes(r)[place : place + 1]))  # type: ignore[misc]
    return found

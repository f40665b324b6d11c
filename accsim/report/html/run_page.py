"""The page of one run, out of the files of its folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from accsim.report.html import charts
from accsim.report.html.charts_over_time import buffers_chart, timeline_chart
from accsim.report.html.page import PAGE, Cell, Chart, Facts, Note, Page, Part, Section, Table
from accsim.report.html.run_folder import SavedRun
from accsim.report.render import TRUST
from accsim.report.words import binary, cycles, parameters, percent, si

Plain = Mapping[str, Any]

TRACE = "trace.json"


def run_page(run: SavedRun) -> Page:
    """The page of a run."""
    summary = run.summary
    work, machine = summary["workload"], summary["machine"]
    given = parameters(work["parameters"])
    asked = ", ".join([summary["objective"], *summary["constraints"]])
    line = f"{given}{'; ' if given else ''}fidelity {summary['fidelity']}, objective {asked}, "
    sections = [
        Section("Summary", [Facts(list(_summary(summary)), cards=True)]),
        Section("What bound the time", list(_why(summary))),
        Section("Roofline", list(_roofline(run))),
        Section("Energy", list(_energy(run))),
        Section("Timeline and buffers", list(_over_time(run))),
        Section("Ops", list(_ops(summary))),
        Section("Configuration and sources", list(_sources(run))),
    ]
    return Page(f"{work['name']} on {machine['name']}", line + f"trust: {TRUST[summary['trust']]}", sections)


def _summary(summary: Plain) -> Iterator[tuple[str, str]]:
    main, traffic = list(summary["traffic_bytes"].items())[-1]
    memory = summary["memory"]
    total = summary["total_cycles"] or 1.0
    yield "latency", f"{si(summary['latency_s'], 's')} at {si(summary['clock_hz'], 'Hz')}"
    yield "total cycles", cycles(summary["total_cycles"])
    yield "bound by", f"{summary['bound_by']} {percent(summary['critical_path'].get(summary['bound_by'], 0) / total)}"
    yield "overall utilization", percent(summary["overall_utilization"])
    yield "energy", si(summary["energy_j"], "J")
    yield "energy at low and high prices", f"{si(summary['energy_low_j'], 'J')} to {si(summary['energy_high_j'], 'J')}"
    yield "average power", si(summary["power_w"], "W")
    yield f"{main} traffic", f"{si(traffic['read'], 'B')} read, {si(traffic['write'], 'B')} written"
    verdict = "" if memory["fits"] else ": DOES NOT FIT"
    yield f"use of {main}", f"{binary(memory['needed'])} of {binary(memory['capacity'])}{verdict}"
    if summary["area_mm2"] is not None:
        yield "area", f"{summary['area_mm2']:g} mm²"
    if summary["power_cap"] is not None:
        cap = summary["power_cap"]
        state = "lowers the clock" if cap["bound"] else "does not bind"
        yield "power cap", f"{si(cap['cap_w'], 'W')}: {state}"


def _why(summary: Plain) -> Iterator[Part]:
    yield Chart(
        "critical-path",
        charts.critical_path_chart(summary),
        "The critical path: each stretch of the whole time belongs to one resource and a reason, so the bars add up to "
        "100 %.",
    )
    yield Chart(
        "utilization",
        charts.utilization_chart(summary),
        "What each resource does with the whole time; the average of its servers where it has several.",
    )
    hidden = len(summary["ops"]) - charts.MOST_OPS
    yield Chart(
        "op-utilization",
        charts.op_utilization_chart(summary),
        "Busy time over the time of each op, and the op's share of the whole time."
        + (f" {hidden} ops that take less time are left out." if hidden > 0 else ""),
    )


def _roofline(run: SavedRun) -> Iterator[Part]:
    yield Chart(
        "roofline",
        charts.roofline_chart(run.figures["roofline"]),
        "Operations per second over operations per byte of main memory's traffic. Circles have matrix work, 2 "
        "operations a MAC; diamonds count vector operations. The area of a point shows its time. A click on a kind of "
        "op hides it.",
    )


def _energy(run: SavedRun) -> Iterator[Part]:
    runs: Counter[str] = Counter()
    for op in run.summary["ops"]:
        runs[op["kind"]] += op["count"]
    yield Chart(
        "energy",
        charts.energy_chart(run.figures["energy"], runs),
        f"At nominal prices of the table {run.summary['machine']['energy_table']}.",
    )


def _over_time(run: SavedRun) -> Iterator[Part]:
    timeline = run.figures["timeline"]
    trace = {TRACE: TRACE}
    if timeline is None:
        yield Note("A lower bound (fidelity analytic) has no order of events; the trace has the ops only:", trace)
    else:
        yield Chart("timeline", timeline_chart(timeline), f"{timeline['what']}.")
        for number, buffers in enumerate(run.figures["buffers"]):
            told = f"Bytes in use in {buffers['memory']} over the same time"
            capacity = buffers["capacity_bytes"]
            chart = buffers_chart(buffers, timeline)
            yield Chart(f"buffers-{number}", chart, told + (f"; it has {binary(capacity)}." if capacity else "."))
        yield Note("All ops over time, to open in ui.perfetto.dev or speedscope.app:", trace)
    rows = [
        (name, _share(use["average"]), _share(use["peak"])) for name, use in run.summary["occupancy"].items()
    ]  # fmt: skip
    if rows:
        yield Table("occupancy", ("buffer (op.buffer)", "slots in use, average", "peak"), rows, filtered=True)


def _share(share: float) -> Cell:
    return share, percent(share)


OP_COLUMNS = (
    "op", "kind", "runs", "share of time", "latency", "energy", "power", "bound by", "busiest", "read", "written",
    "dtype", "mapping", "searched",
)  # fmt: skip


def _ops(summary: Plain) -> Iterator[Part]:
    yield Note("Latency, energy and bytes of main memory are of all runs. A click on a column sorts by it.")
    yield Table("ops", OP_COLUMNS, [_op_row(op) for op in summary["ops"]], filtered=True)
    told = [(f"{name}: sparse operand", how) for name, how in summary["sparsity"].items()]
    told += [(f"{name}: number formats", how) for name, how in summary["formats"].items()]
    if told:
        yield Facts(told)


def _op_row(op: Plain) -> list[Cell]:
    runs = op["count"]
    busiest = max(op["utilization"], key=lambda name: op["utilization"][name], default="")
    return [
        op["name"],
        op["kind"],
        (runs, f"{runs:,}"),
        _share(op["share_of_time"]),
        (runs * op["latency_s"], si(runs * op["latency_s"], "s")),
        (runs * op["energy_j"], si(runs * op["energy_j"], "J")),
        (op["power_w"], si(op["power_w"], "W")),
        op["bound_by"],
        f"{busiest} {percent(op['utilization'][busiest])}" if busiest else "",
        (runs * op["read_bytes"], si(runs * op["read_bytes"], "B")),
        (runs * op["write_bytes"], si(runs * op["write_bytes"], "B")),
        op["dtype"],
        op["mapping_text"],
        (op["searched"], f"{op['searched']:,}"),
    ]


def _sources(run: SavedRun) -> Iterator[Part]:
    machine, work, about = run.inputs["machine"], run.inputs["workload"], run.manifest
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    facts = {
        "command": about["command"],
        "written": f"{about['written_at']} with {versions}",
        "machine": f"{machine['name']}, hash {machine['hash']}",
        "source of the machine": machine["source"],
        "workload": f"{work['name']}, hash {about['workload']['hash']}, {work['op_count']:,} ops",
        "source of the workload": work["source"] or "not stated",
        "parameters": parameters(work["parameters"]) or "none",
        "hyperparameters": parameters(work["hyperparameters"]) or "none",
    }
    yield Facts(list(facts.items()))
    numbers: list[list[Cell]] = [[row["path"], row["text"], _origin(row)] for row in machine["numbers"]]
    yield Table("numbers", ("number of the machine", "value", "from"), numbers, filtered=True)
    yield Note(
        f"Energy in pJ an operation or a byte, table {machine['energy']['table']}, hash {machine['energy']['hash']}. "
        + (machine["energy"]["estimated"] or "")
    )
    yield Table("prices", ("action", "low", "nominal", "high", "estimated"), list(_prices(machine["energy"])))
    yield Note("Files of this run:", {name: name for name in about["files"] if name != PAGE})


def _origin(row: Plain) -> str:
    if row["estimated"]:
        return f"estimated: {row['estimated']}"
    return row["source"] or ("default" if row["default"] else "the machine's source")


def _prices(energy: Plain) -> Iterator[list[Cell]]:
    for action, price in energy["prices_pj"].items():
        values: list[Cell] = [(price[end], f"{price[end]:.4g}") for end in ("low", "nominal", "high")]
        yield [action, *values, price["estimated"] or ""]

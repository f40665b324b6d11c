"""Descriptions as tables for a terminal: what ships, and one machine, workload, dataflow or op."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from accsim.config.machine import Accelerator, SystolicArray
from accsim.report.render import TRUST, show
from accsim.report.sheet import GAP, Sheet, put
from accsim.report.words import binary, parameters, percent, si


def _titled(console: Console, title: str, *lines: str) -> None:
    put(console, Text(title, style="bold"))
    for line in lines:
        if line:
            put(console, Text(line))


def print_machines(console: Console, machines: Iterable[Accelerator]) -> None:
    """A row for each machine."""
    found = Sheet(
        ("machine", "matrix units", "peak", "memories", "mm2", "trust", "source"), words=(0, 1, 3, 5, 6), wrap=(3, 6)
    )
    for acc in machines:
        dtype = "bf16" if "bf16" in acc.matrix_unit.rates else next(iter(acc.matrix_unit.rates))
        peak = f"{si(2 * acc.peak_macs_per_s(dtype), 'FLOP/s')} {dtype}"
        memories = ", ".join(
            f"{m.name} {f'{acc.cores} x ' if m.scope == 'core' and acc.cores > 1 else ''}{binary(m.capacity_bytes)}"
            for m in acc.memories
        )
        area = "" if acc.area_mm2 is None else f"{acc.area_mm2:.3g}"
        found.add(acc.name, matrix_units(acc), peak, memories, area, acc.trust.replace("_", " "), acc.source)
    put(console, found)


def matrix_units(acc: Accelerator) -> str:
    """The matrix units of a machine in few words."""
    unit = acc.matrix_unit
    many = acc.cores * unit.count
    if isinstance(unit, SystolicArray):
        return f"{many} x {unit.rows}x{unit.cols} systolic"
    return f"{many} x {unit.m}x{unit.n}x{unit.k} tensor"


def print_workloads(console: Console, workloads: Iterable[Mapping[str, Any]]) -> None:
    """A row for each workload, as `describe_workload` gives it."""
    found = Sheet(
        ("workload", "parameters and defaults", "MACs", "weights", "ops", "source"), words=(0, 1, 5), wrap=(1, 5)
    )
    for work in workloads:
        given = parameters({name: item["value"] for name, item in work.get("parameters", {}).items()})
        counts = (si(work["macs"], ""), si(work["weight_bytes"], "B"), str(work["op_count"]))
        found.add(work["name"], given or "a trace of ops", *counts, work["source"])
    put(console, found)
    console.print()
    put(console, Text("Parameters are set as in bert_base?seq=4096&batch=64; a single op is gemm?m=512&n=512&k=512."))


def print_machine(console: Console, machine: Mapping[str, Any]) -> None:
    """Every number of a machine, with its unit and where it comes from."""
    trust = f"trust: {TRUST[machine['trust']]}; hash {machine['hash']}"
    _titled(console, machine["name"], f"source: {machine['source']}", trust)
    peaks = machine["peak_macs_per_s"].items()
    put(console, Text("peak: " + ", ".join(f"{si(2 * macs, 'FLOP/s')} {dtype}" for dtype, macs in peaks)))
    numbers = Sheet(("number", "value", "from"), words=(0, 2), wrap=(2,))
    for row in machine["numbers"]:
        numbers.add(row["path"], row["text"], _origin(row))
    show(console, "Numbers", numbers)
    energy = machine["energy"]
    prices = Sheet(("action", "low", "nominal", "high", "estimated"), words=(0, 4), wrap=(4,))
    for action, price in energy["prices_pj"].items():
        values = [f"{price[end]:.4g}" for end in ("low", "nominal", "high")]
        prices.add(action, *values, price["estimated"] or "")
    show(console, f"Energy in pJ an operation or a byte (table {energy['table']}, {energy['hash']})", prices)
    if energy["estimated"]:
        put(console, Text(f"estimated: {energy['estimated']}"), GAP)
    if machine["area"]["parts_mm2"]:
        _print_area(console, machine["area"])


def _print_area(console: Console, area: Mapping[str, Any]) -> None:
    """Parts of a chip by their area; without shares where some have none."""
    whole = area["area_mm2"]
    parts = Sheet(("part", "area", "share"))
    for part, size in {**area["parts_mm2"], **({"chip": whole} if whole else {})}.items():
        parts.add(part, f"{size:.4g}", percent(size / whole) if whole else "")
    show(console, "Area in mm2" + (f" (table {area['table']}, {area['hash']})" if area["table"] else ""), parts)


def _origin(row: Mapping[str, Any]) -> str:
    if row["estimated"]:
        return f"estimated: {row['estimated']}"
    return row["source"] or ("default" if row["default"] else "as above")


def print_workload(console: Console, work: Mapping[str, Any]) -> None:
    """A workload: parameters, sizes, and a row for each op."""
    _titled(console, work["name"], f"source: {work['source']}" if work["source"] else "")
    totals = f"{si(work['macs'], 'MAC')}, weights {si(work['weight_bytes'], 'B')}, {work['op_count']} ops"
    learned = f", {work['parameter_count']:,} learned parameters" if "parameter_count" in work else ""
    put(console, Text(totals + learned))
    if "parameters" in work:
        found = Sheet(("parameter", "value", "meaning"), words=(0, 1, 2), wrap=(2,))
        for name, item in work["parameters"].items():
            found.add(name, "not set" if item["value"] is None else str(item["value"]), item["description"] or "")
        show(console, "Parameters (set as in NAME?parameter=value&parameter=value)", found)
        show(console, f"Hyperparameters of the {work['architecture']}", _hyperparameters(work))
    ops = Sheet(("op", "count", "kind", "shape", "MACs", "weights", "in", "out"), words=(0, 2, 3), wrap=(3,))
    for row in work["ops"]:
        sizes = (si(row[key], unit) for key, unit in _SIZES)
        ops.add(row["name"], str(row["repeat"]), row["op"], _shape(row), *sizes)
    show(console, "Ops in order (MACs and bytes of one)", ops)


def _hyperparameters(work: Mapping[str, Any]) -> Any:
    found = Sheet(("name", "value", "from"), words=(0, 1, 2), wrap=(2,))
    for name, value in work["hyperparameters"].items():
        why = work["estimated"].get(f"hyperparameters.{name}")
        text = parameters({"": value}).strip()
        found.add(name, text, f"estimated: {why}" if why else "as above")
    return found


_SIZES = (("macs", ""), ("weight_bytes", "B"), ("input_bytes", "B"), ("output_bytes", "B"))
_NOT_SHAPE = {
    "name", "op", "repeat", "weight_sets", "after", "vector_ops", "weights", "inputs", "macs_effectual",
    *(key for key, _ in _SIZES),
}  # fmt: skip
_USUAL = (("batch", 1), ("groups", 1), ("dilation", 1))


def _shape(row: Mapping[str, Any]) -> str:
    """The sizes of an op of a description."""
    shape = {name: value for name, value in row.items() if name not in _NOT_SHAPE and value}
    if row["macs_effectual"] != row["macs"]:
        shape["kept"] = f"{si(row['macs_effectual'], '')} MACs"
    return ", ".join(
        name if value is True else str(value) if name in ("dtype", "function") else f"{name} {value}"
        for name, value in shape.items()
        if (name, value) not in _USUAL
    )


def print_dataflow(console: Console, dataflow: Mapping[str, Any]) -> None:
    """A dataflow: what it does and its choices."""
    _titled(console, f"{dataflow['name']}: maps {', '.join(dataflow['maps'])}", "")
    for text in (dataflow["about"], dataflow["description"]):
        if text:
            console.print()
            put(console, Text(text))
    found = Sheet(("choice", "default"), words=(0, 1))
    for name, value in dataflow["choices"].items():
        found.add(name, "searched" if value is None else str(value))
    show(console, f"Choices of accsim.{dataflow['class']}", found)


def print_op_kind(console: Console, op: Mapping[str, Any]) -> None:
    """A kind of op: its keys, and how to run a single one."""
    _titled(console, op["name"], *textwrap.wrap(op["description"], 100))
    found = Sheet(("key", "default", "meaning"), words=(0, 1, 2), wrap=(2,))
    for name, key in op["keys"].items():
        default = "needed" if key["needed"] else "" if key["default"] in (None, []) else str(key["default"]).lower()
        found.add(name, default, key["description"])
    show(console, "Keys", found)
    sizes = {name: "gelu" if name == "function" else "64" for name, key in op["keys"].items() if key["usual"]}
    needed = "&".join(f"{name}={value}" for name, value in sizes.items())
    console.print()
    put(console, Text(f'One alone as a workload: "{op["name"]}?{needed}"'))

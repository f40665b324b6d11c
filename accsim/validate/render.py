"""A comparison as tables for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from accsim.report.render import show
from accsim.report.sheet import Sheet, put
from accsim.report.words import percent
from accsim.units import format_quantity
from accsim.validate.calibrate import Calibration
from accsim.validate.compare import Comparison, QuantityErrors
from accsim.validate.statistics import ErrorStatistics

MOST_MISSES = 20
"""Rows beyond tolerance that are listed; the rest are counted."""

_HEADS = ("rows", "MAPE", "median", "p90", "bias", "max")


def print_comparison(console: Console, found: Comparison) -> None:
    """Errors of every quantity; of the first one by regime, beside simpler models; and the rows beyond tolerance."""
    skipped = f", {found.skipped} of other machines left out" if found.skipped else ""
    put(console, Text(f"{found.kind}: {found.summary}", style="bold"))
    put(console, Text(f"{found.rows} rows of {found.file}{skipped}"))
    show(console, "Errors", _quantities(found))
    first = found.quantities[0]
    for way, groups in found.regimes.items():
        table = Sheet((way, *_HEADS))
        for group in groups:
            table.add(group, *_cells(first.regimes[group], first.quantity.relative))
        show(console, f"Errors of the {first.quantity.name.replace('_', ' ')} by {way}", table)
    if found.baselines:
        table = Sheet(("model", *_HEADS))
        for name, stats in found.baselines.items():
            table.add(name, *_cells(stats, first.quantity.relative))
        show(console, "Simpler models", table)
    if found.misses:
        show(console, f"Beyond tolerance ({len(found.misses)})", _misses(found))
        for reason in dict.fromkeys(miss.reason for miss in found.misses if miss.reason):
            lines = ", ".join(str(line) for line in sorted({m.line for m in found.misses if m.reason == reason}))
            put(console, Text(f"lines {lines}: {reason}"))


def print_calibration(console: Console, found: Calibration) -> None:
    """Constants as a machine file spells them, and the errors before and after."""
    put(console, Text(f"{found.kind}: constants of {found.machine} fitted to {found.rows} rows of {found.file}"))
    table = Sheet(("constant", "file", "fitted"))
    for constant, value in zip(found.constants, found.fitted, strict=True):
        spelled = [
            format_quantity(one, constant.dimension) if constant.dimension else f"{one:g}"
            for one in (constant.value, value)
        ]
        table.add(constant.path, *spelled)
    show(console, "Constants", table)
    errors = Sheet(("constants", *_HEADS))
    errors.add("the file's", *_cells(found.before, relative=True))
    errors.add("fitted", *_cells(found.after, relative=True))
    show(console, "Errors", errors)


def _quantities(found: Comparison) -> Sheet:
    table = Sheet(("quantity", *_HEADS, "tolerance", ""), words=(0, 8))
    for one in found.quantities:
        table.add(*_quantity(one))
    return table


def _quantity(one: QuantityErrors) -> tuple[str, ...]:
    quantity = one.quantity
    name = quantity.name.replace("_", " ") + ("" if quantity.relative else " (difference)")
    if quantity.mean_tolerance is not None:
        limit = f"MAPE {_error(quantity.mean_tolerance, quantity.relative)}"
        return (name, *_cells(one.all, quantity.relative), limit, "within" if one.mean_passed else "beyond")
    if not one.tolerances:
        return (name, *_cells(one.all, quantity.relative), "", "")
    verdict = "within" if one.passed else f"{len(one.misses):,} beyond"
    limit = ", ".join(_error(limit, quantity.relative) for limit in one.tolerances)
    return (name, *_cells(one.all, quantity.relative), limit, verdict)


def _cells(stats: ErrorStatistics, relative: bool) -> tuple[str, ...]:
    errors = (stats.mape, stats.median, stats.p90, stats.bias, stats.max)
    return (f"{stats.count:,}", *(_error(error, relative) for error in errors))


def _error(error: float, relative: bool) -> str:
    return percent(error) if relative else f"{error:.2g}"


def _misses(found: Comparison) -> Sheet:
    table = Sheet(("row", "line", "quantity", "given", "predicted", "error"), words=(0, 2))
    relative = {one.quantity.name: one.quantity.relative for one in found.quantities}
    for miss in found.misses[:MOST_MISSES]:
        name, error = miss.quantity.replace("_", " "), _error(miss.error, relative[miss.quantity])
        table.add(miss.label, str(miss.line), name, f"{miss.given:.6g}", f"{miss.predicted:.6g}", error)
    hidden = len(found.misses) - MOST_MISSES
    if hidden > 0:
        table.add(f"and {hidden:,} more", "", "", "", "", "")
    return table

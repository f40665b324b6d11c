"""A report as plain data: for JSON, and as a data frame of its ops."""

from __future__ import annotations

from dataclasses import Field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from accsim.engine.power import PowerCap
from accsim.engine.program import TICKS_PER_CYCLE
from accsim.mapping.base import Dataflow
from accsim.report.result import SCHEMA_VERSION, OpRow, Report
from accsim.report.words import mapping_short

if TYPE_CHECKING:
    import pandas as pd


def mapping_dict(mapping: Dataflow) -> dict[str, Any]:
    """The mapping's name and choices; a choice that is a mapping itself, or several, likewise."""

    def plain_choice(value: object) -> object:
        if isinstance(value, tuple):
            return [plain_choice(item) for item in value]
        return mapping_dict(value) if isinstance(value, Dataflow) else value

    plain: dict[str, Any] = {"dataflow": type(mapping).__name__}
    choices: tuple[Field[Any], ...] = fields(mapping) if is_dataclass(mapping) else ()
    for field in choices:
        plain[field.name] = plain_choice(getattr(mapping, field.name))
    return plain


def op_dict(report: Report, row: OpRow) -> dict[str, Any]:
    """One distinct op: its share of the trace, times and energy of one run."""
    cycles = row.ticks / TICKS_PER_CYCLE
    seconds = cycles / report.clock_hz
    whole = row.count * cycles / report.total_cycles if report.total_cycles else 0.0
    return {
        "name": row.names[0],
        "kind": row.op.kind,
        "count": row.count,
        "dtype": row.op.dtype,
        "macs": row.op.macs,
        "cycles": cycles,
        "latency_s": seconds,
        "share_of_time": whole,
        "energy_j": row.energy.total_j,
        "power_w": row.power_w,
        "bound_by": row.bound_by,
        "read_bytes": row.actions.get(f"read.{report.accelerator.main_memory.name}", 0.0),
        "write_bytes": row.actions.get(f"write.{report.accelerator.main_memory.name}", 0.0),
        "footprint_bytes": int(row.found.best.costs.footprint_bytes),
        "searched": row.searched,
        "utilization": op_utilization(row),
        "energy_breakdown_j": dict(row.energy.breakdown_j),
        "critical_path": {key: ticks / TICKS_PER_CYCLE for key, ticks in row.totals.critical_path.items()},
        "weights_early": bool(row.early),
        "mapping_text": mapping_short(row.mapping),
        "mapping": mapping_dict(row.mapping),
    }


def runner_up_dicts(report: Report, row: OpRow) -> list[dict[str, Any]]:
    """The mappings of an op that lost, the best first, with why."""
    return [
        {
            "mapping": mapping_dict(other.mapping),
            "why": str(other),
            "change": other.change,
            **other.costs._asdict(),
            "largest": {"part": other.largest[0], "share": other.largest[1]},
        }
        for other in report.runners_up[row.names[0]]
    ]


def cap_dict(cap: PowerCap | None) -> dict[str, Any] | None:
    """What the power cap did; None without one."""
    if cap is None:
        return None
    return {
        "cap_w": cap.cap_w,
        "bound": cap.bound,
        "met": cap.met,
        "full_clock_hz": cap.machine.clock_hz,
        "full_clock_power_w": cap.full_power_w,
    }


def op_utilization(row: OpRow) -> dict[str, float]:
    """Resource -> busy time over the time of one run of the op, its overheads included."""
    totals = row.totals
    return {name: ticks / max(1, totals.available[name]) for name, ticks in totals.busy.items()}


def report_dict(report: Report) -> dict[str, Any]:
    """The whole report as plain data."""
    acc = report.machine
    low, high = report.energy_range_j
    return {
        "schema_version": SCHEMA_VERSION,
        "machine": {
            "name": acc.name,
            "hash": acc.hash,
            "energy_table": acc.energy.name,
            "energy_hash": acc.energy.hash,
        },
        "workload": {"name": report.workload.name, "parameters": dict(report.workload.parameters), "macs": report.macs},
        "objective": report.objective,
        "constraints": [str(constraint) for constraint in report.goal.constraints],
        "effort": report.goal.effort,
        "fidelity": report.fidelity,
        "prefetch_weights": report.prefetch_weights,
        "ops_with_early_weights": report.ops_with_early_weights,
        "trust": report.trust,
        "total_cycles": report.total_cycles,
        "compute_cycles": report.compute_cycles,
        "latency_s": report.latency_s,
        "energy_j": report.energy_j,
        "energy_low_j": low,
        "energy_high_j": high,
        "energy_breakdown_j": report.energy_breakdown_j,
        "power_w": report.power_w,
        "clock_hz": report.clock_hz,
        "power_cap": cap_dict(report.cap),
        "area_mm2": report.area_mm2,
        "bound_by": report.bound_by,
        "utilization": report.utilization,
        "mapping_utilization": report.mapping_utilization,
        "array_utilization": report.array_utilization,
        "overall_utilization": report.overall_utilization,
        "critical_path": report.critical_path,
        "stalls": report.stalls,
        "sparsity": report.sparsity,
        "formats": report.formats,
        "traffic_bytes": report.traffic_bytes,
        "memory": report.memory,
        "occupancy": report.occupancy,
        "ops": [{**op_dict(report, row), "runners_up": runner_up_dicts(report, row)} for row in report.ops],
    }


def op_table(report: Report) -> list[dict[str, Any]]:
    """One row a distinct op, all with the same columns: no mappings in it but the op's own mapping.

    Utilizations stand in ``RESOURCE_utilization``, energies in ``PART_energy_j``; 0 where the op does not use it.
    """
    found = []
    used = dict.fromkeys(name for row in report.ops for name in row.totals.busy)
    parts = dict.fromkeys(name for row in report.ops for name in row.energy.breakdown_j)
    for row in report.ops:
        plain = op_dict(report, row)
        mapping = plain.pop("mapping")
        del plain["critical_path"]
        utilization, energy = plain.pop("utilization"), plain.pop("energy_breakdown_j")
        plain |= {f"{name}_utilization": utilization.get(name, 0.0) for name in used}
        plain |= {f"{name}_energy_j": energy.get(name, 0.0) for name in parts}
        found.append({**plain, "mapping": mapping})
    return found


def report_frame(report: Report) -> pd.DataFrame:
    """:func:`op_table` as a frame."""
    import pandas as pd

    return pd.DataFrame(op_table(report))

"""A report as plain data: for JSON, and as a data frame of its ops."""

from __future__ import annotations

from dataclasses import Field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from accsim.engine.program import TICKS_PER_CYCLE
from accsim.mapping.base import Dataflow
from accsim.report.result import SCHEMA_VERSION, OpRow, Report

if TYPE_CHECKING:
    import pandas as pd


def mapping_dict(mapping: Dataflow) -> dict[str, Any]:
    """The mapping's name and choices; a choice that is a mapping itself likewise."""
    plain: dict[str, Any] = {"dataflow": type(mapping).__name__}
    choices: tuple[Field[Any], ...] = fields(mapping) if is_dataclass(mapping) else ()
    for field in choices:
        value = getattr(mapping, field.name)
        plain[field.name] = mapping_dict(value) if isinstance(value, Dataflow) else value
    return plain


def op_dict(report: Report, row: OpRow) -> dict[str, Any]:
    """One distinct op: its share of the trace, times and energy of one run."""
    cycles = row.ticks / TICKS_PER_CYCLE
    seconds = cycles / report.accelerator.clock_hz
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
        "bound_by": row.bound_by,
        "read_bytes": row.actions.get(f"read.{report.accelerator.main_memory.name}", 0.0),
        "write_bytes": row.actions.get(f"write.{report.accelerator.main_memory.name}", 0.0),
        "searched": row.searched,
        "weights_early": bool(row.early),
        "mapping": mapping_dict(row.mapping),
    }


def report_dict(report: Report) -> dict[str, Any]:
    """The whole report as plain data."""
    acc = report.accelerator
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
        "area_mm2": report.area_mm2,
        "bound_by": report.bound_by,
        "utilization": report.utilization,
        "mapping_utilization": report.mapping_utilization,
        "array_utilization": report.array_utilization,
        "overall_utilization": report.overall_utilization,
        "critical_path": report.critical_path,
        "stalls": report.stalls,
        "traffic_bytes": report.traffic_bytes,
        "memory": report.memory,
        "occupancy": report.occupancy,
        "ops": [op_dict(report, row) for row in report.ops],
    }


def report_frame(report: Report) -> pd.DataFrame:
    """One row a distinct op."""
    import pandas as pd

    return pd.DataFrame([op_dict(report, row) for row in report.ops])

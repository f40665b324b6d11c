"""The columns of a sweep's table: what is known of each point, in base units."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from accsim.sweep.space import Space

BEFORE = {"point": "int64", "design": "int64", "machine": "text", "workload": "text", "weight": "float64"}
"""Which point it is: its number, that of its design (the same with every workload), and what it is made of."""
RESULTS = {
    "fidelity": "text",
    "mapping": "text",
    "total_cycles": "float64",
    "latency_s": "float64",
    "energy_j": "float64",
    "power_w": "float64",
    "samples_per_s": "float64",
    "chips": "float64",
    "area_mm2": "float64",
    "clock_hz": "float64",
    "matrix_utilization": "float64",
    "vector_utilization": "float64",
    "memory_utilization": "float64",
    "main_read_bytes": "float64",
    "main_write_bytes": "float64",
    "bound_by": "text",
    "feasible": "bool",
    "error": "text",
}
"""What was found; numbers are missing (null) where there is an error."""
NUMBERS = tuple(name for name, kind in RESULTS.items() if kind == "float64")
KNOWN_BEFORE = ("machine", "workload", "weight", "area_mm2", "chips")
"""Columns that are known before a point is run."""


def schema_of(space: Space) -> pa.Schema:
    """Arrow's schema of the table of a space."""
    import pyarrow as pa

    types = {
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "text": pa.dictionary(pa.int32(), pa.string()),
    }
    kinds = {"i": "int64", "f": "float64", "b": "bool", "O": "text"}
    swept = {key: kinds[column.dtype.kind] for key, column in space.columns(0, 1).items()}
    fields = {**BEFORE, **swept, **RESULTS}
    return pa.schema([(name, types[kind]) for name, kind in fields.items()])

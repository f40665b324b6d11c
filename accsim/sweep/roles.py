"""Resources by their part in a machine, so that machines with other names have the same columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from accsim.config.machine import Accelerator
from accsim.mapping.machine_numbers import OUTER, port

V = TypeVar("V")


def resources_of(acc: Accelerator) -> dict[str, Sequence[str]]:
    """Column of utilization -> the resources it is of: the one that is busiest counts."""
    main = acc.main_memory
    ports = {port(main, way, side) for way in ("read", "write") for side in ("", OUTER)}
    return {
        "matrix_utilization": ("matrix",),
        "vector_utilization": ("vector",),
        "memory_utilization": tuple(sorted(ports)),
    }


def utilizations(acc: Accelerator, of_resource: Mapping[str, float]) -> dict[str, float]:
    """Utilization of each column; 0 for what a run does not use."""
    return {
        column: max((of_resource.get(name, 0.0) for name in names), default=0.0)
        for column, names in resources_of(acc).items()
    }

"""Tables of sweeps as the store has them, with results by a formula: what their pages show is known."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd

ROWS = (16, 32, 64, 128)
SIZES = tuple(2**power for power in range(15, 27))
FLOWS = ("unfused", "flat", "flash2")
MACHINES = ("flat_edge", "flat_cloud")
SPACE_FILE = "machines: [flat_edge, flat_cloud]  # <b>not markup</b>\n"


def manifest(points: int, workloads: dict[str, float]) -> dict[str, Any]:
    """The manifest of such a sweep."""
    return {
        "schema_version": 1,
        "written_by": "accsim",
        "command": "accsim sweep made_up.yaml --out s1",
        "versions": {"accsim": "0.1.0", "python": "3.11.7"},
        "sweep": {
            "name": "made_up", "hash": "0123456789abcdef", "points": points, "designs": points // len(workloads),
            "machines": dict.fromkeys(MACHINES, "314ae817ed50"), "workloads": workloads,
            "axes": {
                "matrix_unit.rows": {"values": len(ROWS), "dimension": None, "interval": None},
                "memories.sg.capacity": {"values": len(SIZES), "dimension": "bytes", "interval": None},
                "mapping.dataflow": {"values": len(FLOWS), "dimension": None, "interval": None},
            },
            "linked": {"matrix_unit.cols": "matrix_unit.rows"}, "constraints": ["power_w <= 90 W"],
            "sample": {"method": "grid", "count": None, "seed": None}, "fidelity": "tile", "objective": "latency",
            "effort": "standard", "file": SPACE_FILE,
        },
        "shard": "0/1", "started_at": "2026-01-01T00:00:00+00:00", "status": "complete", "seconds": 1.25,
        "points_done": points, "points_failed": 0,
    }  # fmt: skip


def table(workloads: dict[str, float], designs: int | None = None, seed: int = 0) -> pd.DataFrame:
    """Points with a time that falls and an energy that grows with the array, and some noise.

    Parameters
    ----------
    designs : that many drawn ones; None for one of each.
    """
    random = np.random.default_rng(seed)
    every = list(product(MACHINES, ROWS, SIZES, FLOWS))
    chosen = every if designs is None else [every[i] for i in random.integers(len(every), size=designs)]
    frame = pd.DataFrame(chosen, columns=["machine", "matrix_unit.rows", "memories.sg.capacity", "mapping.dataflow"])
    frame.insert(0, "design", np.arange(len(frame)))
    parts = []
    for work, weight in workloads.items():
        size, rows = frame["memories.sg.capacity"], frame["matrix_unit.rows"]
        slower = frame["mapping.dataflow"].map({"unfused": 3.0, "flat": 1.4, "flash2": 1.0})
        noise = random.lognormal(0, 0.25, (2, len(frame)))
        seconds = slower * (1 / rows + 2000 / size) * noise[0]
        joules = (0.05 + rows**1.5 / 2e3 + size / 2e8) * slower * noise[1]
        found = frame.assign(
            workload=work, weight=weight, latency_s=seconds, energy_j=joules, power_w=joules / seconds,
            area_mm2=np.where(frame["machine"] == "flat_edge", rows**2 / 500 + size / 1e6, np.nan),
            bound_by=np.where(slower > 2, "dram/resource", "vector/resource"), mapping=frame["mapping.dataflow"],
        )  # fmt: skip
        parts.append(found)
    whole = pd.concat(parts, ignore_index=True)
    whole["matrix_unit.cols"] = whole["matrix_unit.rows"]
    whole["error"] = None
    failed = whole.index % 97 == 5
    whole.loc[failed, "error"] = "no feasible mapping: q needs <64 KiB>"
    for name in ("latency_s", "energy_j", "power_w", "area_mm2"):
        whole.loc[failed, name] = np.nan
    whole["feasible"] = ~failed & (whole["power_w"] <= 90)
    whole["point"] = np.arange(len(whole))
    return whole

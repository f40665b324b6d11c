"""Designs by the weighted sum over their workloads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

SUMMED = ("latency_s", "energy_j")


def weighted(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a design: its fields, and ``latency_s`` and ``energy_j`` as sums over workloads of weight times value.

    Parameters
    ----------
    rows : the table of a sweep. A design that is not feasible with every workload is left out.
    """
    whole = rows.groupby("design")["feasible"].transform("all")
    kept = rows[whole]
    sums = {name: (kept[name] * kept["weight"]).groupby(kept["design"]).sum(min_count=1) for name in SUMMED}
    names = kept.columns.tolist()
    swept = names[names.index("weight") + 1 : names.index("fidelity")]
    fields = kept.groupby("design")[["machine", *swept]].first()
    return fields.assign(**sums).reset_index()

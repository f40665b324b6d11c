"""The best designs of a sweep in its folder, by all workloads together, and how many are on the Pareto front."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from accsim.sweep.pareto import Points, front
from accsim.sweep.store import read_sweep
from accsim.sweep.weighted import SUMMED, weighted

if TYPE_CHECKING:
    import pandas as pd

AT_ONCE = 1 << 17
"""Designs that are in memory at once."""


class BestDesigns(NamedTuple):
    """Designs with the least objective, and the size of the front of latency and energy; 0 where one is not known."""

    rows: list[dict[str, Any]]
    front: int


def best_designs(
    folder: Path, about: Mapping[str, Any], objective: str, fields: Sequence[str], most: int
) -> BestDesigns:
    """The best designs that are feasible with every workload; latency and energy are weighted sums.

    Parameters
    ----------
    about : the space, as the manifest of the folder has it.
    objective : ``"latency_s"`` or ``"energy_j"``.
    fields : columns of a design that its row has.
    most : rows at most; there are none of a space with one workload, where points are designs.
    """
    import pandas as pd

    border = np.empty((0, len(SUMMED)))
    if len(about["workloads"]) == 1:
        for values in _points(folder):
            border = _front(border, values)
        return BestDesigns([], len(border))
    best: list[pd.DataFrame] = []
    for designs in _feasible(folder, about, fields):
        border = _front(border, designs[list(SUMMED)].to_numpy(float))
        best = [pd.concat([*best, designs]).sort_values([objective, "design"]).head(most)]
    rows = best[0][["design", *fields, *SUMMED]].to_dict("records") if best else []
    known = [{str(key): None if pd.isna(value) else value for key, value in row.items()} for row in rows]
    return BestDesigns(known, len(border))


def _front(known: Points, more: Points) -> Points:
    """The front of points that are a front and of some more."""
    values = np.concatenate([known, more])
    return values[front(values)]


def _points(folder: Path) -> Iterator[Points]:
    """Latency and energy of feasible points, a part at a time."""
    for batch in read_sweep(folder).to_batches(columns=[*SUMMED, "feasible"]):
        *values, feasible = (column.to_numpy(zero_copy_only=False) for column in batch.columns)
        yield np.column_stack(values)[feasible.astype(bool)]


def _feasible(folder: Path, about: Mapping[str, Any], fields: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Designs with all of their workloads, a part at a time."""
    import pyarrow.dataset as ds

    rows, design = read_sweep(folder), ds.field("design")
    own = [key for key in fields if key != "machine"]
    columns = ["design", "machine", "weight", *own, "fidelity", "feasible", *SUMMED]
    for first in range(0, about["designs"], AT_ONCE):
        chosen = rows.to_table(columns, filter=(design >= first) & (design < first + AT_ONCE)).to_pandas()
        whole = chosen.groupby("design")["feasible"].transform("size") == len(about["workloads"])
        yield weighted(chosen[whole])

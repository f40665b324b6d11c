"""Reading the table of a sweep out of its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accsim.errors import InputError, Problem

if TYPE_CHECKING:
    import pandas as pd

POINTS = "points"
"""Folder of the Parquet files within that of a sweep."""

BEFORE = ("point", "design", "machine", "workload", "weight")
RESULTS = ("latency_s", "energy_j", "area_mm2", "power_w", "bound_by", "mapping", "feasible", "error")


def read_sweep_table(folder: Path, manifest: Mapping[str, Any]) -> pd.DataFrame:
    """The columns of a sweep that a page shows, a row for each point.

    Raises
    ------
    InputError
        When there are no points, or a file of them cannot be read.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    fields = [*manifest["sweep"]["axes"], *manifest["sweep"]["linked"]]
    files = sorted(str(file) for file in (folder / POINTS).glob("[0-9]*.parquet"))
    if not files:
        raise InputError(Problem(str(folder), "", "the sweep has no points yet"))
    try:
        table = ds.dataset(files, format="parquet").to_table(columns=[*BEFORE, *fields, *RESULTS])
    except (OSError, pa.ArrowException) as error:
        raise InputError(Problem(str(folder / POINTS), "", f"cannot be read: {error}")) from error
    frame: pd.DataFrame = table.to_pandas()
    return frame

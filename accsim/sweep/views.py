"""The table of a sweep read part by part, by workload and with all workloads of a design together.

A *view* is the points of one workload, or the designs with all workloads, weighted. Memory does not grow with points.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accsim.errors import InputError, Problem
from accsim.sweep.columns import BEFORE
from accsim.sweep.store import POINTS, Store, read_sweep

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.dataset as ds

ALL_WORKLOADS = "all workloads, weighted"
ROWS = 65536
"""Rows that are in memory at once, about."""
BYTES = 4_000_000
"""Of files that are read at once."""
READ = ("latency_s", "energy_j", "area_mm2", "power_w", "bound_by", "mapping", "feasible", "error")


@dataclass(frozen=True)
class SweepTable:
    """The table of a sweep in its folder."""

    folder: Path

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """That of the sweep."""
        found = Store(self.folder).manifest()
        if found is None:
            raise InputError(Problem(str(self.folder), "", "holds no sweep: it has no manifest of one"))
        return found

    @property
    def space(self) -> Mapping[str, Any]:
        """The space as the manifest has it."""
        about: Mapping[str, Any] = self.manifest["sweep"]
        return about

    @property
    def workloads(self) -> tuple[str, ...]:
        """Names of the workloads."""
        return tuple(self.space["workloads"])

    @property
    def axes(self) -> tuple[str, ...]:
        """Columns that vary: the machine where there are several, and fields with several values."""
        fields = [name for name, about in self.space["axes"].items() if about["values"] != 1]
        return ("machine", *fields) if len(self.space["machines"]) > 1 else tuple(fields)

    @property
    def columns(self) -> tuple[str, ...]:
        """What a page shows: the point, every field that was set, and results."""
        return (*BEFORE, *self.space["axes"], *self.space["linked"], *READ)

    def parts(self, columns: Sequence[str] | None = None, workload: str | None = None) -> Iterator[pd.DataFrame]:
        """Rows of all points in their order, some ten thousand at a time.

        Parameters
        ----------
        columns : those that are read; all of :attr:`columns` without.
        workload : the only one that is read.

        Raises
        ------
        InputError
            When there are no points, or a file of them cannot be read.
        """
        import pyarrow as pa
        import pyarrow.dataset as ds

        dataset = self._dataset()
        where = None if workload is None else ds.field("workload") == workload
        names = list(columns or self.columns)
        try:  # some files at a time: a scan of all reads ahead of who is slower
            scans = (
                ds.dataset(files, dataset.schema, format="parquet").to_batches(
                    columns=names, filter=where, batch_size=ROWS
                )
                for files in _some_at_a_time(dataset.files)
            )
            yield from _frames(chain.from_iterable(scans))
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(error) from error

    def views(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """(view, feasible rows), the workloads together first; each view comes in several parts."""
        if len(self.workloads) > 1:
            yield from ((ALL_WORKLOADS, rows) for rows in self.together())
        for rows in self.parts():
            yield from of_workloads(rows)

    def together(self) -> Iterator[pd.DataFrame]:
        """A row for each design that is feasible with every workload."""
        streams = [self.parts(workload=name) for name in self.workloads]
        held = [next(stream, None) for stream in streams]
        while all(part is not None for part in held):
            parts = [part for part in held if part is not None]
            until = min(part["design"].iloc[-1] for part in parts)
            yield _weighted([part[part["design"] <= until] for part in parts])
            rests = [part[part["design"] > until] for part in parts]
            held = [rest if len(rest) else next(stream, None) for rest, stream in zip(rests, streams, strict=True)]

    def _dataset(self) -> ds.Dataset:
        import pyarrow as pa

        if not Store(self.folder).files():
            raise InputError(Problem(str(self.folder), "", "the sweep has no points yet"))
        try:
            return read_sweep(self.folder)
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> InputError:
        return InputError(Problem(str(self.folder / POINTS), "", f"cannot be read: {error}"))


def of_workloads(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """(workload, its rows that have a result which keeps the constraints)."""
    for name, mine in _usable(rows).groupby("workload", sort=False):
        yield str(name), mine


def _usable(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["feasible"].fillna(False).astype(bool) & rows["latency_s"].notna()]


def _weighted(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Rows of the same designs with each workload as one: latency and energy are weighted sums."""
    kept = [_usable(part).set_index("design") for part in parts]
    common = reduce(lambda left, right: left.intersection(right), [part.index for part in kept])
    same = [part.loc[common] for part in kept]
    seconds, joules = (
        sum((part["weight"] * part[name] for part in same[1:]), same[0]["weight"] * same[0][name])
        for name in ("latency_s", "energy_j")
    )
    sums = {"latency_s": seconds, "energy_j": joules, "power_w": joules / seconds}
    found: pd.DataFrame = same[0].assign(**sums, workload=ALL_WORKLOADS, bound_by="", mapping="").reset_index()
    return found


def _some_at_a_time(files: Sequence[str]) -> Iterator[list[str]]:
    """Files in their order, as many at a time as have some million bytes."""
    held: list[str] = []
    size = 0
    for file in files:
        more = Path(file).stat().st_size
        size += more
        if held and size > BYTES:
            yield held
            held, size = [], more
        held.append(file)
    yield held


def _frames(batches: Iterator[pa.RecordBatch]) -> Iterator[pd.DataFrame]:
    """Batches as frames of many rows; texts as texts."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        held.append(batch)
        rows += len(batch)
        if rows >= ROWS:
            yield _frame(held)
            held, rows = [], 0
    if rows:
        yield _frame(held)


def _frame(batches: Sequence[pa.RecordBatch]) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    frame: pd.DataFrame = pa.Table.from_batches(batches).to_pandas()
    return frame.astype({name: object for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)})

"""One-tile GEMMs against SCALE-Sim 3.0.0, run by ``make_scalesim.py``: cycles, utilization, words through the edges.

Its report departs from its paper in four places, all of which ``docs/validation.md`` explains: here they are named
functions, and what is left has to be equal.
"""

from __future__ import annotations

import csv
from functools import cache
from math import ceil
from pathlib import Path
from typing import NamedTuple, get_type_hints

import pytest

import accsim
from accsim.config.machine import Accelerator
from accsim.mapping.gemm import FORMS


class Row(NamedTuple):
    """A line of ``scalesim.csv``, whose header says what the columns are."""

    version: str
    form: str
    rows: int
    cols: int
    m: int
    n: int
    k: int
    total_cycles: int
    stall_cycles: int
    trace_cycles: int
    overall_util_percent: float
    mapping_efficiency_percent: float
    compute_util_percent: float
    ifmap_stop_cycle: int
    ofmap_start_cycle: int
    ifmap_reads: int
    filter_reads: int
    ofmap_writes: int

    @property
    def folds(self) -> int:
        """Folds of the GEMM on the array (Samajdar et al., ISPASS 2020)."""
        along_rows = self.m if self.form == "output_stationary" else self.k
        along_cols = self.m if self.form == "input_stationary" else self.n
        return ceil(along_rows / self.rows) * ceil(along_cols / self.cols)

    @property
    def missing_drain(self) -> int:
        """Cycles that output stationary lacks: R a fold (github.com/scalesim-project/scale-sim-v3/issues/4)."""
        return self.folds * self.rows if self.form == "output_stationary" else 0

    @property
    def excess_fill(self) -> int:
        """Cycles in the divisor of Compute Util % alone: C - 1 a fold, for an operand that is not skewed."""
        return 0 if self.form == "output_stationary" else self.folds * (self.cols - 1)

    @property
    def excess_writes(self) -> int:
        """Words output stationary writes too many: R + C a fold (github.com/scalesim-project/SCALE-Sim/issues/166)."""
        return self.folds * (self.rows + self.cols) if self.form == "output_stationary" else 0


def read() -> list[Row]:
    """The rows of the CSV."""
    kinds = get_type_hints(Row)
    with Path(__file__).with_name("scalesim.csv").open(encoding="utf-8", newline="") as file:
        lines = csv.DictReader(line for line in file if not line.startswith("#"))
        return [Row(*(kind(line[name]) for name, kind in kinds.items())) for line in lines]


ROWS = read()
ARRAYS = sorted({(row.form, row.rows, row.cols) for row in ROWS})
on_each_array = pytest.mark.parametrize(("form", "rows", "cols"), ARRAYS)


def on(form: str, rows: int, cols: int) -> list[Row]:
    """The GEMMs of one form on one array."""
    return [row for row in ROWS if (row.form, row.rows, row.cols) == (form, rows, cols)]


@cache
def machine(rows: int, cols: int) -> Accelerator:
    """``systolic_128`` with an array of another size."""
    return accsim.load_accelerator("systolic_128", set={"matrix_unit.rows": rows, "matrix_unit.cols": cols})


@cache
def simulated(row: Row) -> accsim.Report:
    """The row's GEMM as one tile on an array of the row's size."""
    mapping = FORMS[row.form](row.m, row.n, row.k, "mn", False, 1, 1)
    return accsim.simulate(accsim.Gemm(m=row.m, n=row.n, k=row.k), machine(row.rows, row.cols), dataflow=mapping)


def test_the_file_covers_all_forms_and_has_no_stalls() -> None:
    for form in FORMS:
        gemms = [row for row in ROWS if row.form == form]
        assert len(set(gemms)) == len(gemms) >= 120
        assert {row.rows == row.cols for row in gemms} == {True, False}
    assert {row.version for row in ROWS} == {"3.0.0"}
    assert {row.stall_cycles for row in ROWS} == {0}


def test_total_cycles_is_the_number_of_the_last_cycle_counted_from_0() -> None:
    assert [row.total_cycles for row in ROWS] == [row.trace_cycles - 1 for row in ROWS]


@on_each_array
def test_cycles(form: str, rows: int, cols: int) -> None:
    got = {row[4:7]: simulated(row).compute_cycles for row in on(form, rows, cols)}
    assert got == {row[4:7]: row.trace_cycles + row.missing_drain for row in on(form, rows, cols)}


def test_output_stationary_results_leave_before_their_operands_have_come() -> None:
    # One full fold. The bottom row's result is the first to leave. A's last element enters that row R - 1 cycles later
    # (SCALE-Sim's reads are stamped one cycle after the request).
    folds = [row for row in ROWS if row.form == "output_stationary" and row.folds == 1 and row.m == row.rows]
    assert len(folds) >= 3
    for row in folds:
        assert row.ofmap_start_cycle == row.k - 1
        assert row.ifmap_stop_cycle - 1 == row.ofmap_start_cycle + row.rows - 1


@on_each_array
def test_utilization(form: str, rows: int, cols: int) -> None:
    for row in on(form, rows, cols):
        report = simulated(row)
        work = report.array_utilization * report.compute_cycles
        assert report.mapping_utilization == pytest.approx(row.mapping_efficiency_percent / 100, rel=1e-12)
        assert work / row.total_cycles == pytest.approx(row.overall_util_percent / 100, rel=1e-12)
        divisor = report.compute_cycles - row.missing_drain + row.excess_fill
        assert work / divisor == pytest.approx(row.compute_util_percent / 100, rel=1e-12)


@on_each_array
def test_words_through_the_edges_of_the_array(form: str, rows: int, cols: int) -> None:
    # bf16: 2 bytes a word, 4 where the sums of several folds meet. A and B are written once, C is read once, as the
    # tile comes from main memory and goes there.
    for row in on(form, rows, cols):
        inputs, outputs = row.m * row.k + row.k * row.n, row.m * row.n
        sums = row.ofmap_writes - row.excess_writes - outputs
        assert simulated(row).traffic_bytes["sram"] == {
            "read": 2 * (row.ifmap_reads + row.filter_reads) + 4 * sums + 2 * outputs,
            "write": 2 * inputs + 2 * outputs + 4 * sums,
        }

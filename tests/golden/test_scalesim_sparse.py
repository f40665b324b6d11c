"""One-tile GEMMs with N:M weights against SCALE-Sim 3.0.0, run by ``make_scalesim.py --sparse``.

What its sparse mode counts otherwise, all explained in ``docs/validation.md``, is here in named functions; what is left
has to be equal.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import accsim
from accsim.config.machine import Accelerator
from accsim.mapping.gemm import FORMS
from accsim.sparsity.formats import NMIndex

ROWS = pd.read_csv(Path(__file__).with_name("scalesim_sparse.csv"), comment="#")
WORD_BITS = 32


@cache
def machine(rows: int, cols: int, mode: str) -> Accelerator:
    """``systolic_128`` with an array of another size and a sparse mode."""
    changes = {"rows": rows, "cols": cols, "sparse.modes.bf16": [mode]}
    return accsim.load_accelerator("systolic_128", set={f"matrix_unit.{key}": value for key, value in changes.items()})


@cache
def simulated(form: str, rows: int, cols: int, m: int, n: int, k: int, pattern: str) -> accsim.Report:
    """The GEMM as one tile on an array of the row's size."""
    mapping = FORMS[form](m, n, k, "mn", False, 1, 1)
    return accsim.simulate(accsim.Gemm(m, n, k, sparsity=pattern), machine(rows, cols, pattern), dataflow=mapping)


def report(row: Any) -> accsim.Report:
    """Of a line of the CSV."""
    return simulated(row.form, row.rows, row.cols, row.m, row.n, row.k, row.pattern)


def mode(row: Any) -> tuple[int, int]:
    """n and m of n:m."""
    n, m = row.pattern.split(":")
    return int(n), int(m)


def kept(row: Any) -> int:
    """Places of a column that are multiplied: n of each run, whole or not."""
    n, m = mode(row)
    return ceil(row.k / m) * n


def kept_of_what_is_there(row: Any) -> int:
    """The same in SCALE-Sim, which multiplies no more of a last, shorter run than it has."""
    n, m = mode(row)
    return row.k // m * n + min(n, row.k % m)


def folds(row: Any) -> int:
    """Folds of the GEMM on the array (Samajdar et al., ISPASS 2020)."""
    along_rows = row.m if row.form == "output_stationary" else kept(row)
    along_cols = row.m if row.form == "input_stationary" else row.n
    return ceil(along_rows / row.rows) * ceil(along_cols / row.cols)


def missing_cycles(row: Any) -> int:
    """Of output stationary: R a fold, as with dense products, and the places that a last run does not have."""
    if row.form != "output_stationary":
        return 0
    return folds(row) * (row.rows + kept(row) - kept_of_what_is_there(row))


def excess_writes(row: Any) -> int:
    """Words output stationary writes too many: R + C a fold, as with dense products."""
    return folds(row) * (row.rows + row.cols) if row.form == "output_stationary" else 0


def words_of_a(row: Any) -> float:
    """Words of A through the edge: all m a run, which SCALE-Sim counts as such for weight stationary alone."""
    n, m = mode(row)
    return row.ifmap_reads if row.form == "weight_stationary" else row.ifmap_reads * m / n


def on(**wanted: Any) -> list[Any]:
    """Lines with these cells."""
    rows = ROWS
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    return list(rows.itertuples())


def test_the_file_covers_all_forms_and_has_no_stalls() -> None:
    assert set(ROWS["form"]) == set(FORMS)
    assert set(ROWS["pattern"][~ROWS["row_wise"]]) == {"2:4", "1:4", "1:2", "2:8"}
    assert {"weight_stationary"} == set(ROWS["form"][ROWS["row_wise"]])
    assert set(ROWS["version"]) == {"3.0.0"}
    assert not ROWS["stall_cycles"].any()
    assert (ROWS["trace_cycles"] == ROWS["total_cycles"] + 1).all()
    ragged = [row for row in ROWS.itertuples() if row.k % mode(row)[1]]
    assert 100 < len(ragged) < len(ROWS) - 100


@pytest.mark.parametrize("form", FORMS)
def test_cycles(form: str) -> None:
    rows = on(form=form, row_wise=False)
    got = {row: report(row).compute_cycles for row in rows}
    assert got == {row: row.trace_cycles + missing_cycles(row) for row in rows}


def test_row_wise_patterns_take_the_time_of_half_of_each_run() -> None:
    rows = on(row_wise=True)
    assert {row: report(row).compute_cycles for row in rows} == {row: row.trace_cycles for row in rows}


@pytest.mark.parametrize("form", FORMS)
def test_words_through_the_edges_of_the_array(form: str) -> None:
    # As with dense products, where a value of B has 2 bytes and its place, where m of n:m divides k.
    for row in on(form=form, row_wise=False):
        m = mode(row)[1]
        if row.k % m:
            continue
        bits = (m - 1).bit_length()
        inputs, outputs = row.m * row.k, row.m * row.n
        sums = row.ofmap_writes - excess_writes(row) - outputs
        stored = (2 + bits / 8) * kept(row) * row.n
        assert report(row).traffic_bytes["sram"] == {
            "read": 2 * words_of_a(row) + (2 + bits / 8) * row.filter_reads + 4 * sums + 2 * outputs,
            "write": 2 * inputs + stored + 2 * outputs + 4 * sums,
        }


def test_storage_is_that_of_the_index_of_each_kept_place() -> None:
    for row in ROWS.itertuples():
        n, m = mode(row)
        # row-wise: k is filled up to two runs; else a last, shorter run has no more than it has
        slots = ceil(row.k / (2 * m)) * 2 * n if row.row_wise else kept_of_what_is_there(row)
        form = NMIndex(n, m)
        assert row.original_words == row.k * row.n
        if row.k % m == 0 and slots == kept(row):
            bits = form.expected_bits(row.k, row.n, Fraction(n, m), WORD_BITS)
            assert row.stored_words == bits / WORD_BITS
        index = (m - 1).bit_length() / WORD_BITS
        assert row.stored_words == slots * row.n * (1 + index)
        assert row.metadata_words == slots * row.n * index


def test_the_size_of_its_own_test_is_among_them() -> None:
    (row,) = {(r.stored_words, r.metadata_words) for r in on(k=363, n=96, pattern="2:4", row_wise=True)}
    assert row == (18768, 1104)

"""The emulated array against the naive one that moves numbers, and the closed forms against both."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from accsim.kernels import systolic_pe
from accsim.kernels.systolic import (
    INPUT_STATIONARY,
    OUTPUT_STATIONARY,
    OVERLAP_FULL,
    OVERLAP_NONE,
    OVERLAP_WEIGHTS,
    WEIGHT_STATIONARY,
    array_view,
    fold_cycles,
    gemm_fold_timing,
)
from accsim.kernels.systolic_pe import NOTHING, emulate_gemm, emulate_stretch
from tests.reference import systolic_naive as naive

FORMS = {"weight": WEIGHT_STATIONARY, "output": OUTPUT_STATIONARY, "input": INPUT_STATIONARY}
OVERLAPS = {"none": OVERLAP_NONE, "weights": OVERLAP_WEIGHTS, "full": OVERLAP_FULL}
FOLDS = {
    "weight": naive.weight_stationary_fold,
    "output": naive.output_stationary_fold,
    "input": naive.input_stationary_fold,
}

side = st.integers(1, 9)
extent = st.integers(1, 30)
form_name = st.sampled_from(sorted(FORMS))
overlap_name = st.sampled_from(sorted(OVERLAPS))


def operands(m: int, n: int, k: int) -> tuple[naive.Matrix, naive.Matrix]:
    rng = np.random.default_rng([m, n, k])
    return rng.integers(-9, 10, (m, k)), rng.integers(-9, 10, (k, n))


def gemm_seen_as(form: str, along_rows: int, along_cols: int, steps: int) -> tuple[int, int, int]:
    """(m, n, k) of the GEMM that fills so many rows and columns for so many steps."""
    return {
        "weight": (steps, along_cols, along_rows),
        "output": (along_rows, along_cols, steps),
        "input": (along_cols, steps, along_rows),
    }[form]


@given(rows=side, cols=side, steps=extent, along_rows=side, along_cols=side, form=form_name)
@settings(max_examples=60, deadline=None)
def test_one_fold_multiplies_and_takes_the_published_cycles(
    rows: int, cols: int, steps: int, along_rows: int, along_cols: int, form: str
) -> None:
    used_rows, used_cols = min(rows, along_rows), min(cols, along_cols)
    m, n, k = gemm_seen_as(form, used_rows, used_cols, steps)
    a, b = operands(m, n, k)
    trace = FOLDS[form](a, b, rows, cols)
    run = emulate_gemm(m, n, k, rows, cols, FORMS[form], OVERLAP_NONE)
    assert np.array_equal(trace.results[0], a @ b)
    assert trace.total_cycles == run.cycles == fold_cycles(rows, cols, steps) == 2 * rows + cols + steps - 2
    assert trace.drain_cycles == run.drain_cycles == (rows if form == "output" else 0)
    assert trace.preload_cycles == (0 if form == "output" else rows)
    assert trace.macs == run.macs == rows * cols * steps


@given(rows=st.integers(1, 4), cols=st.integers(1, 4), m=side, n=side, k=side, form=form_name, overlap=overlap_name)
@example(rows=3, cols=1, m=1, n=2, k=1, form="output", overlap="full")  # two folds leave side by side
@example(rows=4, cols=2, m=7, n=5, k=2, form="output", overlap="full")
@settings(max_examples=80, deadline=None)
def test_a_gemm_of_many_folds_takes_the_naive_arrays_cycles(
    rows: int, cols: int, m: int, n: int, k: int, form: str, overlap: str
) -> None:
    a, b = operands(m, n, k)
    product, cycles = naive.naive_gemm(a, b, rows, cols, form, overlap)
    assert np.array_equal(product, a @ b)
    assert cycles == emulate_gemm(m, n, k, rows, cols, FORMS[form], OVERLAPS[overlap]).cycles


@given(rows=side, cols=side, m=extent, n=extent, k=extent, form=form_name, overlap=overlap_name)
@settings(max_examples=400, deadline=None)
def test_the_closed_form_is_what_the_emulation_counts(
    rows: int, cols: int, m: int, n: int, k: int, form: str, overlap: str
) -> None:
    run = emulate_gemm(m, n, k, rows, cols, FORMS[form], OVERLAPS[overlap])
    folds, steady, overhead, once = gemm_fold_timing(m, n, k, rows, cols, FORMS[form], OVERLAPS[overlap])
    assert run.cycles == folds * (steady + overhead) + once
    assert run.steady_cycles == folds * steady
    assert run.fill_cycles + run.steady_cycles + run.drain_cycles == run.cycles
    drained = 0 if form != "output" else rows if overlap == "full" else folds * rows
    assert run.drain_cycles == drained
    assert run.useful_macs == m * n * k
    assert run.macs == folds * steady * rows * cols
    assert (run.faults, run.lost_results) == (0, 0)


@pytest.mark.parametrize(
    ("form", "overlap", "expected_cycles"),
    [
        # 4 x 3 PEs, m = 5, n = 7, k = 9, by hand: WS has 3 x 3 folds of 5 steps, OS 2 x 3 of 9, IS 3 x 2 of 7.
        ("weight", "none", 9 * (8 + 3 + 5 - 2)),
        ("output", "none", 6 * (8 + 3 + 9 - 2)),
        ("input", "none", 6 * (8 + 3 + 7 - 2)),
        ("weight", "weights", 4 + 9 * (5 + 5)),
        ("output", "weights", 6 * (8 + 3 + 9 - 2)),
        ("input", "weights", 4 + 6 * (7 + 5)),
        ("weight", "full", 4 + 9 * 5 + 5),
        ("output", "full", 6 * 9 + 5 + 4),
        ("input", "full", 4 + 6 * 7 + 5),
    ],
)
def test_cycles_of_one_gemm(form: str, overlap: str, expected_cycles: int) -> None:
    assert emulate_gemm(5, 7, 9, 4, 3, FORMS[form], OVERLAPS[overlap]).cycles == expected_cycles


def test_a_preload_longer_than_the_stream_binds_all_folds_but_the_last() -> None:
    # 8 x 1 PEs, 3 folds of 2 steps: preload 8, two folds wait for the next preload, then 2 steps and 7 cycles through.
    assert emulate_gemm(2, 1, 24, 8, 1, WEIGHT_STATIONARY, OVERLAP_FULL).cycles == 8 + 8 + 8 + 2 + 7
    assert gemm_fold_timing(2, 1, 24, 8, 1, WEIGHT_STATIONARY, OVERLAP_FULL) == (3, 2, 6, 9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_padding_costs_the_same_cycles_as_data(form: str, overlap: str) -> None:
    assert array_view(*gemm_seen_as(form, 9, 10, 6), FORMS[form]) == (9, 10, 6)
    ragged = emulate_gemm(*gemm_seen_as(form, 9, 10, 6), 4, 4, FORMS[form], OVERLAPS[overlap])
    whole = emulate_gemm(*gemm_seen_as(form, 12, 12, 6), 4, 4, FORMS[form], OVERLAPS[overlap])
    assert (ragged.cycles, ragged.macs) == (whole.cycles, whole.macs)
    assert (ragged.useful_macs, whole.useful_macs) == (9 * 10 * 6, 12 * 12 * 6)


@given(
    rows=side,
    cols=side,
    steps=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    form=form_name,
    overlap=overlap_name,
)
@settings(max_examples=150, deadline=None)
def test_a_stretch_of_unequal_folds_pays_fill_and_drain_as_its_overlap_says(
    rows: int, cols: int, steps: list[int], form: str, overlap: str
) -> None:
    counts = np.array(steps, np.int64)
    run = emulate_stretch(
        counts, np.full_like(counts, rows), np.full_like(counts, cols), rows, cols, FORMS[form], OVERLAPS[overlap]
    )
    through = rows + cols - 2
    if overlap == "full":
        waits = 0 if form == "output" else sum(max(0, rows - t) for t in steps[:-1])
        expected = rows + sum(steps) + waits + through
    elif overlap == "weights" and form != "output":
        expected = rows + sum(t + through for t in steps)
    else:
        expected = sum(fold_cycles(rows, cols, t) for t in steps)
    assert (run.cycles, run.faults) == (expected, 0)


@given(rows=side, cols=side, m=extent, n=extent, k=extent)
@settings(max_examples=60, deadline=None)
def test_full_overlap_of_short_output_stationary_folds_needs_a_wide_way_out(
    rows: int, cols: int, m: int, n: int, k: int
) -> None:
    run = emulate_gemm(m, n, k, rows, cols, OUTPUT_STATIONARY, OVERLAP_FULL)
    folds = gemm_fold_timing(m, n, k, rows, cols, OUTPUT_STATIONARY, OVERLAP_FULL)[0]
    assert run.result_words == min(folds, -(-rows // k))
    assert emulate_gemm(m, n, k, rows, cols, WEIGHT_STATIONARY, OVERLAP_FULL).result_words == 1


@given(
    rows=side,
    cols=st.integers(1, 4),
    steps=st.lists(st.integers(1, 10), min_size=1, max_size=8),
)
@example(rows=3, cols=1, steps=[1, 1])
@example(rows=6, cols=2, steps=[7, 1, 1, 3, 1, 9])
@settings(max_examples=80, deadline=None)
def test_results_of_unequal_folds_leave_unmixed_and_as_many_at_once_as_emulated(
    rows: int, cols: int, steps: list[int]
) -> None:
    folds = [operands(rows, cols, k) for k in steps]
    trace = naive.overlapped_output(folds, rows, cols)
    counts = np.array(steps, np.int64)
    whole_rows, whole_cols = np.full_like(counts, rows), np.full_like(counts, cols)
    run = emulate_stretch(counts, whole_rows, whole_cols, rows, cols, OUTPUT_STATIONARY, OVERLAP_FULL)
    for (a, b), result in zip(folds, trace.results, strict=True):
        assert np.array_equal(result, a @ b)
    assert (trace.total_cycles, trace.drain_cycles, trace.macs) == (run.cycles, run.drain_cycles, run.macs)
    assert (trace.result_words, run.faults) == (run.result_words, 0)


def held_registers(rows: int, cols: int) -> systolic_pe.StationaryRegisters:
    return systolic_pe.StationaryRegisters(
        *(np.full(shape, NOTHING) for shape in [rows, *[(rows, cols)] * 5, cols, cols])
    )


def output_registers(rows: int, cols: int) -> systolic_pe.OutputRegisters:
    return systolic_pe.OutputRegisters(
        left_edge=np.full(rows, NOTHING),
        top_edge=np.full(cols, NOTHING),
        left=np.full((rows, cols), NOTHING),
        top=np.full((rows, cols), NOTHING),
        waiting=np.zeros((rows, cols), np.int64),
        leaving=np.zeros((rows, cols), np.int64),
        finished=np.zeros(cols, np.int64),
    )


def tally() -> systolic_pe.Tally:
    return systolic_pe.Tally(*np.zeros((5, 1), np.int64))


def test_a_step_that_comes_before_its_stationary_operand_is_a_fault() -> None:
    stretch = systolic_pe.Stretch(np.array([1]), np.array([1]), np.array([1]), np.array([0]))
    count = tally()
    systolic_pe._stationary_macs(held_registers(1, 1), stretch, 0, count)
    assert count.faults[0] == 1


def test_a_preload_over_an_operand_not_yet_taken_is_a_fault() -> None:
    registers, count = held_registers(1, 1), tally()
    systolic_pe._move_preload(registers, 0, 0, count)
    assert count.faults[0] == 0
    systolic_pe._move_preload(registers, 1, 0, count)
    assert count.faults[0] == 1


def test_operands_out_of_step_are_a_fault() -> None:
    stretch = systolic_pe.Stretch(np.array([2]), np.array([1]), np.array([1]), np.array([0, 0]))
    registers = output_registers(2, 1)
    registers.top[0, 0] = 1  # as if B ran ahead of A by a step
    count = tally()
    systolic_pe._output_macs(registers, stretch, 0, count)
    assert count.faults[0] == 1


def whole_folds(rows: int, cols: int, steps: list[int]) -> systolic_pe.Stretch:
    counts = np.array(steps, np.int64)
    used = (np.full_like(counts, rows), np.full_like(counts, cols))
    return systolic_pe.Stretch(counts, *used, np.repeat(np.arange(counts.size), counts))


@pytest.mark.parametrize("overlap", OVERLAPS)
@pytest.mark.parametrize("stationary", [True, False])
def test_a_lost_result_ends_the_run_at_the_cycles_of_lone_folds(stationary: bool, overlap: str) -> None:
    stretch, count = whole_folds(3, 2, [4, 1]), tally()
    count.results[0] = -1  # as if one had been lost on its way out
    if stationary:
        run = systolic_pe._run_stationary(held_registers(3, 2), stretch, OVERLAPS[overlap], count)
        expected = 2 * (4 + 1)
    else:
        run = systolic_pe._run_output(output_registers(3, 2), stretch, OVERLAPS[overlap], count)
        expected = 2 * 3 * 2
    assert run[0] == (2 * 3 + 2 + 4 - 2) + (2 * 3 + 2 + 1 - 2)
    assert count.results[0] < expected


SUBSET = """
from accsim.kernels.systolic import gemm_fold_timing
from accsim.kernels.systolic_pe import emulate_gemm
for case in [(5, 7, 9, 4, 3), (2, 1, 9, 5, 1), (1, 6, 2, 3, 4)]:
    for stationary in range(3):
        for overlap in range(3):
            run = emulate_gemm(*case, stationary, overlap)
            print(*(int(x) for x in (*run, *gemm_fold_timing(*case, stationary, overlap))))
"""


@pytest.mark.parametrize("setting", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_uncompiled_and_bounds_checked_kernels_give_the_same(setting: str, tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    folder = {"ACCSIM_CACHE_DIR": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SUBSET],
        env={**clean, **folder, setting: "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    got = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    expected = [
        (*emulate_gemm(*case, stationary, overlap), *gemm_fold_timing(*case, stationary, overlap))
        for case in [(5, 7, 9, 4, 3), (2, 1, 9, 5, 1), (1, 6, 2, 3, 4)]
        for stationary in range(3)
        for overlap in range(3)
    ]
    assert got == expected

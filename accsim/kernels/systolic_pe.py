"""The systolic matrix unit, every processing element (PE) in every cycle.

Tokens move between registers: a streamed operand from PE to PE, a partial sum down its column, a stationary operand
down its preload chain, a finished result out of the array. Nothing here evaluates a formula for time, so this is the
``cycle`` fidelity of small cases and the proof of ``accsim.kernels.systolic``. The tokens carry names, not numbers, and
every PE checks that what meets in it belongs together.

A PE uses an operand in the cycle in which it takes it from its neighbour, so PE (0, 0) works in the cycle in which its
operand enters. ``docs/systolic.md`` has the conventions at length.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accsim.kernels.jit import kernel
from accsim.kernels.systolic import OUTPUT_STATIONARY, OVERLAP_FULL, OVERLAP_NONE, array_view, fold_cycles

NOTHING: Final = -1

IntArray = NDArray[np.int64]


class ArrayRun(NamedTuple):
    """What the emulated array did; ``fill_cycles + steady_cycles + drain_cycles == cycles``.

    ``steady_cycles`` are those in which the last PE (bottom right) works, ``drain_cycles`` those in which no PE works
    but results are still on their way out, ``fill_cycles`` all others: preload, operands on their way to the last PE,
    waits. ``macs`` counts the whole array, padding included; ``useful_macs`` without it. ``result_words`` is the most
    results that left one column in one cycle. ``faults`` counts operands that met in a PE without belonging together,
    or that overwrote one still needed; it is 0 unless the schedule is impossible in hardware. ``lost_results`` counts
    results that had not left the array after ``most_cycles``; it is 0 unless the emulation is broken.
    """

    cycles: int
    fill_cycles: int
    steady_cycles: int
    drain_cycles: int
    macs: int
    useful_macs: int
    result_words: int
    faults: int
    lost_results: int


class Stretch(NamedTuple):
    """Folds that follow one another: per fold its steps and used part; per step, counted over all folds, its fold."""

    steps: IntArray
    used_rows: IntArray
    used_cols: IntArray
    fold_of_step: IntArray


class Tally(NamedTuple):
    """Counters of a run, each an array of one element so that kernels can add to them in place."""

    macs: IntArray
    useful_macs: IntArray
    results: IntArray
    result_words: IntArray
    faults: IntArray


class StationaryRegisters(NamedTuple):
    """Registers of a weight- or input-stationary array; a streamed step or a fold by its number, NOTHING if empty.

    Shape (rows, cols): ``stream`` and ``partial_sum`` hold steps; ``working`` and ``shadow`` the fold whose stationary
    operand is in use and in the preload chain; ``target`` the row at which the operand in ``shadow`` stops.
    ``left_edge`` (rows) delays the stream by one cycle a row, ``entry`` and ``entry_target`` (cols) the preload by one
    cycle a column.
    """

    left_edge: IntArray
    stream: IntArray
    partial_sum: IntArray
    working: IntArray
    shadow: IntArray
    target: IntArray
    entry: IntArray
    entry_target: IntArray


class OutputRegisters(NamedTuple):
    """Registers of an output-stationary array; steps by their number, NOTHING if empty.

    Shape (rows, cols): ``left`` and ``top`` hold the steps of A and B; ``waiting`` counts finished results held in the
    PE and ``leaving`` those on the way down the column. ``left_edge`` (rows) and ``top_edge`` (cols) skew the operands;
    ``finished`` (cols) is 1 in the cycle in which the column's bottom PE ends a fold.
    """

    left_edge: IntArray
    top_edge: IntArray
    left: IntArray
    top: IntArray
    waiting: IntArray
    leaving: IntArray
    finished: IntArray


@kernel
def _stationary_macs(registers: StationaryRegisters, stretch: Stretch, step: int, tally: Tally) -> bool:
    """Let every PE work for one cycle, ``step`` entering at the top left; whether the last PE worked."""
    rows, cols = registers.stream.shape
    for r in range(rows - 1, -1, -1):
        registers.left_edge[r] = registers.left_edge[r - 1] if r > 0 else step
        for c in range(cols - 1, -1, -1):
            streamed = registers.stream[r, c - 1] if c > 0 else registers.left_edge[r]
            summed = registers.partial_sum[r - 1, c] if r > 0 else streamed
            registers.stream[r, c] = streamed
            registers.partial_sum[r, c] = summed
            if streamed != summed:
                tally.faults[0] += 1
            if streamed == NOTHING:
                continue
            fold = stretch.fold_of_step[streamed]
            if registers.working[r, c] != fold:
                if registers.shadow[r, c] != fold or registers.target[r, c] != r:
                    tally.faults[0] += 1
                registers.working[r, c] = registers.shadow[r, c]
                registers.shadow[r, c] = NOTHING
            tally.macs[0] += 1
            if r < stretch.used_rows[fold] and c < stretch.used_cols[fold]:
                tally.useful_macs[0] += 1
            if r == rows - 1:
                tally.results[0] += 1
                tally.result_words[0] = 1
    return bool(registers.stream[rows - 1, cols - 1] != NOTHING)


@kernel
def _move_preload(registers: StationaryRegisters, fold: int, target: int, tally: Tally) -> None:
    """Move operands on their way one PE down the shadow registers; one of ``fold`` enters, bound for row ``target``."""
    rows, cols = registers.shadow.shape
    for c in range(cols - 1, -1, -1):
        registers.entry[c] = registers.entry[c - 1] if c > 0 else fold
        registers.entry_target[c] = registers.entry_target[c - 1] if c > 0 else target
    for r in range(rows - 1, -1, -1):
        for c in range(cols):
            arriving = registers.shadow[r - 1, c] if r > 0 else registers.entry[c]
            bound = registers.target[r - 1, c] if r > 0 else registers.entry_target[c]
            if arriving == NOTHING or bound < r:
                continue
            if registers.shadow[r, c] != NOTHING:
                tally.faults[0] += 1
            registers.shadow[r, c] = arriving
            registers.target[r, c] = bound
            if r > 0:
                registers.shadow[r - 1, c] = NOTHING


@kernel
def most_cycles(stretch: Stretch, rows: int, cols: int) -> int:
    """Cycles of the folds one after the other, each alone; no overlap takes longer."""
    return int(stretch.steps.size * fold_cycles(rows, cols, 0) + stretch.steps.sum())


@kernel
def _run_stationary(
    registers: StationaryRegisters, stretch: Stretch, overlap: int, tally: Tally
) -> tuple[int, int, int]:
    """Preload and stream every fold; total, steady and drain cycles."""
    rows, cols = registers.stream.shape
    folds = stretch.steps.size
    cycles = steady = drain = loaded = pushed = fold = step_in_fold = step = 0
    limit = most_cycles(stretch, rows, cols)
    while tally.results[0] < stretch.fold_of_step.size * cols and cycles < limit:
        empty = tally.results[0] == step * cols
        entering = NOTHING
        if fold < folds and (step_in_fold > 0 or (loaded > fold and (overlap == OVERLAP_FULL or empty))):
            entering = step
            step += 1
            step_in_fold += 1
        begun = fold + 1 if step_in_fold > 0 else fold
        if fold < folds and step_in_fold == stretch.steps[fold]:
            fold += 1
            step_in_fold = 0
        # With one register a PE the array must be empty before a preload. With a shadow register the operands preloaded
        # last must be taken over first, PE by PE with the first step, and the next preload runs just behind that.
        free = (empty and entering == NOTHING and fold == loaded) if overlap == OVERLAP_NONE else begun == loaded
        pushing = NOTHING
        if loaded < folds and (pushed > 0 or free):
            pushing = loaded
            pushed += 1
        macs_before = tally.macs[0]
        steady += _stationary_macs(registers, stretch, entering, tally)
        drain += tally.macs[0] == macs_before and not empty
        _move_preload(registers, pushing, rows - pushed, tally)
        if pushed == rows:
            loaded += 1
            pushed = 0
        cycles += 1
    return cycles, steady, drain


@kernel
def _output_macs(registers: OutputRegisters, stretch: Stretch, step: int, tally: Tally) -> bool:
    """Let every PE work for one cycle, ``step`` of A and B entering at the top left; whether the last PE worked."""
    rows, cols = registers.left.shape
    for c in range(cols - 1, -1, -1):
        registers.top_edge[c] = registers.top_edge[c - 1] if c > 0 else step
    for r in range(rows - 1, -1, -1):
        registers.left_edge[r] = registers.left_edge[r - 1] if r > 0 else step
        for c in range(cols - 1, -1, -1):
            from_left = registers.left[r, c - 1] if c > 0 else registers.left_edge[r]
            from_top = registers.top[r - 1, c] if r > 0 else registers.top_edge[c]
            registers.left[r, c] = from_left
            registers.top[r, c] = from_top
            if from_left != from_top:
                tally.faults[0] += 1
            if from_left == NOTHING:
                continue
            fold = stretch.fold_of_step[from_left]
            tally.macs[0] += 1
            if r < stretch.used_rows[fold] and c < stretch.used_cols[fold]:
                tally.useful_macs[0] += 1
            following = from_left + 1
            if following == stretch.fold_of_step.size or stretch.fold_of_step[following] != fold:
                registers.waiting[r, c] += 1
                if r == rows - 1:
                    registers.finished[c] = 1
    return bool(registers.left[rows - 1, cols - 1] != NOTHING)


@kernel
def _move_results(registers: OutputRegisters, tally: Tally) -> None:
    """Move results on their way one PE down; a column whose bottom PE has ended its fold joins from the next cycle."""
    rows, cols = registers.leaving.shape
    for c in range(cols):
        tally.results[0] += registers.leaving[rows - 1, c]
        tally.result_words[0] = max(tally.result_words[0], registers.leaving[rows - 1, c])
    for r in range(rows - 1, -1, -1):
        for c in range(cols):
            registers.leaving[r, c] = registers.leaving[r - 1, c] if r > 0 else 0
    for c in range(cols):
        if registers.finished[c] == 1:
            registers.finished[c] = 0
            for r in range(rows):
                if registers.waiting[r, c] < 1:
                    tally.faults[0] += 1
                registers.waiting[r, c] -= 1
                registers.leaving[r, c] += 1


@kernel
def _run_output(registers: OutputRegisters, stretch: Stretch, overlap: int, tally: Tally) -> tuple[int, int, int]:
    """Stream every fold and shift its results out; total, steady and drain cycles."""
    rows, cols = registers.left.shape
    results_a_fold = rows * cols
    limit = most_cycles(stretch, rows, cols)
    folds = stretch.steps.size
    cycles = steady = drain = fold = step_in_fold = step = 0
    while tally.results[0] < folds * results_a_fold and cycles < limit:
        entering = NOTHING
        empty = tally.results[0] == fold * results_a_fold
        if fold < folds and (step_in_fold > 0 or overlap == OVERLAP_FULL or empty):
            entering = step
            step += 1
            step_in_fold += 1
            if step_in_fold == stretch.steps[fold]:
                fold += 1
                step_in_fold = 0
        macs_before = tally.macs[0]
        steady += _output_macs(registers, stretch, entering, tally)
        drain += tally.macs[0] == macs_before and not empty
        _move_results(registers, tally)
        cycles += 1
    return cycles, steady, drain


@kernel(allocates=True)
def emulate_stretch(
    steps: IntArray,
    used_rows: IntArray,
    used_cols: IntArray,
    rows: int,
    cols: int,
    stationary: int,
    overlap: int,
) -> ArrayRun:
    """Emulate folds one after the other on an array of ``rows`` x ``cols`` PEs, every PE in every cycle.

    Parameters
    ----------
    steps, used_rows, used_cols : int64[folds]
        Steps streamed in each fold (at least 1) and the part of the array that holds data and not zeros.
    rows, cols : int
        PEs along each side of the array, at least 1.
    stationary, overlap : int
        As for ``gemm_fold_timing``. OVERLAP_WEIGHTS changes nothing if output stationary.

    Returns
    -------
    ArrayRun
        Counted cycles and MACs. Takes O(cycles x rows x cols) time: for small cases.
    """
    fold_of_step = np.repeat(np.arange(steps.size), steps)
    stretch = Stretch(steps, used_rows, used_cols, fold_of_step)
    one = np.zeros((5, 1), np.int64)
    tally = Tally(one[0], one[1], one[2], one[3], one[4])
    array = (rows, cols)
    if stationary == OUTPUT_STATIONARY:
        output = OutputRegisters(
            left_edge=np.full(rows, NOTHING),
            top_edge=np.full(cols, NOTHING),
            left=np.full(array, NOTHING),
            top=np.full(array, NOTHING),
            waiting=np.zeros(array, np.int64),
            leaving=np.zeros(array, np.int64),
            finished=np.zeros(cols, np.int64),
        )
        cycles, steady, drain = _run_output(output, stretch, overlap, tally)
        results = steps.size * rows * cols
    else:
        held = StationaryRegisters(
            left_edge=np.full(rows, NOTHING),
            stream=np.full(array, NOTHING),
            partial_sum=np.full(array, NOTHING),
            working=np.full(array, NOTHING),
            shadow=np.full(array, NOTHING),
            target=np.full(array, NOTHING),
            entry=np.full(cols, NOTHING),
            entry_target=np.full(cols, NOTHING),
        )
        cycles, steady, drain = _run_stationary(held, stretch, overlap, tally)
        results = fold_of_step.size * cols
    return ArrayRun(
        cycles,
        cycles - steady - drain,
        steady,
        drain,
        tally.macs[0],
        tally.useful_macs[0],
        tally.result_words[0],
        tally.faults[0],
        results - tally.results[0],
    )


@kernel(allocates=True)
def emulate_gemm(m: int, n: int, k: int, rows: int, cols: int, stationary: int, overlap: int) -> ArrayRun:
    """Emulate C[m,n] = A[m,k] B[k,n] with all its folds, ragged ones padded; parameters as ``gemm_fold_timing``."""
    along_rows, along_cols, steps = array_view(m, n, k, stationary)
    row_folds = -(-along_rows // rows)
    col_folds = -(-along_cols // cols)
    used_rows = np.full(row_folds * col_folds, rows)
    used_cols = np.full(row_folds * col_folds, cols)
    for i in range(row_folds):
        for j in range(col_folds):
            used_rows[i * col_folds + j] = min(rows, along_rows - i * rows)
            used_cols[i * col_folds + j] = min(cols, along_cols - j * cols)
    all_steps = np.full(row_folds * col_folds, steps)
    return emulate_stretch(all_steps, used_rows, used_cols, rows, cols, stationary, overlap)

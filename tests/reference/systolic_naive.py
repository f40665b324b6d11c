"""A systolic array in plain Python: PE by PE, cycle by cycle, with the numbers themselves moving between neighbours.

Written from the hardware and not from a formula. Every PE reads its neighbours' registers of the cycle before, then all
PEs change together. Cycles are counted as they pass; the product that comes out shows that the right numbers met.

The one-fold arrays at the top have one register per operand and PE. The overlapped ones below add what overlap needs: a
second register for the stationary operand, or a way out for the finished result.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.int64]


@dataclass(frozen=True)
class Trace:
    """The results of the folds and the cycles spent before streaming, until the last MAC, and after it.

    ``result_words`` is the most results that left one column in one cycle.
    """

    results: tuple[Matrix, ...]
    preload_cycles: int
    stream_cycles: int
    drain_cycles: int
    macs: int
    result_words: int = 1

    @property
    def total_cycles(self) -> int:
        return self.preload_cycles + self.stream_cycles + self.drain_cycles


def padded(matrix: Matrix, rows: int, cols: int) -> Matrix:
    """The matrix with zeros below and to the right, up to (rows, cols)."""
    full = np.zeros((rows, cols), np.int64)
    full[: matrix.shape[0], : matrix.shape[1]] = matrix
    return full


def output_stationary_fold(a: Matrix, b: Matrix, rows: int, cols: int) -> Trace:
    """C = a b with one element of C in each PE; a enters at the left, b at the top, C leaves at the bottom."""
    steps = a.shape[1]
    left, top = padded(a, rows, steps), padded(b, steps, cols)
    a_register: list[list[int | None]] = [[None] * cols for _ in range(rows)]
    b_register: list[list[int | None]] = [[None] * cols for _ in range(rows)]
    accumulator = [[0] * cols for _ in range(rows)]
    macs_done = [[0] * cols for _ in range(rows)]
    cycle = 0
    while any(done < steps for row in macs_done for done in row):
        a_before, b_before = [row[:] for row in a_register], [row[:] for row in b_register]
        for r in range(rows):
            for c in range(cols):
                at_left = int(left[r, cycle - r]) if 0 <= cycle - r < steps else None
                at_top = int(top[cycle - c, c]) if 0 <= cycle - c < steps else None
                x = a_register[r][c] = a_before[r][c - 1] if c > 0 else at_left
                y = b_register[r][c] = b_before[r - 1][c] if r > 0 else at_top
                if x is not None and y is not None:
                    accumulator[r][c] += x * y
                    macs_done[r][c] += 1
        cycle += 1
    collected: list[list[int]] = []
    while len(collected) < rows:
        collected.insert(0, accumulator[-1])
        accumulator = [[0] * cols, *accumulator[:-1]]
    result = np.array(collected)[: a.shape[0], : b.shape[1]]
    return Trace((result,), 0, cycle, len(collected), sum(map(sum, macs_done)))


def stationary_fold(held: Matrix, streamed: Matrix, rows: int, cols: int) -> Trace:
    """``streamed`` @ ``held`` with one element of ``held`` in each PE, put there row by row from the top edge."""
    steps = streamed.shape[0]
    full = padded(held, rows, cols)
    weights = [[0] * cols for _ in range(rows)]
    preload = 0
    for row in reversed(range(rows)):
        weights = [[int(value) for value in full[row]], *weights[:-1]]
        preload += 1
    left = padded(streamed, steps, rows)
    operand: list[list[int | None]] = [[None] * cols for _ in range(rows)]
    sums: list[list[int | None]] = [[None] * cols for _ in range(rows)]
    out: list[list[int]] = [[] for _ in range(cols)]
    cycle = macs = 0
    while any(len(column) < steps for column in out):
        operand_before, sums_before = [row[:] for row in operand], [row[:] for row in sums]
        for r in range(rows):
            for c in range(cols):
                at_left = int(left[cycle - r, r]) if 0 <= cycle - r < steps else None
                x = operand[r][c] = operand_before[r][c - 1] if c > 0 else at_left
                above = sums_before[r - 1][c] if r > 0 else 0
                if x is None or above is None:
                    sums[r][c] = None
                    continue
                macs += 1
                total = above + x * weights[r][c]
                sums[r][c] = total
                if r == rows - 1:
                    out[c].append(total)
        cycle += 1
    return Trace((np.array(out).T[:, : held.shape[1]],), preload, cycle, 0, macs)


def weight_stationary_fold(a: Matrix, b: Matrix, rows: int, cols: int) -> Trace:
    """C = a b with b held (k along the rows, n along the columns) and the rows of a streaming from the left."""
    return stationary_fold(b, a, rows, cols)


def input_stationary_fold(a: Matrix, b: Matrix, rows: int, cols: int) -> Trace:
    """C = a b with the transpose of a held (k along the rows, m along the columns) and the columns of b streaming."""
    trace = stationary_fold(a.T, b.T, rows, cols)
    return Trace((trace.results[0].T,), trace.preload_cycles, trace.stream_cycles, trace.drain_cycles, trace.macs)


@dataclass
class HeldPE:
    """A PE with a working and a shadow register for its stationary operand, and one for each thing passing through."""

    weight: int = 0
    shadow: tuple[int, int] | None = None  # the operand, and how many PEs it still has to go down
    operand: tuple[int, bool] | None = None  # the streamed number, and whether it is the first of its fold
    total: int | None = None


class HeldArray:
    """PEs that hold one operand while the next fold's comes down behind; ``clock`` is one cycle."""

    def __init__(self, rows: int, cols: int) -> None:
        self.rows, self.cols = rows, cols
        self.pes = [[HeldPE() for _ in range(cols)] for _ in range(rows)]
        self.out: list[list[int]] = [[] for _ in range(cols)]
        self.stream_delay: list[deque[tuple[int, bool] | None]] = [deque([None] * r) for r in range(rows)]
        self.preload_delay: list[deque[tuple[int, int] | None]] = [deque([None] * c) for c in range(cols)]

    def clock(self, step: Sequence[int] | None, first: bool, word: Sequence[int] | None, hops: int) -> None:
        """One cycle: a step enters at the left edge (delayed one cycle a row), stationary operands at the top edge."""
        for r in range(self.rows):
            self.stream_delay[r].append(None if step is None else (step[r], first))
        for c in range(self.cols):
            self.preload_delay[c].append(None if word is None else (word[c], hops))
        before = [[HeldPE(pe.weight, pe.shadow, pe.operand, pe.total) for pe in row] for row in self.pes]
        for r, row in enumerate(self.pes):
            edge = self.stream_delay[r].popleft()
            for c, pe in enumerate(row):
                pe.operand = before[r][c - 1].operand if c > 0 else edge
                self.work(pe, before[r - 1][c].total if r > 0 else 0 if pe.operand is not None else None)
                if r == self.rows - 1 and pe.total is not None:
                    self.out[c].append(pe.total)
        for c in range(self.cols):
            self.move_preload(c, self.preload_delay[c].popleft())

    @staticmethod
    def work(pe: HeldPE, above: int | None) -> None:
        """Add to the sum from above, which comes with the operand from the left or neither comes."""
        assert (pe.operand is None) == (above is None), "an operand met no sum, or a sum no operand"
        if pe.operand is None or above is None:
            pe.total = None
            return
        value, first = pe.operand
        if first:
            assert pe.shadow is not None, "the stationary operand is not there yet"
            assert pe.shadow[1] == 0, "the stationary operand is still on its way to another PE"
            pe.weight, pe.shadow = pe.shadow[0], None
        pe.total = above + value * pe.weight

    def move_preload(self, c: int, entering: tuple[int, int] | None) -> None:
        """Move column c's stationary operands that still have a way to go by one PE."""
        shadows = [row[c].shadow for row in self.pes]
        moving = [shadow if shadow is not None and shadow[1] > 0 else None for shadow in shadows]
        for r, row in enumerate(self.pes):
            word = entering if r == 0 else moving[r - 1]
            arriving = word if r == 0 or word is None else (word[0], word[1] - 1)
            if moving[r] is not None:
                row[c].shadow = None
            if arriving is not None:
                assert row[c].shadow is None, "a stationary operand still needed was overwritten"
                row[c].shadow = arriving


def overlapped_stationary(
    folds: Sequence[tuple[Matrix, Matrix]], rows: int, cols: int, *, stream_follows: bool
) -> Trace:
    """Folds (held, streamed) with the next preload behind the current one's stream.

    With ``stream_follows`` the next fold's stream enters as soon as its operand is in place, otherwise only when the
    array has delivered everything.
    """
    array = HeldArray(rows, cols)
    words = deque(
        (index, row, [int(v) for v in padded(held, rows, cols)[row]])
        for index, (held, _) in enumerate(folds)
        for row in reversed(range(rows))
    )
    steps = deque(
        (index, i == 0, [int(v) for v in padded(streamed, streamed.shape[0], rows)[i]])
        for index, (_, streamed) in enumerate(folds)
        for i in range(streamed.shape[0])
    )
    wanted = len(steps)
    in_place = begun = entered = cycle = preload = 0
    while min(map(len, array.out)) < wanted:
        step, first, word, row = None, False, None, 0
        if steps:
            index, is_first, values = steps[0]
            array_empty = min(map(len, array.out)) == entered
            if not is_first or (index < in_place and (stream_follows or array_empty)):
                steps.popleft()
                step, first, entered = values, is_first, entered + 1
                begun += is_first
        if words and words[0][0] <= begun:
            _, row, word = words.popleft()
        array.clock(step, first, word, row)
        in_place += word is not None and row == 0
        preload += entered == 0
        cycle += 1
    return Trace(split_results(array.out, folds), preload, cycle - preload, 0, wanted * rows * cols)


def split_results(out: Sequence[Sequence[int]], folds: Sequence[tuple[Matrix, Matrix]]) -> tuple[Matrix, ...]:
    """What the columns delivered, cut into one matrix a fold, padding removed."""
    everything = np.array(out).T
    ends = np.cumsum([streamed.shape[0] for _, streamed in folds])
    return tuple(
        part[:, : held.shape[1]] for part, (held, _) in zip(np.split(everything, ends[:-1]), folds, strict=True)
    )


@dataclass
class OutputPE:
    """A PE that accumulates one result while finished ones wait for the rest of their column."""

    a: tuple[int, bool] | None = None  # the number, and whether it is the last of its fold
    b: int | None = None
    accumulator: int = 0
    finished: deque[int] = field(default_factory=deque)


class WayOut:
    """One column's way out: lanes of one register a PE, each with the results of one fold on their way down.

    Folds shorter than the column is high leave side by side. ``out`` has what left of each fold, the bottom row first.
    """

    def __init__(self) -> None:
        self.lanes: list[tuple[int, list[int | None]]] = []  # the fold in the lane, and its words from top to bottom
        self.out: list[list[int]] = []
        self.most_words = 0

    def clock(self) -> None:
        """Move the words of every lane one PE down; those in the bottom registers leave."""
        words = 0
        for fold, lane in self.lanes:
            leaving = lane.pop()
            lane.insert(0, None)
            if leaving is not None:
                self.out[fold].append(leaving)
                words += 1
        self.most_words = max(self.most_words, words)

    def enter(self, column: Sequence[OutputPE]) -> None:
        """Take one finished result from each PE into a lane that is empty, or into one more if none is."""
        self.lanes = [(fold, lane) for fold, lane in self.lanes if any(word is not None for word in lane)]
        self.lanes.append((len(self.out), [pe.finished.popleft() for pe in column]))
        self.out.append([])


def overlapped_output(folds: Sequence[tuple[Matrix, Matrix]], rows: int, cols: int) -> Trace:
    """Folds (a, b) whose streams enter right behind one another; each column's results leave on a way of their own."""
    a_steps = [
        (column, i == a.shape[1] - 1) for a, _ in folds for i, column in enumerate(padded(a, rows, a.shape[1]).T)
    ]
    b_steps = [row for _, b in folds for row in padded(b, b.shape[0], cols)]
    pes = [[OutputPE() for _ in range(cols)] for _ in range(rows)]
    ways_out = [WayOut() for _ in range(cols)]
    cycle = macs = last_mac = 0
    while any(sum(map(len, way.out)) < rows * len(folds) for way in ways_out):
        before = [[(pe.a, pe.b) for pe in row] for row in pes]
        ended = [False] * cols
        for r in range(rows):
            step_a = cycle - r
            edge_a = (int(a_steps[step_a][0][r]), a_steps[step_a][1]) if 0 <= step_a < len(a_steps) else None
            for c, pe in enumerate(pes[r]):
                step_b = cycle - c
                edge_b = int(b_steps[step_b][c]) if 0 <= step_b < len(b_steps) else None
                pe.a = before[r][c - 1][0] if c > 0 else edge_a
                pe.b = before[r - 1][c][1] if r > 0 else edge_b
                if pe.a is None or pe.b is None:
                    continue
                pe.accumulator += pe.a[0] * pe.b
                macs, last_mac = macs + 1, cycle + 1
                if pe.a[1]:
                    pe.finished.append(pe.accumulator)
                    pe.accumulator = 0
                    ended[c] = r == rows - 1
        for c, way in enumerate(ways_out):
            way.clock()
            if ended[c]:
                way.enter([row[c] for row in pes])
        cycle += 1
    results = tuple(
        np.array([way.out[f][::-1] for way in ways_out]).T[: a.shape[0], : b.shape[1]] for f, (a, b) in enumerate(folds)
    )
    return Trace(results, 0, last_mac, cycle - last_mac, macs, max(way.most_words for way in ways_out))


def gemm_folds(a: Matrix, b: Matrix, rows: int, cols: int, form: str) -> list[tuple[slice, slice, Matrix, Matrix]]:
    """The folds of a b: the part of the product each adds to, and its operands as the array of that form takes them."""
    (m, k), n = a.shape, b.shape[1]

    def blocks(extent: int, size: int) -> list[slice]:
        return [slice(i, min(i + size, extent)) for i in range(0, extent, size)]

    if form == "output":
        return [(i, j, a[i], b[:, j]) for i in blocks(m, rows) for j in blocks(n, cols)]
    if form == "weight":
        return [(slice(0, m), j, b[i, j], a[:, i]) for i in blocks(k, rows) for j in blocks(n, cols)]
    return [(j, slice(0, n), a[j, i].T, b[i].T) for i in blocks(k, rows) for j in blocks(m, cols)]


def naive_gemm(a: Matrix, b: Matrix, rows: int, cols: int, form: str, overlap: str) -> tuple[Matrix, int]:
    """The product a b made fold by fold, and the cycles it took.

    ``form`` is "weight", "output" or "input", ``overlap`` "none", "weights" or "full".
    """
    folds = gemm_folds(a, b, rows, cols, form)
    operands = [(first, second) for _, _, first, second in folds]
    if form == "output" and overlap == "full":
        traces = [overlapped_output(operands, rows, cols)]
    elif form == "output":
        traces = [output_stationary_fold(first, second, rows, cols) for first, second in operands]
    elif overlap == "none":
        traces = [stationary_fold(held, streamed, rows, cols) for held, streamed in operands]
    else:
        traces = [overlapped_stationary(operands, rows, cols, stream_follows=overlap == "full")]
    product = np.zeros((a.shape[0], b.shape[1]), np.int64)
    results = [result for trace in traces for result in trace.results]
    for (i, j, _, _), result in zip(folds, results, strict=True):
        product[i, j] += result.T if form == "input" else result
    return product, sum(trace.total_cycles for trace in traces)

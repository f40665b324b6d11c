"""Bank conflicts counted one word at a time, from where each element lies and which ones the array takes together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from math import ceil

Elements = list[tuple[int, int]]
"""Row and column of elements of a matrix that are taken in the same cycle."""


def busiest_bank(words: int, stride: int, banks: int) -> int:
    """Words of the fullest bank, of words 0, stride, 2 stride, ..."""
    return max(Counter(word * stride % banks for word in range(words)).values())


def taken_together(form: str, m: int, n: int, k: int, rows: int, cols: int) -> dict[str, Iterator[Elements]]:
    """Elements of A [m,k], B [k,n] and C [m,n] that cross the array's edge in each cycle of its first fold.

    Edge registers skew the streams, so what enters a slanted front was read together.
    """
    if form == "weight_stationary":  # rows of B are preloaded; rows of A stream in, rows of C leave
        depth, across = range(min(rows, k)), range(min(cols, n))
        return {
            "b": ([(row, col) for col in across] for row in depth),
            "a": ([(step, row) for row in depth] for step in range(m)),
            "c": ([(step, col) for col in across] for step in range(m)),
        }
    if form == "output_stationary":  # columns of A and rows of B stream in; rows of C are shifted out
        down, across = range(min(rows, m)), range(min(cols, n))
        return {
            "a": ([(row, step) for row in down] for step in range(k)),
            "b": ([(step, col) for col in across] for step in range(k)),
            "c": ([(row, col) for col in across] for row in down),
        }
    depth, across = range(min(rows, k)), range(min(cols, m))  # the transposed of A is preloaded, columns of B stream in
    return {
        "a": ([(col, row) for col in across] for row in depth),
        "b": ([(row, step) for row in depth] for step in range(n)),
        "c": ([(col, step) for col in across] for step in range(n)),
    }


def conflict_factor(
    vectors: Iterable[Elements], row_bytes: float, element: float, width: float, banks: int, port_words: float
) -> float:
    """How many times as long the slowest of the vectors takes as its words would without meeting in banks."""
    words_of_row = ceil(row_bytes / width)
    factor = 1.0
    for elements in vectors:
        words = {(row, int(col * element // width)) for row, col in elements}
        load = Counter((row * words_of_row + word) % banks for row, word in words)
        factor = max(factor, max(load.values()) / ceil(len(words) / port_words))
    return factor

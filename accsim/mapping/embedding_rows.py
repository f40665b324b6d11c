"""Rows of embedding tables: their bytes, what an optimizer moves and computes, and how fast DRAM reads them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from accsim.config.dram import DramStandard
from accsim.embedding.work import StackWork
from accsim.engine.dram import RandomRows, dram_access
from accsim.units import dtype_bits
from accsim.workload.embeddings import OPTIMIZER_STATE

STATE_BYTES = 4
"""Of one number that an optimizer keeps (fp32)."""
LONG = 2**40
"""Bytes of an access pattern that has come to its steady state."""


class Arithmetic(NamedTuple):
    """Operations of an update."""

    per_element: Mapping[str, int]
    per_row: Mapping[str, int]


UPDATE: Mapping[str, Arithmetic] = {
    "sgd": Arithmetic({"multiply": 1, "add": 1}, {}),
    "rowwise_adagrad": Arithmetic({"multiply": 2, "add": 2}, {"multiply": 2, "add": 2, "divide": 1}),
    "adagrad": Arithmetic({"multiply": 3, "add": 3, "divide": 1}, {}),
    "adam": Arithmetic({"multiply": 6, "add": 4, "divide": 2}, {}),
}
"""Counted from these forms; a square root, also a reciprocal one, is a ``divide``. SGD: w -= l g. Adagrad (Duchi et
al., JMLR 12, 2011): s += g², w -= (l g) / √(s + e), as one reciprocal root. Row-wise (Mudigere et al., arXiv
2104.05158, section 4.1.3): a row, s += sum(g²) / n and l / √(s + e); an element, the square and its sum, w -= that
times g. Adam (Kingma and Ba, arXiv 1412.6980, section 2, end: efficient form): m = b m + (1 - b) g,
v = c v + (1 - c) g², w -= a m / (√v + e)."""


def padded(size: float, granule: int) -> int:
    """Bytes of whole granules that hold `size` bytes."""
    return -(-int(-(-size // 1)) // granule) * granule


def row_bytes(stack: StackWork, granule: int) -> int:
    """Bytes of a row in memory, padded."""
    return padded(stack.width * dtype_bits(stack.dtype) / 8, granule)


def state_bytes(stack: StackWork, granule: int) -> tuple[int, ...]:
    """Bytes of each piece of a row's state in memory: pieces lie apart, each padded."""
    elements, rows = OPTIMIZER_STATE[stack.optimizer]
    long = padded(stack.width * STATE_BYTES, granule)
    return (long,) * elements + (padded(STATE_BYTES, granule),) * rows


def updated_bytes(stack: StackWork, granule: int) -> tuple[int, ...]:
    """Bytes of each piece that an update of a row reads, and writes again: the row's, and its state's."""
    return (row_bytes(stack, granule), *state_bytes(stack, granule))


def update_operations(stack: StackWork) -> dict[str, float]:
    """Operations of an update for each element of a row; those of the row are divided over its elements."""
    per_element, per_row = UPDATE[stack.optimizer]
    names = {*per_element, *per_row}
    return {name: per_element.get(name, 0) + per_row.get(name, 0) / stack.width for name in sorted(names)}


@lru_cache(maxsize=1024)
def random_efficiency(standard: DramStandard, size: int, *, rewritten: bool = False) -> float:
    """Share of its peak that one channel reaches at runs of `size` bytes at random places, read or half written.

    Source: the channel model of ``docs/dram.md``.
    """
    fraction = 0.5 if rewritten else 0.0
    return dram_access(RandomRows(size, LONG // size, write_fraction=fraction), standard, 1).efficiency

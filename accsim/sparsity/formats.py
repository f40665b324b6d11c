"""Storage formats whose size depends on the number of nonzeros alone: N:M index, bitmask, CSR and CSC, coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from accsim.config.checks import ArgumentChecks
from accsim.errors import InputError
from accsim.sparsity.base import MAX_GROUP, Bools
from accsim.sparsity.bitstream import BitReader, Bits, Codes, index_bits, to_bits
from accsim.sparsity.storage import Matrix, StorageFormat


@dataclass(frozen=True, slots=True)
class NMIndex(StorageFormat):
    """n slots for each aligned run of m along one axis, each with a value and its place in the run.

    Parameters
    ----------
    n, m
        Slots, and length of a run.
    axis
        The array's axis of the runs, 0 or 1.

    Notes
    -----
    bits = runs · n · (b + ceil log2 m), whatever the density: (n/m)(b + ceil log2 m) an element of whole runs. A short
    last run has n slots too. SCALE-Sim's row-wise block ELLPACK is this with n = m/2.
    """

    n: int
    m: int
    axis: int = 0

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        if check.count("n", "m", most=MAX_GROUP) and self.n > self.m:
            check.fail("n", f"read {self.n}, allowed is at most m = {self.m}")
        check.count("axis", least=0, most=1)
        check.finish()

    def _slots(self, shape: tuple[int, int]) -> int:
        return shape[1 - self.axis] * -(-shape[self.axis] // self.m) * self.n

    def expected_bits(self, rows: int, cols: int, density: float | Fraction, value_bits: int) -> float | Fraction:
        return Fraction(self._slots((rows, cols)) * (value_bits + index_bits(self.m)))

    def mask_bits(self, places: Bools, value_bits: int) -> int:
        self._runs(places.astype(np.uint64))
        return self._slots((places.shape[0], places.shape[1])) * (value_bits + index_bits(self.m))

    def write(self, codes: Codes, value_bits: int) -> Bits:
        runs = self._runs(codes)
        slots = np.sort(np.argsort(runs == 0, axis=1, kind="stable")[:, : self.n], axis=1)
        values = np.take_along_axis(runs, slots, axis=1)
        return np.concatenate((to_bits(slots, index_bits(self.m)), to_bits(values, value_bits)))

    def read(self, bits: BitReader, matrix: Matrix) -> Codes:
        shape = (matrix.rows, matrix.cols)
        count = self._slots(shape)
        slots = bits.take(count, index_bits(self.m)).astype(np.int64).reshape(-1, self.n)
        values = bits.take(count, matrix.value_bits).reshape(-1, self.n)
        runs = np.zeros((len(slots), self.m), dtype=np.uint64)
        np.put_along_axis(runs, slots, values, axis=1)
        lines = runs.reshape(shape[1 - self.axis], -1)[:, : shape[self.axis]]
        return lines if self.axis else np.ascontiguousarray(lines.T)

    def _runs(self, codes: Codes) -> Codes:
        lines = codes if self.axis else codes.T
        runs = np.pad(lines, ((0, 0), (0, -lines.shape[1] % self.m))).reshape(-1, self.m)
        if over := int(((runs != 0).sum(axis=1) > self.n).sum()):
            raise InputError(f"{over} of {len(runs)} runs have more than {self.n} nonzeros in {self.m}")
        return runs


@dataclass(frozen=True, slots=True)
class Bitmask(StorageFormat):
    """A bit for each place, and the nonzeros in order: bits = R · C + nnz · b."""

    def expected_bits(self, rows: int, cols: int, density: float | Fraction, value_bits: int) -> float | Fraction:
        return rows * cols * (1 + density * value_bits)

    def mask_bits(self, places: Bools, value_bits: int) -> int:
        return places.size + int(places.sum()) * value_bits

    def write(self, codes: Codes, value_bits: int) -> Bits:
        return np.concatenate((to_bits(codes != 0, 1), to_bits(codes[codes != 0], value_bits)))

    def read(self, bits: BitReader, matrix: Matrix) -> Codes:
        places = bits.take(matrix.rows * matrix.cols, 1)
        places[places != 0] = bits.take(int(places.sum()), matrix.value_bits)
        return places.reshape(matrix.rows, matrix.cols)


@dataclass(frozen=True, slots=True)
class Compressed(StorageFormat):
    """Compressed sparse rows (or columns): a pointer for each row and one at the end, an index for each nonzero.

    Parameters
    ----------
    columns
        True: compressed sparse columns.
    index_width, pointer_width
        Bits of an index and a pointer; default: the fewest, ceil log2 C and ceil log2 (R · C + 1).

    Notes
    -----
    bits = (R + 1) · pointer + nnz · (b + index); for columns R and C change places.
    """

    columns: bool = False
    index_width: int | None = None
    pointer_width: int | None = None

    def _widths(self, rows: int, cols: int) -> tuple[int, int, int]:
        """(lines, bits of an index, bits of a pointer)."""
        lines, places = (cols, rows) if self.columns else (rows, cols)
        index = index_bits(places) if self.index_width is None else self.index_width
        pointer = index_bits(rows * cols + 1) if self.pointer_width is None else self.pointer_width
        return lines, index, pointer

    def expected_bits(self, rows: int, cols: int, density: float | Fraction, value_bits: int) -> float | Fraction:
        lines, index, pointer = self._widths(rows, cols)
        return (lines + 1) * pointer + rows * cols * density * (value_bits + index)

    def mask_bits(self, places: Bools, value_bits: int) -> int:
        lines, index, pointer = self._widths(*places.shape)
        return (lines + 1) * pointer + int(places.sum()) * (value_bits + index)

    def write(self, codes: Codes, value_bits: int) -> Bits:
        _, index, pointer = self._widths(*codes.shape)
        lines = codes.T if self.columns else codes
        line, place = np.nonzero(lines)
        pointers = np.concatenate(([0], np.cumsum((lines != 0).sum(axis=1))))
        if int(pointers[-1]) >> pointer or (place.size and int(place.max()) >> index):
            raise InputError(f"indices of {index} bits and pointers of {pointer} are too narrow for this matrix")
        return np.concatenate(
            (to_bits(pointers, pointer), to_bits(place, index), to_bits(lines[line, place], value_bits))
        )

    def read(self, bits: BitReader, matrix: Matrix) -> Codes:
        count, index, pointer = self._widths(matrix.rows, matrix.cols)
        pointers = bits.take(count + 1, pointer).astype(np.int64)
        place = bits.take(int(pointers[-1]), index).astype(np.int64)
        lines = np.zeros((count, matrix.rows * matrix.cols // count), dtype=np.uint64)
        lines[np.repeat(np.arange(count), np.diff(pointers)), place] = bits.take(place.size, matrix.value_bits)
        return np.ascontiguousarray(lines.T) if self.columns else lines


@dataclass(frozen=True, slots=True)
class Coordinates(StorageFormat):
    """Row, column and value of each nonzero: bits = nnz · (b + ceil log2 R + ceil log2 C)."""

    def expected_bits(self, rows: int, cols: int, density: float | Fraction, value_bits: int) -> float | Fraction:
        return rows * cols * density * (value_bits + index_bits(rows) + index_bits(cols))

    def mask_bits(self, places: Bools, value_bits: int) -> int:
        return int(places.sum()) * (value_bits + sum(index_bits(side) for side in places.shape))

    def write(self, codes: Codes, value_bits: int) -> Bits:
        row, col = np.nonzero(codes)
        rows, cols = codes.shape
        parts = (to_bits(row, index_bits(rows)), to_bits(col, index_bits(cols)), to_bits(codes[row, col], value_bits))
        return np.concatenate(parts)

    def read(self, bits: BitReader, matrix: Matrix) -> Codes:
        widths = (index_bits(matrix.rows), index_bits(matrix.cols), matrix.value_bits)
        count = bits.left // sum(widths)
        row, col, values = (bits.take(count, width) for width in widths)
        codes = np.zeros((matrix.rows, matrix.cols), dtype=np.uint64)
        codes[row.astype(np.int64), col.astype(np.int64)] = values
        return codes


BITMASK, CSR, CSC, COO = Bitmask(), Compressed(), Compressed(columns=True), Coordinates()


def entropy_bound_bits(n: int, m: int, value_bits: int) -> float:
    """Fewest bits an element of n:m by which any format can tell all its masks apart: (n/m) b + log2 C(m, n) / m.

    Examples
    --------
    >>> round(entropy_bound_bits(2, 4, 16), 2)
    8.65
    """
    return n / m * value_bits + math.log2(math.comb(m, n)) / m

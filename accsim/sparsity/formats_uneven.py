"""Storage formats whose size depends on where the nonzeros lie: run length, blocked ELLPACK."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np

from accsim.config.checks import ArgumentChecks
from accsim.errors import InputError
from accsim.sparsity.base import MAX_GROUP, Bools
from accsim.sparsity.bitstream import BitReader, Bits, Codes, index_bits, to_bits
from accsim.sparsity.imbalance import expected_max
from accsim.sparsity.storage import Matrix, StorageFormat


@dataclass(frozen=True, slots=True)
class RunLength(StorageFormat):
    """The number of zeros before each nonzero, row after row without a break.

    Parameters
    ----------
    run_bits
        Bits r of such a number, 1 to 32.

    Notes
    -----
    bits = (nnz + padding) · (b + r). A run of L = 2^r zeros is a padding entry: the longest run that can be written,
    then a stored zero. Zeros after the last entry are not stored. With independent places of density d and q = 1 − d,
    a place i of n ends such a run if exactly jL zeros lie up to it, so that

        E[padding] = Σ_{j=1}^{⌊n/L⌋} q^{jL} (1 + (n − jL) d)
    """

    linear: ClassVar[bool] = False
    run_bits: int = 4

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.count("run_bits", most=32)
        check.finish()

    def expected_bits(self, rows: int, cols: int, density: float | Fraction, value_bits: int) -> float | Fraction:
        places, share = rows * cols, float(density)
        covered = np.arange(1, (places >> self.run_bits) + 1, dtype=np.float64) * 2.0**self.run_bits
        padding = float(((1.0 - share) ** covered * (1.0 + (places - covered) * share)).sum())
        return (places * share + padding) * (value_bits + self.run_bits)

    def mask_bits(self, places: Bools, value_bits: int) -> int:
        runs = self._runs(np.flatnonzero(places), places.size)
        return (len(runs) - 1 + int((runs >> self.run_bits).sum())) * (value_bits + self.run_bits)

    def write(self, codes: Codes, value_bits: int) -> Bits:
        at = np.flatnonzero(codes)
        runs = self._runs(at, codes.size)
        entries = np.cumsum((runs >> self.run_bits) + 1)
        written = np.full(int(entries[-1]) - 1, 2**self.run_bits - 1, dtype=np.uint64)
        values = np.zeros_like(written)
        written[entries[:-1] - 1] = runs[:-1] % 2**self.run_bits
        values[entries[:-1] - 1] = codes.reshape(-1)[at]
        return np.concatenate((to_bits(written, self.run_bits), to_bits(values, value_bits)))

    def read(self, bits: BitReader, matrix: Matrix) -> Codes:
        count = bits.left // (self.run_bits + matrix.value_bits)
        at = np.cumsum(bits.take(count, self.run_bits).astype(np.int64) + 1) - 1
        codes = np.zeros(matrix.rows * matrix.cols, dtype=np.uint64)
        codes[at] = bits.take(count, matrix.value_bits)
        return codes.reshape(matrix.rows, matrix.cols)

    def _runs(
        self, at: np.ndarray[tuple[int], np.dtype[np.intp]], places: int
    ) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Zeros before each nonzero, and after the last."""
        return np.diff(np.concatenate(([-1], at, [places]))).astype(np.int64) - 1


@dataclass(frozen=True, slots=True)
class BlockEllpack(StorageFormat):
    """Blocked ELLPACK: each row of blocks has as many slots as the fullest one, each a whole block and its column.

    Parameters
    ----------
    rows, cols
        Sides of a block; they divide the matrix's.

    Notes
    -----
    bits = (R / rows) · slots · (rows · cols · b + ceil log2 (C / cols + 1)); the index beyond the last column marks a
    slot that is not used. The expected number of slots is the largest of R / rows binomial counts.
    """

    linear: ClassVar[bool] = False
    rows: int
    cols: int

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.count("rows", "cols", most=MAX_GROUP)
        check.finish()

    def _blocks(self, rows: int, cols: int) -> tuple[int, int]:
        if rows % self.rows or cols % self.cols:
            raise InputError(f"blocks of {self.rows} x {self.cols} do not divide the shape {rows} x {cols}")
        return rows // self.rows, cols // self.cols

    def _slot_bits(self, across: int, value_bits: int) -> int:
        return self.rows * self.cols * value_bits + index_bits(across + 1)

    def expected_bits(self, rows: int, cols: int, density: float | Fraction, value_bits: int) -> float | Fraction:
        used = -math.expm1(self.rows * self.cols * math.log1p(-float(density))) if density < 1 else 1.0
        return self.block_bits(rows, cols, used, value_bits)

    def block_bits(self, rows: int, cols: int, block_density: float | Fraction, value_bits: int) -> float:
        """Expected bits where whole blocks are used or not, independently, with this probability."""
        down, across = self._blocks(rows, cols)
        return down * expected_max(across, float(block_density), down) * self._slot_bits(across, value_bits)

    def mask_bits(self, places: Bools, value_bits: int) -> int:
        down, across = self._blocks(*places.shape)
        used = places.reshape(down, self.rows, across, self.cols).any(axis=(1, 3))
        return down * int(used.sum(axis=1).max()) * self._slot_bits(across, value_bits)

    def write(self, codes: Codes, value_bits: int) -> Bits:
        down, across = self._blocks(*codes.shape)
        blocks = codes.reshape(down, self.rows, across, self.cols).transpose(0, 2, 1, 3)
        used = (blocks != 0).any(axis=(2, 3))
        order = np.argsort(~used, axis=1, kind="stable")[:, : int(used.sum(axis=1).max())]
        index = np.where(np.take_along_axis(used, order, axis=1), order, across)
        values = np.take_along_axis(blocks, order[:, :, None, None], axis=1)
        return np.concatenate((to_bits(index, index_bits(across + 1)), to_bits(values, value_bits)))

    def read(self, bits: BitReader, matrix: Matrix) -> Codes:
        down, across = self._blocks(matrix.rows, matrix.cols)
        slots = bits.left // (down * self._slot_bits(across, matrix.value_bits))
        index = bits.take(down * slots, index_bits(across + 1)).astype(np.int64).reshape(down, slots)
        values = bits.take(down * slots * self.rows * self.cols, matrix.value_bits)
        blocks = np.zeros((down, across + 1, self.rows, self.cols), dtype=np.uint64)
        blocks[np.arange(down)[:, None], index] = values.reshape(down, slots, self.rows, self.cols)
        return blocks[:, :-1].transpose(0, 2, 1, 3).reshape(matrix.rows, matrix.cols)

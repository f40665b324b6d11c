"""Which products of a layer a pattern can speed up on a sparse unit, and why not the others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from accsim.errors import check_choice
from accsim.sparsity.base import Axes, Bools, axis_index, groups, sides
from accsim.sparsity.mask import Mask
from accsim.sparsity.nm import NM, VENOM_COLUMNS, VNM, most_in_run
from accsim.sparsity.patterns import Block, Channel, Dense, Unstructured, WeightPattern
from accsim.sparsity.skipping import Lines, run_by_rows
from accsim.sparsity.sparse_unit import SparseUnit

OPERANDS: Mapping[str, Axes] = {"A": ("m", "k"), "B": ("k", "n"), "C": ("m", "n")}
"""Axes of the operands of C[m,n] = A[m,k] B[k,n]: A activations, B weights, C the result (or its gradient)."""

CONTRACTS: Mapping[str, str] = {"forward": "k", "dgrad": "n", "wgrad": "m"}
"""Axis that each product of a training step contracts: C = A B, dA = dC Bᵀ, dB = Aᵀ dC."""


_ONE = Fraction(1)


class Verdict(Enum):
    """What a unit makes of a pattern in one product."""

    RUNS = "runs"
    """Every multiplication by a pruned value is left out."""
    PADDED = "runs padded"
    """It runs at the unit's own density, which is higher than the pattern's."""
    RE_PRUNE = "needs re-pruning"
    """A run of the unit may hold more nonzeros than the unit takes."""
    WRONG_AXIS = "wrong axis"
    """The pattern runs along an axis that this product does not contract."""
    NOT_AN_OPERAND = "not an operand"
    """The product writes, or does not touch, the sparse tensor."""
    NO_STRUCTURE = "no structure"
    """The unit needs a structure, and the pattern promises none."""
    NO_UNIT = "no sparse unit"
    """The unit multiplies zeros like any other value."""
    DENSE = "dense"
    """Nothing is pruned."""


class Way(Enum):
    """By what a unit leaves multiplications out."""

    MODE = "a mode"
    """It reads n of each m."""
    GATHER = "gathered columns"
    """It reads n of the 4 of each m that a group of rows keeps."""
    ROWS = "rows in modes of their own"
    """Each row is read in the mode that it fits."""
    ZEROS = "single zeros"
    """Each zero is skipped."""
    BLOCKS = "blocks"
    """Whole blocks are skipped."""
    SMALLER = "a smaller product"
    """What is pruned is not there."""


class _Judged(NamedTuple):
    """The fields of an :class:`Eligibility` after its product."""

    verdict: Verdict
    reason: str
    executed_density: Fraction = _ONE
    way: Way | None = None
    mode: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Eligibility:
    """What a unit makes of a pattern in one product.

    Attributes
    ----------
    product
        ``"forward"``, ``"dgrad"`` or ``"wgrad"``.
    verdict, reason
        In one word, and in a sentence.
    executed_density
        Multiplications that are executed, as a share of the dense product's; 1 where nothing is gained.
    way
        By what multiplications are left out; None where none are.
    mode
        The (n, m) at which it runs; None where it runs in none.
    """

    product: str
    verdict: Verdict
    reason: str
    executed_density: Fraction = Fraction(1)
    way: Way | None = None
    mode: tuple[int, int] | None = None

    @property
    def legal(self) -> bool:
        """True if the unit gains from the pattern as it is."""
        return self.executed_density < 1


@dataclass(frozen=True, slots=True)
class Legality:
    """What a unit makes of a pattern in each product of a training step."""

    pattern: WeightPattern
    unit: SparseUnit
    operand: str
    products: tuple[Eligibility, ...]

    def __getitem__(self, product: str) -> Eligibility:
        """The entry of one product."""
        check_choice("product", product, tuple(CONTRACTS))
        return next(entry for entry in self.products if entry.product == product)

    @property
    def training_density(self) -> Fraction:
        """Executed share of the three products together, each of which has as many multiplications."""
        return sum((entry.executed_density for entry in self.products), Fraction(0)) / len(self.products)

    def __str__(self) -> str:
        return "\n".join(f"{e.product}: {e.verdict.value}: {e.reason}" for e in self.products)


def legality(
    pattern: WeightPattern, unit: SparseUnit, operand: str = "B", extents: Mapping[str, int] | None = None
) -> Legality:
    """Which of forward, dgrad and wgrad a pattern speeds up on a unit, and why not the others.

    Parameters
    ----------
    pattern
        Of the operand; a pattern of one mask is judged by that mask, stored with its axes in the order of `OPERANDS`.
    unit
        What the hardware can leave out.
    operand
        Operand of the forward product that is sparse: ``"B"`` (weights), ``"A"`` (activations), or ``"C"`` (the
        gradient of the result).
    extents
        Extents of the axes m, n and k, as far as they are known: runs that do not divide the one that a product
        contracts are padded, and cost that.

    Raises
    ------
    InputError
        If the operand is unknown, has no axis that the pattern names, is a mask that is no matrix, or does not have the
        extents of its axes.

    Examples
    --------
    >>> from accsim.sparsity.sparse_unit import SPARSE_TENSOR_CORE
    >>> print(legality(NM(2, 4), SPARSE_TENSOR_CORE))
    forward: runs: 2:4 of 2:4
    dgrad: wrong axis: the pattern runs along k, the product contracts n: it would have to be transposable
    wgrad: not an operand: the product contracts m, which the operand B does not have
    >>> legality(NM(2, 6), SPARSE_TENSOR_CORE)["forward"].verdict.value
    'needs re-pruning'
    """
    check_choice("operand", operand, tuple(OPERANDS))
    axes = OPERANDS[operand]
    if isinstance(pattern, (NM, VNM, Channel)):
        axis_index(pattern.axis, axes)
    if isinstance(pattern, Unstructured) and pattern.mask is not None:
        sides("of one mask", pattern.mask.shape)
    entries = []
    for product, contracted in CONTRACTS.items():
        entries.append(Eligibility(product, *_judge(pattern, unit, operand, contracted, extents or {})))
    return Legality(pattern, unit, operand, tuple(entries))


def _judge(
    pattern: WeightPattern, unit: SparseUnit, operand: str, contracted: str, extents: Mapping[str, int]
) -> _Judged:
    axes, length = OPERANDS[operand], extents.get(contracted)
    if isinstance(pattern, Dense) or pattern.density == 1:
        return _Judged(Verdict.DENSE, "nothing is pruned")
    sized = all(axis in extents for axis in axes)
    kept = pattern.density_in((extents[axes[0]], extents[axes[1]]), axes) if sized else pattern.density
    if isinstance(pattern, Channel):
        return _channel(pattern, kept, operand, contracted)
    if contracted not in axes:
        what = f"the product contracts {contracted}, which the operand {operand} does not have"
        return _Judged(Verdict.NOT_AN_OPERAND, what)
    if unit.unstructured:
        return _Judged(Verdict.RUNS, "the unit skips single zeros", kept, Way.ZEROS)
    if isinstance(pattern, Block):
        return _block(pattern, kept, unit, axes, contracted)
    if isinstance(pattern, Unstructured) and (unit.modes or unit.blocks):
        return _unstructured(pattern, unit, axes, contracted)
    if isinstance(pattern, Unstructured) or not unit.modes:
        return _Judged(Verdict.NO_UNIT, f"the unit {unit.name} has no N:M mode")
    both_ways = isinstance(pattern, NM) and pattern.transposable
    if pattern.axis != contracted and not both_ways:
        what = f"the pattern runs along {pattern.axis}, the product contracts {contracted}"
        return _Judged(Verdict.WRONG_AXIS, f"{what}: it would have to be transposable")
    if isinstance(pattern, VNM):
        return _venom(pattern, unit, length)
    return _structured(pattern, unit, length)


def _structured(pattern: NM, unit: SparseUnit, length: int | None) -> _Judged:
    """The fastest mode that takes every mask of the pattern."""
    fitting = [mode for mode in unit.modes if most_in_run(pattern.n, pattern.m, mode[1]) <= mode[0]]
    own = f"{pattern.n}:{pattern.m}"
    if not fitting:
        worst = ", ".join(f"{most_in_run(pattern.n, pattern.m, m)} of {m} (at most {n})" for n, m in unit.modes)
        return _Judged(Verdict.RE_PRUNE, f"an aligned run of a {own} mask can hold {worst}")
    n, m = min(fitting, key=lambda mode: Fraction(*mode))
    density, padding = _run_density(n, m, length)
    verdict = Verdict.RUNS if Fraction(n, m) == pattern.density and not padding else Verdict.PADDED
    return _Judged(verdict, f"{own} of {n}:{m}{padding}", density, Way.MODE, (n, m))


def _run_density(n: int, m: int, length: int | None) -> tuple[Fraction, str]:
    """Executed share of runs that cover `length`, and what to say if they do not divide it."""
    if length is None or length % m == 0:
        return Fraction(n, m), ""
    runs = -(-length // m)
    return min(Fraction(runs * n, length), _ONE), f", {length} padded to {runs * m}"


def _venom(pattern: VNM, unit: SparseUnit, length: int | None) -> _Judged:
    gathers = unit.gathered_rows > 0 and pattern.v % unit.gathered_rows == 0
    if not (gathers and (pattern.n, VENOM_COLUMNS) in unit.modes):
        by_row = _structured(pattern.row, unit, length)
        return by_row._replace(reason=f"row by row, {by_row.reason}")
    density, padding = _run_density(pattern.n, pattern.m, length)
    verdict = Verdict.PADDED if padding else Verdict.RUNS
    return _Judged(
        verdict,
        f"{VENOM_COLUMNS} columns of {pattern.m} gathered{padding}",
        density,
        Way.GATHER,
        (pattern.n, pattern.m),
    )


def _block(pattern: Block, kept: Fraction, unit: SparseUnit, axes: Axes, contracted: str) -> _Judged:
    none = _Judged(Verdict.NO_UNIT, f"the unit {unit.name} skips no blocks")
    if unit.blocks is None:
        return none if unit.row_wise is None else _by_rows(pattern, unit, axes, contracted, none)
    block = (pattern.rows, pattern.cols)
    along, other = block if axes[0] == contracted else block[::-1]
    if along % unit.blocks[0] or other % unit.blocks[1]:
        least = f"{unit.blocks[0]} by {unit.blocks[1]}"
        return _Judged(Verdict.RE_PRUNE, f"blocks of {along} along {contracted} by {other} are no multiple of {least}")
    return _Judged(Verdict.RUNS, "whole blocks are skipped", kept, Way.BLOCKS)


def _channel(pattern: Channel, kept: Fraction, operand: str, contracted: str) -> _Judged:
    """A dropped channel makes all three products smaller, on any unit: each of them has all three axes."""
    how = "fewer terms a sum" if pattern.axis == contracted else "fewer sums"
    what = f"the product is smaller along {pattern.axis} of {operand}: {how}"
    return _Judged(Verdict.RUNS, what, kept, Way.SMALLER)


def _unstructured(pattern: Unstructured, unit: SparseUnit, axes: Axes, contracted: str) -> _Judged:
    """A mask with empty blocks, or that fits a mode as a whole; else rows in modes of their own, if there are such."""
    if pattern.mask is None:
        whole = _Judged(Verdict.NO_STRUCTURE, "zeros may lie anywhere: only a mask, or a structure, can tell")
    else:
        whole = _mask(pattern.mask, pattern.density, unit, axes, contracted)
    if unit.row_wise is None or whole.way is not None:
        return whole
    return _by_rows(pattern, unit, axes, contracted, whole)


def _by_rows(pattern: Block | Unstructured, unit: SparseUnit, axes: Axes, contracted: str, dense: _Judged) -> _Judged:
    """Each row in the mode that it fits; `dense` is said where none gains."""
    assert unit.row_wise is not None
    shape = (0, 0) if not isinstance(pattern, Unstructured) or pattern.mask is None else pattern.mask.shape
    along = axes.index(contracted)
    operand = Lines(pattern, shape[1 - along], shape[along], axes, contracted)
    share = Fraction(run_by_rows(operand, unit.modes, *unit.row_wise).time).limit_denominator(10**6)
    m = unit.modes[0][1]
    fits = f"{'each row' if unit.row_wise[0] == 1 else f'groups of {unit.row_wise[0]} rows'} at the n of {m} that fits"
    if share == 1:
        return dense._replace(reason=f"{fits} {unit.row_wise[1]} places: all are dense; {dense.reason}")
    return _Judged(
        Verdict.PADDED, f"{fits} {unit.row_wise[1]} places, {float(share * m):.3g} on average", share, Way.ROWS
    )


def _mask(mask: Mask, kept: Fraction, unit: SparseUnit, axes: Axes, contracted: str) -> _Judged:
    """A mask by itself: its empty blocks, or the fastest mode in whose every run it fits."""
    places, along = mask.array, axes.index(contracted)
    if unit.blocks is not None:
        return _empty_blocks(places, kept, unit.blocks if along == 0 else unit.blocks[::-1])
    fitting = [mode for mode in unit.modes if NM(*mode, axis=contracted).allows(places, axes)]
    if not fitting:
        over = ", ".join(f"{100 * _crowded(places, axes, contracted, n, m):.3g} % of {n}:{m}" for n, m in unit.modes)
        return _Judged(Verdict.RE_PRUNE, f"runs along {contracted} that hold too many: {over}")
    n, m = min(fitting, key=lambda mode: Fraction(*mode))
    density, padding = _run_density(n, m, places.shape[along])
    verdict = Verdict.RUNS if density == kept else Verdict.PADDED
    return _Judged(verdict, f"every run along {contracted} fits {n}:{m}{padding}", density, Way.MODE, (n, m))


def _empty_blocks(places: Bools, kept: Fraction, sides: tuple[int, int]) -> _Judged:
    """A mask on a unit that skips blocks of these sides: all that hold a nonzero are executed."""
    rows = np.logical_or.reduce(groups(places, 1, sides[1]), axis=-1)
    held = groups(rows, 0, sides[0]).any(axis=-1)
    share = min(Fraction(int(held.sum()) * math.prod(sides), places.size), _ONE)
    said = f"{100 * float(held.mean()):.3g} % of the blocks of {sides[0]} by {sides[1]} hold a nonzero"
    if share == 1:
        return _Judged(Verdict.RE_PRUNE, said)
    return _Judged(Verdict.RUNS if share == kept else Verdict.PADDED, said, share, Way.BLOCKS)


def _crowded(places: Bools, axes: Axes, contracted: str, n: int, m: int) -> float:
    return float((groups(places, axes.index(contracted), m).sum(axis=-1) > n).mean())

"""Patterns against units: every cell of the table by hand, and the counting behind it by enumeration."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accsim.errors import InputError
from accsim.sparsity.legality import CONTRACTS, OPERANDS, Verdict, Way, legality
from accsim.sparsity.masks import conforms, draw_mask
from accsim.sparsity.nm import NM, VNM, most_in_run
from accsim.sparsity.patterns import Block, Channel, Dense, Unstructured, WeightPattern
from accsim.sparsity.sparse_unit import (
    DENSITY_BOUND_BLOCKS,
    FLEXIBLE_TENSOR_CORE,
    NO_SPARSE_UNIT,
    OUTER_PRODUCT,
    SPARSE_TENSOR_CORE,
    SPARSE_TENSOR_CORE_TF32,
    VEGETA,
    VEGETA_ROW_WISE,
    VENOM_KERNEL,
    SparseUnit,
)

RUNS, PADDED, PRUNE = Verdict.RUNS, Verdict.PADDED, Verdict.RE_PRUNE
UNITS = (
    NO_SPARSE_UNIT, SPARSE_TENSOR_CORE, SPARSE_TENSOR_CORE_TF32, VEGETA, FLEXIBLE_TENSOR_CORE, VENOM_KERNEL,
    DENSITY_BOUND_BLOCKS, VEGETA_ROW_WISE, OUTER_PRODUCT,
)  # fmt: skip

# What each unit makes of a pattern along the axis that a product contracts: verdict, and the density executed.
# Columns as UNITS without the first, which has no sparse mode whatever the pattern, and the last two: rows in modes
# of their own are those of VEGETA where a pattern has one for all, and single zeros are skipped along any axis.
TABLE: dict[NM | VNM, list[tuple[Verdict, str]]] = {
    NM(2, 4): [(RUNS, "1/2"), (PRUNE, "1"), (RUNS, "1/2"), (RUNS, "1/2"), (RUNS, "1/2"), (RUNS, "1/2")],
    NM(1, 2): [(RUNS, "1/2"), (RUNS, "1/2"), (RUNS, "1/2"), (RUNS, "1/2"), (RUNS, "1/2"), (RUNS, "1/2")],
    NM(1, 4): [(PADDED, "1/2"), (PADDED, "1/2"), (RUNS, "1/4"), (RUNS, "1/4"), (PADDED, "1/2"), (RUNS, "1/4")],
    NM(2, 8): [(PADDED, "1/2"), (PRUNE, "1"), (PADDED, "1/2"), (RUNS, "1/4"), (PADDED, "1/2"), (RUNS, "1/4")],
    NM(2, 6): [(PRUNE, "1"), (PRUNE, "1"), (PRUNE, "1"), (RUNS, "1/3"), (PRUNE, "1"), (PADDED, "1/2")],
    NM(4, 8): [(PRUNE, "1"), (PRUNE, "1"), (PRUNE, "1"), (PRUNE, "1"), (PRUNE, "1"), (RUNS, "1/2")],
    NM(1, 8): [(PADDED, "1/2"), (PADDED, "1/2"), (PADDED, "1/4"), (PADDED, "1/4"), (PADDED, "1/2"), (RUNS, "1/8")],
    NM(3, 4): [(PRUNE, "1"), (PRUNE, "1"), (PRUNE, "1"), (PRUNE, "1"), (PRUNE, "1"), (RUNS, "3/4")],
    VNM(64, 2, 8): [(PADDED, "1/2"), (PRUNE, "1"), (PADDED, "1/2"), (RUNS, "1/4"), (RUNS, "1/4"), (RUNS, "1/4")],
    VNM(64, 2, 10): [(PRUNE, "1"), (PRUNE, "1"), (PRUNE, "1"), (PRUNE, "1"), (RUNS, "1/5"), (PADDED, "1/2")],
    VNM(8, 2, 8): [(PADDED, "1/2"), (PRUNE, "1"), (PADDED, "1/2"), (RUNS, "1/4"), (PADDED, "1/2"), (RUNS, "1/4")],
}


def placed(pattern: NM | VNM, axis: str, transposable: bool) -> NM | VNM:
    if isinstance(pattern, NM):
        return NM(pattern.n, pattern.m, axis, transposable)
    return VNM(pattern.v, pattern.n, pattern.m, axis)


@pytest.mark.parametrize("pattern", TABLE, ids=str)
@pytest.mark.parametrize("column", range(len(UNITS)))
@pytest.mark.parametrize("operand", OPERANDS)
def test_every_cell(pattern: NM | VNM, column: int, operand: str) -> None:
    unit = UNITS[column]
    for axis, transposable in itertools.product(OPERANDS[operand], (False, True)):
        one = placed(pattern, axis, transposable)
        both_ways = isinstance(one, NM) and transposable
        got = legality(one, unit, operand)
        for product, contracted in CONTRACTS.items():
            cell = got[product]
            if contracted not in OPERANDS[operand]:
                want = (Verdict.NOT_AN_OPERAND, "1")
            elif column == 0:
                want = (Verdict.NO_UNIT, "1")
            elif unit is OUTER_PRODUCT:
                want = (RUNS, str(one.density))
            elif contracted != axis and not both_ways:
                want = (Verdict.WRONG_AXIS, "1")
            else:
                want = TABLE[pattern][UNITS.index(VEGETA if unit is VEGETA_ROW_WISE else unit) - 1]
            assert (cell.verdict, cell.executed_density) == (want[0], Fraction(want[1])), (axis, transposable, product)
            assert cell.legal == (cell.executed_density < 1)
            assert cell.reason


@pytest.mark.parametrize("n", range(1, 4))
@pytest.mark.parametrize("m", range(1, 7))
@pytest.mark.parametrize("run", range(1, 7))
def test_most_in_a_run_by_enumeration(n: int, m: int, run: int) -> None:
    """Every mask that conforms, over a length that both runs divide (each of its windows tried by itself)."""
    n = min(n, m)
    most = 0
    length = np.lcm(m, run)
    groups = [g for g in itertools.product((0, 1), repeat=m) if sum(g) <= n]
    for start in range(0, length, run):
        first, last = start // m, (start + run - 1) // m
        for masks in itertools.product(groups, repeat=last - first + 1) if last - first < 2 else [(None,)]:
            if masks[0] is None:  # whole runs between: each is as full as it can be
                full = [max(groups, key=sum)] * (last - first + 1)
                heads = [max(groups, key=lambda g: sum(g[start - first * m :])), *full[1:-1]]
                masks = (*heads, max(groups, key=lambda g: sum(g[: start + run - last * m])))
            line = list(itertools.chain(*masks))
            most = max(most, sum(line[start - first * m : start - first * m + run]))
    assert most_in_run(n, m, run) == most


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 999), st.sampled_from(UNITS[1:-2]))
def test_no_mask_of_a_pattern_that_runs_breaks_the_unit(n: int, m: int, seed: int, unit: SparseUnit) -> None:
    pattern = NM(min(n, m), m)
    cell = legality(pattern, unit)["forward"]
    mask = draw_mask(pattern, (120, 8), seed)
    by_mask = legality(Unstructured(mask=mask), unit)["forward"]
    if cell.legal:
        assert any(conforms(mask, NM(*mode)) and Fraction(*mode) == cell.executed_density for mode in unit.modes)
        assert by_mask.executed_density <= cell.executed_density
    assert by_mask.legal == any(conforms(mask, NM(*mode)) for mode in unit.modes)


def test_a_mask_is_judged_by_itself() -> None:
    mask = np.zeros((12, 2), dtype=bool)
    mask[[0, 1, 4, 5, 8, 9]] = True
    assert legality(Unstructured(mask=mask), SPARSE_TENSOR_CORE)["forward"].verdict is RUNS
    assert legality(NM(2, 6), SPARSE_TENSOR_CORE)["forward"].verdict is PRUNE
    within_2_6 = draw_mask(NM(2, 6), (12, 2), seed=1)
    crowded = np.array([[0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]] * 2).T  # four of 2:6 in one aligned four
    assert conforms(crowded, NM(2, 6))
    cell = legality(Unstructured(mask=crowded), SPARSE_TENSOR_CORE)["forward"]
    assert cell.verdict is PRUNE
    assert "33.3 % of 2:4" in cell.reason
    assert legality(Unstructured(mask=within_2_6), FLEXIBLE_TENSOR_CORE)["forward"].legal
    assert legality(Unstructured(Fraction(1, 9)), SPARSE_TENSOR_CORE)["forward"].verdict is Verdict.NO_STRUCTURE


@pytest.mark.parametrize(
    ("length", "density", "verdict"), [(8, "1/2", RUNS), (30, "16/30", PADDED), (1, "1", PADDED), (6, "4/6", PADDED)]
)
def test_padding_costs(length: int, density: str, verdict: Verdict) -> None:
    cell = legality(NM(2, 4), SPARSE_TENSOR_CORE, extents={"k": length, "n": 5})["forward"]
    assert (cell.executed_density, cell.verdict) == (Fraction(density), verdict)
    assert ("padded" in cell.reason) == (length % 4 != 0)


@pytest.mark.parametrize(
    ("pattern", "unit", "speedup"),
    [
        (NM(2, 4), SPARSE_TENSOR_CORE, Fraction(6, 5)),  # 3 / (0.5 + 1 + 1)
        (NM(2, 4, transposable=True), SPARSE_TENSOR_CORE, Fraction(3, 2)),  # 3 / (0.5 + 0.5 + 1)
        (NM(2, 4, "n"), SPARSE_TENSOR_CORE, Fraction(6, 5)),  # an output axis serves dgrad alone
        (NM(2, 4), NO_SPARSE_UNIT, Fraction(1)),
        (Channel(Fraction(1, 2)), NO_SPARSE_UNIT, Fraction(2)),  # smaller products, on any unit
    ],
)
def test_training_is_capped_by_the_products_that_do_not_gain(
    pattern: WeightPattern, unit: SparseUnit, speedup: Fraction
) -> None:
    assert 1 / legality(pattern, unit).training_density == speedup


def test_blocks_channels_and_single_zeros() -> None:
    blocks = SparseUnit("tiles", blocks=(16, 8))
    good, bad = Block(32, 8, Fraction(1, 4)), Block(8, 32, Fraction(1, 4))
    assert [e.verdict for e in legality(good, blocks).products] == [RUNS, PRUNE, Verdict.NOT_AN_OPERAND]
    assert [e.verdict for e in legality(bad, blocks).products] == [PRUNE, RUNS, Verdict.NOT_AN_OPERAND]
    assert legality(good, SPARSE_TENSOR_CORE)["forward"].verdict is Verdict.NO_UNIT
    single = SparseUnit("dual_side", unstructured=True)
    for pattern in (Unstructured(Fraction(1, 5)), NM(1, 5, "n"), Block(2, 2, Fraction(1, 5))):
        report = legality(pattern, single)
        assert [e.executed_density for e in report.products] == [Fraction(1, 5), Fraction(1, 5), 1]
    for pattern in (Dense(), NM(4, 4), Unstructured(Fraction(1))):
        assert {e.verdict for e in legality(pattern, SPARSE_TENSOR_CORE).products} == {Verdict.DENSE}
    assert all(e.executed_density == Fraction(1, 3) for e in legality(Channel(Fraction(1, 3)), NO_SPARSE_UNIT).products)


def test_rows_in_modes_of_their_own() -> None:
    mask = np.zeros((64, 4), dtype=bool)  # columns of B: empty, one of each 4, two, three in one run
    mask[::4, 1] = mask[::4, 2] = mask[1::4, 2] = mask[:3, 3] = True
    cell = legality(Unstructured(mask=mask), VEGETA_ROW_WISE)["forward"]
    assert (cell.verdict, cell.way, cell.executed_density) == (PADDED, Way.ROWS, Fraction(1 + 1 + 2 + 4, 16))
    assert "at the n of 4 that fits 64 places, 2 on average" in cell.reason
    pairs = SparseUnit("pairs", modes=((1, 4), (2, 4)), row_wise=(2, 64))
    assert legality(Unstructured(mask=mask), pairs)["forward"].executed_density == Fraction(1 + 1 + 4 + 4, 16)
    fitting = legality(Unstructured(mask=mask[:, :3]), VEGETA_ROW_WISE)["forward"]
    assert (fitting.way, fitting.mode) == (Way.MODE, (2, 4))
    full = legality(Unstructured(Fraction(99, 100)), VEGETA_ROW_WISE)["forward"]
    assert not full.legal
    assert "all are dense" in full.reason
    assert (
        legality(Unstructured(Fraction(1, 20)), VEGETA_ROW_WISE, operand="A")["dgrad"].verdict is Verdict.NOT_AN_OPERAND
    )


def test_the_way_of_each_unit() -> None:
    cases = [
        (VEGETA, NM(2, 4), Way.MODE),
        (VENOM_KERNEL, VNM(64, 2, 10), Way.GATHER),
        (VENOM_KERNEL, NM(2, 4), Way.MODE),
    ]
    cases += [(OUTER_PRODUCT, NM(2, 4), Way.ZEROS), (SPARSE_TENSOR_CORE, Channel(Fraction(1, 2)), Way.SMALLER)]
    for unit, pattern, way in cases:
        assert legality(pattern, unit)["forward"].way is way
    assert legality(NM(2, 6), SPARSE_TENSOR_CORE)["forward"].way is None


def test_refuses() -> None:
    with pytest.raises(InputError, match="runs along 'm', but the axes of the array are k, n"):
        legality(NM(2, 4, "m"), SPARSE_TENSOR_CORE)
    with pytest.raises(InputError, match="of matrices"):
        legality(Unstructured(mask=np.ones(4)), SPARSE_TENSOR_CORE)
    with pytest.raises(InputError, match="unknown operand 'D', allowed are A, B, C"):
        legality(NM(2, 4), SPARSE_TENSOR_CORE, operand="D")
    with pytest.raises(InputError, match="unknown product 'backward'"):
        legality(NM(2, 4), SPARSE_TENSOR_CORE)["backward"]
    with pytest.raises(InputError, match="modes of one m that divides the places"):
        SparseUnit("mixed", modes=((1, 4), (2, 8)), row_wise=(1, 64))
    with pytest.raises(InputError) as caught:
        SparseUnit("", modes=((4, 4), (0, 2)), gathered_rows=-1, blocks=(0, 1))
    assert len(caught.value.problems) == 5

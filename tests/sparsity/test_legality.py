"""Patterns against units: every cell of the table by hand, and the counting behind it by enumeration."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import accsim
from accsim.errors import InputError
from accsim.mapping.sparse_run import sparse_unit
from accsim.sparsity.legality import CONTRACTS, OPERANDS, Eligibility, Verdict, Way, legality
from accsim.sparsity.masks import conforms, draw_mask
from accsim.sparsity.nm import NM, VNM, most_in_run
from accsim.sparsity.patterns import Block, Channel, Dense, Unstructured, WeightPattern
from accsim.sparsity.sparse_unit import (
    BLOCK_SKIPPING,
    DENSITY_BOUND_BLOCKS,
    FLEXIBLE_TENSOR_CORE,
    LANE_SKIPPING,
    NO_SPARSE_UNIT,
    OUTER_PRODUCT,
    SPARSE_TENSOR_CORE,
    SPARSE_TENSOR_CORE_TF32,
    VEGETA,
    VEGETA_ROW_WISE,
    VENOM_KERNEL,
    SparseUnit,
)
from tests.reference.legality_by_hand import by_hand

RUNS, PADDED, PRUNE = Verdict.RUNS, Verdict.PADDED, Verdict.RE_PRUNE
UNITS = {
    unit.name: unit
    for unit in (
        NO_SPARSE_UNIT, SPARSE_TENSOR_CORE, SPARSE_TENSOR_CORE_TF32, VEGETA, FLEXIBLE_TENSOR_CORE, VENOM_KERNEL,
        DENSITY_BOUND_BLOCKS, VEGETA_ROW_WISE, OUTER_PRODUCT, LANE_SKIPPING, BLOCK_SKIPPING,
    )
}  # fmt: skip
RULES: tuple[NM | VNM, ...] = (
    NM(2, 4), NM(1, 2), NM(1, 4), NM(2, 8), NM(2, 6), NM(4, 8), NM(1, 8), NM(3, 4), VNM(64, 2, 8), VNM(64, 2, 10),
    VNM(8, 2, 8),
)  # fmt: skip


def placed(rule: NM | VNM, axes: str) -> list[NM | VNM]:
    """A rule along either axis of an operand, and of N:M along both."""
    found: list[NM | VNM] = [replace(rule, axis=axis) for axis in axes]
    return [*found, *(replace(rule, axis=axis, transposable=True) for axis in axes if isinstance(rule, NM))]


def shown(cell: Eligibility) -> tuple[Verdict, Fraction]:
    assert cell.legal == (cell.executed_density < 1)
    assert cell.reason
    assert (cell.way is not None) == cell.legal
    return cell.verdict, cell.executed_density.limit_denominator(10**6)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("operand", OPERANDS)
def test_every_cell(rule: NM | VNM, unit: str, operand: str) -> None:
    for pattern in placed(rule, "".join(OPERANDS[operand])):
        got = legality(pattern, UNITS[unit], operand)
        for product in CONTRACTS:
            assert shown(got[product]) == by_hand(pattern, unit, operand, product), (pattern, product)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("operand", OPERANDS)
@pytest.mark.parametrize(
    "pattern",
    [
        *(Block(rows, cols, Fraction(1, 4)) for rows, cols in ((32, 32), (16, 8), (8, 16), (4, 4))),
        Unstructured(Fraction(1, 4)),
        Channel(Fraction(1, 4), "k"),
        Channel(Fraction(1, 4), "n"),
    ],
    ids=str,
)
def test_every_cell_of_blocks_channels_and_single_zeros(pattern: WeightPattern, unit: str, operand: str) -> None:
    if isinstance(pattern, Channel) and pattern.axis not in OPERANDS[operand]:
        pattern = replace(pattern, axis=OPERANDS[operand][0])
    got = legality(pattern, UNITS[unit], operand)
    for product in CONTRACTS:
        assert shown(got[product]) == by_hand(pattern, unit, operand, product), product


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("rule", [NM(2, 4), NM(1, 4)], ids=str)
def test_every_cell_where_runs_do_not_divide_the_axes(rule: NM, unit: str) -> None:
    for pattern in (rule, replace(rule, axis="n")):
        got = legality(pattern, UNITS[unit], extents={"m": 10, "n": 10, "k": 10})
        for product in CONTRACTS:
            assert shown(got[product]) == by_hand(pattern, unit, "B", product, length=10), product


@pytest.mark.parametrize(
    ("machine", "dtype", "unit"),
    [
        ("a100_sxm", "bf16", SPARSE_TENSOR_CORE), ("a100_sxm", "tf32", SPARSE_TENSOR_CORE_TF32),
        ("h100_sxm", "fp8", SPARSE_TENSOR_CORE), ("stc_flexible", "int8", FLEXIBLE_TENSOR_CORE),
        ("vegeta_like", "bf16", VEGETA_ROW_WISE), ("s2ta_like", "int8", DENSITY_BOUND_BLOCKS),
        ("dstc_like", "fp16", OUTER_PRODUCT), ("tpu_v4", "bf16", NO_SPARSE_UNIT),
    ],
)  # fmt: skip
def test_the_units_are_those_of_the_machines(machine: str, dtype: str, unit: SparseUnit) -> None:
    assert replace(sparse_unit(accsim.load_accelerator(machine), dtype), name=unit.name) == unit


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


ONE_MODE_FOR_ALL = [unit for unit in UNITS.values() if unit.modes and unit.row_wise is None]


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 999), st.sampled_from(ONE_MODE_FOR_ALL))
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


def test_nothing_is_pruned() -> None:
    for pattern in (Dense(), NM(4, 4), Unstructured(Fraction(1)), Block(8, 8, Fraction(1))):
        for unit in UNITS.values():
            assert {shown(e) for e in legality(pattern, unit).products} == {(Verdict.DENSE, Fraction(1))}


@pytest.mark.parametrize("sides", [(32, 32), (16, 8), (8, 16), (2, 4), (64, 1)])
def test_rows_of_drawn_blocks_run_as_the_closed_form_has_it(sides: tuple[int, int]) -> None:
    pattern = Block(*sides, Fraction(1, 4))
    for product in ("forward", "dgrad"):
        masks = [draw_mask(pattern, (512, 512), seed) for seed in range(12)]
        drawn = [float(legality(Unstructured(mask=mask), VEGETA_ROW_WISE)[product].executed_density) for mask in masks]
        closed = float(legality(pattern, VEGETA_ROW_WISE)[product].executed_density)
        assert abs(np.mean(drawn) - closed) <= 4 * np.std(drawn, ddof=1) / 12**0.5 + 1e-9


def test_a_mask_on_a_unit_that_skips_blocks_is_counted() -> None:
    mask = np.zeros((64, 32), dtype=bool)  # 4 x 4 blocks of 16 along k by 8
    mask[17, 3] = mask[63, 31] = mask[:32, 8:16] = True
    cell = legality(Unstructured(mask=mask), BLOCK_SKIPPING)["forward"]
    assert (cell.verdict, cell.way, cell.executed_density) == (PADDED, Way.BLOCKS, Fraction(4, 16))
    turned = legality(Unstructured(mask=mask), BLOCK_SKIPPING)["dgrad"]  # 8 along k by 16 along n: 8 x 2 blocks
    assert turned.executed_density == Fraction(4 + 1, 16)
    whole = legality(Unstructured(mask=draw_mask(Block(16, 8, Fraction(1, 4)), (64, 32))), BLOCK_SKIPPING)["forward"]
    assert shown(whole) == (RUNS, Fraction(1, 4))
    everywhere = legality(Unstructured(mask=draw_mask(NM(2, 4), (64, 32))), BLOCK_SKIPPING)["forward"]
    assert (everywhere.verdict, everywhere.legal) == (PRUNE, False)
    assert legality(Unstructured(mask=mask), NO_SPARSE_UNIT)["forward"].verdict is Verdict.NO_UNIT
    ragged = legality(Unstructured(mask=mask[:60]), BLOCK_SKIPPING)["forward"]  # the last blocks are filled up
    assert ragged.executed_density == Fraction(3 * 16 * 8, 60 * 32)


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
        (BLOCK_SKIPPING, Block(16, 8, Fraction(1, 2)), Way.BLOCKS),
        (VEGETA_ROW_WISE, Block(16, 8, Fraction(1, 2)), Way.ROWS),
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

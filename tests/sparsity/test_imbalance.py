"""Load imbalance: the order statistic by enumeration, printed values, real masks."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accsim.errors import InputError
from accsim.sparsity.imbalance import expected_max, fullest_bank, mask_imbalance, uniform_imbalance
from accsim.sparsity.mask import Mask
from accsim.sparsity.masks import draw_mask
from accsim.sparsity.nm import NM


@given(st.integers(1, 5), st.integers(1, 4), st.fractions(0, 1, max_denominator=9))
def test_expected_maximum_by_enumeration(positions: int, lanes: int, density: Fraction) -> None:
    chances = [
        math.comb(positions, k) * density**k * (1 - density) ** (positions - k) for k in range(positions + 1)
    ]  # fmt: skip
    mean = sum(
        max(counts) * math.prod(chances[k] for k in counts)
        for counts in itertools.product(range(positions + 1), repeat=lanes)
    )
    assert expected_max(positions, float(density), lanes) == pytest.approx(float(mean), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("positions", "density", "lanes", "longest", "efficiency"),
    [(64, 0.1, 32, 11.8, 0.54), (64, 0.5, 32, 40.2, 0.80), (256, 0.1, 32, 36.0, 0.71), (1024, 0.1, 128, 128.1, 0.80)],
)
def test_values_by_another_calculation(
    positions: int, density: float, lanes: int, longest: float, efficiency: float
) -> None:
    got = uniform_imbalance(positions, density, lanes)
    assert got.exact
    assert round(got.longest, 1) == longest
    assert round(got.efficiency, 2) == efficiency
    assert got.mean == positions * density
    assert got.imbalance == pytest.approx(1 / got.efficiency - 1)


@given(st.integers(1, 300), st.floats(0.01, 0.99), st.integers(1, 200))
def test_bounds_and_order(positions: int, density: float, lanes: int) -> None:
    got = expected_max(positions, density, lanes)
    assert positions * density * (1 - 1e-12) <= got <= positions
    assert got <= expected_max(positions, density, lanes + 1) * (1 + 1e-12)
    assert expected_max(positions, density, 1) == pytest.approx(positions * density)


@pytest.mark.parametrize(
    ("positions", "density", "lanes"), [(16, 0.1, 8), (64, 0.5, 32), (128, 0.03, 16), (33, 0.8, 5)]
)
@pytest.mark.parametrize("seed", range(3))
def test_masks_with_independent_places_agree_with_the_closed_form(
    positions: int, density: float, lanes: int, seed: int
) -> None:
    mask = np.random.default_rng(seed).random((lanes * 50, positions * 40)) < density
    real = mask_imbalance(mask, lanes, positions)
    closed = uniform_imbalance(positions, density, lanes)
    assert real.standard_error > 0
    assert abs(real.longest - closed.longest) < 4 * real.standard_error
    assert abs(real.mean - closed.mean) < 4 * math.sqrt(positions * density / (2000 * lanes))
    assert mask_imbalance(Mask.of(mask), lanes, positions) == real


def longest_with_fixed_total(positions: int, lanes: int, kept: int, total: int) -> float:
    """Expected maximum over every way to spread the nonzeros over the lanes and the places beyond them."""
    mean = Fraction(0)
    for counts in itertools.product(range(positions + 1), repeat=lanes):
        rest = kept - sum(counts)
        if 0 <= rest <= total - positions * lanes:
            ways = math.prod(math.comb(positions, k) for k in counts) * math.comb(total - positions * lanes, rest)
            mean += max(counts) * Fraction(ways, math.comb(total, kept))
    return float(mean)


@pytest.mark.parametrize(
    ("positions", "lanes", "kept", "total", "off"),
    [(8, 4, 8, 32, 0.0125), (8, 4, 16, 64, 0.01), (8, 4, 256, 1024, 0.001), (4, 4, 4, 16, 0.037), (6, 3, 54, 90, 0.01)],
)
def test_a_fixed_total_is_an_approximation_and_says_so(
    positions: int, lanes: int, kept: int, total: int, off: float
) -> None:
    got = uniform_imbalance(positions, Fraction(kept, total), lanes, fixed_total=True)
    assert not got.exact
    assert got.longest == pytest.approx(longest_with_fixed_total(positions, lanes, kept, total), rel=off)


def test_independent_places_are_the_mean_over_fixed_totals() -> None:
    positions, lanes, share = 4, 3, 0.3
    places = positions * lanes
    mean = sum(
        math.comb(places, kept) * share**kept * (1 - share) ** (places - kept)
        * longest_with_fixed_total(positions, lanes, kept, places)
        for kept in range(places + 1)
    )  # fmt: skip
    assert expected_max(positions, share, lanes) == pytest.approx(mean, rel=1e-12)


def test_imbalance_vanishes_as_tiles_grow() -> None:
    lost = [uniform_imbalance(4**size, 0.2, 32).imbalance for size in range(2, 11)]
    assert lost == sorted(lost, reverse=True)
    assert lost[-1] < 0.005
    # With the variance of a sum: four times the places, half the imbalance, once counts are near normal.
    assert lost[-2] / lost[-1] == pytest.approx(2, rel=0.02)
    mask = np.random.default_rng(0).random((32, 65536)) < 0.2
    real = [mask_imbalance(mask, 32, positions).imbalance for positions in (16, 256, 4096, 65536)]
    assert real == sorted(real, reverse=True)


def test_nm_is_in_balance() -> None:
    mask = draw_mask(NM(2, 8), (64, 32), seed=5).T  # rows are outputs, their places run along k
    got = mask_imbalance(mask, lanes=8, positions=16)
    assert (got.mean, got.longest, got.imbalance, got.standard_error) == (4.0, 4.0, 0.0, 0.0)
    assert mask_imbalance(mask, lanes=8, positions=12).imbalance > 0


def test_left_overs_are_smaller_tiles() -> None:
    got = mask_imbalance([[1, 1, 1], [1, 0, 0], [0, 0, 1]], lanes=2, positions=2)
    # Tiles: rows 0 and 1 hold (2, 1) and (1, 0), row 2 alone (0) and (1).
    assert got.longest == (2 + 1 + 0 + 1) / 4
    assert got.mean == 5 / 8


@pytest.mark.parametrize(("sums", "banks"), [(1, 4), (2, 2), (3, 3), (5, 3), (4, 5), (7, 1), (6, 2)])
def test_the_fullest_bank_by_enumeration(sums: int, banks: int) -> None:
    places = itertools.product(range(banks), repeat=sums)
    mean = np.mean([np.bincount(place, minlength=banks).max() for place in places])
    assert fullest_bank(sums, banks) == pytest.approx(mean, rel=1e-9)


@pytest.mark.parametrize(("sums", "banks"), [(128, 128), (1024, 128), (4096, 64)])
def test_the_fullest_bank_of_many_by_throwing(sums: int, banks: int) -> None:
    thrown = np.random.default_rng(0).multinomial(sums, [1 / banks] * banks, size=2000).max(axis=1)
    error = thrown.std() / math.sqrt(len(thrown))
    assert abs(fullest_bank(sums, banks) - thrown.mean()) < 4 * error


def test_no_work_is_in_balance() -> None:
    for got in (uniform_imbalance(8, 0.0, 4), mask_imbalance(np.zeros((4, 8)), 4, 8)):
        assert (got.efficiency, got.imbalance) == (1.0, 0.0)


@pytest.mark.parametrize("bad", [(0, 0.5, 1), (1, 1.5, 1), (1, 0.5, 0)])
def test_refuses(bad: tuple[int, float, int]) -> None:
    with pytest.raises(InputError, match="allowed are at least 1, 0 to 1, and at least 1"):
        uniform_imbalance(*bad)
    with pytest.raises(InputError, match="two axes"):
        mask_imbalance([1, 2], 1, 1)

"""The density model against enumeration and drawn masks; counts of tiles against loops."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accsim.errors import InputError
from accsim.sparsity.density import UniformDensity, tile_counts, tile_gap
from accsim.sparsity.imbalance import expected_max
from accsim.sparsity.mask import Mask
from accsim.sparsity.masks import draw_mask
from accsim.sparsity.patterns import Unstructured
from tests.sparsity.test_imbalance import longest_with_fixed_total


@given(st.integers(1, 5), st.integers(0, 7), st.data())
def test_chances_are_shares_of_all_masks(positions: int, rest: int, data: st.DataObject) -> None:
    whole = positions + rest
    kept = data.draw(st.integers(1, whole))
    masks = list(itertools.combinations(range(whole), kept))
    held = [sum(place < positions for place in mask) for mask in masks]
    tile = UniformDensity(positions, Fraction(kept, whole), whole)
    assert tile.chances.tolist() == pytest.approx([held.count(k) / len(masks) for k in range(positions + 1)], abs=1e-12)
    assert tile.nonzeros.mean == pytest.approx(float(np.mean(held)))
    assert tile.nonzeros.deviation == pytest.approx(float(np.std(held)), abs=1e-6)
    assert tile.empty == pytest.approx(math.comb(rest, kept) / math.comb(whole, kept), abs=1e-12)


@pytest.mark.parametrize(
    ("positions", "lanes", "kept", "total"),
    [(8, 4, 8, 32), (8, 4, 16, 64), (4, 4, 4, 16), (6, 3, 54, 90), (5, 1, 3, 9), (3, 5, 15, 15)],
)
def test_the_fullest_of_lanes_by_enumeration(positions: int, lanes: int, kept: int, total: int) -> None:
    found = UniformDensity(positions, Fraction(kept, total), total).fullest(lanes)
    assert found.mean == pytest.approx(longest_with_fixed_total(positions, lanes, kept, total), rel=1e-9)


@given(st.integers(1, 60), st.fractions(Fraction(1, 20), 1, max_denominator=20), st.integers(1, 40))
def test_independent_places_are_the_limit_and_the_order_statistic(
    positions: int, density: Fraction, lanes: int
) -> None:
    free = UniformDensity(positions, density)
    assert free.fullest(lanes).mean == pytest.approx(expected_max(positions, float(density), lanes), rel=1e-9)
    assert free.nonzeros.deviation == pytest.approx(math.sqrt(positions * density * (1 - density)), abs=1e-6)
    large = UniformDensity(positions, density, whole=10**6)
    assert large.chances == pytest.approx(free.chances, abs=1e-4)
    assert UniformDensity(positions, density, whole=positions).nonzeros.deviation == pytest.approx(0, abs=1e-6)


SHAPE, SEEDS = (256, 192), range(4)


@pytest.mark.parametrize("fixed", [True, False], ids=["fixed total", "independent"])
@pytest.mark.parametrize("density", [Fraction(1, 2), Fraction(1, 5), Fraction(1, 20)])
@pytest.mark.parametrize(("rows", "cols"), [(1, 8), (4, 4), (16, 16), (2, 64)])
def test_drawn_masks_agree_within_four_standard_errors(rows: int, cols: int, density: Fraction, fixed: bool) -> None:
    if fixed:
        masks = [draw_mask(Unstructured(density), SHAPE, seed) for seed in SEEDS]
    else:
        masks = [np.random.default_rng(seed).random(SHAPE) < float(density) for seed in SEEDS]
    counts = np.stack([tile_counts(mask, rows, cols) for mask in masks])
    tile = UniformDensity(rows * cols, density, math.prod(SHAPE) if fixed else None)
    lanes = 8
    fullest = counts.reshape(len(masks), -1, lanes, counts.shape[2]).max(axis=2)
    model = tile.fullest(lanes)
    assert abs(fullest.mean() - model.mean) < 4 * model.deviation / math.sqrt(fullest.size)
    assert abs((counts == 0).mean() - tile.empty) <= 4 * math.sqrt(tile.empty * (1 - tile.empty) / counts.size)
    mean, deviation = tile.nonzeros
    assert abs(counts.mean() - mean) < 4 * deviation / math.sqrt(counts.size)
    fourth = tile.chances @ (np.arange(rows * cols + 1) - mean) ** 4
    assert abs(counts.var() - deviation**2) < 4 * math.sqrt((fourth - deviation**4) / counts.size)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 9))
def test_tiles_are_counted_as_loops_count_them(rows: int, cols: int, down: int, across: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((rows * down, cols * across)) < 0.5
    found = tile_counts(mask, rows, cols)
    assert found.tolist() == [
        [sum(bool(mask[i * rows + r, j * cols + c]) for r in range(rows) for c in range(cols)) for j in range(across)]
        for i in range(down)
    ]
    assert (tile_counts(Mask.of(mask), rows, cols) == found).all()


def test_gaps_are_signed() -> None:
    places = np.indices((64, 64))
    clustered = (places // 16).sum(axis=0) % 2 == 0  # blocks of 16 x 16, half of them full
    even = places.sum(axis=0) % 2 == 0  # a chessboard of single places
    deviation = math.sqrt(16 / 4 * (4096 - 16) / 4095)
    chance = math.comb(4096 - 16, 2048) / math.comb(4096, 2048)
    assert tile_gap(clustered, 4, 4) == pytest.approx((0.5 - chance, 8 - deviation), abs=1e-9)
    assert tile_gap(Mask.of(even), 4, 4) == pytest.approx((-chance, -deviation), abs=1e-9)
    with pytest.raises(InputError, match="density"):
        tile_gap(np.zeros((4, 4)), 2, 2)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((0, Fraction(1, 2), None), "UniformDensity.positions"),
        ((4, Fraction(3, 2), None), "UniformDensity.density"),
        ((9, Fraction(1, 2), 8), "UniformDensity.whole: read 8, allowed is at least the 9 positions of the tile"),
        ((0, 2, 0), "UniformDensity.whole"),
    ],
)
def test_bad_models(given: tuple[int, Fraction, int | None], wanted: str) -> None:
    with pytest.raises(InputError) as error:
        UniformDensity(*given)
    assert wanted in str(error.value)


def test_bad_lanes_and_tiles() -> None:
    with pytest.raises(InputError, match="read 3 lanes of 4 positions; allowed is at least 1, and 8 places for all"):
        UniformDensity(4, Fraction(1, 2), 8).fullest(3)
    with pytest.raises(InputError, match="read 0 lanes of 4 positions; allowed is at least 1"):
        UniformDensity(4, Fraction(1, 2)).fullest(0)
    with pytest.raises(InputError, match="read tiles of 2 x 3 of a mask of 4 x 4"):
        tile_counts(np.ones((4, 4)), 2, 3)

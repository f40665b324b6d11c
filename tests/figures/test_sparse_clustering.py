"""The figure of clustered nonzeros: drawn masks near the model, and gaps of pruned weights as loops count them."""

from __future__ import annotations

import itertools
import math
import statistics
from fractions import Fraction

import pytest

from accsim.figures.sparse import clustering
from accsim.sparsity.base import kept_of
from tests.figures.conftest import Maker


def test_masks_are_of_pruning_by_magnitude() -> None:
    for layer in clustering.LAYERS:
        masks = [clustering.weight_mask(layer, density) for density in clustering.DENSITIES]
        kept = [kept_of(math.prod(clustering.SHAPE), density) for density in clustering.DENSITIES]
        assert [int(mask.sum()) for mask in masks] == kept
        # what is kept at a density is kept at every larger one
        assert all((few <= many).all() for many, few in itertools.pairwise(masks))


def test_drawn_masks_agree_within_four_standard_errors(made: Maker) -> None:
    rows = made("clustering", paper="sparse").select(mode="drawn masks")
    assert len(rows) == len(clustering.DENSITIES) * (2 * len(clustering.SIDES) + len(clustering.POSITIONS))
    assert (rows["gap"].abs() <= 4 * rows["standard_error"]).all()


@pytest.mark.parametrize("layer", clustering.LAYERS)
@pytest.mark.parametrize("density", [Fraction(1, 4), Fraction(1, 20)])
def test_gaps_are_those_of_a_naive_count(layer: str, density: Fraction, made: Maker) -> None:
    mask = clustering.weight_mask(layer, density).tolist()
    height, width = clustering.SHAPE
    total, kept = height * width, sum(map(sum, mask))
    side, lanes, places = 8, 32, 64
    counts = [
        sum(sum(mask[i + r][j : j + side]) for r in range(side))
        for i in range(0, height, side)
        for j in range(0, width, side)
    ]
    empty = counts.count(0) / len(counts)
    none = Fraction(math.comb(total - side**2, kept), math.comb(total, kept))
    share = kept / total
    spread = math.sqrt(side**2 * share * (1 - share) * (total - side**2) / (total - 1))  # hypergeometric
    fullest = [
        max(sum(mask[i + lane][j : j + places]) for lane in range(lanes))
        for i in range(0, height, lanes)
        for j in range(0, width, places)
    ]
    figure = made("clustering", paper="sparse")

    def gap(tile: str, quantity: str) -> float:
        row = figure.select(mask=layer, density=float(density), tile=tile, quantity=quantity)
        return float(row["gap"].item())

    assert gap("8x8", clustering.EMPTY) == pytest.approx(empty - float(none), abs=1e-9)
    assert gap("8x8", clustering.SPREAD) == pytest.approx(statistics.pstdev(counts) - spread, abs=1e-6)
    model = figure.value(mask="model", density=float(density), tile=f"1x{places}", quantity=clustering.FULLEST)
    assert gap(f"1x{places}", clustering.FULLEST) == pytest.approx(statistics.mean(fullest) - model, abs=1e-9)


def test_trained_weights_cluster(made: Maker) -> None:
    rows = made("clustering", paper="sparse").select(mode="pruned weights", quantity=clustering.SPREAD)
    assert (rows["gap"] > 0).all()
    wide = rows.pivot_table("gap", ["mask", "density"], "tile")
    assert (wide["32x32"] > wide["8x8"]).all()

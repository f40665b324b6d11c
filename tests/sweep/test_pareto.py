"""Pareto fronts and volumes: against pairs compared one by one, boxes added up and cases by hand, and their laws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from accsim.errors import InputError
from accsim.kernels import pareto as kernels
from accsim.sweep.pareto import front, front_of, hypervolume, layers
from tests.reference import pareto_naive as naive

Points = npt.NDArray[np.float64]


def points_of(most: int, objectives: int = 5) -> st.SearchStrategy[Points]:
    """Points on a small grid, so that many are equal in some objectives or in all."""
    shapes = st.tuples(st.integers(1, most), st.integers(1, objectives))
    return shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=st.integers(-3, 6).map(float)))


@given(points_of(40))
def test_front_and_layers_are_those_of_the_definition(points: Points) -> None:
    assert (front(points) == naive.front(points)).all()
    assert (layers(points) == naive.layers(points)).all()


@pytest.mark.parametrize("objectives", [2, 3, 4, 5])
@pytest.mark.parametrize("shape", ["cube", "sphere"])
def test_front_of_many_points(objectives: int, shape: str) -> None:
    """More points than a block, both where few are on the front and where all are."""
    rng = np.random.default_rng(objectives)
    points = rng.random((300, objectives))
    if shape == "sphere":
        points = 1 - points / np.linalg.norm(points, axis=1)[:, None]
        points[::7] += 0.01
    assert (front(points) == naive.front(points)).all()


@given(arrays(np.float64, (24, 3), elements=st.integers(0, 6).map(float)), st.integers(1, 23))
def test_each_way_to_compare_two_parts_says_the_same(rows: Points, cut: int) -> None:
    left, right = (part[np.lexsort(part.T[::-1])] for part in (rows[:cut], rows[cut:]))
    expected = [not any((one <= other).all() for one in left) for other in right]
    for ways in (kernels.cross_pairs, kernels.cross_stairs, kernels.cross_sweep):
        kept = np.ones(len(right), bool)
        ways(left, right, kept)
        assert kept.tolist() == expected


def test_a_long_staircase_is_left_to_a_tree() -> None:
    """The last two objectives always add up to 1, so none of these is dominated; what is worse in all of them is."""
    rng = np.random.default_rng(3)
    third = rng.permutation(4 * kernels.STEPS) / (4 * kernels.STEPS)
    best = np.column_stack([np.arange(len(third)), np.arange(len(third)), third, 1 - third])
    half = len(third) // 2
    assert not kernels.cross_stairs(best[:half, 1:], best[half:, 1:], np.ones(half, bool))
    points = np.concatenate([best, best[::7] + 1e-9])
    assert (front(points) == (np.arange(len(points)) < len(best))).all()


@given(points_of(25))
def test_no_member_of_a_front_dominates_another_and_all_others_are_dominated_by_one(points: Points) -> None:
    found = front(points)
    members = points[found]
    assert not any(naive.dominates(a, b) for a in members for b in members)
    assert all(any(naive.dominates(a, b) for a in members) for b in points[~found])


@given(points_of(25), st.integers(0, 2**32 - 1))
def test_order_of_points_and_of_objectives_does_not_matter(points: Points, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(len(points)), rng.permutation(points.shape[1])
    assert (front(points[rows][:, columns]) == front(points)[rows]).all()
    assert (layers(points[rows][:, columns]) == layers(points)[rows]).all()


@given(points_of(25), st.lists(st.sampled_from([np.exp, np.cbrt, np.arctan, lambda x: 1e9 * x - 5]), min_size=5))
def test_rising_functions_of_objectives_change_no_front(
    points: Points, functions: list[Callable[[Points], Points]]
) -> None:
    changed = np.column_stack([functions[k](points[:, k]) for k in range(points.shape[1])])
    assert (front(changed) == front(points)).all()
    assert (layers(changed) == layers(points)).all()


def test_infinite_values_are_compared_and_nan_is_on_no_front() -> None:
    points = [[1, np.inf], [np.inf, 1], [np.inf, np.inf], [0, np.nan], [-np.inf, np.inf]]
    assert front(points).tolist() == [False, True, False, False, True]
    assert layers(points).tolist() == [1, 0, 2, -1, 0]
    assert front([[np.inf, np.inf, np.inf], [np.inf, np.inf, np.inf]]).all()


@given(points_of(8))
def test_hypervolume_is_that_of_a_union_of_boxes(points: Points) -> None:
    reference = np.full(points.shape[1], 4.0)
    assert hypervolume(points, reference) == pytest.approx(naive.hypervolume(points, reference), rel=1e-12)


@pytest.mark.parametrize(
    ("points", "reference", "volume"),
    [
        ([[2.0]], [5.0], 3.0),
        ([[1, 3], [2, 1]], [4, 4], 3 + 4),
        ([[1, 3], [2, 1], [2, 1], [3, 3], [9, 0]], [4, 4], 7.0),  # doubles, dominated ones, and one beyond
        ([[0, 0, 0]], [2, 3, 4], 24.0),
        ([[0, 1, 1], [1, 0, 1], [1, 1, 0]], [2, 2, 2], 3 * 2 - 3 + 1),  # three boxes of 2 that share pairwise and all 1
        ([], [4, 4], 0.0),
    ],
)
def test_hypervolume_by_hand(points: list[list[float]], reference: list[float], volume: float) -> None:
    assert hypervolume(np.reshape(np.array(points, float), (-1, len(reference))), reference) == pytest.approx(volume)


def test_hypervolume_of_a_fine_sphere_is_that_of_its_octant() -> None:
    """Points on the part of a unit sphere that faces the origin, seen from the far corner: 1 - (1 - pi/6)."""
    rng = np.random.default_rng(1)
    directions = np.abs(rng.normal(size=(20_000, 3)))
    points = 1 - directions / np.linalg.norm(directions, axis=1)[:, None]
    assert hypervolume(points, [1, 1, 1]) == pytest.approx(np.pi / 6, rel=0.02)


def test_front_of_a_table() -> None:
    frame = pd.DataFrame(
        {
            "machine": list("abcd"),
            "latency_s": [3.0, 1.0, 2.0, 0.5],
            "energy_j": [1.0, 3.0, 3.0, 0.5],
            "feasible": [True, True, True, False],
        }
    )
    assert front_of(frame)["machine"].tolist() == ["b", "a"]
    with pytest.raises(InputError, match=r"energy: no column of numbers.*Did you mean 'energy_j'"):
        front_of(frame, ["energy"])


def test_bad_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="a row for each point"):
        front([1.0, 2.0])
    with pytest.raises(InputError, match="2 finite numbers"):
        hypervolume([[1, 2]], [3])
    with pytest.raises(InputError, match="finite"):
        hypervolume([[-np.inf, 2]], [3, 3])

"""Schedules carried out on real numbers: every byte arrives, every sum is right; their counts by closed forms."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from accsim.network import algorithms
from accsim.network.algorithms import HALVES, ring_of
from accsim.network.lattice import Lattice, lattice_twist, no_twist
from accsim.network.schedule import ROUTED, Schedule, execute
from accsim.network.torus_rings import axis_rings, nested_rings, opposite_ports


def own_blocks(gather: Schedule) -> NDArray[np.bool_]:
    """Blocks that a rank has at the start of an all-gather: those that nobody sends it; bool[ranks, blocks]."""
    own = np.ones((gather.ranks, gather.blocks), np.bool_)
    for step in gather.steps:
        for goal, into, count in zip(step.goal, step.into, step.count, strict=True):
            own[goal, into : into + count] = False
    return own


def gathers_and_reduces(gather: Schedule, groups: NDArray[np.int64]) -> None:
    """An all-gather within each group, and what it makes backwards: reduce-scatter and all-reduce, against NumPy."""
    random = np.random.default_rng(gather.blocks)
    own = own_blocks(gather)
    numbers = random.integers(-1000, 1000, (gather.ranks, gather.blocks)).astype(np.float64)
    summed = execute(gather.backwards(), numbers)
    everywhere = execute(gather.backwards().then(gather), numbers)
    for group in groups:
        assert (own[group].sum(axis=0) == 1).all()
        assert len(set(own[group].sum(axis=1).tolist())) == 1
        part = random.random(gather.blocks)
        start = np.full((gather.ranks, gather.blocks), np.nan)
        start[group] = np.where(own[group], part, np.nan)
        assert np.array_equal(execute(gather, start)[group], np.tile(part, (len(group), 1)))
        total = np.tile(numbers[group].sum(axis=0), (len(group), 1))
        assert np.array_equal(summed[group][own[group]], total[own[group]])
        assert np.array_equal(everywhere[group], total)


def one_group(ranks: int) -> NDArray[np.int64]:
    return np.arange(ranks)[None]


@pytest.mark.parametrize("ranks", [2, 3, 4, 5, 8, 9])
def test_all_gathers_of_a_ring(ranks: int) -> None:
    ring, base = ring_of(ranks), np.zeros(ranks, np.int64)
    whole = HALVES * ranks
    line = ring._replace(closed=False)
    ways = {
        "one way": (algorithms.one_way(ring, base, 1, ranks), ranks - 1),
        "both ways": (algorithms.both_ways(ring, base, HALVES, whole), ranks // 2),
        "open line": (algorithms.both_ways(line, base, HALVES, whole), ranks - 1),
        "direct": (algorithms.direct(ranks), 1),
    }
    for gather, steps in ways.values():
        gathers_and_reduces(gather, one_group(ranks))
        assert len(gather.steps) == sum(phase.depth for phase in gather.phases) == steps
        # Each rank gets the ranks - 1 parts that are not its own, once.
        received = sum(int(step.count.sum()) for step in gather.steps)
        assert received == ranks * (ranks - 1) * gather.blocks // ranks


@pytest.mark.parametrize("ranks", [1, 2, 4, 8, 16])
def test_recursive_doubling(ranks: int) -> None:
    gather = algorithms.recursive_doubling(ranks)
    gathers_and_reduces(gather, one_group(ranks))
    assert len(gather.steps) == math.log2(ranks)


@given(st.integers(2, 12), st.integers(1, 6))
def test_broadcasts_and_their_reverse(ranks: int, chunks: int) -> None:
    tree, pipe = algorithms.binomial_tree(ranks), algorithms.pipeline(ring_of(ranks), chunks)
    assert len(tree.steps) == math.ceil(math.log2(ranks))
    assert len(pipe.steps) == ranks - 1 + chunks - 1
    assert pipe.phases[0].depth == ranks - 1
    for spread in (tree, pipe):
        numbers = np.random.default_rng(ranks).integers(-9, 9, (ranks, spread.blocks)).astype(np.float64)
        assert np.array_equal(execute(spread, numbers), np.tile(numbers[0], (ranks, 1)))
    assert np.array_equal(execute(tree.backwards(), numbers[:, :1])[0], numbers[:, :1].sum(axis=0))


@given(st.integers(1, 9))
def test_an_exchange_transposes(ranks: int) -> None:
    numbers = np.random.default_rng(ranks).random((ranks, ranks, 3))
    assert np.array_equal(execute(algorithms.exchange(ranks), numbers), np.swapaxes(numbers, 0, 1))


@given(st.integers(1, 9))
def test_a_shift_rolls(ranks: int) -> None:
    numbers = np.random.default_rng(ranks).random((ranks, 1, 3))
    assert np.array_equal(execute(algorithms.shift(ranks), numbers), np.roll(numbers, 1, axis=0))


def torus(*shape: int, wrap: tuple[bool, ...] | None = None) -> Lattice:
    return Lattice(shape, wrap or (True,) * len(shape), no_twist(len(shape)))


def twisted(*shape: int) -> Lattice:
    return Lattice(shape, (True,) * len(shape), lattice_twist(shape))


LATTICES = [
    torus(4), torus(5), torus(2, 3), torus(4, 4, 4), torus(2, 3, 4), torus(3, 2, 1), torus(2, 2, 2, 3),
    torus(3, 4, wrap=(False, False)), torus(3, 4, wrap=(False, True)), torus(4, 3, wrap=(False, True)),
    twisted(4, 4, 8), twisted(4, 8, 8), twisted(2, 2, 4), twisted(2, 4), twisted(3, 6, 6),
]  # fmt: skip


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_rings_of_all_axes_at_once(lattice: Lattice) -> None:
    for order in permutations(range(lattice.axes)) if lattice.nodes <= 64 else ((1, 0, 2), (2, 1, 0), (1, 2, 0)):
        gather = nested_rings(lattice, order)
        gathers_and_reduces(gather, one_group(lattice.nodes))
        for schedule in (gather, gather.backwards(opposite_ports(lattice))):
            for step in schedule.steps:
                # What leaves by port 2a arrives one step up along axis a, by 2a + 1 one step down.
                assert not (step.port == ROUTED).any()
                way = np.eye(lattice.axes, dtype=np.int64)[step.port // 2] * (1 - 2 * (step.port % 2))[:, None]
                reached = lattice.inside(lattice.coordinates[step.source] + way)
                assert np.array_equal(lattice.number(reached), step.goal)


@pytest.mark.parametrize("axes", [(0,), (2,), (0, 2), (2, 1)])
def test_rings_of_some_axes(axes: tuple[int, ...]) -> None:
    lattice = torus(3, 4, 5)
    gather = nested_rings(lattice, axes)
    rest = [axis for axis in range(3) if axis not in axes]
    _, of = np.unique(lattice.coordinates[:, rest], axis=0, return_inverse=True)
    groups = np.array([np.flatnonzero(of.ravel() == group) for group in range(of.max() + 1)])
    gathers_and_reduces(gather, groups)


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_rings_together_name_every_rank_once(lattice: Lattice) -> None:
    for first in range(lattice.axes):
        axes = [*range(first, lattice.axes), *range(first)]
        rings = axis_rings(lattice, axes)
        assert math.prod(ring.length for ring in rings) == lattice.nodes
        assert (
            len({tuple(places) for places in np.stack([ring.place for ring in rings], axis=1).tolist()})
            == lattice.nodes
        )
        assert rings[0].length == (lattice.period(first) if lattice.wrap[first] else lattice.shape[first])

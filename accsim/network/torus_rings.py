"""Rings along the axes of meshes, tori and twisted tori, and all-gathers over several axes at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Final, NamedTuple

import numpy as np

from accsim.errors import InputError
from accsim.network.algorithms import HALVES, Ring, both_ways
from accsim.network.graph import Floats, Graph
from accsim.network.lattice import Lattice, axis_name
from accsim.network.schedule import Ints, Schedule

MOST_ORDERED: Final = 4
"""Axes of which all orders are tried."""
ROUNDING: Final = 1e-9
"""Share of the buffer below which a piece is left out."""


def opposite_ports(lattice: Lattice) -> Ints:
    """Port by which a send comes back that left by each: axis a goes up by port 2a and down by 2a + 1."""
    return np.arange(2 * lattice.axes) ^ 1


def axis_rings(lattice: Lattice, axes: Sequence[int]) -> list[Ring]:
    """Rings, or open lines, along some axes, such that one rank of each together name every rank once.

    The first axis closes after `Lattice.order` steps, which on a twisted torus is more than its length: its ring then
    runs through several values of other axes, and of these axes what is left are open lines.

    Raises
    ------
    InputError
        If an axis is twisted and not all axes take part: it does not close among them.
    """
    if len(axes) < lattice.axes:
        skewed = [a for a in axes if any(lattice.twist[a]) or any(row[a] for row in lattice.twist)]
        if skewed:
            names = ", ".join(axis_name(a) for a in skewed)
            raise InputError(f"the axes {names} are twisted: a collective along them needs all axes of the torus")
    start = _ring_starts(lattice, axes[0])
    rings = []
    for axis in axes:
        after, before = (lattice.number(_stepped(lattice, axis, step)) for step in (1, -1))
        place = start.place if axis == axes[0] else lattice.coordinates[start.base, axis]
        length = int(place.max()) + 1
        closed = lattice.wrap[axis] and (
            axis == axes[0] or (length == lattice.shape[axis] and not any(lattice.twist[axis]))
        )
        rings.append(Ring(place, after, before, length, closed, 2 * axis, 2 * axis + 1))
    return rings


class _Starts:
    """Where each rank lies on its ring along an axis: its place, and the rank that the ring starts from."""

    def __init__(self, place: Ints, base: Ints) -> None:
        self.place, self.base = place, base


def _ring_starts(lattice: Lattice, axis: int) -> _Starts:
    ranks = np.arange(lattice.nodes)
    length = lattice.period(axis) if lattice.wrap[axis] else lattice.shape[axis]
    place, base = lattice.coordinates[:, axis].copy(), ranks.copy()
    if length == lattice.shape[axis]:
        base = lattice.number(lattice.coordinates - place[:, None] * np.eye(lattice.axes, dtype=np.int64)[axis])
        return _Starts(place, base)
    after = lattice.number(_stepped(lattice, axis, 1))
    on = lattice.coordinates[:, axis] == 0
    base, here = ranks.copy(), ranks.copy()
    for _ in range(length):  # the lowest rank with coordinate 0 that the ring comes past
        here = after[here]
        lower = on[here] & ((here < base) | ~on[base])
        base = np.where(lower, here, base)
    here = base.copy()
    for t in range(length):
        place[here == ranks] = t
        here = after[here]
    return _Starts(place, base)


def _stepped(lattice: Lattice, axis: int, by: int) -> Ints:
    moved = lattice.coordinates + by * np.eye(lattice.axes, dtype=np.int64)[axis]
    return np.asarray(lattice.inside(moved) % np.array(lattice.shape))


def nested_rings(lattice: Lattice, order: Sequence[int]) -> Schedule:
    """All-gather over axes one after the other, the last one first.

    Blocks are numbered by the places of the rank whose they are, the first axis most significant.
    """
    rings = axis_rings(lattice, order)
    blocks = HALVES * int(np.prod([ring.length for ring in rings]))
    base, size, before = np.zeros(lattice.nodes, np.int64), blocks, []
    for ring in rings:
        size //= ring.length
        before.append((ring, base, size))
        base = base + size * ring.place
    whole = Schedule(lattice.nodes, blocks, ())
    for ring, start, part in reversed(before):
        whole = whole.then(both_ways(ring, start, part, blocks))
    return whole


class Piece(NamedTuple):
    """A part of the buffer that takes the axes in an order of its own.

    Attributes
    ----------
    order : of the axes; the gather takes the last one first.
    share : of the buffer.
    gather : of the piece.
    """

    order: tuple[int, ...]
    share: float
    gather: Schedule


def ring_pieces(graph: Graph, axes: Sequence[int]) -> list[Piece]:
    """Pieces of the buffer that all chips which differ in no other axis gather at once, along both directions of rings.

    As many equal ones as axes, piece j in the order j, j + 1, ..., where that keeps all ports equally busy. Else those
    of all orders, up to `MOST_ORDERED` axes, with the shares for which the sum over phases of the time of the slowest
    port is least, by a linear program.
    """
    lattice = graph.lattice
    assert lattice is not None
    turned = [(*axes[j:], *axes[:j]) for j in range(len(axes))]
    gathers = {order: nested_rings(lattice, order) for order in turned}
    needs = _needs(graph, list(gathers.values()))
    busy = needs.sum(axis=2)[:, needs.any(axis=(0, 2))]
    if np.allclose(busy, busy[:, :1]):
        return [Piece(order, 1 / len(axes), gather) for order, gather in gathers.items()]
    if len(axes) <= MOST_ORDERED:
        gathers |= {order: nested_rings(lattice, order) for order in permutations(axes) if order not in gathers}
    shares = _shares(_needs(graph, list(gathers.values())))
    pieces = zip(gathers.items(), shares.tolist(), strict=True)
    return [Piece(order, share, gather) for (order, gather), share in pieces if share > 0]


def _needs(graph: Graph, gathers: Sequence[Schedule]) -> Floats:
    """What each phase puts on the busiest link of each port, of a whole buffer; float64[phases, ports, gathers]."""
    needs = np.zeros((len(gathers[0].phases), graph.ports, len(gathers)))
    for j, gather in enumerate(gathers):
        for i, phase in enumerate(gather.phases):
            load = np.zeros(len(graph.target))
            for step in phase.steps:
                np.add.at(load, graph.link_at[step.source, step.port], step.count / gather.blocks)
            np.maximum.at(needs[i, :, j], graph.port, load * (graph.rate.max() / graph.rate))
    return needs


def _shares(needs: Floats) -> Floats:
    """Share of each gather for which all phases, each as long as its slowest port, take least together."""
    from scipy.optimize import linprog

    phases, ports, pieces = needs.shape
    found = linprog(
        np.append(np.zeros(pieces), np.ones(phases)),
        A_ub=np.hstack([needs.reshape(-1, pieces), -np.repeat(np.eye(phases), ports, axis=0)]),
        b_ub=np.zeros(phases * ports),
        A_eq=np.append(np.ones(pieces), np.zeros(phases))[None],
        b_eq=[1.0],
    )
    assert found.x is not None
    share = np.where(found.x[:pieces] < ROUNDING, 0.0, found.x[:pieces])
    return np.asarray(share / share.sum())

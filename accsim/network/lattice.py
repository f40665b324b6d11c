"""Coordinates of meshes, tori and twisted tori, and the shortest vectors between their nodes.

A torus is the integer grid modulo a lattice. Crossing the boundary of axis a upwards, from ``shape[a]`` - 1 to 0,
adds row a of the twist to the other coordinates, so that the vectors ``shape[a]`` e_a - twist[a] are all zero: the
group of the nodes is Z^n modulo these (Camarero, Martínez, Beivide, *Lattice graphs for high-scale interconnection
topologies*, IEEE Trans. Parallel and Distributed Systems, 2015).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accsim.errors import InputError
from accsim.network.graph import Cables

Coordinates = NDArray[np.int64]

MOST_AXES: Final = 6
MOST_CANDIDATES: Final = 2**24
"""Vectors that are looked at to find the shortest ones, at most."""


@dataclass(frozen=True)
class Lattice:
    """A grid with wraparound on some axes.

    Parameters
    ----------
    shape
        Length of each axis.
    wrap
        Whether it is closed.
    twist
        ``twist[a][b]`` is added to coordinate b when axis a is crossed upwards; all 0 in a regular torus. An axis that
        is not closed neither twists nor is twisted, and no chain of twists comes back to where it began.
    """

    shape: tuple[int, ...]
    wrap: tuple[bool, ...]
    twist: tuple[tuple[int, ...], ...]

    @property
    def nodes(self) -> int:
        """Their number."""
        return math.prod(self.shape)

    @property
    def axes(self) -> int:
        """Their number."""
        return len(self.shape)

    @cached_property
    def twist_order(self) -> tuple[int, ...]:
        """Axes in an order in which each twists only later ones.

        Raises
        ------
        InputError
            If there is none.
        """
        left, order = set(range(self.axes)), []
        while left:
            free = [a for a in sorted(left) if not any(self.twist[b][a] for b in left - {a})]
            if not free or any(self.twist[a][a] for a in free):
                names = ", ".join(axis_name(a) for a in sorted(left))
                raise InputError(
                    f"the twists of the axes {names} come back to where they began, allowed is no such loop"
                )
            order += free
            left -= set(free)
        return tuple(order)

    def inside(self, vectors: Coordinates) -> Coordinates:
        """Coordinates inside the grid of any integer vectors, int64[..., axes]; those of open axes stay as they are."""
        found = vectors.copy()
        for axis in self.twist_order:
            if self.wrap[axis]:
                turns = found[..., axis] // self.shape[axis]
                found[..., axis] -= turns * self.shape[axis]
                found += turns[..., None] * np.array(self.twist[axis])
        return found

    def number(self, coordinates: Coordinates) -> NDArray[np.int64]:
        """Node of coordinates inside the grid; the last axis counts fastest."""
        return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(coordinates, -1, 0)), self.shape))

    @cached_property
    def coordinates(self) -> Coordinates:
        """Coordinates of every node, int64[nodes, axes]."""
        return np.stack(np.unravel_index(np.arange(self.nodes), self.shape), axis=-1)

    def period(self, axis: int) -> int:
        """Steps along a closed axis until it closes; a divisor of the number of nodes."""
        steps = np.array([n for n in range(1, self.nodes + 1) if self.nodes % n == 0])
        closed = ~self.inside(steps[:, None] * np.eye(self.axes, dtype=np.int64)[axis]).any(axis=1)
        return int(steps[closed][0])

    def cables(self, cube: int | None) -> Cables:
        """A cable upwards along every axis from every node; axis a leaves by port 2a and arrives at port 2a + 1.

        Parameters
        ----------
        cube
            Cables that leave a block of this side are of kind 1, the others of kind 0.
        """
        parts: list[tuple[NDArray[np.int64], ...]] = []
        for axis in range(self.axes):
            last = self.coordinates[:, axis] == self.shape[axis] - 1
            nodes = np.arange(self.nodes) if self.wrap[axis] else np.flatnonzero(~last)
            start = self.coordinates[nodes]
            ends = self.number(self.inside(start + np.eye(self.axes, dtype=np.int64)[axis]))
            leaves = last[nodes] if cube is None else (start[:, axis] % cube == cube - 1) | last[nodes]
            kind = leaves & (cube is not None and self.shape[axis] >= cube)
            real = ends != nodes
            port = np.full(len(nodes), 2 * axis)
            parts.append(tuple(part[real] for part in (nodes, ends, kind.astype(np.int64), port, port + 1)))
        return Cables(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    @cached_property
    def cover(self) -> Lattice:
        """The torus whose nodes are this lattice's coordinate differences: open axes close at twice their length."""
        shape = tuple(n if closed else 2 * n for n, closed in zip(self.shape, self.wrap, strict=True))
        return Lattice(shape, (True,) * self.axes, self.twist)

    @cached_property
    def shortest_vectors(self) -> tuple[Coordinates, NDArray[np.int64]]:
        """All shortest vectors from node 0 to each node of `cover`, and where those of each begin.

        Vectors of one node are in lexicographic order. A component along a closed axis is at most half the steps in
        which the axis closes.

        Raises
        ------
        InputError
            If more than `MOST_CANDIDATES` vectors would have to be looked at.
        """
        torus = self.cover
        reach = [torus.period(axis) // 2 for axis in range(self.axes)]
        if math.prod(2 * r + 1 for r in reach) > MOST_CANDIDATES:
            raise InputError(f"a torus of {self.nodes:,} nodes with this twist has too many paths for dimension order")
        vectors = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1)
        vectors = vectors.reshape(-1, self.axes)
        nodes = torus.number(torus.inside(vectors))
        length = np.abs(vectors).sum(axis=1)
        least = np.full(torus.nodes, np.iinfo(np.int64).max)
        np.minimum.at(least, nodes, length)
        kept = np.flatnonzero(length == least[nodes])
        kept = kept[np.argsort(nodes[kept], kind="stable")]
        begin = np.zeros(torus.nodes + 1, np.int64)
        np.cumsum(np.bincount(nodes[kept], minlength=torus.nodes), out=begin[1:])
        return vectors[kept], begin


def axis_name(axis: int) -> str:
    """Letter of an axis.

    Examples
    --------
    >>> [axis_name(a) for a in range(4)]
    ['x', 'y', 'z', 'u']
    """
    return "xyzuvw"[axis]


def no_twist(axes: int) -> tuple[tuple[int, ...], ...]:
    """The twist of a regular torus."""
    return ((0,) * axes,) * axes


def lattice_twist(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The twist of a torus with axes of k and 2k nodes: crossing axis a adds its length to every coordinate.

    Axes of 2k nodes are plain then, and those of k are shifted by half of every long one. In three dimensions: FCC(k)
    of k x k x 2k, BCC(k) of k x 2k x 2k. Source: Jouppi et al., *TPU v4*, ISCA 2023, section 2.8 and Figure 5.

    Raises
    ------
    InputError
        If the axes are not of k and 2k nodes.

    Examples
    --------
    >>> lattice_twist((4, 4, 8))
    ((0, 0, 4), (0, 0, 4), (0, 0, 0))
    """
    if sorted(set(shape)) != [min(shape), 2 * min(shape)]:
        text = "x".join(map(str, shape))
        raise InputError(f"read the twisted shape {text}, allowed are axes of k and 2k chips, such as 4x4x8 and 4x8x8")
    return tuple(tuple(0 if a == b else n % m for b, m in enumerate(shape)) for a, n in enumerate(shape))

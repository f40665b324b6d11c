"""Meshes, tori and twisted tori."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, cast

from accsim.config.checks import ArgumentChecks, shown
from accsim.errors import InputError
from accsim.network.graph import Graph, build_graph
from accsim.network.lattice import MOST_AXES, Lattice, axis_name, lattice_twist, no_twist
from accsim.network.topology import Topology

MOST_CHIPS = 2**20


@dataclass(frozen=True)
class Torus(Topology):
    """Chips on a grid of 1 to 6 axes, joined along every axis.

    Parameters
    ----------
    shape
        Chips along each axis. A closed axis of two chips joins them by two cables.
    twisted
        The twist of TPU v4: crossing the boundary of an axis adds its length to every coordinate. For axes of k and 2k
        chips: FCC(k) of k x k x 2k, BCC(k) of k x 2k x 2k.
    wrap
        Whether an axis is closed; for all, or one for each. False makes a mesh.
    twist
        Any other twist: ``twist[a][b]`` is added to coordinate b where axis a is crossed upwards.
    cube
        Side of the blocks within which cables are copper, those between blocks and those that close an axis being
        optical; 0 makes all cables copper. TPU v4: 4.

    Source: Jouppi et al., *TPU v4*, ISCA 2023, sections 2.2, 2.8 and Figure 5.

    Examples
    --------
    >>> Torus((4, 4, 8), twisted=True).all_to_all(1.0).max_link_bytes
    73.33...
    """

    shape: tuple[int, ...]
    twisted: bool = False
    wrap: bool | tuple[bool, ...] = True
    twist: tuple[tuple[int, ...], ...] | None = None
    cube: int = 4
    kind: ClassVar[str] = "torus"

    def check(self, check: ArgumentChecks) -> None:
        """Note what is wrong with the arguments; see `Topology.check`."""
        check.flag("twisted")
        check.count("cube", least=0)
        if not check.counts("shape", most=MOST_AXES):
            return
        if math.prod(self.shape) > MOST_CHIPS:
            check.fail("shape", f"read {math.prod(self.shape):,} chips, allowed are at most {MOST_CHIPS:,}")
            return
        axes = len(self.shape)
        if isinstance(self.wrap, bool):
            object.__setattr__(self, "wrap", (self.wrap,) * axes)
        if not check.sequence("wrap", bool, f"True or False for each of {axes} axes"):
            return
        if len(self._closed) != axes:
            check.fail("wrap", f"read {len(self._closed)} values, allowed is one for each of {axes} axes")
        elif self.twisted and self.twist is not None:
            check.fail("twist", "twisted and twist exclude each other, allowed is one of them")
        elif self.twist is not None and self._is_matrix(axes):
            object.__setattr__(self, "twist", tuple(tuple(row) for row in self.twist))
            self._check_twist(check)
        elif self.twist is not None:
            check.fail("twist", f"read {shown(self.twist)}, allowed are {axes} rows of {axes} whole numbers")
        elif self.twisted:
            self._check_twist(check)

    @property
    def _closed(self) -> tuple[bool, ...]:
        return cast(tuple[bool, ...], self.wrap)

    def _is_matrix(self, axes: int) -> bool:
        rows = self.twist
        return (
            isinstance(rows, list | tuple)
            and len(rows) == axes
            and all(isinstance(row, list | tuple) and len(row) == axes for row in rows)
            and all(type(step) is int and abs(step) <= MOST_CHIPS for row in rows for step in row)
        )

    def _check_twist(self, check: ArgumentChecks) -> None:
        field = "twisted" if self.twist is None else "twist"
        try:
            twist = self.twist or lattice_twist(self.shape)
            _ = Lattice(self.shape, self._closed, twist).twist_order
        except InputError as error:
            check.fail(field, str(error))
            return
        for axis, closed in enumerate(self._closed):
            if not closed and (any(twist[axis]) or any(row[axis] for row in twist)):
                check.fail(
                    field, f"axis {axis_name(axis)} is not closed, allowed are twists of closed axes by closed axes"
                )

    @property
    def lattice(self) -> Lattice:
        """Its coordinates."""
        if self.twist is not None:
            twist = self.twist
        else:
            twist = lattice_twist(self.shape) if self.twisted else no_twist(len(self.shape))
        return Lattice(self.shape, self._closed, twist)

    def build(self) -> Graph:
        """The graph; see `Topology.build`."""
        lattice = self.lattice
        cables = lattice.cables(self.cube or None)
        return build_graph(lattice.nodes, 0, cables, self.links(), symmetric=all(self._closed), lattice=lattice)

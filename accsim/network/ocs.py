"""Optical circuit switches that wire cubes of chips into tori and twisted tori.

A cube is a mesh of copper. Of every cube, the links that leave both faces of an axis at one place go to the same
switch, so side² switches serve an axis. A circuit joins the upper face of a cube to the lower face of a cube, of the
same one where an axis is one cube long. Whole cubes can then lie anywhere, and a twist by whole cubes needs other
circuits but no other cables. Source: Jouppi et al., *TPU v4*, ISCA 2023, sections 2.2 to 2.8, Figures 1 to 3 and 5.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accsim.config.checks import ArgumentChecks
from accsim.errors import InputError, Problem
from accsim.network.lattice import Lattice, axis_name, lattice_twist, no_twist

Numbers = NDArray[np.int64]

AXES: Final = 3


class Circuits(NamedTuple):
    """Connections through switches, each one to one.

    Attributes
    ----------
    switch
        Number of the switch: axis · side² + place on the face; int64[circuits].
    upper
        Cube whose link leaves by the upper face of the axis.
    lower
        Cube whose link leaves by the lower face.
    """

    switch: Numbers
    upper: Numbers
    lower: Numbers


@dataclass(frozen=True)
class Fabric:
    """The switches of a machine.

    Parameters
    ----------
    cubes, side
        Cubes, and chips along a side of each.
    ports
        Of a switch; two a cube are used, the others are spares for tests and repair.
    switching_s
        To move a circuit: median of the Palomar switch, a secondary summary of Urata et al., *Mission Apollo*
        (arXiv 2208.10041); the paper on TPU v4 says milliseconds.
    bring_up_s
        Until the links of a slice work again; estimated, from lecture notes.
    switch_w
        Power of a switch; estimated, from secondary summaries.

    Raises
    ------
    InputError
        With everything that is wrong with the arguments.
    """

    cubes: int = 64
    side: int = 4
    ports: int = 136
    switching_s: float = 1.2e-3
    bring_up_s: float = 10.0
    switch_w: float = 108.0

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        counted = check.count("cubes", "side", "ports", most=2**16)
        check.number("switching_s", "bring_up_s", "switch_w")
        if counted and self.ports < 2 * self.cubes:
            check.fail("ports", f"read {self.ports}, {self.cubes} cubes need {2 * self.cubes}")
        check.finish()

    @property
    def switches(self) -> int:
        """Their number: one for every place on a face, of every axis."""
        return AXES * self.side**2

    @property
    def spares(self) -> int:
        """Ports of a switch that no cube uses."""
        return self.ports - 2 * self.cubes

    @property
    def chips(self) -> int:
        """Of the machine."""
        return self.cubes * self.side**3

    @property
    def power_w(self) -> float:
        """Of all switches."""
        return self.switches * self.switch_w

    def slice_circuits(self, shape: Sequence[int], cubes: Sequence[int], *, twisted: bool = False) -> Circuits:
        """Circuits of a slice.

        Parameters
        ----------
        shape
            Chips along each of three axes, multiples of `side`.
        cubes
            The cubes that it takes, any of the machine, in the order of their places in the slice: the last axis first.
        twisted
            As of `accsim.Torus`.

        Raises
        ------
        InputError
            If the shape is not made of whole cubes, or the cubes are not as many different ones as it needs.
        """
        grid = self.grid(shape)
        self._check_cubes(cubes, math.prod(grid))
        chips = tuple(int(n) for n in shape)
        twist = lattice_twist(chips) if twisted else no_twist(AXES)
        if any(step % self.side for row in twist for step in row):
            raise InputError(f"a twist of {twist} does not move whole cubes of {self.side}, which needs other cables")
        lattice = Lattice(grid, (True,) * AXES, tuple(tuple(step // self.side for step in row) for row in twist))
        number = np.array(cubes, np.int64)
        steps = lattice.coordinates[None] + np.eye(AXES, dtype=np.int64)[:, None]
        lower = number[lattice.number(lattice.inside(steps))]
        faces = self.side**2
        return Circuits(
            np.repeat(np.arange(self.switches).reshape(AXES, faces), len(number), axis=0).ravel(),
            np.tile(np.repeat(number, faces), AXES),
            np.repeat(lower.ravel(), faces),
        )

    def grid(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """Cubes along each axis of a slice.

        Raises
        ------
        InputError
            If they are not whole, or more than the machine has.
        """
        text = "x".join(map(str, shape))
        if len(shape) != AXES or any(n < 1 or n % self.side for n in shape):
            raise InputError(f"read the slice {text}, allowed are 3 axes of multiples of {self.side} chips")
        x, y, z = (int(n) // self.side for n in shape)
        if x * y * z > self.cubes:
            raise InputError(f"the slice {text} needs {x * y * z} cubes, the machine has {self.cubes}")
        return x, y, z

    def _check_cubes(self, cubes: Sequence[int], needed: int) -> None:
        problems = []
        if len(cubes) != needed or len(set(cubes)) != len(cubes):
            found = f"read {len(set(cubes))} different cubes of {len(cubes)}"
            problems.append(Problem("", "", f"{found}, the slice needs {needed}"))
        unknown = sorted(cube for cube in cubes if not 0 <= cube < self.cubes)
        if unknown:
            problems.append(Problem("", "", f"read the cubes {unknown[:5]}, allowed are 0 to {self.cubes - 1}"))
        if problems:
            raise InputError(problems)

    def port_pairs(self, circuits: Circuits, failed: Collection[tuple[int, int]] = ()) -> tuple[Numbers, Numbers]:
        """Ports that each circuit joins: of cube c port 2c of its upper faces and 2c + 1 of its lower ones.

        Parameters
        ----------
        failed
            Ports that do not work, as (switch, port); their fibres move to spare ports of the switch, first to first.

        Raises
        ------
        InputError
            If a switch has more failed ports than spares that work, or a port does not exist.
        """
        place = np.tile(np.arange(self.ports), (self.switches, 1))
        problems = [
            Problem("", "", f"read the failed port {port} of switch {switch}, which does not exist")
            for switch, port in failed
            if not (0 <= switch < self.switches and 0 <= port < self.ports)
        ]
        broken = set(failed)
        for switch in sorted({switch for switch, _ in broken} if not problems else ()):
            spares = [port for port in range(2 * self.cubes, self.ports) if (switch, port) not in broken]
            moved = [port for port in range(2 * self.cubes) if (switch, port) in broken]
            if len(moved) > len(spares):
                text = f"{len(moved)} ports have failed and {len(spares)} spares are left"
                problems.append(Problem("", "", f"switch {switch} of axis {axis_name(switch // self.side**2)}: {text}"))
            place[switch, moved[: len(spares)]] = spares[: len(moved)]
        if problems:
            raise InputError(problems)
        return place[circuits.switch, 2 * circuits.upper], place[circuits.switch, 2 * circuits.lower + 1]

    def reconfiguration_s(self, before: Circuits, after: Circuits) -> float:
        """Time to turn one set of circuits into another: mirrors move at once, then links come up; 0 if none moves."""
        return self.switching_s + self.bring_up_s if moved_circuits(before, after) else 0.0


def moved_circuits(before: Circuits, after: Circuits) -> int:
    """Circuits that one set has and the other has not, those to break and those to make together."""
    old, new = ({tuple(row) for row in np.stack(circuits, axis=1).tolist()} for circuits in (before, after))
    return len(old ^ new)

"""Goodput of a mix of slices: a queue of jobs of many sizes on a machine of cubes that fail.

Source of the mix: Jouppi et al., *TPU v4*, ISCA 2023, Table 2: slices in use on a day of November 2022, all that make
up 0.1 % or more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate
from typing import Final, NamedTuple

import numpy as np

from accsim.errors import InputError
from accsim.kernels.goodput import fill_machine
from accsim.network.goodput import Machine, Sampled
from accsim.network.ocs import Fabric

Shape = tuple[int, int, int]

PUBLISHED_MIX: Final[Mapping[Shape, float]] = {
    (1, 1, 1): 2.1, (1, 1, 2): 0.4, (1, 2, 2): 6.7, (2, 2, 2): 4.7, (2, 2, 4): 6.4, (2, 4, 4): 8.9,
    (4, 4, 4): 13.9,
    (4, 4, 8): 17.5, (4, 4, 12): 0.7,
    (4, 8, 8): 10.7, (4, 4, 16): 1.0, (4, 8, 12): 0.1,
    (8, 8, 8): 9.6, (4, 8, 16): 1.7, (4, 4, 32): 0.6, (8, 8, 12): 0.7,
    (8, 8, 16): 3.2, (4, 16, 16): 0.3, (4, 4, 64): 0.1, (4, 8, 32): 0.1, (8, 12, 16): 0.1, (4, 4, 96): 0.1,
    (8, 8, 24): 0.1,
    (8, 16, 16): 1.7, (12, 16, 16): 5.7, (4, 4, 192): 0.4,
}  # fmt: skip
"""Percent of all slices by shape in chips, twisted and not together. They add up to 97.5 and are scaled to 100."""


class MixGoodput(NamedTuple):
    """Goodput of a mix.

    Attributes
    ----------
    switched, fixed
        With optical switches, and with fixed wires.
    unplaceable
        Share of the jobs that have no place in the machine with fixed wires, whatever works.
    """

    switched: Sampled
    fixed: Sampled
    unplaceable: float


def mix_goodput(
    machine: Machine,
    mix: Mapping[Shape, float] = PUBLISHED_MIX,
    *,
    waiting: int = 10,
    samples: int = 10_000,
    seed: int = 0,
) -> MixGoodput:
    """Goodput while there are always jobs of a mix: each machine drawn takes them in order until so many wait.

    With fixed wires a job may lie anywhere in any orientation, not across the ends of the machine (`Machine.places`,
    ``offsets``). Jobs smaller than a cube share cubes and need no switches.

    Parameters
    ----------
    mix
        Share of the jobs, in any unit, of each shape in chips: of whole cubes along every axis, or within a cube.
    waiting
        Jobs that do not fit and wait while later ones are served; 1 serves strictly in order.

    Raises
    ------
    InputError
        If a shape is neither of whole cubes nor within one, or the mix is empty.
    """
    if waiting < 1 or samples < 1:
        raise InputError(f"read {waiting} waiting jobs and {samples} samples, allowed is at least 1 of each")
    kinds = read_mix(machine, mix)
    fabric = Fabric(cubes=machine.cubes, ports=2 * machine.cubes)
    jobs = (
        kinds.chips,
        kinds.cubes,
        np.cumsum(kinds.shares),
        np.array([0, *accumulate(map(len, kinds.places))]),
        np.concatenate(kinds.places),
    )
    found = []
    for switched in (True, False):
        used = np.zeros(samples, np.int64)
        rng = np.random.default_rng(seed)
        state = machine.cubes, fabric.side**3, machine.log_cube_up, machine.fabric_up
        fill_machine(rng, *state, *jobs, switched, waiting, used)
        share = used / fabric.chips
        found.append(Sampled(float(share.mean()), float(share.std()) / math.sqrt(samples)))
    return MixGoodput(found[0], found[1], float(kinds.shares[kinds.placeless].sum()))


class Kinds(NamedTuple):
    """Jobs of a mix.

    Attributes
    ----------
    chips, cubes : that a job of each kind takes; int64[kinds]; no whole cubes where it lies within one.
    shares : of all jobs; float64[kinds], 1 in all.
    places : where each may lie with fixed wires, as sets of cubes; a uint64[places] for each kind.
    """

    chips: np.ndarray[tuple[int], np.dtype[np.int64]]
    cubes: np.ndarray[tuple[int], np.dtype[np.int64]]
    shares: np.ndarray[tuple[int], np.dtype[np.float64]]
    places: list[np.ndarray[tuple[int], np.dtype[np.uint64]]]

    @property
    def placeless(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Kinds of whole cubes that fixed wires have no place for; bool[kinds]."""
        return np.array([bool(cubes) and not len(where) for cubes, where in zip(self.cubes, self.places, strict=True)])


def read_mix(machine: Machine, mix: Mapping[Shape, float], placement: str = "offsets") -> Kinds:
    """The jobs of a mix on a machine.

    Parameters
    ----------
    placement
        Where fixed wires allow a slice: a key of `PLACEMENTS`.

    Raises
    ------
    InputError
        If a shape is neither of whole cubes nor within one, or the mix is empty.
    """
    total = sum(mix.values())
    if not mix or min(mix.values()) < 0 or not 0 < total < math.inf:
        raise InputError("read an empty mix, allowed are shares of at least 0, one of them above 0")
    fabric = Fabric(cubes=machine.cubes, ports=2 * machine.cubes)
    cubes, places = [], []
    for shape in mix:
        whole = max(shape) > fabric.side or all(n == fabric.side for n in shape)
        grid = fabric.grid(shape) if whole else (0, 0, 0)
        cubes.append(math.prod(grid))
        places.append(_places(machine, grid, placement) if whole else np.empty(0, np.uint64))
    chips = np.array([math.prod(shape) for shape in mix])
    return Kinds(chips, np.array(cubes), np.array(list(mix.values())) / total, places)


def _places(machine: Machine, grid: Shape, placement: str) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Where a slice may be with fixed wires; nowhere, if it is longer than the machine."""
    fits = all(n <= m for n, m in zip(sorted(grid), sorted(machine.grid), strict=True))
    return machine.places(grid, placement) if fits else np.empty(0, np.uint64)

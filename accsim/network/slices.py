"""A mix of slices on a machine of cubes that fail: how much of the machine it fills, by how the cubes are wired.

Slices come one after the other, drawn from the mix, and are placed at once. Source of the machine and of its rules for
slices: Jouppi et al., *TPU v4*, ISCA 2023, sections 2.3, 2.5, 2.9 and Table 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accsim.errors import InputError, check_choice
from accsim.kernels.slices import replay_mix
from accsim.network.goodput import PLACEMENTS, Machine, Sampled

CUBE: Final = 4
"""Chips along a side of a cube."""
SWITCHED: Final = "switched"


@dataclass(frozen=True)
class Slice:
    """A slice and how often it is asked for.

    Parameters
    ----------
    shape
        Chips along each of 3 axes: multiples of 4, or a power of two of chips that fit into a cube.
    weight
        Its share of all slices, in any unit.
    twisted
        Whether its torus is twisted.

    Raises
    ------
    InputError
        If the machine has no such slice.
    """

    shape: tuple[int, int, int]
    weight: float
    twisted: bool = False

    def __post_init__(self) -> None:
        whole = len(self.shape) == 3 and all(n > 0 and n % CUBE == 0 for n in self.shape)
        small = len(self.shape) == 3 and all(n in (1, 2, 4) for n in self.shape)
        if not whole and not small:
            raise InputError(f"read the slice {self.shape}, allowed are 3 multiples of {CUBE}, or sides of 1, 2 and 4")
        if not 0 <= self.weight < math.inf:
            raise InputError(f"read the weight {self.weight}, allowed is a number of at least 0")

    @property
    def chips(self) -> int:
        """Their number."""
        return math.prod(self.shape)

    @property
    def cubes(self) -> tuple[int, int, int]:
        """Cubes along each axis; one for slices that fit into a cube."""
        x, y, z = (-(-n // CUBE) for n in self.shape)
        return x, y, z

    @property
    def twistable(self) -> bool:
        """Whether it is of n x n x 2n or n x 2n x 2n chips with n at least 4."""
        n, _, long = sorted(self.shape)
        return n >= CUBE and long == 2 * n and set(self.shape) == {n, long}


@dataclass(frozen=True, eq=False)
class Replay:
    """What a mix does to a machine.

    Attributes
    ----------
    goodput
        Share of the machine's chips in use.
    placed
        Slices of each kind in the machine at a time, on average; float64[slices].
    lost
        Share of the mix's slices, by number, for which the wiring has no place at all.
    """

    goodput: Sampled
    placed: NDArray[np.float64]
    lost: float


def replay(
    machine: Machine,
    mix: Sequence[Slice],
    wiring: str = SWITCHED,
    *,
    passes: int = 0,
    samples: int = 20_000,
    seed: int = 0,
) -> Replay:
    """Fill machines drawn at random with slices of a mix, in the order in which they come.

    Parameters
    ----------
    wiring
        ``switched``: any cubes that work make a slice; or one of `PLACEMENTS`: the first place of neighbours that is
        free. Slices for which fixed wires have no place are not drawn.
    passes
        How many slices that find no place may be passed over before the machine counts as full; 0: none overtakes.

    Raises
    ------
    InputError
        If the wiring is unknown, a slice is larger than the machine, or no slice is left.
    """
    check_choice("wiring", wiring, (SWITCHED, *PLACEMENTS))
    if passes < 0 or samples < 1:
        raise InputError(f"read {passes} passes and {samples} samples, allowed are at least 0 and 1")
    tried = [_places(machine, one, wiring) for one in mix]
    weights = np.array([one.weight * (found is not None) for one, found in zip(mix, tried, strict=True)])
    if not weights.any():
        raise InputError(f"wiring '{wiring}' has no place for any slice of the mix")
    places = [np.zeros(0, np.uint64) if found is None else found for found in tried]
    share = np.cumsum(weights) / weights.sum()
    share[np.flatnonzero(weights)[-1] :] = 1.0
    used, placed = np.zeros(samples, np.int64), np.zeros(len(mix), np.int64)
    up = (machine.switched_cube_up, machine.fabric_up) if wiring == SWITCHED else (machine.cube_up, 1.0)
    replay_mix(
        np.random.default_rng(seed), samples, np.array(up), machine.cubes, CUBE**3, share,
        np.array([one.chips for one in mix], np.int64), np.cumsum([0, *map(len, places)]), np.concatenate(places),
        passes, np.zeros(machine.cubes, np.int64), used, placed,
    )  # fmt: skip
    chips = machine.cubes * CUBE**3
    error = float(used.std()) / math.sqrt(samples) / chips
    lost = sum(one.weight for one, found in zip(mix, tried, strict=True) if found is None)
    return Replay(Sampled(float(used.mean()) / chips, error), placed / samples, lost / sum(one.weight for one in mix))


def _places(machine: Machine, one: Slice, wiring: str) -> NDArray[np.uint64] | None:
    """Places of a slice with fixed wires, none where any cubes do; None where it has no place."""
    if math.prod(one.cubes) > machine.cubes:
        raise InputError(f"read a slice of {one.chips} chips, allowed are at most {machine.cubes * CUBE**3}")
    if wiring == SWITCHED:
        return np.zeros(0, np.uint64)
    if any(side > most for side, most in zip(sorted(one.cubes), sorted(machine.grid), strict=True)):
        return None
    return machine.places(one.cubes, wiring)

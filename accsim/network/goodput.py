"""Goodput: the share of a machine that does useful work while hosts, racks, cables and switches fail.

The machine consists of cubes. A slice takes any cubes that work where optical switches wire it, and needs a block of
neighbouring cubes, all working, where wires are fixed. Source: Jouppi et al., *TPU v4*, ISCA 2023, section 2.3 and
Figure 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, permutations, product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accsim.config.checks import ArgumentChecks
from accsim.errors import InputError, check_choice
from accsim.kernels.goodput import count_slices

PLACEMENTS: Final = ("partition", "orientations", "offsets", "wrap")
"""Where fixed wires allow a slice: the aligned blocks of one orientation; of every orientation; blocks of every
orientation anywhere; and also across the ends of the machine."""

MOST_CUBES: Final = 64
MOST_UNITED: Final = 16
"""Places whose unions are all looked at, at most."""


def availability(failures_per_day: float, repair_days: float) -> float:
    """Share of the time that a part works which fails so often and then takes so long to repair.

    Formula: mean time between failures over that and the repair, 1 / (1 + rate · repair).

    Examples
    --------
    >>> round(availability(0.0008, 1.0), 6)
    0.999201
    """
    return 1.0 / (1.0 + failures_per_day * repair_days)


@dataclass(frozen=True)
class Machine:
    """A machine of cubes and what of it works at any time.

    Parameters
    ----------
    host
        Probability that a host works, independent of all others.
    rack
        That a cube's rack does (power, cooling): it takes its hosts along.
    cable
        That a cable of a cube does; without it the cube is not used. Taken alike for both kinds of wiring.
    switch
        That an optical switch does; each has 1 / switches of every cube's links, so no slice runs without all of them.
    grid
        Cubes along each axis, at most 64 in all.
    hosts, cables, switches
        Hosts and cables out of a cube, switches of the machine. The defaults are those of TPU v4.

    Raises
    ------
    InputError
        With everything that is wrong with the arguments.
    """

    host: float = 0.999
    rack: float = 1.0
    cable: float = 1.0
    switch: float = 1.0
    grid: tuple[int, int, int] = (4, 4, 4)
    hosts: int = 16
    cables: int = 96
    switches: int = 48

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.number("host", "rack", "cable", "switch", most=1.0)
        check.count("hosts", "cables", "switches", most=2**20)
        if check.counts("grid", most=3) and (len(self.grid) != 3 or self.cubes > MOST_CUBES):
            check.fail("grid", f"read {self.grid}, allowed are 3 numbers of at most {MOST_CUBES} cubes in all")
        check.finish()

    @property
    def cubes(self) -> int:
        """Their number."""
        return math.prod(self.grid)

    @property
    def cube_up(self) -> float:
        """Probability that a cube works: hosts, rack and cables."""
        return float(self.host**self.hosts * self.rack * self.cable**self.cables)

    @property
    def log_cube_up(self) -> float:
        """Logarithm of that."""
        return math.log(self.cube_up) if self.cube_up > 0 else -math.inf

    @property
    def fabric_up(self) -> float:
        """Probability that all optical switches work."""
        return float(self.switch**self.switches)

    def switched(self, size: int) -> float:
        """Expected goodput with optical switches: a slice takes any `size` cubes that work.

        Formula: fabric · Σ_k P(k of all cubes work) · ⌊k / size⌋ · size / cubes, binomial.
        """
        self._check_size(size)
        slices = np.arange(self.cubes + 1) // size
        return self.fabric_up * float(self._working() @ slices) * size / self.cubes

    def guaranteed(self, size: int, confidence: float = 0.9) -> float:
        """Goodput with optical switches that is reached with a probability of at least `confidence`."""
        self._check_size(size)
        if not 0 < confidence <= 1:
            raise InputError(f"read the confidence {confidence}, allowed is a number above 0 and at most 1")
        reached = self.fabric_up * np.cumsum(self._working()[::-1])[::-1]
        slices = np.flatnonzero(reached[::size] >= confidence)
        return float(slices.max(initial=0)) * size / self.cubes

    def _working(self) -> NDArray[np.float64]:
        """Probability that k cubes work, float64[cubes + 1]."""
        n, up = self.cubes, self.cube_up
        return np.array([math.comb(n, k) * up**k * (1 - up) ** (n - k) for k in range(n + 1)])

    def fixed(self, shape: tuple[int, int, int], placement: str = "partition") -> float:
        """Expected goodput with fixed wires: a slice needs a block of `shape` cubes, all working.

        Formula, of a partition: blocks · size / cubes · (cube works)^size; where one slice fits at most, the
        probability that any place works, by inclusion and exclusion over the places.

        Raises
        ------
        InputError
            If the shape does not fit, or several slices fit into places that overlap: `sample` fills those one by one.
        """
        places = self.places(shape, placement)
        size = math.prod(shape)
        if placement == "partition":
            return len(places) * size / self.cubes * self.cube_up**size
        if 2 * size <= self.cubes or len(places) > MOST_UNITED:
            raise InputError(
                f"placement '{placement}' of {size} cubes has no closed form, allowed are partition and samples"
            )
        any_up = 0.0
        for count in range(1, len(places) + 1):
            for some in combinations(map(int, places), count):
                union = 0
                for place in some:
                    union |= place
                any_up -= (-1) ** count * self.cube_up ** union.bit_count()
        return any_up * size / self.cubes

    def places(self, shape: tuple[int, int, int], placement: str = "partition") -> NDArray[np.uint64]:
        """Where a slice may be with fixed wires: its cubes as bits, uint64[places].

        Raises
        ------
        InputError
            If the placement is unknown or the shape does not fit.
        """
        check_choice("placement", placement, PLACEMENTS)
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(f"read the shape {shape}, allowed are cubes along 3 axes")
        turned = [tuple(shape)] if placement == "partition" else sorted(set(permutations(shape)))
        fitting = [s for s in turned if all(n <= m for n, m in zip(s, self.grid, strict=True))]
        if not fitting:
            raise InputError(f"read the shape {shape} in cubes, allowed is what fits the machine of {self.grid}")
        found: dict[int, None] = {}
        for sides in fitting:
            for corner in product(*(self._starts(n, m, placement) for n, m in zip(sides, self.grid, strict=True))):
                found[self._bits(corner, sides)] = None
        return np.array(list(found), np.uint64)

    @staticmethod
    def _starts(side: int, length: int, placement: str) -> range:
        if placement == "wrap":
            return range(length if side < length else 1)
        return range(0, length - side + 1, 1 if placement == "offsets" else side)

    def _bits(self, corner: tuple[int, ...], sides: tuple[int, ...]) -> int:
        axes = (
            [(start + step) % length for step in range(side)]
            for start, side, length in zip(corner, sides, self.grid, strict=True)
        )
        return sum(1 << int(np.ravel_multi_index(cube, self.grid)) for cube in product(*axes))

    def sample(
        self, shape: tuple[int, int, int], placement: str = "partition", samples: int = 1_000_000, seed: int = 0
    ) -> tuple[Sampled, Sampled]:
        """Goodput with optical switches and with fixed wires, from machines drawn at random.

        Fixed places are filled one by one, in the order of `places`.
        """
        size, places = math.prod(shape), self.places(shape, placement)
        anywhere, placed = np.zeros((2, self.cubes + 1), np.int64)
        rng = np.random.default_rng(seed)
        count_slices(rng, samples, self.cubes, self.log_cube_up, self.fabric_up, size, places, anywhere, placed)
        return Sampled.of(anywhere, size / self.cubes), Sampled.of(placed, size / self.cubes)

    def _check_size(self, size: int) -> None:
        if not 1 <= size <= self.cubes:
            raise InputError(f"read a slice of {size} cubes, allowed are 1 to {self.cubes}")


@dataclass(frozen=True)
class Sampled:
    """A goodput from samples: its mean, and the standard error of that."""

    mean: float
    standard_error: float

    @classmethod
    def of(cls, counts: NDArray[np.int64], share: float) -> Sampled:
        """Of how often how many slices fitted, each a share of the machine."""
        total, slices = counts.sum(), np.arange(len(counts))
        mean = float(counts @ slices / total)
        variance = float(counts @ (slices - mean) ** 2 / total)
        return cls(mean * share, math.sqrt(variance / float(total)) * share)

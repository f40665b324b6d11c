"""What many points take in all, added up op by op."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accsim.sweep.outcome import IntArray, Numbers


class Sums:
    """Sums of points, an array of float64[points] each.

    Attributes
    ----------
    ticks, dynamic_j : time and energy without the idle power.
    main_bytes : float64[2, points], bytes read from and written to main memory.
    busy : resource -> ticks.
    fits, too_long : bool[points], whether all buffers fit, and whether the time cannot be counted.
    needs : (shape, memory, its capacity) -> blocks of (points that do not fit, bytes they need).
    """

    def __init__(self, points: int) -> None:
        self.ticks, self.dynamic_j = np.zeros((2, points))
        self.main_bytes = np.zeros((2, points))
        self.busy: dict[str, Numbers] = {}
        self.needs: dict[tuple[str, str, int], list[tuple[IntArray, Numbers]]] = {}
        self.fits, self.too_long = np.ones(points, bool), np.zeros(points, bool)

    def work(self, resource: str, at: IntArray | slice, ticks: Numbers | float) -> None:
        """Add busy time of a resource."""
        self.busy.setdefault(resource, np.zeros(len(self.ticks)))[at] += ticks

    def replace(self, at: IntArray, other: Sums) -> None:
        """Take the sums of some points from others."""
        self.ticks[at], self.dynamic_j[at], self.main_bytes[:, at] = other.ticks, other.dynamic_j, other.main_bytes
        for name, ticks in other.busy.items():
            self.busy[name][at] = ticks

    def select(self, at: IntArray) -> Sums:
        """The sums of some points."""
        found = Sums(len(at))
        found.ticks, found.dynamic_j, found.main_bytes = self.ticks[at], self.dynamic_j[at], self.main_bytes[:, at]
        found.busy = {name: ticks[at] for name, ticks in self.busy.items()}
        found.fits, found.too_long = self.fits[at], self.too_long[at]
        return found

    def busiest(self, resources: Sequence[str]) -> Numbers:
        """Ticks that the busiest of some resources works; 0 where a point has none of them."""
        return np.asarray(
            np.max([self.busy[name] for name in resources if name in self.busy] or [0 * self.ticks], axis=0)
        )

    def longest(self) -> IntArray:
        """The place in ``busy`` of the resource that works longest."""
        return np.asarray(np.argmax(np.array(list(self.busy.values())), axis=0))

"""Flows that share links fairly: max-min rates, and when each flow ends as the others leave."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accsim.kernels.maxmin import LEFT, fair_rates
from accsim.network.graph import Floats, Ints
from accsim.network.routing import Routes

MERGED: Final = 1e-3
"""Ends that lie within this share of the time that has passed count as one: rates are solved anew once for them."""

ROUNDING: Final = 1e-9
"""Rates that differ by less than this share are taken for equal."""


@dataclass(frozen=True, eq=False)
class FairShare:
    """Classes of flows on links with limited rates.

    Attributes
    ----------
    capacity
        Payload bytes a second of each link.
    routes
        Links of each class and the share of its rate on each.
    """

    capacity: Floats
    routes: Routes

    @cached_property
    def _by_link(self) -> tuple[NDArray[np.int64], Ints]:
        """Where the classes of each link begin, and the classes, link after link."""
        classes = np.repeat(np.arange(len(self.routes.begin) - 1, dtype=np.int32), np.diff(self.routes.begin))
        begin = np.zeros(len(self.capacity) + 1, np.int64)
        np.cumsum(np.bincount(self.routes.link, minlength=len(self.capacity)), out=begin[1:])
        return begin, classes[np.argsort(self.routes.link, kind="stable")]

    def rates(self, count: Floats) -> Floats:
        """Max-min fair rate of a flow of each class, bytes a second.

        Parameters
        ----------
        count
            Flows of each class, float64[classes].
        """
        rate = np.zeros(len(count))
        self._fill(np.flatnonzero(count), count, rate, self._empty())
        return rate

    def _empty(self) -> Floats:
        """What is known of links without flows; see the kernel."""
        return np.stack([self.capacity, *np.zeros((2, len(self.capacity)))], axis=1)

    def _fill(self, classes: NDArray[np.int64], count: Floats, rate: Floats, links: Floats) -> None:
        begin, link, share, _ = self.routes
        fair_rates(classes, begin, link, share, *self._by_link, count, rate, links)

    def ends(self, size: Floats, count: Floats | None = None, merged: float = MERGED) -> tuple[Floats, int]:
        """When each flow has sent its bytes, s, with rates solved anew whenever one ends; and the number of solves.

        Flows that end within a share `merged` of the time passed leave together, with the last of them: the rest learn
        a little late that there is more room, and no time comes out shorter than without merging. Only the rates of
        those at least as fast as the slowest that leaves are solved anew: the others keep theirs.

        Parameters
        ----------
        size
            Bytes of one flow of each class, float64[classes].
        """
        left = size.astype(np.float64)
        active = np.where(left > 0, np.ones(len(left)) if count is None else count, 0.0)
        running = active > 0
        rate, since, ends = np.zeros((3, len(left)))
        links, now, solves = self._empty(), 0.0, 0
        anew = np.flatnonzero(running)
        while running.any():
            left[anew] -= rate[anew] * (now - since[anew])
            self._fill(anew, active, rate, links)
            solves += 1
            since[anew] = now
            ends[anew] = now + left[anew] / rate[anew]
            leaving = np.flatnonzero(running & (ends <= ends[running].min() * (1 + merged)))
            now, slowest = float(ends[leaving].max()), float(rate[leaving].min())
            self._give_back(leaving, active, rate, links)
            running[leaving] = False
            anew = np.flatnonzero(running & (rate >= slowest * (1 - ROUNDING)))
        return ends, solves

    def _give_back(self, classes: NDArray[np.int64], count: Floats, rate: Floats, links: Floats) -> None:
        """Leave to the links what classes have used that are gone."""
        first, last = self.routes.begin[classes], self.routes.begin[classes + 1]
        lengths = last - first
        at = np.repeat(last - np.cumsum(lengths), lengths) + np.arange(lengths.sum())
        used = np.repeat((rate * count)[classes], lengths) * self.routes.share[at]
        np.add.at(links[:, LEFT], self.routes.link[at], used)

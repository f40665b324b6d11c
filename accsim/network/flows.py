"""Flows that share links fairly: max-min rates, and when each flow ends as the others leave."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accsim.kernels.maxmin import fair_rates
from accsim.network.graph import Floats, Ints
from accsim.network.routing import Routes

MERGED: Final = 1e-3
"""Ends that lie within this share of the time that has passed count as one: rates are solved anew once for them."""


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
        links, rate = len(self.capacity), np.empty(len(count))
        scratch = np.empty(links), np.empty(links), np.empty(links, np.int64)
        begin, link, share, _ = self.routes
        fair_rates(self.capacity, begin, link, share, *self._by_link, count, rate, *scratch)
        return rate

    def ends(self, size: Floats, count: Floats | None = None, merged: float = MERGED) -> tuple[Floats, int]:
        """When each flow has sent its bytes, s, with rates solved anew whenever one ends; and the number of solves.

        Flows that end within a share `merged` of the time passed leave together, with the last of them: the rest learn
        a little late that there is more room, and no time comes out shorter than without merging.

        Parameters
        ----------
        size
            Bytes of one flow of each class, float64[classes].
        """
        left = size.astype(np.float64)
        active = np.where(left > 0, np.ones(len(left)) if count is None else count, 0.0)
        ends, now, solves = np.zeros(len(left)), 0.0, 0
        while active.any():
            rate = self.rates(active)
            solves += 1
            running = active > 0
            need = np.full(len(left), np.inf)
            np.divide(left, rate, out=need, where=running)
            leaving = running & (now + need <= (now + need.min()) * (1 + merged))
            ends[leaving] = now + need[leaving]
            step = need[leaving].max()
            left[running] -= rate[running] * step
            active[leaving] = 0.0
            now += step
        return ends, solves

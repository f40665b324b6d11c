"""What algorithms of collectives have in common: who takes part, where they fit, and what they take."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from accsim.network.graph import Graph
from accsim.network.schedule import Ints
from accsim.network.stepwise import CollectiveTime, Plan, Stepwise


class Ranks(NamedTuple):
    """Who takes part.

    Attributes
    ----------
    chips : int64[groups, ranks]; each group does a collective of its own, all at once.
    axes : the axes of a lattice that a group spans; None: the group is all chips of any network.
    """

    chips: Ints
    axes: tuple[int, ...] | None

    @property
    def each(self) -> int:
        """Ranks of a group."""
        return int(self.chips.shape[1])


class Algorithm(ABC):
    """How a collective is carried out."""

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    on_demand: ClassVar[bool] = False
    """Not among those that are tried: it needs what not every network has."""

    def misfit(self, graph: Graph, kind: str, ranks: Ranks) -> str | None:
        """Why it cannot be used, or None."""
        if kind not in self.kinds:
            return f"does only {', '.join(self.kinds)}"
        return self.unfit(graph, ranks)

    @abstractmethod
    def unfit(self, graph: Graph, ranks: Ranks) -> str | None:
        """Why it cannot be used on a network by these ranks, whatever the collective; or None."""

    @abstractmethod
    def time(self, chips: Stepwise, kind: str, ranks: Ranks, size: float) -> CollectiveTime:
        """Time of a collective of ``size`` bytes."""


class Scheduled(Algorithm):
    """An algorithm that is a schedule."""

    @abstractmethod
    def plans(self, graph: Graph, kind: str, ranks: Ranks, size: float) -> list[Plan]:
        """The schedules that run at once: of each group of ranks, or of all together."""

    def time(self, chips: Stepwise, kind: str, ranks: Ranks, size: float) -> CollectiveTime:
        """Time of a collective of ``size`` bytes."""
        return chips.time(self.plans(chips.graph, kind, ranks, size), self.name)

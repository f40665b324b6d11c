"""Collectives on a network: the fastest algorithm for a size and a shape, and several collectives at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from accsim.config.checks import shown
from accsim.engine.compose import Alone, at_once
from accsim.errors import InputError, check_choice
from accsim.network.collective_algorithms import ALGORITHMS, KINDS
from accsim.network.collective_base import Algorithm, Ranks
from accsim.network.graph import Graph
from accsim.network.lattice import axis_name
from accsim.network.stepwise import CollectiveTime, Stepwise

AUTO: Final = "auto"


@dataclass(frozen=True)
class Collective:
    """A collective to be carried out.

    Parameters
    ----------
    kind
        A key of `KINDS`.
    size
        Bytes of a chip's full buffer: of an all-gather the gathered one, of an all-to-all what it sends and keeps.
    axes
        Axes of a mesh or torus along which chips take part, each line, plane, ... of chips for itself; None: all chips.
    algorithm
        A key of `ALGORITHMS`, or ``auto``: the fastest of those that fit; ``in_switch`` only where it is asked for.
    """

    kind: str
    size: float
    axes: tuple[int, ...] | None = None
    algorithm: str = AUTO

    def __post_init__(self) -> None:
        check_choice("collective", self.kind, KINDS)
        check_choice("algorithm", self.algorithm, (AUTO, *ALGORITHMS))
        if not 0 <= self.size < np.inf:
            raise InputError(f"read a buffer of {shown(self.size)} bytes, allowed is a number of at least 0")


def run_collective(chips: Stepwise, collective: Collective) -> CollectiveTime:
    """Time of a collective by its algorithm, or by the fastest of those that fit.

    Raises
    ------
    InputError
        If no algorithm fits network and collective, with the reason of each.
    """
    ranks = ranks_along(chips.graph, collective.axes)
    times = [
        algorithm.time(chips, collective.kind, ranks, collective.size)
        for algorithm in _fitting(chips.graph, collective, ranks)
    ]
    times.sort(key=lambda one: one.time_s)
    return replace(times[0], others={one.algorithm: one.time_s for one in times})


def run_together(chips: Stepwise, collectives: Sequence[Collective]) -> tuple[CollectiveTime, ...]:
    """Collectives that begin at once and share links and chips, each by the algorithm that is fastest alone.

    Each gets a max-min fair share of what it would use alone (`accsim.engine.compose.at_once`): on other links both
    take their own time, on the same links the last ends after the sum. ``time_s`` is when each ends.

    Raises
    ------
    InputError
        As `run_collective`.
    """
    alone = [run_collective(chips, one) for one in collectives]
    # Links that carry the same of each count as one.
    carried = np.unique(np.stack([one.link_bytes for one in alone] + [chips.graph.rate]), axis=1)
    busy = carried[:-1] / carried[-1]
    programs = [
        Alone(one.time_s, {f"link {i}": s for i, s in enumerate(links.tolist())} | dict(one.busy_s))
        for one, links in zip(alone, busy, strict=True)
    ]
    return tuple(replace(one, time_s=end) for one, end in zip(alone, at_once(programs), strict=True))


def _fitting(graph: Graph, collective: Collective, ranks: Ranks) -> list[Algorithm]:
    tried = [name for name, one in ALGORITHMS.items() if not one.on_demand]
    if collective.algorithm != AUTO:
        tried = [collective.algorithm]
    reasons = {name: ALGORITHMS[name].misfit(graph, collective.kind, ranks) for name in tried}
    fitting = [ALGORITHMS[name] for name, reason in reasons.items() if reason is None]
    if not fitting:
        told = "; ".join(f"{name} {reason}" for name, reason in reasons.items())
        raise InputError(f"no algorithm does {collective.kind} here: {told}")
    return fitting


def ranks_along(graph: Graph, axes: Sequence[int] | None) -> Ranks:
    """The groups of chips that differ in no axis but these.

    Raises
    ------
    InputError
        If the network does not have such axes, or one is given twice.
    """
    if axes is None:
        return Ranks(np.arange(graph.chips)[None], None)
    if graph.lattice is None:
        raise InputError("a collective along axes needs a network that has them: a mesh, torus or twisted torus")
    lattice = graph.lattice
    if not axes or len(set(axes)) < len(axes) or not set(axes) <= set(range(lattice.axes)):
        names = ", ".join(f"{axis} ({axis_name(axis)})" for axis in range(lattice.axes))
        raise InputError(f"read the axes {shown(tuple(axes))}, allowed are {names}, each once")
    numbers = np.arange(lattice.nodes).reshape(lattice.shape)
    moved = np.moveaxis(numbers, axes, range(-len(axes), 0))
    return Ranks(moved.reshape(-1, int(np.prod([lattice.shape[axis] for axis in axes]))), tuple(axes))

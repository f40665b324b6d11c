"""The maximum cycle ratio of a single-loop program: the ticks an iteration takes once the loop has settled.

Every waiting rule is an edge of a graph with one node a stage: the start of a firing is no earlier than that of
another, `distance` rounds ago, plus `ticks`. The slowest circuit (ticks over distance) sets the pace.

Source: F. Baccelli, G. Cohen, G. J. Olsder, J.-P. Quadrat, "Synchronization and Linearity", Wiley, 1992, chapter 3
(spectral theory of max-plus matrices); binary search with Bellman-Ford after E. L. Lawler, "Combinatorial
Optimization", 1976, chapter 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

from accsim.engine.program import Program, Stage, Varying


@dataclass(frozen=True)
class Edge:
    """start(target, round r) >= start(source, round r - distance) + ticks."""

    source: int
    target: int
    ticks: int
    distance: int


def held(stage: Stage) -> list[tuple[str, int]]:
    """(resource, ticks it is held): the unit as long as the slowest, a rate for its own ticks."""
    rates: list[tuple[str, int]] = []
    for name, ticks in stage.rates:
        if isinstance(ticks, Varying):
            raise ValueError(f"{stage.name}: amounts must be constant")
        rates.append((name, ticks))
    if isinstance(stage.ticks, Varying):
        raise ValueError(f"{stage.name}: amounts must be constant")
    return [(stage.unit, max([stage.ticks, *(ticks for _, ticks in rates)])), *rates]


def work(stage: Stage) -> int:
    """Ticks from the start of a firing to its finish."""
    return held(stage)[0][1] + stage.latency


def program_graph(program: Program) -> list[Edge]:
    """The edges of one iteration of a single-loop program whose stages fire in every iteration.

    Raises
    ------
    ValueError
        More than one level, a pool, spans, varying amounts, or a hold at the first or last iteration only: what such
        a program does is not one graph repeated.
    """
    if len(program.levels) != 1 or any(resource.servers > 1 for resource in program.resources):
        raise ValueError("one level and no pools")
    if any(stage.spans or hold.first or hold.last for stage in program.stages for hold in holds(stage)):
        raise ValueError("every stage must do the same in every iteration")
    return _resource_edges(program) + _dependence_edges(program) + _slot_edges(program)


def holds(stage: Stage) -> list[object]:
    return [*stage.acquires, *stage.releases]

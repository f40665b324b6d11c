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
from itertools import pairwise
from math import gcd, lcm

from accsim.engine.program import Amount, Program, Stage, Varying


@dataclass(frozen=True)
class Edge:
    """start(target, round r) >= start(source, round r - distance) + ticks."""

    source: int
    target: int
    ticks: int
    distance: int


def constant(amount: Amount) -> int:
    """The amount, which must not vary."""
    if isinstance(amount, Varying):
        raise ValueError("amounts must be constant")
    return amount


def held(stage: Stage) -> list[tuple[str, int]]:
    """(resource, ticks it is held): the unit as long as the slowest, a rate for its own ticks."""
    rates = [(name, constant(ticks)) for name, ticks in stage.rates]
    return [(stage.unit, max([constant(stage.ticks), *(ticks for _, ticks in rates)])), *rates]


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
    taken = [hold for stage in program.stages for hold in stage.acquires + stage.releases]
    if any(stage.spans for stage in program.stages) or any(hold.first or hold.last for hold in taken):
        raise ValueError("every stage must do the same in every iteration")
    return resource_edges(program) + dependence_edges(program) + slot_edges(program)


def resource_edges(program: Program) -> list[Edge]:
    """Each stage on a resource after the one before it, the first after the last of the round before."""
    edges = []
    for resource in program.resources:
        users = [(i, ticks) for i, s in enumerate(program.stages) for name, ticks in held(s) if name == resource.name]
        for (source, ticks), (target, _) in pairwise(users):
            edges.append(Edge(source, target, ticks, 0))
        if users:
            edges.append(Edge(users[-1][0], users[0][0], users[-1][1], 1))
    return edges


def dependence_edges(program: Program) -> list[Edge]:
    """Work n of a stage (round n + shift) after work n - lag of its producer."""
    number = {stage.name: i for i, stage in enumerate(program.stages)}
    edges = []
    for target, stage in enumerate(program.stages):
        for after in stage.after:
            producer = program.stage(after.stage)
            distance = (stage.shift or 0) + after.lag - (producer.shift or 0)
            edges.append(Edge(number[after.stage], target, work(producer), distance))
    return edges


def slot_edges(program: Program) -> list[Edge]:
    """Acquire k after release k - slots; with n of each a round, those of a round are numbered as listed.

    The acquire at place a of round r is number n r + a - (shifts of all acquirers, whose firings are missing at the
    program's start); releases alike.
    """
    edges = []
    for buffer in program.buffers:
        takers = [(i, s) for i, s in enumerate(program.stages) for hold in s.acquires if hold.buffer == buffer.name]
        givers = [(i, s) for i, s in enumerate(program.stages) for hold in s.releases if hold.buffer == buffer.name]
        missing = sum(s.shift or 0 for _, s in givers) - sum(s.shift or 0 for _, s in takers)
        for place, (target, _) in enumerate(takers):
            for other, (source, giver) in enumerate(givers):
                later = buffer.slots + other - place - missing
                if later % len(givers) == 0:
                    edges.append(Edge(source, target, work(giver), later // len(givers)))
    return edges


def relaxed(edges: Sequence[Edge], nodes: int, ratio: Fraction) -> list[Fraction] | None:
    """Longest paths (Bellman-Ford) with weights ticks - ratio x distance; None when a circuit is positive."""
    length = [Fraction(0)] * nodes
    for _ in range(nodes + 1):
        before = list(length)
        for edge in edges:
            length[edge.target] = max(length[edge.target], length[edge.source] + edge.ticks - ratio * edge.distance)
        if length == before:
            return length
    return None


def max_cycle_ratio(edges: Sequence[Edge], nodes: int) -> Fraction:
    """The largest ticks / distance of any circuit, exactly.

    Raises
    ------
    ValueError
        A circuit has distance 0 or less, or there is none.
    """
    farthest = sum(max((e.distance for e in edges if e.source == node), default=0) for node in range(nodes))
    low, high = Fraction(-1), Fraction(sum(edge.ticks for edge in edges) + 1)
    if relaxed(edges, nodes, high) is None or relaxed(edges, nodes, low) is not None:
        raise ValueError("no circuit, or one that takes no iteration")
    while high - low > Fraction(1, 2 * max(farthest, 1) ** 2):
        middle = (low + high) / 2
        if relaxed(edges, nodes, middle) is None:
            low = middle
        else:
            high = middle
    # Two fractions with denominators up to `farthest` are never this close, so only one lies in what is left.
    ratio = ((low + high) / 2).limit_denominator(max(farthest, 1))
    if not low <= ratio <= high or relaxed(edges, nodes, ratio) is None:
        raise ValueError(f"no circuit has the ratio {ratio}")
    return ratio


def period(edges: Sequence[Edge], nodes: int, ratio: Fraction) -> int:
    """Iterations after which the settled loop repeats: lcm, over critical components, of the gcd of its circuits."""
    length = relaxed(edges, nodes, ratio)
    if length is None:
        raise ValueError(f"{ratio} is less than the maximum cycle ratio")
    tight = [e for e in edges if length[e.target] == length[e.source] + e.ticks - ratio * e.distance]
    reach = [{node} for node in range(nodes)]
    for _ in range(nodes):
        for edge in tight:
            for seen in reach:
                if edge.source in seen:
                    seen.add(edge.target)
    common = 1
    for root in range(nodes):
        component = {node for node in reach[root] if root in reach[node]}
        inside = [e for e in tight if e.source in component and e.target in component]
        at = {root: 0}
        while len(at) < len(component):
            at |= {e.target: at[e.source] + e.distance for e in inside if e.source in at and e.target not in at}
        circuits = gcd(*(at[e.source] + e.distance - at[e.target] for e in inside))
        common = lcm(common, circuits or 1)
    return common

"""Networks told naively: links as pairs, every shortest path listed, rates filled round by round."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product


def steps_of_a_twisted_torus(shape: Sequence[int]) -> dict[tuple[int, ...], list[tuple[int, ...]]]:
    """Neighbours of every chip in the order x+, x-, y+, ...

    A step across the boundary of an axis adds that axis's length to every coordinate, each modulo its own length.
    """
    found: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for chip in product(*map(range, shape)):
        found[chip] = []
        for axis, length in enumerate(shape):
            for step in (1, -1):
                end = [*chip]
                end[axis] += step
                shift = 0 if 0 <= end[axis] < length else length
                found[chip].append(tuple((c + shift) % n for c, n in zip(end, shape, strict=True)))
    return found


def distances(ends: Sequence[tuple[int, int]], root: int) -> dict[int, int]:
    """Hops from a node to all that it reaches, by relaxing every link again and again."""
    found = {root: 0}
    changed = True
    while changed:
        changed = False
        for a, b in ends:
            if a in found and found[a] + 1 < found.get(b, math.inf):
                found[b] = found[a] + 1
                changed = True
    return found


def shortest_paths(ends: Sequence[tuple[int, int]], source: int, goal: int) -> list[list[int]]:
    """Every shortest path, as numbers of links."""
    away = distances(ends, source)

    def back(node: int) -> Iterator[list[int]]:
        if node == source:
            yield []
        for link, (a, b) in enumerate(ends):
            if b == node and away.get(a, math.inf) == away[node] - 1:
                for path in back(a):
                    yield [*path, link]

    return list(back(goal))


def even_loads(ends: Sequence[tuple[int, int]], demand: Mapping[tuple[int, int], float]) -> list[float]:
    """Load of every link when each pair's bytes are split evenly over all its shortest paths."""
    load = [0.0] * len(ends)
    for (source, goal), size in demand.items():
        paths = shortest_paths(ends, source, goal)
        for path in paths:
            for link in path:
                load[link] += size / len(paths)
    return load


def fair_rates(capacity: Sequence[float], routes: Sequence[Mapping[int, float]], count: Sequence[float]) -> list[float]:
    """Max-min fair rate of a flow of each class: raise all together, freeze those on the first full link, repeat."""
    rate: list[float | None] = [None if n > 0 else 0.0 for n in count]
    while any(r is None for r in rate):
        shares: dict[int, float] = {}
        for link, room in enumerate(capacity):
            used = sum(count[f] * (r or 0.0) * routes[f].get(link, 0.0) for f, r in enumerate(rate))
            weight = sum(count[f] * routes[f].get(link, 0.0) for f, r in enumerate(rate) if r is None)
            if weight > 0:
                shares[link] = (room - used) / weight
        full = min(shares, key=lambda link: shares[link])
        for f, r in enumerate(rate):
            if r is None and full in routes[f]:
                rate[f] = shares[full]
    return [r or 0.0 for r in rate]

"""What crosses the memories of a loop nest, found by walking it: every place remembers the tile that it holds."""

from __future__ import annotations

from itertools import product

Loop = tuple[str, int, bool]
"""Dimension, trips, and whether the loop is in space."""


def words(loops_above: list[Loop], loops_below: list[Loop], dims: str, keeps: bool) -> tuple[int, int]:
    """(words read above, where one word for several places counts once; words received in all places)."""
    tile = 1
    for dim, trips, _ in loops_below:
        tile *= trips if dim in dims else 1
    times = [range(trips) if not spatial else range(1) for _, trips, spatial in loops_above]
    places = list(product(*(range(trips) if spatial else range(1) for _, trips, spatial in loops_above)))
    held: dict[tuple[int, ...], tuple[int, ...]] = {}
    sent = received = 0
    for step in product(*times):
        arriving = set()
        for place in places:
            wanted = tuple(
                place[i] if spatial else step[i] for i, (dim, _, spatial) in enumerate(loops_above) if dim in dims
            )
            if not keeps or held.get(place) != wanted:
                held[place] = wanted
                received += tile
                arriving.add(wanted)
        sent += tile * len(arriving)
    return sent, received

"""All-reduce of islands of chips: sums inside each, then across, chip by chip, then spread inside again.

The buffer goes through in chunks, as a tile program: the island's links sum and spread, the NICs go across meanwhile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from accsim.engine.builder import ProgramBuilder
from accsim.engine.program import TICKS_PER_CYCLE, After, Hold, Program, Stage
from accsim.engine.run import run_program
from accsim.errors import InputError
from accsim.network.collectives import Collective, run_collective
from accsim.network.islands import Islands
from accsim.network.stepwise import Stepwise

CLOCK_HZ = 1e9
"""Of the program's ticks: 0.24 ps each."""
CHUNKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Chunks that are tried."""
_IN_FLIGHT = 3
"""Chunks that are summed, across, and spread at once."""


@dataclass(frozen=True)
class IslandAllReduce:
    """An all-reduce of islands and what it takes.

    Attributes
    ----------
    time_s
        Until every chip has the sum.
    sum_s, across_s, spread_s
        Of a chunk: reduce-scatter inside, all-reduce across, all-gather inside.
    chunks
        Their number.
    """

    time_s: float
    sum_s: float
    across_s: float
    spread_s: float
    chunks: int


def island_all_reduce(network: Islands, size: float, *, chunks: int | None = None) -> IslandAllReduce:
    """Time of an all-reduce of ``size`` bytes over all chips of islands.

    Inside an island, the fastest algorithm of its network. Across, every chip sums its part of the island's buffer with
    the chips at its place in the other islands, by recursive halving and doubling: 2 (I - 1) / I of the part through
    its NIC, in 2 ceil(log2 I) exchanges.

    Parameters
    ----------
    chunks
        More of them overlap more of the two, and cost latency; by default the best of `CHUNKS`.

    Raises
    ------
    InputError
        If there are no chunks.

    Examples
    --------
    >>> from accsim.network import Islands, Torus
    >>> pod = Islands(Torus((2, 2, 2), wrap=False), 64, link_efficiency=0.83)
    >>> found = island_all_reduce(pod, 2**30)
    >>> found.across_s > found.sum_s
    True
    """
    if chunks is None:
        tried = (island_all_reduce(network, size, chunks=count) for count in CHUNKS)
        return min(tried, key=lambda found: found.time_s)
    if chunks < 1:
        raise InputError(f"read {chunks} chunks, allowed are at least 1")
    inside = Stepwise(network.inside.graph, network.inside.endpoint)
    part = size / chunks
    total, spread = (run_collective(inside, Collective(kind, part)).time_s for kind in ("reduce_scatter", "all_gather"))
    copper, optical = network.links()
    hop = 2 * (copper.hop_s + optical.hop_s)
    exchanges = 2 * math.ceil(math.log2(network.islands))
    shard = part / network.inside.chips
    moved = 2 * (network.islands - 1) / network.islands * shard
    across = moved / copper.rate + exchanges * hop
    ticks = run_program(_program(total, across, spread, chunks)).total_ticks
    return IslandAllReduce(ticks / TICKS_PER_CYCLE / CLOCK_HZ, total, across, spread, chunks)


def _program(total: float, across: float, spread: float, chunks: int) -> Program:
    """Chunks one after the other; the island's links spread one only when they have summed the two behind it."""
    build = ProgramBuilder("all-reduce of islands")
    build.level("chunk", chunks)
    build.resource("island")
    build.resource("nic")
    build.buffer("chunk", _IN_FLIGHT)
    late = min(_IN_FLIGHT, chunks) - 1
    ticks = [max(1, round(seconds * CLOCK_HZ * TICKS_PER_CYCLE)) for seconds in (total, across, spread)]
    hold = (Hold("chunk"),)
    build.stage(Stage("sum", "island", ticks[0], acquires=hold))
    build.stage(Stage("across", "nic", ticks[1], after=(After("sum"),), shift=0, shift_level="chunk"))
    build.stage(
        Stage("spread", "island", ticks[2], after=(After("across"),), releases=hold, shift=late, shift_level="chunk")
    )
    return build.build()

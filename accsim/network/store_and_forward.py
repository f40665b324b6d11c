"""Traffic as chunks that are stored and forwarded hop by hop: a tile program whose units are the links.

A path is a chain of stages, one a hop, and a chunk of its bytes a firing of each. Links serve paths in turn, chunk by
chunk, in the order of the pairs; nodes store as many chunks as come.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from accsim.engine.builder import ProgramBuilder
from accsim.engine.program import TICKS_PER_CYCLE, After, Hold, Program, Stage
from accsim.errors import InputError
from accsim.network.graph import Graph
from accsim.network.paths import Path

CHUNKS: Final = 64
"""Chunks of the bytes of each path."""
CLOCK_HZ: Final = 1e9
"""Of the program's ticks: 0.24 ps each."""
MOST_HOPS: Final = 2**13
"""Hops of all paths together: stages of the program."""


def forward_program(
    graph: Graph, paths: list[Path], injection: float | None, ejection: float | None, chunks: int = CHUNKS
) -> Program:
    """The program of traffic on paths.

    Parameters
    ----------
    injection, ejection
        Bytes a second that a chip sends and receives at most; None without a limit.

    Raises
    ------
    InputError
        If all paths together have more than `MOST_HOPS` hops.
    """
    hops = sum(len(path.links) for path in paths)
    if hops > MOST_HOPS:
        raise InputError(f"contention 'chunks' of {hops:,} hops in all, allowed are at most {MOST_HOPS:,}")
    per_s = TICKS_PER_CYCLE * CLOCK_HZ
    build = ProgramBuilder("chunks on a network")
    build.level("chunk", chunks)
    for link in sorted({link for path in paths for link in path.links}):
        build.resource(f"link {link}")
    for what, limit, ends in (
        ("injection", injection, {path.source for path in paths}),
        ("ejection", ejection, {path.goal for path in paths}),
    ):
        if limit is not None:
            for chip in sorted(ends):
                build.resource(f"{what} {chip}")
    behind = _rounds_behind(graph, paths, chunks, per_s)
    for i, path in enumerate(paths):
        build.buffer(f"path {i}", chunks)
        for hop, link in enumerate(path.links):
            chunk = path.size / chunks * per_s
            first, last = hop == 0, hop == len(path.links) - 1
            limits = [(f"injection {path.source}", injection)] * first + [(f"ejection {path.goal}", ejection)] * last
            rates = tuple((name, max(1, round(chunk / limit))) for name, limit in limits if limit is not None)
            own = (Hold(f"path {i}"),)
            build.stage(
                Stage(
                    f"{i}.{hop}", f"link {link}", max(1, round(chunk / float(graph.rate[link]))), rates,
                    round(float(graph.hop_s[link]) * per_s), "chunk", {}, behind * hop, "chunk",
                    () if first else (After(f"{i}.{hop - 1}"),), own if first else (), own if last else (),
                )
            )  # fmt: skip
    return build.build()


def _rounds_behind(graph: Graph, paths: list[Path], chunks: int, per_s: float) -> int:
    """Rounds of all links after which a chunk has come a hop: so much later it is issued, so that no link waits for it.

    A round takes what the busiest link needs for a chunk of each of its paths.
    """
    load = np.zeros(len(graph.target))
    for path in paths:
        load[list(path.links)] += path.size / chunks
    slowest = float((load / graph.rate).max()) * per_s
    used = sorted({link for path in paths for link in path.links})
    return min(chunks, 1 + math.ceil(float(graph.hop_s[used].max()) * per_s / max(slowest, 1.0)))

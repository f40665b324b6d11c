"""A chain of stages over chunks of stacks, each handing its chunk to the next through a buffer.

What embedding units of any kind do with a stack is such a chain: read, sort, add, move, write. A writer says what each
link does for a stack in all; here it is cut into chunks that fit the unit's memory, and written as a tile program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from accsim.engine.builder import ProgramBuilder
from accsim.engine.program import After, Hold, Program, Stage, vary
from accsim.errors import MappingError

FloatArray = NDArray[np.float64]

SLOTS = 3
"""Places of a buffer: one that fills, one that waits for its last bytes, one that is used."""


@dataclass(frozen=True, eq=False)
class Link:
    """One kind of work on all stacks, one after the other.

    Attributes
    ----------
    name, unit
        Of the stage, and of the resource that it holds.
    ticks
        float64[stacks]: how long a stack holds the unit in all.
    rates
        At most two other resources: how long a stack holds each, in all, from the same starts.
    latency
        Ticks from the end of a chunk's work to its result.
    chunk_ticks
        float64[stacks]: how long each chunk holds the unit beside that.
    handed_bytes
        float64[stacks]: what it hands to the next link, and that lies in the unit's memory until that is done.
    actions
        Counts of a stack in all.
    """

    name: str
    unit: str
    ticks: FloatArray
    rates: Mapping[str, FloatArray] = field(default_factory=dict)
    latency: int = 0
    chunk_ticks: FloatArray | None = None
    handed_bytes: FloatArray | None = None
    actions: Mapping[str, FloatArray] = field(default_factory=dict)

    @property
    def busy(self) -> NDArray[np.bool_]:
        """bool[stacks]: whether it has anything to do for a stack."""
        each_chunk = [] if self.chunk_ticks is None else [self.chunk_ticks]
        found: NDArray[np.bool_] = np.any([self.ticks, *each_chunk, *self.rates.values()], axis=0)
        return found


def chain_program(
    name: str, links: Sequence[Link], memory: str, capacity_bytes: int, rows: Sequence[tuple[str, float]]
) -> Program:
    """The program of a chain, whose buffers lie in a memory; links that have nothing to do for any stack are left out.

    A stack is cut into even chunks: as many as make everything that is handed on fit. Link i is issued i chunks behind
    the first, so that a unit which several links share is not held up by what has not come yet.

    Parameters
    ----------
    rows
        Name and rows of each stack; a chunk has at least one.

    Raises
    ------
    MappingError
        When a row of a stack does not fit.
    """
    build = ProgramBuilder(name)
    links = [link for link in links if link.busy.any()]
    slots = _slot_bytes(links, capacity_bytes)
    chunks = _chunks(links, slots)
    cut = [stack for (stack, most), count in zip(rows, chunks, strict=True) if count > max(most, 1) + 1]
    if cut:
        message = f"program '{name}': {capacity_bytes} bytes of {memory} do not hold {SLOTS} chunks of a row"
        raise MappingError(message, [f"rows of stack '{stack}' are too wide" for stack in cut])
    build.level("stack", len(chunks), (1,) * len(chunks))
    build.level("chunk", vary("stack", chunks))
    for resource in dict.fromkeys(name for link in links for name in (link.unit, *link.rates)):
        build.resource(resource)
    build.memory(memory, capacity_bytes)
    for link, slot in zip(links[:-1], slots, strict=True):
        build.buffer(_buffer(link), SLOTS, int(slot), memory)
    for i, link in enumerate(links):
        before = links[i - 1] if i else None
        build.stage(
            Stage(
                link.name,
                link.unit,
                vary("stack", _of_a_chunk(_ticks(link, chunks), chunks)),
                tuple((rate, vary("stack", _of_a_chunk(held, chunks))) for rate, held in link.rates.items()),
                link.latency,
                "chunk",
                shift=i,
                shift_level="chunk",
                after=() if before is None else (After(before.name, 0, "chunk"),),
                acquires=(Hold(_buffer(link)),) if i < len(links) - 1 else (),
                releases=() if before is None else (Hold(_buffer(before)),),
                actions={what: vary("stack", count / chunks, np.float64) for what, count in link.actions.items()},
            )
        )
    return build.build()


def _buffer(link: Link) -> str:
    return f"behind {link.name}"


def _ticks(link: Link, chunks: NDArray[np.int64]) -> FloatArray:
    return link.ticks if link.chunk_ticks is None else link.ticks + chunks * link.chunk_ticks


def _of_a_chunk(ticks: FloatArray, chunks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ticks of a chunk, rounded up but for what floating point adds."""
    return np.ceil(ticks / chunks * (1 - 1e-12)).astype(np.int64)


def _slot_bytes(links: Sequence[Link], capacity_bytes: int) -> NDArray[np.int64]:
    """Bytes of a slot of each buffer, int64[links - 1]: the memory is dealt by the largest share that a stack asks."""
    handed = _handed(links)
    shares = (handed / np.maximum(handed.sum(axis=0), 1e-300)).max(axis=1)
    whole = max(float(shares.sum()), 1e-300)
    slots: NDArray[np.int64] = np.floor(capacity_bytes / SLOTS * shares / whole).astype(np.int64)
    return slots


def _chunks(links: Sequence[Link], slots: NDArray[np.int64]) -> NDArray[np.int64]:
    """Chunks of each stack, int64[stacks]."""
    needed = np.ceil(_handed(links) / np.maximum(slots, 1)[:, None])
    chunks: NDArray[np.int64] = needed.max(axis=0, initial=1).astype(np.int64)
    return chunks


def _handed(links: Sequence[Link]) -> FloatArray:
    """Bytes that each link but the last hands on, float64[links - 1, stacks]."""
    none = np.zeros_like(links[0].ticks)
    handed = [none if link.handed_bytes is None else link.handed_bytes for link in links[:-1]]
    return np.array(handed).reshape(len(handed), len(none))

"""The forward and the backward pass of embedding units, as chains of links."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accsim.config.machine import Accelerator
from accsim.embedding.work import StepWork
from accsim.engine.program import Program
from accsim.mapping.embedding_counts import Counts, Spread
from accsim.mapping.embedding_pipeline import FloatArray, Link, chain_program
from accsim.mapping.embedding_rows import update_operations, updated_bytes
from accsim.mapping.sparse_core_tile import COO_BYTES, ID_BYTES, Runs, Tile, of_tile

SPMEM = "spmem"


def forward(accelerator: Accelerator, work: StepWork) -> Program:
    """The program of the busiest tile for a forward pass: lookups of a chip's samples, and rows that it owns.

    Raises
    ------
    InputError
        If the machine has no embedding units, or rows are dealt over another number of tiles than it has.
    """
    tile, counts = of_tile(accelerator, work), Counts(work)
    n, size = tile.all_tiles, tile.row_bytes
    dealt = counts.served.scaled(ID_BYTES / n)
    rows = tile.at_random(counts.fetched, size)
    partial = Spread(*(c / n for c in counts.partial))
    arrived = _both(counts.received)
    links = [
        tile.read(
            "read ids",
            [tile.stream(_both(counts.looked_up), COO_BYTES), tile.stream(counts.served, ID_BYTES)],
            counts.looked_up * COO_BYTES / n + dealt.largest,
        ),
        tile.shared(
            "sort ids", "sort", counts.looked_up + counts.served.largest, tile.unit.sort_ids_per_cycle,
            handed_bytes=dealt.largest,
        ),
        tile.read("fetch rows", [rows], counts.fetched.largest * size),
        tile.vector("combine rows", counts.combined, {"add": np.ones_like(size)}, partial.largest * size),
        _reduce(tile, counts),
        tile.send("send vectors", counts.sent.scaled(size), counts.asked.scaled(ID_BYTES),
                  [tile.stream(arrived, size), tile.stream(counts.served, ID_BYTES)]),
        *_join(tile, counts),
    ]  # fmt: skip
    return _program(f"forward of {len(work.stacks)} stacks", tile, links)


def backward(accelerator: Accelerator, work: StepWork) -> Program:
    """The program of the busiest tile for a backward pass: gradients of a chip's bags, and rows that it owns.

    Raises
    ------
    InputError
        As `forward`.
    """
    tile, counts = of_tile(accelerator, work), Counts(work)
    n, size = tile.all_tiles, tile.row_bytes
    once = np.ones_like(size)
    lookups = counts.gradients
    forked = counts.gradients.mean * n * counts.busiest_chip * size
    links = [
        tile.read("read gradients", _own_gradients(tile, counts), np.maximum(counts.bags, counts.merged) / n * size),
        tile.vector("merge gradients", _both(counts.merged / n), {"add": once}, counts.received / n * size),
        tile.shared("fork gradients", "fork", counts.received * size, tile.unit.move_bytes_per_cycle),
        tile.send("send gradients", _both(counts.received * size), None, [tile.stream(counts.sent, size)]),
        tile.read(
            "read arrivals",
            [tile.stream(counts.sent, size), tile.stream(counts.served, ID_BYTES)],
            counts.sent.largest / n * size + counts.served.largest / n * ID_BYTES,
        ),
        tile.shared("sort ids", "sort", counts.served.largest, tile.unit.sort_ids_per_cycle),
        tile.shared(
            "fork to lookups", "fork", np.where(counts.rows_travel, 0.0, forked), tile.unit.move_bytes_per_cycle,
            handed_bytes=lookups.largest * size,
        ),
        tile.vector("add duplicates", lookups, {"add": once}, counts.updated.largest * size),
        *_update(tile, counts),
    ]  # fmt: skip
    return _program(f"backward of {len(work.stacks)} stacks", tile, links)


def _program(name: str, tile: Tile, links: Sequence[Link]) -> Program:
    """The links behind the instructions that begin them: one for each kind of work that a chunk has."""
    instructions = np.sum([link.busy for link in links], axis=0)
    per_stack = tile.cycles(np.full(len(tile.work.stacks), tile.unit.stack_cycles))
    issue = Link("issue", "sequencer", per_stack, chunk_ticks=tile.cycles(instructions * tile.unit.instruction_cycles))
    rows = Counts(tile.work).rows_of_a_tile
    return chain_program(name, [issue, *links], SPMEM, tile.unit.slice_bytes, rows)


def _both(of_chip: FloatArray) -> Spread:
    """A count that all chips have alike."""
    return Spread(of_chip, of_chip)


def _reduce(tile: Tile, counts: Counts) -> Link:
    """Partial sums of a bag's rows on several tiles are added across them."""
    added = Spread(*(np.maximum(p - s, 0.0) for p, s in zip(counts.partial, counts.sent, strict=True)))
    added = Spread(*(np.where(counts.rows_travel, 0.0, one) for one in added))
    return tile.shared(
        "reduce sums", "reduce", added.largest * tile.elements, tile.unit.reduce_elements_per_cycle,
        handed_bytes=counts.sent.largest / tile.all_tiles * tile.row_bytes,
        actions={"vector.add": added.mean * tile.widths, "read.spmem": counts.partial.mean * tile.row_bytes},
    )  # fmt: skip


def _join(tile: Tile, counts: Counts) -> list[Link]:
    """What a chip has received in parts is read back, added up and written for the dense half."""
    n, size = tile.all_tiles, tile.row_bytes
    parts = _both(counts.joined / n)
    return [
        tile.read("read parts", [tile.at_random(parts, size)], parts.largest * size),
        tile.vector("join parts", parts, {"add": np.ones_like(size)}, counts.bags_joined / n * size),
        tile.write("write vectors", [tile.stream(_both(counts.bags_joined), size)]),
    ]


def _own_gradients(tile: Tile, counts: Counts) -> list[Runs]:
    """Gradients of a chip's bags: each once, or where those of a row are merged, each as often as it has rows."""
    merged = counts.merged > 0
    return [
        tile.stream(_both(np.where(merged, 0.0, counts.bags)), tile.row_bytes),
        tile.at_random(_both(counts.merged / tile.all_tiles), tile.row_bytes),
    ]


def _update(tile: Tile, counts: Counts) -> list[Link]:
    """Rows and their state are read, updated and written."""
    stacks = tile.work.stacks
    pieces = [updated_bytes(stack, tile.granule) for stack in stacks]
    most = max(map(len, pieces))
    by_piece = [[piece[i] if i < len(piece) else 0 for piece in pieces] for i in range(most)]
    runs = [tile.at_random(counts.updated, sizes, rewritten=True) for sizes in by_piece]
    operations = [update_operations(stack, int(e)) for stack, e in zip(stacks, tile.elements, strict=True)]
    names = sorted({name for each in operations for name in each})
    an_element = {name: np.array([each.get(name, 0.0) for each in operations]) / tile.elements for name in names}
    whole = counts.updated.largest * np.array([float(sum(piece)) for piece in pieces])
    return [
        tile.read("fetch rows and state", runs, whole),
        tile.vector("update", counts.updated, an_element, whole),
        tile.write("flush rows and state", runs),
    ]

"""The forward and the backward pass of a step's embeddings, the same for every place: chains of links.

Two parts meet in a pass. The *owner* of rows fetches them, adds those of a bag, and updates them. The chip that *asks*
has the samples: it joins what it receives in parts, and hands out the gradients of its bags.
"""

from __future__ import annotations

import numpy as np

from accsim.engine.program import Program
from accsim.mapping.embedding_counts import Counts, Spread
from accsim.mapping.embedding_pipeline import Link, chain_program
from accsim.mapping.embedding_place import ID_BYTES, Place
from accsim.mapping.embedding_rows import update_operations, updated_bytes


def forward(owner: Place) -> Program:
    """The program of a forward pass: ids in, rows of an owner, vectors to the chips that asked, their bags joined."""
    asking, counts, size = owner.asking, owner.counts, owner.row_bytes
    rows, once = owner.share(counts.fetched), np.ones_like(size)
    arrivals = [asking.stream(asking.part(counts.received + counts.kept), asking.row_bytes)]
    arrivals += [asking.stream(asking.part(counts.served), ID_BYTES)]
    links = [
        *owner.ids(),
        owner.read("fetch rows", [owner.at_random(rows, size)], rows.largest * size),
        owner.compute("combine rows", owner.share(counts.combined), {"add": once}, owner.sums.scaled(size)),
        *owner.reduce(),
        owner.send("send vectors", _moved(counts).scaled(size), counts.asked.scaled(ID_BYTES), arrivals),
        *_join(asking),
    ]
    return _program("forward", owner, links)


def backward(owner: Place) -> Program:
    """The program of a backward pass: gradients of bags to the owners, added up by row, rows and state rewritten."""
    return _program("backward", owner, [*_hand_out(owner.asking), *owner.take_gradients(), *_update(owner)])


def _moved(counts: Counts) -> Spread:
    """Vectors that leave the memory of the owner: to other chips, or to its own dense half."""
    return Spread(*(one + counts.kept for one in counts.sent))


def _program(name: str, owner: Place, links: list[Link]) -> Program:
    stacks = owner.counts.work.stacks
    memory, capacity = owner.scratch
    whole = [*owner.begin(links), *links]
    return chain_program(f"{name} of {len(stacks)} stacks", whole, memory, capacity, owner.most_rows)


def _join(place: Place) -> list[Link]:
    """What a chip has received in parts is read back, added up and written for the dense half."""
    counts, size = place.counts, place.row_bytes
    parts, bags = place.part(counts.joined), place.part(counts.bags_joined)
    return [
        place.read("read parts", [place.at_random(parts, size)], parts.largest * size),
        place.compute("join parts", parts, {"add": np.ones_like(size)}, bags.scaled(size)),
        place.write("write vectors", [place.stream(bags, size)]),
    ]


def _hand_out(place: Place) -> list[Link]:
    """Gradients of bags are read, those of a row that was asked for once added up, others copied for each part."""
    counts, size = place.counts, place.row_bytes
    merged = place.part(counts.merged)
    single = place.part(np.where(counts.merged > 0, 0.0, counts.bags))
    received = place.part(counts.received * size)
    return [
        place.read(
            "read gradients",
            [place.stream(single, size), place.at_random(merged, size)],
            (single.largest + merged.largest) * size,
        ),
        place.compute("merge gradients", merged, {"add": np.ones_like(size)}, received),
        *place.fork("fork gradients", received.scaled(place.parts), received.largest),
    ]


def _update(place: Place) -> list[Link]:
    """Gradients of the same row are added up, rows and their state are read, updated and written."""
    counts, stacks = place.counts, place.counts.work.stacks
    rows = place.share(counts.updated)
    pieces = [updated_bytes(stack, place.granule) for stack in stacks]
    longest = max(map(len, pieces))
    sizes = [[float(piece[i]) if i < len(piece) else 0.0 for piece in pieces] for i in range(longest)]
    runs = [place.at_random(rows, size, rewritten=True) for size in sizes]
    record = np.sum(sizes, axis=0)
    whole = rows.scaled(record)
    operations = [update_operations(stack) for stack in stacks]
    names = sorted({name for each in operations for name in each})
    an_element = {name: np.array([each.get(name, 0.0) for each in operations]) for name in names}
    return [
        place.compute(
            "add duplicates",
            place.share(counts.gradients),
            {"add": np.ones_like(record)},
            rows.scaled(place.row_bytes),
        ),
        place.read("fetch rows and state", runs, whole.largest),
        place.compute("update", rows, an_element, whole, beside=record),
        place.write("flush rows and state", runs),
    ]

"""What a step asks of embedding units and of the network between them: counts, before any machine's rates.

Tables of one sharding, width, data type and optimizer, and the features that read them, are a *stack*. Statistics or a
trace fill in its `StackWork`, and a unit's writer turns that into stages. Counts are of one step. Those over chips or
tiles have a mean, and a largest, for the others wait for the one that has most to do. Where stacks lie on different
chips, their largest are those of the chip that has most to do over all of them: of chips with tables as it has them,
and 0 of a stack that it has no tables of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accsim.embedding.imbalance import Imbalance

ID_BYTES: Final = 4
"""Bytes of an id that travels. No header is counted."""


@dataclass(frozen=True)
class StackWork:
    """One stack's work in a step.

    Attributes
    ----------
    name
        Of the stack's tables.
    features
        Features that read them, those alike counted.
    width, dtype
        Of a row that a chip holds; with tables cut by columns, of a piece.
    optimizer
        What updates the rows, a key of `accsim.workload.embeddings.OPTIMIZER_STATE`.
    looked_up
        Ids of a chip's samples before any dedup: the sizes of its bags in all. Mean over chips.
    asked
        Ids that a chip asks owners for (itself among them), behind its own dedup: mean and largest over chips.
    served
        Ids that arrive at an owner, mean and largest over chips.
    fetched
        Rows that a tile reads from its memory in the forward pass, mean and largest over all tiles of all chips.
    combined
        Rows that a tile adds to vectors of bags at the owner; none where rows travel as they are.
    sent
        Vectors of `width` that leave an owner (itself a receiver among them): sums of bags, parts of sums, or rows.
        Mean and largest over chips. The backward pass has as many gradients on the way back.
    received
        Vectors that arrive at the chip that has the samples, mean over chips.
    joined
        Vectors that the receiver adds up: parts of sums, of bags of two rows and more whose rows may lie on several
        chips; or, where rows travel as they are, those of bags of two rows and more, a row once for each bag.
    updated
        Distinct rows whose gradient a tile adds up and whose row and state it rewrites, mean and largest over tiles.
    replicated
        Whether every chip holds all rows, so that nothing is asked of others and gradients are all-reduced.
    pieces
        Chips that hold a piece of the same row each; a bag is so many vectors of `width`. Ids are counted once in
        `looked_up`, and for each piece in `asked`.
    """

    name: str
    features: int
    width: int
    dtype: str
    optimizer: str
    looked_up: float
    asked: Imbalance
    served: Imbalance
    fetched: Imbalance
    combined: Imbalance
    sent: Imbalance
    received: float
    joined: float
    updated: Imbalance
    replicated: bool = False
    pieces: int = 1


@dataclass(frozen=True, eq=False)
class Exchange:
    """Bytes that chips send each other in a step.

    Attributes
    ----------
    ids, vectors
        Bytes of every ordered pair of chips in the forward pass: a number where all pairs have as many, else
        float64[chips, chips], from asker to owner for `ids`, from owner to asker for `vectors`. The backward pass has
        `vectors` transposed. The diagonal, of a chip with itself, does not travel.
    all_reduced
        Bytes of gradients of replicated rows, of each chip.
    """

    ids: float | NDArray[np.float64]
    vectors: float | NDArray[np.float64]
    all_reduced: float = 0.0


@dataclass(frozen=True, eq=False)
class StepWork:
    """All stacks' work in a step, and what travels.

    Attributes
    ----------
    samples
        Of a chip.
    chips, tiles
        Chips of the slice, and tiles of each that rows are dealt over.
    dedup
        Where duplicates are dropped, one of `accsim.embedding.SCOPES`.
    counted
        Whether counts are those of a trace, and not expected ones.
    """

    samples: float
    chips: int
    tiles: int
    dedup: str
    stacks: tuple[StackWork, ...]
    exchange: Exchange
    counted: bool = False

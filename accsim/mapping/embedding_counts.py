"""What a step asks of an embedding unit, as arrays over its stacks; everything is of one chip unless it says tile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accsim.embedding.imbalance import Imbalance
from accsim.embedding.work import StepWork
from accsim.mapping.embedding_pipeline import FloatArray

SAME = 1e-9
"""Relative difference of two counts that are the same number."""


class Spread(NamedTuple):
    """A count of the busiest chip (or tile) and of a mean one, float64[stacks] each."""

    largest: FloatArray
    mean: FloatArray

    def scaled(self, factor: FloatArray | float) -> Spread:
        """Both times a factor."""
        return Spread(self.largest * factor, self.mean * factor)


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts of a step by stack."""

    work: StepWork

    @cached_property
    def bags(self) -> FloatArray:
        """Vectors that a chip's dense half takes: one a bag, or one a piece of it."""
        return self.work.samples * self._numbers("features") * self._numbers("pieces")

    @cached_property
    def ids(self) -> FloatArray:
        """Ids of a chip's samples."""
        return self._numbers("looked_up")

    @cached_property
    def looked_up(self) -> FloatArray:
        """Rows, or pieces of them, that these ids are of."""
        return self.ids * self._numbers("pieces")

    @cached_property
    def asked(self) -> Spread:
        """Ids that a chip asks for."""
        return self._spread("asked")

    @cached_property
    def served(self) -> Spread:
        """Ids that an owner is asked for."""
        return self._spread("served")

    @cached_property
    def sorted(self) -> Spread:
        """Ids that a chip sorts: of its samples, and those that it is asked for."""
        return Spread(*(one + self.ids for one in self.served))

    @cached_property
    def fetched(self) -> Spread:
        """Rows that a tile reads."""
        return self._spread("fetched")

    @cached_property
    def combined(self) -> Spread:
        """Rows that a tile adds to sums of bags."""
        return self._spread("combined")

    @cached_property
    def sent(self) -> Spread:
        """Vectors that an owner sends."""
        return self._spread("sent")

    @cached_property
    def kept(self) -> FloatArray:
        """Vectors of bags of replicated tables, which stay on the chip."""
        return np.where(self._numbers("replicated") > 0, self.bags, 0.0)

    @cached_property
    def summed(self) -> Spread:
        """Sums of bags, or parts of them, that the chip that holds the rows makes."""
        return Spread(*(np.where(self.rows_travel, 0.0, one + self.kept) for one in self.sent))

    @cached_property
    def received(self) -> FloatArray:
        """Vectors that a chip receives."""
        return self._numbers("received")

    @cached_property
    def updated(self) -> Spread:
        """Rows that a tile rewrites."""
        return self._spread("updated")

    @cached_property
    def rows_travel(self) -> NDArray[np.bool_]:
        """bool[stacks]: whether rows are sent as they are, so that bags are summed by the chip that has the sample."""
        travel: NDArray[np.bool_] = self.combined.mean == 0
        return travel

    @cached_property
    def shared_rows(self) -> NDArray[np.bool_]:
        """bool[stacks]: whether one received row may serve several lookups."""
        shared: NDArray[np.bool_] = self.rows_travel & (self.received < self.looked_up * (1 - SAME))
        return shared

    @cached_property
    def partial(self) -> Spread:
        """Sums of a tile's part of the rows of a bag, of all tiles of a chip.

        Of v rows dealt over T tiles, T (1 - (1 - 1/T)^v) tiles have some; v is the mean of a stack's bags at an owner.
        """
        tiles = self.work.tiles
        rows = self.combined.mean * tiles / np.maximum(self.summed.mean, 1e-300)
        each = tiles * -np.expm1(rows * np.log1p(-1 / tiles)) if tiles > 1 else np.ones_like(rows)
        return self.summed.scaled(np.maximum(each, 1.0))

    @cached_property
    def joined(self) -> FloatArray:
        """Vectors that the chip that has the samples reads back and adds up."""
        parts = self._numbers("joined")
        again = self.shared_rows | (self.rows_travel & (parts > 0))
        return np.where(again, self.looked_up, parts)

    @cached_property
    def bags_joined(self) -> FloatArray:
        """Bags that this makes."""
        whole = np.where(self.rows_travel, 0.0, self.received - self._numbers("joined"))
        return np.where(self.joined > 0, np.maximum(self.bags - whole, 0.0), 0.0)

    @cached_property
    def merged(self) -> FloatArray:
        """Gradients of bags that a chip adds up before it sends them: of rows that it has asked for once."""
        return np.where(self.shared_rows, self.looked_up, 0.0)

    @cached_property
    def gradients(self) -> Spread:
        """Gradients that a tile adds up to those of distinct rows: one a row of a bag, or one a row that was sent."""
        mean = self.sent.mean / self.work.tiles
        travelled = Spread(np.maximum(self.sent.largest / self.work.tiles, self.fetched.largest), mean)
        return Spread(*(np.where(self.rows_travel, t, c) for t, c in zip(travelled, self.combined, strict=True)))

    @cached_property
    def copied(self) -> Spread:
        """Gradients of sums that a chip copies: one for each row of a bag, so as many as it looks up for others."""
        own = np.where(self._numbers("replicated") > 0, self.looked_up, 0.0)
        return Spread(*(np.where(self.rows_travel, 0.0, one + own) for one in self.served))

    def _numbers(self, name: str) -> FloatArray:
        return np.array([float(getattr(stack, name)) for stack in self.work.stacks])

    def _spread(self, name: str) -> Spread:
        found: list[Imbalance] = [getattr(stack, name) for stack in self.work.stacks]
        return Spread(np.array([float(one.largest) for one in found]), np.array([float(one.mean) for one in found]))

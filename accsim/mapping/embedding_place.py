"""What every place for embeddings has in common: rates of one of its equal parts at the work of a step.

A part is a tile of an embedding unit, a core of a chip, or a chip's share of the processors beside it. One stands for
all that are alike. ``docs/sparsecore.md`` has every formula.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Final, NamedTuple, Self

import numpy as np

from accsim.config.machine import Accelerator
from accsim.embedding.chip_time import ChipRates
from accsim.embedding.imbalance import Imbalance
from accsim.embedding.work import Exchange, StackWork, StepWork
from accsim.engine.program import TICKS_PER_CYCLE
from accsim.errors import InputError, Problem
from accsim.mapping.embedding_counts import Counts, Spread
from accsim.mapping.embedding_pipeline import FloatArray, Link
from accsim.mapping.embedding_rows import padded, random_efficiency, row_bytes

COO_BYTES: Final = 12
"""Of an id as the host gives it: sample, row and weight. Source: OpenXLA's page on SparseCore, coordinate format."""
ID_BYTES: Final = 4
"""Of an id that one chip asks another for."""
ROW_WIDTH: Final = 64
"""Elements, of 4 bytes each, of the row whose rates a placer takes for all."""


class Runs(NamedTuple):
    """Runs of bytes in a memory, for each stack.

    Attributes
    ----------
    rows
        How many, of the busiest part and of a mean one.
    size, efficiency
        float64[stacks]: bytes of each, and the share of the peak that they reach.
    single
        Whether each is an access of its own.
    """

    rows: Spread
    size: FloatArray
    efficiency: FloatArray
    single: bool


@dataclass(frozen=True, eq=False)
class Place(ABC):
    """One part of a place, the busiest.

    Attributes
    ----------
    accelerator
        The machine.
    counts
        Of the step that it is `at`.
    exchanged
        Whether chips exchange ids and vectors with each other.
    """

    accelerator: Accelerator
    counts: Counts = field(default=Counts(StepWork(0.0, 1, 1, "none", (), Exchange(0.0, 0.0))), kw_only=True)
    exchanged: bool = field(default=True, kw_only=True)

    forks: ClassVar[bool] = False
    """Whether a gradient that has come is read once, and copied on the chip to every lookup of its bag."""

    @property
    @abstractmethod
    def parts(self) -> int:
        """Equal parts of a chip, of which this one stands for all."""

    @property
    @abstractmethod
    def granule(self) -> int:
        """Bytes that rows are padded to."""

    @property
    @abstractmethod
    def lanes(self) -> int:
        """Lanes that a row's elements are padded to."""

    @property
    @abstractmethod
    def scratch(self) -> tuple[str, int]:
        """Name and bytes of the memory of a part where chunks lie."""

    @property
    @abstractmethod
    def shared(self) -> tuple[str, ...]:
        """Resources that the chip's dense work holds too."""

    @abstractmethod
    def sort(self, name: str, of_chip: Spread, handed_bytes: FloatArray | None = None) -> list[Link]:
        """Ids are sorted, dealt and freed of duplicates."""

    @abstractmethod
    def read(self, name: str, runs: Sequence[Runs], handed_bytes: FloatArray | None = None) -> Link:
        """Runs come from memory."""

    @abstractmethod
    def write(self, name: str, runs: Sequence[Runs]) -> Link:
        """Runs go to memory."""

    @abstractmethod
    def compute(
        self, name: str, rows: Spread, operations: Mapping[str, FloatArray], made: Spread, *,
        beside: FloatArray | float = 0.0,
    ) -> Link:  # fmt: skip
        """Operations on every element of a part's rows, so many of each.

        Parameters
        ----------
        made
            Bytes of the results.
        beside
            Bytes that are read with each row.
        """

    @abstractmethod
    def send(self, name: str, vectors: Spread, ids: Spread | None, arrivals: Sequence[Runs]) -> Link:
        """Vectors and ids, of a chip, go to other chips, while as many come from them."""

    @property
    def tiles(self) -> int:
        """Tiles of a chip that rows are bound to; 1 where a chip's parts take rows as they get free."""
        return 1

    @property
    def asking(self) -> Place:
        """What does the part of the chip that asks."""
        return self

    def at(self, work: StepWork) -> Self:
        """At the work of a step.

        Raises
        ------
        InputError
            If rows are dealt over another number of tiles than the place has.
        """
        if work.tiles != self.tiles:
            name = self.accelerator.name
            message = f"read rows dealt over {work.tiles} tiles, allowed is {self.tiles} in this place of {name}"
            raise InputError(Problem("", "tiles", message))
        return replace(self, counts=Counts(work))

    def rates(self, exchanged_bytes_per_s: float) -> ChipRates:
        """What a chip does a second with rows of `ROW_WIDTH`, all its parts together, each kind of work alone.

        Parameters
        ----------
        exchanged_bytes_per_s
            That a chip sends to the others of its slice, and receives, when all do.
        """
        one = self.at(_a_row(self.tiles))
        counts, size = one.counts, 4 * ROW_WIDTH
        links = (
            one.read("fetch", [one.at_random(one.share(counts.fetched), one.row_bytes)]),
            one.compute("combine", one.share(counts.combined), {"add": np.ones(1)}, one.sums),
            one.send("send", counts.sent.scaled(size), None, []),
        )
        longest = [max(float(held[0]) for held in (link.ticks, *link.rates.values())) for link in links]
        fetch_s, add_s, send_s = np.array(longest) / float(self.ticks(np.ones(1))[0])
        exchange_s = size / exchanged_bytes_per_s if self.exchanged else 0.0
        row_bytes = float(one.row_bytes[0])
        return ChipRates(row_bytes / fetch_s, size / max(send_s, exchange_s), ROW_WIDTH / add_s, self.granule)

    @property
    def sums(self) -> Spread:
        """Sums of bags that a part makes at an owner."""
        return self.part(self.counts.summed)

    def ids(self) -> list[Link]:
        """Ids of the chip's samples, and those that others ask for, are read and sorted before rows are fetched."""
        counts = self.counts
        own, asked = self.part(counts.ids), self.part(counts.served)
        handed = own.largest * COO_BYTES + asked.largest * ID_BYTES
        return [
            self.read("read ids", [self.stream(own, COO_BYTES), self.stream(asked, ID_BYTES)], handed),
            *self.sort("sort ids", counts.sorted, asked.largest * ID_BYTES),
        ]

    def reduce(self) -> list[Link]:
        """Sums of several parts are added up."""
        return []

    def fork(self, name: str, of_chip: Spread, handed_bytes: FloatArray | None = None) -> list[Link]:
        """Bytes of a chip are copied on the chip."""
        return []

    def exchange_gradients(self) -> Link:
        """Gradients of received vectors go to the chips that sent them, and those of sent vectors come."""
        gone = self.counts.received * self.row_bytes
        came = self.stream(self.part(self.counts.sent), self.row_bytes)
        return self.send("send gradients", Spread(gone, gone), None, [came])

    def take_gradients(self) -> list[Link]:
        """Gradients of sent vectors come to this owner, and lie in its scratch memory, one for each lookup, by row."""
        counts, size = self.counts, self.row_bytes
        lookups, came = self.share(counts.gradients), self.part(counts.sent)
        ids = self.stream(self.part(counts.served), ID_BYTES)
        exchanged = self.asking.exchange_gradients()
        handed = lookups.largest * size
        if not self.forks:
            each = [self.at_random(lookups, size), ids]
            return [exchanged, *self.sort("sort ids", counts.served), self.read("read arrivals", each, handed)]
        return [
            exchanged,
            self.read("read arrivals", [self.stream(came, size), ids], came.largest * size),
            *self.sort("sort ids", counts.served, came.largest * size),
            *self.fork("fork to lookups", counts.copied.scaled(size), handed),
        ]

    def begin(self, links: Sequence[Link]) -> list[Link]:
        """What comes before the other links of a pass."""
        return []

    @property
    def most_rows(self) -> list[tuple[str, float]]:
        """Name of each stack, and rows that the part reads, adds up, sends or updates at most anywhere in a step."""
        counts = self.counts
        dealt = [self.share(one).largest for one in (counts.fetched, counts.combined, counts.updated)]
        even = [self.part(one).largest for one in (counts.looked_up, counts.bags, counts.sent, counts.received)]
        names = [stack.name for stack in counts.work.stacks]
        return list(zip(names, np.max([*dealt, *even], axis=0).tolist(), strict=True))

    def share(self, of_tile: Spread) -> Spread:
        """A part's share of what is dealt over tiles: what its own tile has, or an even part of the chip's."""
        return of_tile.scaled(self.tiles / self.parts)

    def part(self, of_chip: Spread | FloatArray) -> Spread:
        """A part's share of what is dealt evenly, given for a chip."""
        whole = of_chip if isinstance(of_chip, Spread) else Spread(of_chip, of_chip)
        return whole.scaled(1 / self.parts)

    def stream(self, rows: Spread, size: FloatArray | float) -> Runs:
        """Runs of a part that lie one behind the other."""
        efficiency = np.full_like(rows.mean, self.accelerator.main_memory.efficiency)
        return Runs(rows, np.broadcast_to(size, rows.mean.shape), efficiency, single=False)

    def at_random(self, rows: Spread, sizes: Iterable[float], *, rewritten: bool = False) -> Runs:
        """Runs of a part at random places, of as many bytes as `sizes` has for each stack."""
        main = self.accelerator.main_memory
        size = np.array([*map(float, sizes)])
        if main.standard is None:
            efficiency = np.full_like(size, main.efficiency)
        else:
            found = {one: random_efficiency(main.standard, int(one), rewritten=rewritten) for one in {*size} if one}
            efficiency = np.array([found.get(one, 1.0) for one in size])
        return Runs(rows, size, efficiency, single=True)

    def bytes_of(self, runs: Sequence[Runs]) -> FloatArray:
        """Bytes of runs of the chip."""
        return self.parts * sum((one.rows.mean * one.size for one in runs), np.zeros_like(self.widths))

    def held_by(self, runs: Sequence[Runs], bytes_per_s: float, *, mean: bool = False) -> FloatArray:
        """Ticks that runs of the busiest part (or of a mean one) hold a memory of a rate, by their efficiency."""
        whole = sum((one.rows[int(mean)] * one.size / one.efficiency for one in runs), np.zeros_like(self.widths))
        return self.ticks(whole / bytes_per_s)

    def ticks(self, seconds: FloatArray) -> FloatArray:
        """Ticks of seconds."""
        return seconds * (TICKS_PER_CYCLE * self.accelerator.clock_hz)

    @cached_property
    def row_bytes(self) -> FloatArray:
        """Bytes of a row of each stack, padded."""
        return np.array([float(row_bytes(stack, self.granule)) for stack in self.counts.work.stacks])

    @cached_property
    def elements(self) -> FloatArray:
        """Elements of a row of each stack, padded to all lanes of a part as far as those are fewer."""
        return np.array([float(padded(stack.width, self.lanes)) for stack in self.counts.work.stacks])

    @cached_property
    def widths(self) -> FloatArray:
        """Elements of a row of each stack."""
        return np.array([float(stack.width) for stack in self.counts.work.stacks])

    @property
    def latency(self) -> int:
        """Ticks from a request to main memory to its first byte."""
        return round(self.accelerator.main_memory.latency_s * self.accelerator.clock_hz * TICKS_PER_CYCLE)

    def operated(self, rows: Spread, operations: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Actions of operations on rows, of the chip."""
        whole = self.parts * rows.mean * self.widths
        return {f"vector.{what}": whole * count for what, count in operations.items()}


def _a_row(tiles: int) -> StepWork:
    """Work of a step in which each chip fetches a row, and sends it as a sum of one."""
    of_tile, of_chip = Imbalance(1 / tiles, 1 / tiles), Imbalance(1.0, 1.0)
    stack = StackWork(
        "row", 1, ROW_WIDTH, "fp32", "sgd", looked_up=1.0, asked=of_chip, served=of_chip,
        fetched=of_tile, combined=of_tile, sent=of_chip, received=1.0, joined=0.0, updated=of_tile,
    )  # fmt: skip
    return StepWork(1.0, 1, tiles, "none", (stack,), Exchange(0.0, 0.0))

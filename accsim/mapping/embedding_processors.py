"""A chip's share of processors that hold its tables: those of its host, or servers across the data centre's network.

Rows are read, added up and updated there; sums of bags come to the chip, and gradients go back. The chip that has the
samples joins parts of sums in its own cores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from accsim.config.host import Processors
from accsim.config.machine import Accelerator
from accsim.embedding.work import StepWork
from accsim.errors import InputError, Problem
from accsim.mapping.embedding_core import Core, tensor_core
from accsim.mapping.embedding_counts import Spread
from accsim.mapping.embedding_pipeline import FloatArray, Link
from accsim.mapping.embedding_place import Place, Runs

LINE_BYTES: Final = 64
"""Of a cache line, in which a processor moves rows."""


@dataclass(frozen=True, eq=False)
class Far(Place):
    """The share of one chip.

    Attributes
    ----------
    chip
        Its cores.
    name
        Of the processors, in resources and actions.
    processors
        One machine's.
    machines
        Of those, for each chip.
    ways
        Resources between it and the chip, the chip's own first, each with its rate in bytes a second: of what both
        directions have for themselves.
    answer_s
        From a request to the first byte of the answer.

    Where chips do not exchange what their own processors send them, it is the processors that serve all.
    """

    chip: Core
    name: str
    processors: Processors
    machines: float
    ways: Mapping[str, float]
    answer_s: float

    @property
    def parts(self) -> int:
        """A chip has one share."""
        return 1

    @property
    def asking(self) -> Core:
        """The chip's cores."""
        return self.chip

    @property
    def shared(self) -> tuple[str, ...]:
        """What the chip's cores hold."""
        return self.chip.shared

    def at(self, work: StepWork) -> Self:
        """With the chip's cores at the same."""
        return replace(super().at(work), chip=self.chip.at(work))

    @property
    def granule(self) -> int:
        """Bytes of a cache line."""
        return LINE_BYTES

    @property
    def lanes(self) -> int:
        """Numbers that a core works on at a time."""
        return self.processors.lanes

    @property
    def scratch(self) -> tuple[str, int]:
        """Memory for rows on their way."""
        return "staging", self.processors.staging_bytes

    @property
    def latency(self) -> int:
        """Processors hide theirs behind many threads."""
        return 0

    def begin(self, links: Sequence[Link]) -> list[Link]:
        """Each stack is a request."""
        return [
            Link("request", f"{self.name}_requests", self.ticks(np.full_like(self.widths, self.processors.stack_s)))
        ]

    def ids(self) -> list[Link]:
        """Processors have the ids, and find duplicates in tables of hashes, which is not charged."""
        return []

    def sort(self, name: str, of_chip: Spread, handed_bytes: FloatArray | None = None) -> list[Link]:
        """As for ids."""
        return []

    def stream(self, rows: Spread, size: FloatArray | float) -> Runs:
        """Runs one behind the other reach the peak."""
        return Runs(rows, np.broadcast_to(size, rows.mean.shape), np.ones_like(rows.mean), single=False)

    def at_random(self, rows: Spread, sizes: Iterable[float], *, rewritten: bool = False) -> Runs:
        """Runs at random places reach the share that the machine file has, read or written."""
        size = np.array([*map(float, sizes)])
        return Runs(rows, size, np.full_like(size, self.processors.random_efficiency), single=True)

    def read(self, name: str, runs: Sequence[Runs], handed_bytes: FloatArray | None = None) -> Link:
        """From the processors' memory."""
        return self._moved(name, "read", runs, handed_bytes)

    def write(self, name: str, runs: Sequence[Runs]) -> Link:
        """To the processors' memory."""
        return self._moved(name, "write", runs, None)

    def compute(
        self, name: str, rows: Spread, operations: Mapping[str, FloatArray], made: Spread, *,
        beside: FloatArray | float = 0.0,
    ) -> Link:  # fmt: skip
        """In the processors' cores, each operation as long as another."""
        count = sum(operations.values(), np.zeros_like(self.widths))
        rate = self.processors.operations_per_s * self.machines
        ticks = self.ticks(rows.largest * self.elements * count / rate)
        return Link(name, f"{self.name}_cores", ticks, handed_bytes=made.largest)

    def send(self, name: str, vectors: Spread, ids: Spread | None, arrivals: Sequence[Runs]) -> Link:
        """Vectors come to a chip, which sends them to those that asked, and receives its own; or to those at once."""
        if not self.exchanged:
            return self.chip.through_memory(self._between(name, "down", self._received), arrivals)
        owned = self._of_chip(self.counts.sent)
        return self.chip.through_memory(self._between(name, "down", vectors.largest), [*arrivals, owned], [owned])

    def take_gradients(self) -> list[Link]:
        """Gradients go to the chip that owns the rows, and by it to its processors; or to these at once."""
        if not self.exchanged:
            return [self._between("gradients to processors", "up", self._received, self._received)]
        link = self._between("gradients to processors", "up", self._sent, self._sent)
        return [self.chip.exchange_gradients(), self.chip.through_memory(link, [], [self._of_chip(self.counts.sent)])]

    @property
    def _received(self) -> FloatArray:
        """Bytes of vectors that the chip has of processors, or gives them gradients of."""
        return (self.counts.received + self.counts.kept) * self.row_bytes

    @property
    def _sent(self) -> FloatArray:
        """Bytes of vectors that the processors have made, or get gradients of."""
        return (self.counts.sent.largest + self.counts.kept) * self.row_bytes

    def _of_chip(self, vectors: Spread) -> Runs:
        return self.chip.stream(self.chip.part(vectors), self.row_bytes)

    def _between(self, name: str, way: str, size: FloatArray, handed_bytes: FloatArray | None = None) -> Link:
        """Bytes between the processors and the chip, over the chip's way and, of what they have made, their own."""
        (first, rate), *others = self.ways.items()
        held = {f"{other}_{way}": self.ticks(self._sent / limit) for other, limit in others}
        answer = round(float(self.ticks(np.array(self.answer_s))))
        return Link(name, f"{first}_{way}", self.ticks(size / rate), held, answer, handed_bytes=handed_bytes)

    def _moved(self, name: str, way: str, runs: Sequence[Runs], handed_bytes: FloatArray | None) -> Link:
        held = self.held_by(runs, self.processors.memory_bytes_per_s * self.machines)
        actions = {f"{way}.{self.name}": self.bytes_of(runs)}
        return Link(name, f"{self.name}_memory", held, handed_bytes=handed_bytes, actions=actions)


def host(accelerator: Accelerator) -> Far:
    """A chip's share of its host.

    Raises
    ------
    InputError
        If the machine file has no host.
    """
    found = accelerator.host
    if found is None:
        raise InputError(Problem("", "host", f"{accelerator.name} has none; a machine file may have such a section"))
    pcie = {"pcie": found.pcie_bytes_per_s}
    return Far(accelerator, tensor_core(accelerator), "host", found, 1 / found.chips, pcie, found.latency_s)


def servers(accelerator: Accelerator) -> Far:
    """A chip's share of the servers that hold the tables of a slice.

    Raises
    ------
    InputError
        If the machine file has no data centre.
    """
    found = accelerator.data_center
    if found is None:
        message = f"{accelerator.name} has none; a machine file may have such a section"
        raise InputError(Problem("", "data_center", message))
    network = {
        "network": found.chip_bytes_per_s,
        "server_network": found.server_bytes_per_s * found.servers_per_chip,
    }
    return Far(
        accelerator, tensor_core(accelerator), "server", found, found.servers_per_chip, network, found.latency_s,
        exchanged=False,
    )  # fmt: skip

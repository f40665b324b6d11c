"""Groups one after the other in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from accsim.sweep.executors import Done, Work
from accsim.sweep.groups import Group


@dataclass(frozen=True)
class InProcess:
    """Runs groups here; the default on one core."""

    def run(self, work: Work, groups: Iterable[Group]) -> Iterator[Done]:
        """Each group when its result is asked for."""
        return map(work, groups)

    def __str__(self) -> str:
        return "this process"

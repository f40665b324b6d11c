"""Who runs the groups of a sweep: this process, local processes, or a Dask cluster. All return the same bytes.

An executor is anything with the methods of :class:`Executor`. It takes the next group when it has room, so memory does
not grow with their number, and yields what is done in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from accsim.errors import AccsimError
from accsim.sweep.groups import Group


class Done(NamedTuple):
    """What became of a group: the content of its file, and what the progress shows."""

    group: Group
    content: bytes
    failed: int
    best: float
    """Least objective of its feasible points; infinite without one."""
    seconds: float


class Work(Protocol):
    """What is done with a group; picklable, so that it can be done in another process."""

    def __call__(self, group: Group) -> Done:
        """Run it."""

    def prepare(self, group: Group) -> None:
        """Compile and load what groups such as this one need, so that copies of this process have it."""

    def give_up(self, group: Group, why: str) -> Done:
        """A group that nobody can run: every point of it is a row with the reason."""


class ExecutorError(AccsimError):
    """Nobody is left to run the rest of a sweep."""


class Executor(Protocol):
    """Runs groups somewhere."""

    def run(self, work: Work, groups: Iterable[Group]) -> Iterator[Done]:
        """What is done, as it is done, each group exactly once.

        Raises
        ------
        ExecutorError
            When nobody is left to run the rest.
        """

    def __str__(self) -> str:
        """Where groups are run, for messages."""

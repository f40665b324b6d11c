"""Groups of points: what a worker does at once, what is stored in one file, and what is run again when it changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from math import prod
from typing import NamedTuple

from accsim.errors import InputError, Problem
from accsim.report.manifest import versions, workload_hash
from accsim.sweep.columns import RESULTS
from accsim.sweep.kinds.chip_work import runs_in_blocks
from accsim.sweep.settings import TOPOLOGY, forget_files, machine_of, network_file, workload_of
from accsim.sweep.space import Space

SEARCHED_POINTS = 8
"""Points of a group whose mappings are searched, each of which takes a part of a second."""
BLOCK_POINTS = {"tile": 4096, "analytic": 32768}
"""Points of a group at most, by fidelity, where they run in blocks: a part of a second, and arrays that stay cached."""
SETTINGS = 8
"""Blocks of a group, each of which takes about as long as a searched point to begin."""
VERSION = 1
"""Raised when the same points have other rows: what was stored before is run again."""


class Group(NamedTuple):
    """Points ``start`` to ``stop``, all of one machine and workload."""

    number: int
    start: int
    stop: int

    @property
    def points(self) -> int:
        """How many."""
        return self.stop - self.start


def group_size(space: Space) -> int:
    """Points of a group."""
    if not runs_in_blocks(space):
        return SEARCHED_POINTS
    outer = prod(axis.size or space.draws for axis in space.axes if not axis.counts_choices)
    return min(max(SETTINGS * (space.draws // outer), SEARCHED_POINTS), BLOCK_POINTS[space.fidelity])


def groups_of(space: Space) -> Iterator[Group]:
    """All groups of a space, in the order of their points."""
    size, number = group_size(space), 0
    for pair in range(len(space.machines) * len(space.workloads)):
        first = pair * space.draws
        for start in range(first, first + space.draws, size):
            yield Group(number, start, min(start + size, first + space.draws))
            number += 1


def count_groups(space: Space) -> int:
    """How many groups a space has."""
    return len(space.machines) * len(space.workloads) * -(-space.draws // group_size(space))


class Shard(NamedTuple):
    """Every ``of``-th group from the ``number``-th on, counted from 1: the share of one of so many jobs."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """A shard as the command line gives it.

        Raises
        ------
        InputError
            For anything but i/n with i from 1 to n.

        Examples
        --------
        >>> Shard.parse("2/4")
        Shard(number=2, of=4)
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise InputError(Problem("--shard", "", f"read '{text[:40]}', allowed is i/n, i from 1 to n, such as 2/4"))
        return cls(int(number), int(of))

    def groups(self, space: Space) -> Iterator[Group]:
        """Its groups."""
        return (group for group in groups_of(space) if group.number % self.of == self.number - 1)

    def counted(self, space: Space) -> tuple[int, int]:
        """How many groups and points it has."""
        if self == ALL:
            return count_groups(space), space.size
        points = [group.points for group in self.groups(space)]
        return len(points), sum(points)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


ALL = Shard()


class GroupHasher:
    """Hashes of the groups of one space, with the contents of its machines and workloads as they are now."""

    def __init__(self, space: Space) -> None:
        forget_files()
        self.space = space
        self.about: dict[tuple[int, int], bytes] = {}
        self.networks = network_hashes(space)

    def __call__(self, group: Group) -> str:
        """First 16 hex digits of the sha256 of all that the rows of a group follow from.

        That is the contents of its machine and workload, the values of its points and how they are run.
        """
        machine, workload, draw = self.space.place(group.start)
        if (machine, workload) not in self.about:
            self.about[machine, workload] = _about(self.space, machine, workload)
        digest = hashlib.sha256(self.about[machine, workload])
        digest.update(f"{group.start}:{group.stop}:{draw}".encode())
        for key, column in self.space.columns(draw, draw + group.points).items():
            one = bool((column == column[0]).all())
            raw = (
                json.dumps(column[: 1 if one else None].tolist()).encode()
                if column.dtype == object
                else column.tobytes()
            )
            digest.update(f"{key}:{column.dtype}:{len(raw)}:".encode() + raw)
            if key == TOPOLOGY:
                digest.update("".join(self.networks.get(name, "") for name in dict.fromkeys(column)).encode())
        return digest.hexdigest()[:16]


def _about(space: Space, machine: int, workload: int) -> bytes:
    """What all groups of a machine and workload share."""
    name, item = space.machines[machine], space.workloads[workload]
    about = {
        "version": [VERSION, versions(["accsim"])["accsim"], list(RESULTS)],
        "machine": [name, machine_of(name, space.folder).hash],
        "workload": [item.workload, item.weight, content_of(item.workload, space.folder)],
        "run": [space.fidelity, space.objective, space.effort],
        "constraints": [constraint.text for constraint in space.constraints],
    }
    return json.dumps(about).encode()


def network_hashes(space: Space) -> dict[str, str]:
    """Topology that is a file -> first 16 hex digits of the sha256 of its content."""
    names = [str(name) for axis in space.axes if axis.key == TOPOLOGY for name in axis.values]
    files = {name: network_file(name, space.folder) for name in names}
    return {name: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for name, file in files.items() if file}


def content_of(name: str, folder: str) -> str | None:
    """Hash of a workload's ops and tables; None of what gets sizes from axes, which its name and the axes tell."""
    try:
        work = workload_of(name, folder)
    except InputError:
        return None
    tables = "" if work.embeddings is None else repr(work.embeddings)
    return workload_hash(work) + hashlib.sha256(tables.encode()).hexdigest()[:12]

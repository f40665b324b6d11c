"""The best slice of a TPU-like machine for what a model sends: its shape, its twist, and which axes each group gets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, permutations, product
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from accsim.config.checks import shown
from accsim.errors import InputError, Problem, check_choice
from accsim.network.collectives import Collective, run_collective
from accsim.network.contention import read_demand, transfer
from accsim.network.lattice import axis_name
from accsim.network.routing import Minimal
from accsim.network.stepwise import Stepwise
from accsim.network.torus import Torus
from accsim.units import parse_quantity

SIDE: Final = 4
"""Chips along a side of a cube."""
SMALL: Final = ((1, 1, 1), (1, 1, 2), (1, 2, 2), (2, 2, 2), (2, 2, 4), (2, 4, 4))
"""Slices of less than a cube: meshes of copper."""
MOST_CHIPS: Final = 4096

KINDS: Final = ("all_reduce", "reduce_scatter", "all_gather", "all_to_all")


@dataclass(frozen=True)
class Need:
    """A collective that a model does again and again.

    Parameters
    ----------
    kind
        One of `KINDS`.
    size
        Bytes of a chip's full buffer.
    group
        Which chips take part: the name of a group, or ``all``.
    times
        How often in a step of the model.
    """

    kind: str
    size: float
    group: str = "all"
    times: float = 1.0

    def __post_init__(self) -> None:
        check_choice("collective", self.kind, KINDS)
        if not (0 < self.size < math.inf and 0 < self.times < math.inf):
            message = f"read {shown(self.size)} bytes {shown(self.times)} times, allowed are numbers above 0"
            raise InputError(message)


def read_need(text: str) -> Need:
    """A need as text: ``all_gather:200MB``, with a group and how often as ``all_gather:200MB:model:96``.

    Raises
    ------
    InputError
        With what was read and what is allowed.

    Examples
    --------
    >>> read_need("all_reduce:1GB:data")
    Need(kind='all_reduce', size=1000000000.0, group='data', times=1.0)
    """
    kind, *rest = text.split(":")
    if not 1 <= len(rest) <= 3:
        raise InputError(f"read {shown(text)}, allowed is KIND:SIZE, KIND:SIZE:GROUP or KIND:SIZE:GROUP:TIMES")
    size, group, times = [*rest, *("", "all", "1")[len(rest) :]]
    if not times.isascii() or not times.isdecimal() or len(times) > 9:
        raise InputError(f"read {shown(times)} times in {shown(text)}, allowed is a whole number above 0")
    return Need(kind, float(parse_quantity(size, "bytes")), group, float(times))


@dataclass(frozen=True, eq=False)
class SliceChoice:
    """A slice, which axes each group gets, and what the model's traffic takes on it.

    Attributes
    ----------
    torus
        The slice.
    axes
        Axes of each group, by its name.
    time_s
        Of all collectives of a step, one after the other; of a matrix, of its traffic.
    parts_s
        Of each collective, all its times.
    """

    torus: Torus
    axes: Mapping[str, tuple[int, ...]]
    time_s: float
    parts_s: tuple[float, ...]

    def __str__(self) -> str:
        shape = "x".join(map(str, self.torus.shape)) + (" twisted" if self.torus.twisted else "")
        given = ", ".join(f"{name}: {''.join(map(axis_name, axes)) or 'one chip'}" for name, axes in self.axes.items())
        return f"{shape}{f' ({given})' if given else ''}"


def slice_shapes(chips: int) -> list[tuple[int, int, int]]:
    """Shapes of slices of so many chips: sides in ascending order, of whole cubes from 64 chips on.

    Source: Jouppi et al., *TPU v4*, ISCA 2023, section 2.5.

    Raises
    ------
    InputError
        If no slice has so many chips.

    Examples
    --------
    >>> slice_shapes(512)
    [(4, 4, 32), (4, 8, 16), (8, 8, 8)]
    """
    if chips < SIDE**3:
        found = [shape for shape in SMALL if math.prod(shape) == chips]
    else:
        cubes = [chips // SIDE**3] if chips % SIDE**3 == 0 and chips <= MOST_CHIPS else []
        sides = [side for count in cubes for side in range(1, count + 1) if count % side == 0]
        triples = combinations_with_replacement(sides, 3)
        found = sorted(tuple(SIDE * s for s in triple) for triple in triples if math.prod(triple) in cubes)  # type: ignore[misc]
    if not found:
        small = ", ".join(str(math.prod(shape)) for shape in SMALL)
        raise InputError(f"read {chips} chips, allowed are {small} and multiples of {SIDE**3} up to {MOST_CHIPS}")
    return found


def find_slices(chips: int, needs: Sequence[Need], groups: Mapping[str, int] | None = None) -> list[SliceChoice]:
    """Every slice of so many chips and every assignment of its axes, the fastest first.

    Parameters
    ----------
    needs
        What the model sends in a step, one after the other.
    groups
        Chips of each group by its name, such as ``{"model": 16, "data": 32}``: a group gets whole axes, and the sizes
        of all multiply to the chips. Of assignments that differ only by axes of equal length, one is given.

    Raises
    ------
    InputError
        With all that is wrong: no such slice, groups that do not fit, a need of no group.
    """
    groups = dict(groups or {})
    problems = [
        Problem("", f"needs[{i}].group", f"read '{need.group}', allowed are {', '.join(('all', *groups))}")
        for i, need in enumerate(needs)
        if need.group not in ("all", *groups)
    ]
    if groups and math.prod(groups.values()) != chips:
        sizes = " x ".join(map(str, groups.values()))
        problems.append(Problem("", "groups", f"read groups of {sizes} chips, allowed are those that make {chips}"))
    if not needs:
        problems.append(Problem("", "needs", "read none, allowed is at least one collective"))
    if problems:
        raise InputError(problems)
    found = [_timed(torus, axes, needs) for torus in _slices(chips) for axes in _assignments(torus, groups)]
    if not found:
        raise InputError(f"no slice of {chips} chips has axes whose lengths multiply to the groups {groups}")
    return sorted(found, key=lambda choice: choice.time_s)


def find_placements(chips: int, pattern: ArrayLike) -> list[SliceChoice]:
    """Every slice of so many chips, and every order in which ranks run along its axes, for a matrix of traffic.

    Parameters
    ----------
    pattern
        Bytes from each rank to each other, [from, to]. Ranks are numbered along the axes, the last one counts fastest.

    Returns
    -------
    The fastest first; ``axes["ranks"]`` has the axes from the slowest to the fastest.

    Raises
    ------
    InputError
        If there is no such slice, or the matrix is none of so many chips.
    """
    demand = read_demand(chips, pattern)
    found = []
    for torus in _slices(chips):
        graph = torus.graph
        orders = {tuple(torus.shape[axis] for axis in order): order for order in permutations(range(3))}
        for order in orders.values():
            at = np.transpose(np.arange(chips).reshape(torus.shape), order).ravel()
            placed = np.empty((chips, chips))
            placed[np.ix_(at, at)] = demand.bytes
            time = transfer(graph, read_demand(chips, placed), Minimal(), "links", torus.endpoint).time_s
            found.append(SliceChoice(torus, {"ranks": order}, time, (time,)))
    return sorted(found, key=lambda choice: choice.time_s)


def _slices(chips: int) -> Iterator[Torus]:
    for shape in slice_shapes(chips):
        whole = chips >= SIDE**3
        yield Torus(shape, wrap=whole)
        if whole and sorted(set(shape)) == [min(shape), 2 * min(shape)]:
            yield Torus(shape, twisted=True)


def _assignments(torus: Torus, groups: Mapping[str, int]) -> Iterator[dict[str, tuple[int, ...]]]:
    """Axes of each group; a twisted torus only as a whole."""
    if not groups:
        yield {}
        return
    if torus.twisted and sum(size > 1 for size in groups.values()) > 1:
        return
    names, seen = list(groups), set()
    for owner in product(names, repeat=len(torus.shape)):
        axes = {name: tuple(a for a, who in enumerate(owner) if who == name) for name in names}
        if any(math.prod(torus.shape[a] for a in axes[name]) != groups[name] for name in names):
            continue
        lengths = tuple(tuple(sorted(torus.shape[a] for a in axes[name] if torus.shape[a] > 1)) for name in names)
        if lengths not in seen:
            seen.add(lengths)
            yield {name: tuple(a for a in axes[name] if torus.shape[a] > 1) for name in names}


def _timed(torus: Torus, axes: dict[str, tuple[int, ...]], needs: Sequence[Need]) -> SliceChoice:
    chips = Stepwise(torus.graph, torus.endpoint)
    parts = []
    for need in needs:
        along = None if need.group == "all" else axes[need.group]
        if along == ():  # a group of one chip
            parts.append(0.0)
            continue
        if along is not None and len(along) == sum(side > 1 for side in torus.shape):
            along = None
        algorithm = "auto" if need.kind == "all_to_all" else "torus_rings"
        parts.append(need.times * run_collective(chips, Collective(need.kind, need.size, along, algorithm)).time_s)
    return SliceChoice(torus, axes, sum(parts), tuple(parts))

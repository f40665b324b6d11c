"""Topologies by name: ``torus:4x4x8``, ``twisted:4x4x8``, ``fat_tree:16x16x32?taper=2``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Final

from accsim.config.checks import shown
from accsim.config.frozen import FrozenDict
from accsim.config.reader import parse_scalar
from accsim.errors import InputError, Problem, nearest, plain_name
from accsim.network.direct import FullyConnected, Hypercube
from accsim.network.dragonfly import Dragonfly
from accsim.network.fat_tree import FatTree
from accsim.network.graph_file import GraphFile
from accsim.network.islands import Islands
from accsim.network.topology import Topology
from accsim.network.torus import Torus
from accsim.units import parse_quantity
from accsim.workload.query import parse_query


@dataclass(frozen=True)
class Spelling:
    """How a topology is spelled.

    Attributes
    ----------
    example
        With the meaning of its numbers.
    type
        Its class.
    make
        The topology of the numbers behind the colon and of fields by name.
    numbers
        How many there may be.
    parts
        Fields of it that are made of fields of their own, where the class has no default for them.
    """

    example: str
    type: type[Topology]
    make: Callable[..., Topology]
    numbers: tuple[int, ...]
    parts: Mapping[str, object] = FrozenDict({})


_AXES = (1, 2, 3, 4, 5, 6)
_NVLINK = FatTree((8,), link_bytes_per_s=450e9)
"""NVLink of an H100, 18 links of 25 GB/s, under switches."""


def _islands(numbers: tuple[int, ...], *, inside: FatTree = _NVLINK, **values: Any) -> Islands:
    return Islands(replace(inside, children=numbers[:1]), numbers[1], **values)


TOPOLOGIES: Final[Mapping[str, Spelling]] = {
    "torus": Spelling("torus:4x4x8, chips along each axis", Torus, Torus, _AXES),
    "twisted": Spelling("twisted:4x4x8, axes of k and 2k chips", Torus, partial(Torus, twisted=True), _AXES),
    "mesh": Spelling("mesh:4x4, chips along each axis", Torus, partial(Torus, wrap=False), _AXES),
    "hypercube": Spelling("hypercube:6, dimensions", Hypercube, lambda n, **v: Hypercube(*n, **v), (1,)),
    "fully_connected": Spelling(
        "fully_connected:8, chips", FullyConnected, lambda n, **v: FullyConnected(*n, **v), (1,)
    ),
    "star": Spelling("star:16, chips under one switch", FatTree, FatTree, (1,)),
    "fat_tree": Spelling("fat_tree:16x16x32?taper=2, links down of each level", FatTree, FatTree, _AXES),
    "dragonfly": Spelling(
        "dragonfly:4x2x2, routers a group, chips and global links a router",
        Dragonfly,
        lambda n, **v: Dragonfly(*n, **v),
        (3,),
    ),
    "islands": Spelling(
        "islands:8x64, chips under the NVLink switch of an island, islands",
        Islands,
        _islands,
        (2,),
        {"inside": _NVLINK},
    ),
}
"""Every topology with numbers behind its name; ``file:PATH`` reads a network from a file."""

_FILE = "file"
_PARTS = ("copper", "optical", "endpoint")
_GIVEN = ("shape", "dimensions", "count", "children", "routers", "chips_per_router", "global_links", "islands", "path")
"""Fields that are given by what stands behind the colon."""
_DIMENSIONS = {"_bytes_per_s": "bandwidth", "_s": "time", "_w": "power"}


def read_topology(spec: str | Topology) -> Topology:
    """The topology of a text.

    Parameters
    ----------
    spec
        A name of `TOPOLOGIES` with its numbers, or ``file:PATH``; then fields of the topology as a query:
        ``torus:4x4x8?link_bytes_per_s=100 GB/s&optical.length_m=30``. A `Topology` is returned as it is.

    Raises
    ------
    InputError
        With what was read, what is allowed, and the nearest name; of the query, with everything that is wrong.

    Examples
    --------
    >>> read_topology("twisted:4x4x8") == Torus((4, 4, 8), twisted=True)
    True
    >>> read_topology("fat_tree:8x8?taper=2&hop_latency_s=500 ns").hop_latency_s
    5e-07
    """
    if isinstance(spec, Topology):
        return spec
    if not isinstance(spec, str) or len(spec) > 4000:
        raise InputError(f"read {shown(spec)} as a topology, allowed is a text such as 'torus:4x4x8'")
    head, query = parse_query(spec)
    name, colon, rest = head.partition(":")
    plain = plain_name(name)
    known = {plain_name(one): one for one in (*TOPOLOGIES, _FILE)}
    if plain not in known:
        near = nearest(name[:60], known.values())
        message = f"unknown topology {shown(name)}, allowed are {', '.join(known.values())}"
        raise InputError(Problem("", "", message, near))
    if known[plain] == _FILE:
        spelling = Spelling("file:PATH", GraphFile, GraphFile, ())
        start: object = rest
    else:
        spelling = TOPOLOGIES[known[plain]]
        start = _numbers(rest if colon else "", spelling)
    values, problems = _read_fields(spelling, query)
    try:
        made = spelling.make(start, **values)
    except InputError as error:
        problems = [*error.problems, *problems]
    if problems:
        raise InputError(problems)
    return made


def _numbers(text: str, spelling: Spelling) -> tuple[int, ...]:
    parts = text.casefold().split("x")
    numbers = tuple(int(part) for part in parts if part.isascii() and part.isdecimal() and len(part) < 8)
    if len(numbers) != len(parts) or len(numbers) not in spelling.numbers:
        raise InputError(f"read {shown(text)} behind the colon, allowed is as in {spelling.example}")
    return numbers


def _read_fields(spelling: Spelling, query: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    """Values of the topology's fields, parts with their changed fields, and what is wrong with the query."""
    parts = {name: getattr(spelling.type, name) for name in _PARTS} | dict(spelling.parts)
    known = _field_names(spelling.type)
    known += [f"{part}.{name}" for part, owner in parts.items() for name in _field_names(type(owner))]
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, text in query.items():
        where = f"query:{key[:60]}"
        if key not in known:
            problems.append(Problem(where, "", f"unknown, allowed are {', '.join(known)}", nearest(key, known)))
            continue
        owner, _, name = key.rpartition(".")
        try:
            value = _value(name, text)
            values[owner or name] = replace(values.get(owner, parts[owner]), **{name: value}) if owner else value
        except InputError as error:
            problems += [Problem(where, "", one.message, one.suggestion) for one in error.problems]
    return values, problems


def _field_names(owner: type) -> list[str]:
    """Fields that a query may set."""
    names = [field.name for field in fields(owner)]
    return [name for name in names if name not in (*_GIVEN, *_PARTS, "inside", "twist")]


def _value(name: str, text: str) -> Any:
    plain = parse_scalar(text)
    for suffix, dimension in _DIMENSIONS.items():
        if name.endswith(suffix):
            return plain if isinstance(plain, int | float) else parse_quantity(text, dimension)
    return plain

"""Any network, from a file."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from accsim.config.checks import ArgumentChecks, shown
from accsim.errors import InputError, Problem, nearest
from accsim.network.graph import Cable, Cables, Graph, Link, build_graph
from accsim.network.topology import Topology
from accsim.units import parse_quantity
from accsim.workload.table_rows import Row, open_table, scalar

MOST_PROBLEMS: Final = 20
SWITCH: Final = "switch"
"""How the names of switches begin."""

_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    "bandwidth": partial(parse_quantity, dimension="bandwidth"),
    "latency": partial(parse_quantity, dimension="time"),
    "medium": str,
    "length_m": float,
    "cost_usd": float,
    "power_w": float,
}
COLUMNS: Final = ("a", "b", *_READ)
"""Columns of a file; all but the first two may be left out."""


@dataclass(frozen=True)
class GraphFile(Topology):
    """A network whose cables are the rows of a CSV or Parquet file.

    Columns: ``a`` and ``b``, names of the ends (a name that begins with ``switch`` is a switch, any other a chip);
    ``bandwidth`` (``50 GB/s``, one direction), ``latency`` (``1 us``), ``medium`` (``copper`` or ``optical``),
    ``length_m``, ``cost_usd``, ``power_w``. What is left out is that of the topology. Chips are numbered in the order
    of the file.

    Parameters
    ----------
    path
        The file.
    """

    path: str | Path
    kind: ClassVar[str] = "file"

    def check(self, check: ArgumentChecks) -> None:
        """Note what is wrong with the arguments; see `Topology.check`."""
        path: object = self.path
        if isinstance(path, str | Path):
            object.__setattr__(self, "path", Path(path))
        else:
            check.fail("path", f"read {shown(self.path)}, allowed is the path of a CSV or Parquet file")

    def build(self) -> Graph:
        """The graph; see `Topology.build`.

        Raises
        ------
        InputError
            With every bad row, or if the network is in parts.
        """
        ends: list[tuple[str, str]] = []
        kinds: dict[Link, int] = {}
        kind: list[int] = []
        problems: list[Problem] = []
        path = Path(self.path)
        with open_table(path) as table:
            columns = [str(name).strip() for name in table.columns]
            self._check_columns(columns)
            for row in table.rows:
                try:
                    cells = dict(zip(columns, row.cells, strict=True))
                    ends.append((_name(cells["a"]), _name(cells["b"])))
                    if ends[-1][0] == ends[-1][1]:
                        raise InputError(f"joins {ends[-1][0]} to itself")
                    kind.append(kinds.setdefault(self._link(cells), len(kinds)))
                except (InputError, ValueError) as error:
                    problems += _placed(path, row, error)
                    if len(problems) >= MOST_PROBLEMS:
                        break
        if not (ends or problems):
            problems.append(Problem(str(self.path), "", "has no cables"))
        if problems:
            raise InputError(problems)
        return _graph(ends, kind, tuple(kinds))

    def _check_columns(self, columns: list[str]) -> None:
        allowed = f"allowed are {', '.join(COLUMNS)}"
        problems = [
            Problem(str(self.path), name[:60], f"unknown column, {allowed}", nearest(name, COLUMNS))
            for name in columns
            if name not in COLUMNS
        ]
        problems += [
            Problem(str(self.path), name, "the column is missing") for name in COLUMNS[:2] if name not in columns
        ]
        if problems:
            raise InputError(problems)

    def _link(self, cells: dict[str, Hashable]) -> Link:
        given = {name: read(cells[name]) for name, read in _READ.items() if scalar(cells.get(name)) is not None}
        cable = self.optical if given.get("medium", "").strip() == "optical" else self.copper
        fields = {"medium": given.get("medium", cable.medium).strip()}
        fields |= {name: given.get(name, getattr(cable, name)) for name in ("length_m", "cost_usd", "power_w")}
        return Link(
            given.get("bandwidth", self.link_bytes_per_s),
            given.get("latency", self.hop_latency_s),
            Cable(**fields),
            self.link_efficiency,
        )


def _name(cell: Hashable) -> str:
    name = str(cell).strip() if cell is not None else ""
    if not (0 < len(name) <= 100 and name.isprintable()):
        raise InputError(f"read {shown(cell)} as a node, allowed is a name of 1 to 100 printable characters")
    return name


def _placed(path: Path, row: Row, error: Exception) -> list[Problem]:
    where = f"{path}:{row.number}"
    if isinstance(error, InputError):
        return [Problem(where, "", one.message, one.suggestion) for one in error.problems]
    return [Problem(where, "", str(error))]


def _graph(ends: list[tuple[str, str]], kind: list[int], links: tuple[Link, ...]) -> Graph:
    names = list(dict.fromkeys(name for pair in ends for name in pair))
    chips = [name for name in names if not name.startswith(SWITCH)]
    if not chips:
        raise InputError(f"every node is a switch: its name begins with '{SWITCH}'; allowed is at least one chip")
    ordered = (*chips, *(name for name in names if name.startswith(SWITCH)))
    number = {name: node for node, name in enumerate(ordered)}
    a, b = (np.array([number[pair[side]] for pair in ends]) for side in (0, 1))
    none = np.zeros(len(ends), np.int64)
    cables = Cables(a, b, np.array(kind), none, none)
    return build_graph(len(chips), len(ordered) - len(chips), cables, links, names=ordered)

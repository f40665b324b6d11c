"""Spaces of designs: machines × workloads × values of axes, as a numbered sequence of points.

``read_space(path)`` checks a file and returns a frozen, picklable :class:`Space`. Its points are numbered: machines run
slowest, then workloads, then the axes, of which the last listed runs fastest. Nothing is kept for a point, so a space
of 10⁹ points takes no more memory than one of ten::

    space = read_space("workloads/sweeps/flat_edge_cloud.yaml")
    space.size, space.designs                       # points, and points without their workloads
    for point in space.points(0, 10): ...           # Point(machine, workload, values)
    frame = accsim.sweep(space)                     # all points, in one table
    frame = evaluate(space, list_of_points)         # any points, also such as no file lists (accsim.sweep.evaluate)

``docs/sweeps.md`` has the form of the file and the columns of the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from accsim.config.data_files import find_file
from accsim.config.reader import read_yaml, validate
from accsim.sweep.axes import Axis, Column, Scalar
from accsim.sweep.expressions import Expression
from accsim.sweep.sampling import GRID, Sample
from accsim.sweep.space_file import SpaceFile, Weighted

FOLDER = "workloads/sweeps"
WORKLOAD = "workload."
MAPPING = "mapping."
DATAFLOW = "mapping.dataflow"


class Point(NamedTuple):
    """One design with one workload; ``values`` are in base units (bytes, Hz, bytes/s, s), as in the table."""

    machine: str
    workload: str
    values: Mapping[str, Scalar]


@dataclass(frozen=True)
class Linked:
    """A field whose value follows from axes; ``dimension`` is that of the axes it reads, or an area."""

    key: str
    expression: Expression
    dimension: str | None

    def column(self, columns: Mapping[str, Column], points: int) -> Column:
        """Its values for so many points with these values of the axes; -1 where whole numbers are divided by zero."""
        found = np.asarray(self.expression.of(columns))
        if found.dtype.kind == "U":
            found = found.astype(object)
        if self.dimension == "bytes" or (found.dtype.kind == "f" and _whole_but_nan(found)):
            found = np.nan_to_num(np.rint(found), nan=-1, posinf=-1, neginf=-1).astype(np.int64)
        return np.broadcast_to(found, (points,))


def _whole_but_nan(values: Column) -> bool:
    """Whether some values are nan, and all others are whole numbers."""
    missing = np.isnan(values)
    return bool(missing.any() and (missing | (values == np.rint(values))).all())


@dataclass(frozen=True)
class Space:
    """A checked space.

    Attributes
    ----------
    machines, workloads : names or paths as the file has them; a workload has a weight.
    folder : where paths start from.
    text : the file it was read from.
    axes, linked : fields that are set at every point, those with values of their own and those that follow.
    constraints : what a point must keep to be feasible.
    """

    name: str
    machines: tuple[str, ...]
    workloads: tuple[Weighted, ...]
    axes: tuple[Axis, ...] = ()
    linked: tuple[Linked, ...] = ()
    constraints: tuple[Expression, ...] = ()
    sample: Sample = GRID
    fidelity: str = "tile"
    objective: str = "latency"
    effort: str = "standard"
    folder: str = "."
    text: str = ""

    @cached_property
    def draws(self) -> int:
        """Combinations of the axes' values that are taken."""
        if self.sample.method != "grid":
            return self.sample.count
        return int(np.prod([axis.size for axis in self.axes], dtype=object)) if self.axes else 1

    @property
    def designs(self) -> int:
        """Machines times combinations."""
        return len(self.machines) * self.draws

    @property
    def size(self) -> int:
        """Points: designs times workloads."""
        return self.designs * len(self.workloads)

    @property
    def keys(self) -> tuple[str, ...]:
        """Fields that are set at every point."""
        return (*(axis.key for axis in self.axes), *(link.key for link in self.linked))

    @property
    def dimensions(self) -> dict[str, str | None]:
        """Field -> the kind of quantity it is."""
        return {axis.key: axis.dimension for axis in self.axes} | {link.key: link.dimension for link in self.linked}

    def place(self, index: int) -> tuple[int, int, int]:
        """(machine, workload, combination) of a point."""
        pair, draw = divmod(index, self.draws)
        return *divmod(pair, len(self.workloads)), draw

    def columns(self, start: int, stop: int) -> dict[str, Column]:
        """Values of every axis and linked field for the combinations ``start`` to ``stop``."""
        if self.sample.method == "grid":
            found = self._grid(start, stop)
        else:
            unit = self.sample.unit(len(self.axes), start, stop)
            found = {axis.key: axis.drawn(unit[:, i]) for i, axis in enumerate(self.axes)}
        return self.with_linked(found, stop - start)

    def _grid(self, start: int, stop: int) -> dict[str, Column]:
        rest = np.arange(start, stop)
        found: dict[str, Column] = {}
        for axis in reversed(self.axes):
            if axis.size == 1:
                found[axis.key] = np.broadcast_to(axis.column, rest.shape)
                continue
            rest, at = np.divmod(rest, axis.size)
            found[axis.key] = axis.column[at]
        return {axis.key: found[axis.key] for axis in self.axes}

    def with_linked(self, columns: Mapping[str, Column], points: int) -> dict[str, Column]:
        """Values of axes with those that follow from them."""
        found = dict(columns)
        for link in self.linked:
            found[link.key] = link.column(found, points)
        return found

    def points(self, start: int = 0, stop: int | None = None) -> Iterator[Point]:
        """The points of these numbers, one by one."""
        for index in range(start, self.size if stop is None else min(stop, self.size)):
            machine, workload, draw = self.place(index)
            values = {key: plain(column[0]) for key, column in self.columns(draw, draw + 1).items()}
            yield Point(self.machines[machine], self.workloads[workload].workload, values)


def plain(value: Any) -> Scalar:
    """A value of a column as a number, truth value or text of Python."""
    found: Scalar = value.item() if isinstance(value, np.generic) else value
    return found


def read_space(path: str | Path | Space) -> Space:
    """A space, checked.

    Parameters
    ----------
    path : the path of a file, or the name of a space that ships; a space is returned as it is.

    Raises
    ------
    InputError
        With every problem of the file at its line: unknown fields and values that a machine, workload or dataflow does
        not take, expressions that cannot be read, constraints on what is not known.
    """
    if isinstance(path, Space):
        return path
    file = path_of(path)
    document = read_yaml(file)
    from accsim.sweep.check_space import checked
    from accsim.sweep.settings import forget_files

    forget_files()
    form = validate(SpaceFile, document)
    links, problems = checked(form, document, file.parent)
    if problems:
        validate(SpaceFile, document, also=problems)
    return Space(
        name=form.name or file.stem,
        machines=form.machines,
        workloads=form.workloads,
        axes=tuple(form.axes.values()),
        linked=links,
        constraints=form.constraints,
        sample=form.sample,
        fidelity=form.fidelity,
        objective=form.objective,
        effort=form.effort,
        folder=str(file.parent.resolve()),
        text=file.read_text(encoding="utf-8-sig"),
    )


def path_of(path: str | Path) -> Path:
    """The file of a shipped name or a path."""
    return find_file(FOLDER, "space", path)

"""What a space file says held against its machines, workloads and dataflows: every problem, at its line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from accsim.config.machine import Accelerator
from accsim.config.reader import MarkedDocument, dotted
from accsim.config.yaml_marks import KeyPath
from accsim.errors import InputError, Problem, nearest
from accsim.mapping.base import Dataflow
from accsim.sweep.axes import Axis, Scalar
from accsim.sweep.columns import BEFORE, RESULTS
from accsim.sweep.expression_types import NUMBER, OF_COLUMN, OF_DTYPE, TRUTH, ValueType, type_of_value
from accsim.sweep.expressions import Expression, ExpressionError
from accsim.sweep.fields import machine_field, why_no_area
from accsim.sweep.kinds import KINDS, Kind, Work, kind_of
from accsim.sweep.settings import (
    DATAFLOW,
    MAPPING,
    PLACED,
    WORKLOAD,
    choices,
    dataflow_of,
    machine_of,
    section,
    spelling,
    split,
)
from accsim.sweep.space import Linked, plain
from accsim.sweep.space_file import SpaceFile

COLUMN_TYPES = {name: OF_COLUMN[kind] for name, kind in (BEFORE | RESULTS | {"area": "float64"}).items()}
MOST_CHECKED = 64
"""Values of an axis that are tried on each machine before a sweep; of more, these evenly spaced."""


def checked(form: SpaceFile, document: MarkedDocument, folder: Path) -> tuple[tuple[Linked, ...], list[Problem]]:
    """The linked fields, and every problem of a file whose form is right."""
    check = _Check(form, document, str(folder.resolve()))
    problems = [
        *check.sample(),
        *check.twice(),
        *check.links(),
        *check.dataflows(),
        *check.machines(),
        *check.workloads(),
    ]
    return check.linked, list(dict.fromkeys([*problems, *check.kinds(), *check.constraints()]))


class _Check:
    def __init__(self, form: SpaceFile, document: MarkedDocument, folder: str) -> None:
        self.form, self.document, self.folder = form, document, folder
        self.axes = tuple(form.axes.values())
        self.linked: tuple[Linked, ...] = ()
        self.types: dict[str, ValueType] = {axis.key: OF_DTYPE[axis.ends.dtype.kind] for axis in self.axes}
        self.made: list[Accelerator] = []

    def _problem(self, path: KeyPath, message: str, suggestion: str | None = None, *, key: bool = False) -> Problem:
        return Problem(self.document.where(path, key=key), dotted(path), message, suggestion)

    def sample(self) -> Iterator[Problem]:
        """An interval has no values of its own, so a grid cannot hold it; a sample needs something to draw."""
        grid = self.form.sample.method == "grid"
        for axis in self.axes:
            if grid and axis.interval:
                message = f"{axis.interval} is for sample: random, latin or sobol; allowed in a grid are"
                yield self._problem(("axes", axis.key), f"{message} a list, range, linspace or logspace")
        if not grid and not self.axes:
            yield self._problem(("sample",), "there are no axes to draw from")

    def links(self) -> Iterator[Problem]:
        """Linked fields read axes, and no two kinds of quantities."""
        known = [axis.key for axis in self.axes]
        for key, expression in self.form.linked.items():
            path = ("linked", key)
            unknown = [name for name in expression.names if name not in known]
            found = {axis.dimension for axis in self.axes if axis.key in expression.names and axis.dimension}
            if key in known:
                yield self._problem(path, "is an axis too; allowed is one of the two", key=True)
            elif unknown:
                allowed = ", ".join(known) or "axes, of which this file has none"
                for name in unknown:
                    yield self._problem(path, f"'{name}' is no axis, allowed are {allowed}", nearest(name, known))
            elif len(found) > 1:
                yield self._problem(path, f"reads {' and '.join(sorted(found))}; allowed is one kind of quantity")
            else:
                dimension = "area" if key.split(".")[-1] == "area" else next(iter(found), None)
                yield from self._link(path, Linked(key, expression, dimension))

    def _link(self, path: KeyPath, link: Linked) -> Iterator[Problem]:
        """A linked field that can be computed; a text or truth value has no dimension."""
        try:
            self.types[link.key] = link.expression.type(self.types)
        except ExpressionError as error:
            yield self._problem(path, str(error))
            return
        self.linked += (link if self.types[link.key] == NUMBER else replace(link, dimension=None),)

    def dataflows(self) -> Iterator[Problem]:
        """The fields of mappings belong to every dataflow that is named, and take their values."""
        own = [axis for axis in self.axes if axis.key.startswith(MAPPING) and axis.key != DATAFLOW]
        named = self.form.axes.get(DATAFLOW)
        if named is None:
            for axis in own:
                message = f"needs the dataflow: add the axis {DATAFLOW}, such as {DATAFLOW}: [flash2]"
                yield self._problem(("axes", axis.key), message, key=True)
            return
        for i, name in enumerate(named.values):
            given = (("dataflow", name),)
            try:
                known = choices(dataflow_of(given))
            except InputError as error:
                yield from (self._problem(("axes", DATAFLOW, i), p.message, p.suggestion) for p in error.problems)
                continue
            for axis in own:
                field = axis.key.removeprefix(MAPPING)
                if field in known:
                    yield from self._refused(axis, partial(_mapping, name, field))
                    continue
                near = nearest(field, known)
                message = f"'{name}' has no choice '{field}', allowed are {', '.join(known) or 'none'}"
                yield self._problem(("axes", axis.key), message, near and MAPPING + near, key=True)

    def _refused(self, axis: Axis, make: Callable[[Scalar], object], told: Collection[str] = ()) -> Iterator[Problem]:
        """The values of an axis that cannot be made, each at its place; of a scale the first, and how many more.

        Problems of the fields that are ``told`` are told elsewhere.
        """
        found: dict[Problem, None] = {}
        tried = sorted(set(np.linspace(0, len(axis.values) - 1, MOST_CHECKED).astype(int).tolist()))
        for at in tried:
            try:
                make(axis.values[at])
            except InputError as error:
                own = [problem for problem in error.problems if problem.path not in told]
                found |= dict.fromkeys(self._of_axis(axis.key, at, problem) for problem in own)
        first, *more = found or [None]
        if first is not None and more and not isinstance(self.document.data["axes"][axis.key], list):
            told = f"{first.message}; {len(more)} more of {len(tried)} values that were tried are refused too"
            found = {replace(first, message=told): None}
        yield from found

    def _of_axis(self, key: str, at: int, problem: Problem) -> Problem:
        """A problem of the value of an axis, or of an axis that is none: at the place of the key or of the value."""
        unknown = problem.message.startswith(("no field", "unknown"))
        given = self.document.data["axes"].get(key)
        path: KeyPath = ("axes", key, at) if isinstance(given, list) and not unknown else ("axes", key)
        return self._problem(path, problem.message, problem.suggestion, key=unknown)

    def twice(self) -> Iterator[Problem]:
        """No machine and no workload is listed twice, however it is spelled."""
        for key, names in (("machines", self.form.machines), ("workloads", [w.workload for w in self.form.workloads])):
            spelled = [spelling(name, self.folder) for name in names]
            for i, one in enumerate(spelled):
                if one in spelled[:i]:
                    yield self._problem(
                        (key, i), f"'{names[i]}' is listed twice, first as '{names[spelled.index(one)]}'"
                    )

    def machines(self) -> Iterator[Problem]:
        """Each machine loads, and takes each value of each axis with the first ones of the others."""
        yield from self._loaded("machines", self.form.machines, lambda name, given: self._machine(name, given))

    def _machine(self, name: str, values: Mapping[str, Scalar]) -> Accelerator:
        return machine_of(name, self.folder, split(values, self._dimensions).machine)

    def workloads(self) -> Iterator[Problem]:
        """Each workload loads, and takes each value of each of its parameters."""
        names = [item.workload for item in self.form.workloads]

        def load(name: str, values: Mapping[str, Scalar]) -> None:
            works = [self._work(machine, name) for machine in self.form.machines]
            for kind, work in {kind_of(work): work for work in works}.items():
                kind.load(work, split(values, self._dimensions))

        yield from self._loaded("workloads", names, load)

    def kinds(self) -> Iterator[Problem]:
        """Every field is for every kind of work there is, and what each kind runs on is there."""
        for i, machine in enumerate(self.form.machines):
            for j, item in enumerate(self.form.workloads):
                work = self._work(machine, item.workload)
                kind = kind_of(work)
                foreign = next((key for key in work.fields if section(key) not in kind.takes), None)
                if foreign is None:
                    yield from self._places(kind, work, ("machines", i))
                    continue
                others = " and ".join(other.what for other in KINDS if section(foreign) in other.takes)
                message = f"is {kind.what} with '{machine}', and '{foreign}' is for {others}"
                yield self._problem(("workloads", j), f"{message}; allowed are fields that all work of a space takes")

    def _work(self, machine: str, workload: str) -> Work:
        return Work(machine, workload, self.folder, (*(axis.key for axis in self.axes), *self.form.linked))

    def _places(self, kind: Kind, work: Work, path: KeyPath) -> Iterator[Problem]:
        """What work runs on, with each value of the fields that make it; a chip that does not load is told already."""
        own = {axis.key: axis for axis in self.axes if section(axis.key) in PLACED}
        first = self._with_linked({axis.key: axis.values[0] for axis in self.axes})
        told = {*own}

        def place(key: str, value: Scalar) -> object:
            return kind.place(work, split({**first, key: value}, self._dimensions))

        try:
            self._machine(work.machine, first)
        except InputError:
            return
        try:
            kind.place(work, split(first, self._dimensions))
        except InputError as error:
            for problem in error.problems:
                if problem.path not in own and (problem.path or not own):
                    told.add(problem.path)
                    yield self._problem(path, str(replace(problem, suggestion=None)), problem.suggestion)
        for axis in own.values():
            yield from self._refused(axis, partial(place, axis.key), told - {axis.key})

    @property
    def _dimensions(self) -> dict[str, str | None]:
        return {axis.key: axis.dimension for axis in self.axes} | {link.key: link.dimension for link in self.linked}

    def _loaded(
        self, list_key: str, names: Sequence[str], load: Callable[[str, Mapping[str, Scalar]], object]
    ) -> Iterator[Problem]:
        prefix = WORKLOAD if list_key == "workloads" else ""
        own = [axis for axis in self.axes if section(axis.key) == prefix]
        first = {axis.key: axis.values[0] for axis in self.axes}
        for i, name in enumerate(names):
            try:
                made = load(name, self._with_linked(first))
            except InputError as error:
                yield from (self._placed(list_key, i, prefix, problem) for problem in error.problems)
                continue
            if isinstance(made, Accelerator):
                self.made.append(made)
            for axis in own:

                def make(value: Scalar, name: str = name, key: str = axis.key) -> object:
                    return load(name, self._with_linked(first | {key: value}))

                yield from self._refused(axis, make)

    def _with_linked(self, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Values of axes with those that follow from them."""
        columns = {key: np.array([value]) for key, value in values.items()}
        return dict(values) | {link.key: plain(link.column(columns, 1)[0]) for link in self.linked}

    def _placed(self, list_key: str, i: int, prefix: str, problem: Problem) -> Problem:
        """A problem of a machine or workload: at the axis that set the value, or at its name."""
        source, _, key = problem.where.partition(":")
        if source in ("set", "query"):
            for axis in self.axes:
                if axis.key == prefix + key:
                    return self._of_axis(axis.key, 0, problem)
            if prefix + key in self.form.linked:
                return self._problem(("linked", prefix + key), problem.message, problem.suggestion, key=True)
        if problem.where.rsplit(":", 1)[-1].isdecimal():
            return problem
        about = "".join(f"{part}: " for part in (problem.where, problem.path) if part)
        return self._problem((list_key, i), about + problem.message, problem.suggestion)

    def constraints(self) -> Iterator[Problem]:
        """Constraints read columns of the table, axes, and fields that every machine has."""
        columns = (*BEFORE, *RESULTS)
        keys = (*(axis.key for axis in self.axes), *self.form.linked)
        for i, expression in enumerate(self.form.constraints):
            path = ("constraints", i)
            for name in expression.names:
                if name in ("area_mm2", "area"):
                    yield from self._area(path)
                elif name not in (*columns, *keys):
                    lacking = [acc.name for acc in self.made if machine_field(acc, name) is None]
                    if lacking:
                        message = f"'{name}' is no column, axis or field of {lacking[0]}"
                        yield self._problem(path, message, nearest(name, (*columns, *keys)))
            yield from self._limit(path, expression)

    def _limit(self, path: KeyPath, constraint: Expression) -> Iterator[Problem]:
        """A constraint is true or false, whatever machine its fields are of."""
        for acc in self.made:
            fields = {name: type_of_value(machine_field(acc, name)) for name in constraint.names}
            try:
                found = constraint.type(fields | COLUMN_TYPES | self.types)
            except ExpressionError as error:
                yield self._problem(path, str(error))
                continue
            if found not in (TRUTH, None):
                yield self._problem(path, f"is {found}, allowed is a limit, such as 'latency_s <= 1 ms'")

    def _area(self, path: KeyPath) -> Iterator[Problem]:
        """The area of every machine is known, also where axes change its sizes."""
        for acc in self.made:
            why = why_no_area(acc, (*(axis.key for axis in self.axes), *self.form.linked))
            if why is not None:
                yield self._problem(path, why)


def _mapping(dataflow: Scalar, field: str, value: Scalar) -> Dataflow:
    return dataflow_of((("dataflow", dataflow), (field, value)))

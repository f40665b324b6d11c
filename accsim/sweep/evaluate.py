"""Points to rows: those that differ only in numbers of a complete mapping run as one block, others one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from accsim.config.machine import Accelerator
from accsim.errors import AccsimError
from accsim.mapping.compiled import CompiledDataflow
from accsim.sweep.axes import Column, as_column
from accsim.sweep.collectives import collective_kind, run_collective
from accsim.sweep.columns import KNOWN_BEFORE, RESULTS, schema_of
from accsim.sweep.direct import Job, run_direct
from accsim.sweep.expressions import Expression
from accsim.sweep.fields import SIZES, machine_field
from accsim.sweep.outcome import IntArray, Outcome
from accsim.sweep.searched import run_searched
from accsim.sweep.settings import MAPPING, Setting, dataflow_of, machine_of, split, workload_of
from accsim.sweep.space import Point, Space, plain
from accsim.workload.trace import Workload

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class Part(NamedTuple):
    """Points of one machine and workload: their numbers, and a column for every field that is set."""

    machine: int
    workload: int
    first: int
    columns: Mapping[str, Column]
    points: int


def part_of(space: Space, start: int, stop: int) -> Part:
    """The points of these numbers, which are all of one machine and workload."""
    machine, workload, draw = space.place(start)
    return Part(machine, workload, start, space.columns(draw, draw + stop - start), stop - start)


def evaluate_part(space: Space, part: Part) -> pa.Table:
    """The rows of some points, each of them one: with its results, or with why there are none."""
    outcome = Outcome(part.points)
    outer = {key: column for key, column in part.columns.items() if key not in _numbers(part)}
    for at, values in _settings(outer, np.arange(part.points)):
        acc = _evaluate_setting(space, part, at, values, outcome)
        if acc is not None:
            _keep(space, part, _constraints(space, before=False), at[outcome.feasible[at]], acc, outcome)
    return _table(space, part, outcome)


def _evaluate_setting(
    space: Space, part: Part, at: IntArray, values: Mapping[str, Any], outcome: Outcome
) -> Accelerator | None:
    """Run points that differ at most in whole numbers of the mapping; their machine, None where there is none."""
    setting, name = split(values, space.dimensions), space.workloads[part.workload].workload
    collective = collective_kind(name)
    try:
        acc = machine_of(space.machines[part.machine], space.folder, setting.machine)
        work = None if collective else workload_of(name, space.folder, setting.workload)
    except AccsimError as error:
        outcome.fail(at, str(error))
        return None
    outcome.numbers["area_mm2"][at] = _area(space, acc)
    left = _keep(space, part, _constraints(space, before=True), at, acc, outcome)
    if work is None:
        run_collective(name, space.folder, setting, outcome, left)
        return acc
    if setting.mapping and len(left) > 1:
        left = _directly(space, acc, work, part, values, outcome, left)
    for chosen, numbers in _settings({key: part.columns[key] for key in _numbers(part)}, left):
        _one_by_one(space, acc, work, (*setting.mapping, *split(numbers, {}).mapping), outcome, chosen)
    return acc


def _directly(
    space: Space,
    acc: Accelerator,
    work: Workload,
    part: Part,
    values: Mapping[str, Any],
    outcome: Outcome,
    at: IntArray,
) -> IntArray:
    """Run those of some points as a block that can be; the others are returned, all of them after an error."""
    varied, constant = _varied(part, at)
    if not varied:
        return at
    valid = np.all([column > 0 for column in varied.values()], axis=0)
    chosen = at[valid]
    try:
        dataflow = dataflow_of(split({**values, **constant}, space.dimensions).mapping)
        if not isinstance(dataflow, CompiledDataflow):
            return at
        own = {key: column[valid] for key, column in varied.items()}
        rest = run_direct(Job(space, acc, work, dataflow, own, len(chosen)), outcome, chosen)
    except Exception:  # noqa: BLE001 each point then says itself what is wrong with it
        return at
    return np.concatenate([chosen[rest], at[~valid]])


def _varied(part: Part, at: IntArray) -> tuple[dict[str, Column], dict[str, Any]]:
    """(choice of mappings -> its whole numbers at some points, fields in which they do not differ -> their value)."""
    varied: dict[str, Column] = {}
    constant: dict[str, Any] = {}
    for key, whole in part.columns.items():
        column = whole[at]
        if key in _numbers(part) and len(column) and column.min() != column.max():
            varied[key.removeprefix(MAPPING)] = column
        else:
            constant[key] = plain(column[0])
    return varied, constant


def _one_by_one(
    space: Space, acc: Accelerator, work: Workload, mapping: Setting, outcome: Outcome, at: IntArray
) -> None:
    try:
        dataflow = dataflow_of(mapping) if mapping else None
    except AccsimError as error:
        outcome.fail(at, str(error))
        return
    run_searched(space, acc, work, dataflow, outcome, at)


def _numbers(part: Part) -> list[str]:
    """The fields of mappings that are whole numbers: points that differ in nothing else can run as a block."""
    return [key for key, column in part.columns.items() if key.startswith(MAPPING) and column.dtype.kind == "i"]


def _keep(
    space: Space, part: Part, constraints: Sequence[Expression], at: IntArray, acc: Accelerator, outcome: Outcome
) -> IntArray:
    """Those of some points that keep constraints; the others are told which they do not keep."""
    item = space.workloads[part.workload]
    same = {
        "machine": space.machines[part.machine],
        "workload": item.workload,
        "weight": item.weight,
        "fidelity": space.fidelity,
    }

    def column(name: str) -> Any:
        if name in part.columns:
            return part.columns[name][at]
        if name in outcome.codes:
            return outcome.text(name)[at]
        if name in ("area", *outcome.numbers):
            return outcome.numbers["area_mm2" if name == "area" else name][at]
        found = same.get(name, machine_field(acc, name))
        return np.nan if found is None else found

    for constraint in constraints:
        kept = constraint.kept({name: column(name) for name in constraint.names}, len(at))
        outcome.fail(at[~kept], f"does not keep {constraint.text}")
        at = at[kept]
    return at


def _constraints(space: Space, *, before: bool) -> list[Expression]:
    """Constraints on what is known before a point is run, or those on its results."""
    results = set(RESULTS) - {*KNOWN_BEFORE, *space.keys}
    return [item for item in space.constraints if before == results.isdisjoint(item.names)]


def _area(space: Space, acc: Accelerator) -> float:
    """Area of the chip; not known (nan) where an axis changes what it depends on and none gives it."""
    changed = any(key.split(".")[0] in SIZES for key in space.keys)
    return np.nan if acc.area_mm2 is None or (changed and "area" not in space.keys) else acc.area_mm2


def _settings(columns: Mapping[str, Column], at: IntArray) -> Iterator[tuple[IntArray, dict[str, Any]]]:
    """Those of some points that are the same in all fields, with the values of these."""
    if not len(at):
        return
    codes = np.zeros(len(at), np.int64)
    for column in (whole[at] for whole in columns.values()):
        if not (column == column[0]).all():
            distinct, code = np.unique(column, return_inverse=True)
            codes = np.unique(codes * len(distinct) + code.reshape(-1), return_inverse=True)[1].reshape(-1)
    order = np.argsort(codes, kind="stable")
    for chosen in np.split(at[order], np.cumsum(np.bincount(codes))[:-1]):
        yield chosen, {key: plain(column[chosen[0]]) for key, column in columns.items()}


def _table(space: Space, part: Part, outcome: Outcome) -> pa.Table:
    import pyarrow as pa

    numbers = np.arange(part.first, part.first + part.points)
    designs = part.machine * space.draws + (numbers - part.first) + space.place(part.first)[2]
    arrays: dict[str, Any] = {"point": numbers, "design": designs, **part.columns}
    arrays["weight"] = np.full(part.points, space.workloads[part.workload].weight)
    arrays["feasible"] = outcome.feasible
    constant = {
        "machine": space.machines[part.machine],
        "workload": space.workloads[part.workload].workload,
        "fidelity": space.fidelity,
    }
    schema = schema_of(space)
    columns = []
    for item in schema:
        if item.name in constant:
            zeros = pa.array(np.zeros(part.points, np.int32))
            columns.append(pa.DictionaryArray.from_arrays(zeros, [constant[item.name]]))
        elif item.name in outcome.codes:
            codes = outcome.codes[item.name]
            indices = pa.array(codes, mask=codes < 0)
            columns.append(pa.DictionaryArray.from_arrays(indices, pa.array(outcome.texts[item.name], pa.string())))
        elif item.name in outcome.numbers:
            values = outcome.numbers[item.name]
            columns.append(pa.array(values, mask=np.isnan(values)))
        elif pa.types.is_dictionary(item.type):
            columns.append(pa.array(arrays[item.name], pa.string()).dictionary_encode())
        else:
            columns.append(pa.array(arrays[item.name], item.type))
    return pa.Table.from_arrays(columns, schema=schema)


def evaluate(space: Space, points: Sequence[Point]) -> pd.DataFrame:
    """The rows of any points of a space's fields, in their order, also of such as the file does not list.

    Parameters
    ----------
    points : machines and workloads are those of the space; values in base units, linked fields left out or given.
    """
    frame: pd.DataFrame = evaluate_points(space, points).to_pandas()
    return frame


def evaluate_points(
    space: Space, points: Sequence[Point], run: Callable[[Space, Part], pa.Table] = evaluate_part
) -> pa.Table:
    """The same as Arrow's table; ``run`` says what becomes of points of one machine and workload."""
    import pyarrow as pa

    tables = []
    order: list[int] = []
    names = [item.workload for item in space.workloads]
    groups: dict[tuple[int, int], list[int]] = {}
    for i, point in enumerate(points):
        groups.setdefault((space.machines.index(point.machine), names.index(point.workload)), []).append(i)
    for (machine, workload), chosen in groups.items():
        given = {axis.key: as_column([points[i].values[axis.key] for i in chosen]) for axis in space.axes}
        part = Part(machine, workload, 0, space.with_linked(given, len(chosen)), len(chosen))
        tables.append(run(space, part))
        order += chosen
    table = pa.concat_tables(tables) if tables else schema_of(space).empty_table()
    table = table.unify_dictionaries().take(np.argsort(np.array(order, np.int64)))
    for name in ("point", "design"):
        table = table.set_column(table.column_names.index(name), name, pa.array(np.arange(len(points))))
    return table


def failed_part(space: Space, part: Part, why: str) -> pa.Table:
    """Rows of points that could not be run, each with the reason."""
    outcome = Outcome(part.points)
    outcome.fail(slice(None), why)
    return _table(space, part, outcome)


def runs_in_blocks(space: Space) -> bool:
    """Whether the mappings of a space are complete, as far as the first of its points tell."""
    columns = {axis.key: axis.ends for axis in space.axes}
    columns = space.with_linked(columns, 2)
    part = Part(0, 0, 0, columns, 2)
    varied, first = _varied(part, np.arange(2))
    if not varied:
        return False
    setting = split(first, space.dimensions)
    try:
        dataflow = dataflow_of(setting.mapping)
        acc = machine_of(space.machines[0], space.folder, setting.machine)
        work = workload_of(space.workloads[0].workload, space.folder, setting.workload)
        return isinstance(dataflow, CompiledDataflow) and bool(Job(space, acc, work, dataflow, varied, 2).ready().any())
    except AccsimError:
        return False

"""Points to rows: what they have in common is loaded once, and their kind of work says how they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from accsim.config.machine import Accelerator
from accsim.errors import AccsimError
from accsim.sweep.axes import as_column
from accsim.sweep.columns import KNOWN_BEFORE, RESULTS, schema_of
from accsim.sweep.expressions import Expression
from accsim.sweep.fields import machine_field
from accsim.sweep.kinds import Block, kind_of
from accsim.sweep.outcome import IntArray, Outcome
from accsim.sweep.part import Part, alike, settings_of
from accsim.sweep.space import Point, Space

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def evaluate_part(space: Space, part: Part) -> pa.Table:
    """The rows of some points, each of them one: with its results, or with why there are none."""
    outcome = Outcome(part.points)
    outer = {key: column for key, column in part.columns.items() if key not in part.counted}
    for at, values in settings_of(outer, np.arange(part.points)):
        acc = _evaluate_block(Block(space, part, values), at, outcome)
        if acc is not None:
            _keep(space, part, _constraints(space, before=False), at[outcome.feasible[at]], acc, outcome)
    return _table(space, part, outcome)


def _evaluate_block(block: Block, at: IntArray, outcome: Outcome) -> Accelerator | None:
    """Run points that differ at most in whole numbers of the mapping; their machine, None where there is none."""
    space, part = block.space, block.part
    try:
        ready = kind_of(block.work).ready(block)
    except AccsimError as error:
        outcome.fail(at, str(error))
        return None
    outcome.numbers["area_mm2"][at] = np.nan if (area := ready.acc.area_mm2) is None else area
    outcome.numbers["chips"][at] = ready.chips
    left = _keep(space, part, _constraints(space, before=True), at, ready.acc, outcome)
    ready.run(outcome, left)
    return ready.acc


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
        **{key: column[0] for key, column in part.columns.items() if column.dtype == object and alike(column)},
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
            columns.append(pa.array(values, from_pandas=True))  # nan is missing
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

"""Which axes matter over a whole space: Sobol indices, by SALib."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from accsim.errors import InputError, Problem
from accsim.sweep.axes import Axis
from accsim.sweep.designs import Design, run_designs
from accsim.sweep.executors import Executor
from accsim.sweep.executors.in_process import InProcess
from accsim.sweep.manifest import SCHEMA_VERSION
from accsim.sweep.objectives import read_objectives
from accsim.sweep.space import Space, plain, read_space

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

Function = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Sensitivity:
    """Sobol indices of a column.

    Attributes
    ----------
    column : what was looked at.
    indices : a row for each axis: ``first_order``, the share of the variance that the axis alone accounts for;
        ``total``, with all that it does together with others; and the half widths of their 95 % confidence intervals.
    designs : designs that were run.
    """

    column: str
    indices: pd.DataFrame
    designs: int

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        about = {"schema_version": SCHEMA_VERSION, "column": self.column, "designs": self.designs}
        return {**about, "indices": self.indices.to_dict("records")}

    def show(self, console: Console) -> None:
        """As a table, the field with the largest total first."""
        from rich.table import Table

        title = f"Sobol indices of {self.column}, from {self.designs:,} designs"
        table = Table(title=title, box=None, title_justify="left")
        table.add_column("field", overflow="fold")
        for name in ("alone", "+-", "with others", "+-"):
            table.add_column(name, justify="right")
        for row in self.indices.sort_values("total", ascending=False).to_dict("records"):
            numbers = ("first_order", "first_order_confidence", "total", "total_confidence")
            table.add_row(str(row["axis"]), *(f"{row[name]:.3f}" for name in numbers))
        console.print(table)


def sensitivity(
    space: Space | str | Path,
    column: str = "latency_s",
    *,
    samples: int = 256,
    seed: int = 0,
    executor: Executor | None = None,
) -> Sensitivity:
    """How much each axis of a space accounts for the variance of a column.

    Parameters
    ----------
    space : of one machine. Each value of a list counts equally often, and each part of an interval.
    column : a number of a design, or an expression of them.
    samples : a power of two; ``samples`` times the number of axes that vary plus two designs are drawn.
    seed : of the draw.
    executor : where designs are run; here without one.

    Raises
    ------
    InputError
        For a bad space or column, a missing extra, several machines, no axis that varies, and designs that are not
        feasible: variance is that over the whole space, so all of it must run.

    Notes
    -----
    Saltelli's sequence and estimators: Saltelli et al., *Computer Physics Communications* 181, 2010, as SALib has them.
    """
    space = read_space(space)
    (goal,) = read_objectives(space, [column])
    axes = tuple(axis for axis in space.axes if axis.interval or axis.size > 1)
    if len(space.machines) > 1 or not axes:
        message = (
            f"has {len(space.machines)} machines and {len(axes)} axes that vary; allowed is one machine, and an axis"
        )
        raise InputError(Problem(space.name, "", message))
    ran = 0

    def run(unit: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        nonlocal ran
        designs = _designs(space, axes, unit)
        distinct = {tuple(design.values.items()): design for design in designs}
        found = run_designs(space, list(distinct.values()), executor or InProcess())
        ran = len(distinct)
        broken = [one.error for one in found if one.error]
        if broken:
            message = f"{len(broken)} of {ran} designs are not feasible, the first because: {broken[0]}"
            raise InputError(Problem(space.name, "", f"{message}; narrow the axes to those that are"))
        values = dict(zip(distinct, (float(goal.of(one.numbers)) for one in found), strict=True))
        return np.array([values[tuple(design.values.items())] for design in designs])

    return Sensitivity(column, sobol_indices([axis.key for axis in axes], run, samples, seed), ran)


def sobol_indices(names: list[str], function: Function, samples: int, seed: int) -> pd.DataFrame:
    """Sobol indices of a function of points of the unit cube: see :class:`Sensitivity` for the columns.

    Parameters
    ----------
    function : float64[points, names] -> float64[points].
    """
    import pandas as pd

    try:
        from SALib.analyze import sobol as analyze
        from SALib.sample import sobol as sample
    except ImportError as error:
        raise InputError("sensitivity needs the extra 'search': pip install 'accsim[search]'") from error
    if samples < 2 or samples & (samples - 1):
        raise InputError(Problem("sensitivity", "samples", f"read {samples}, allowed is a power of two from 2 on"))
    problem = {"num_vars": len(names), "names": names, "bounds": [[0.0, 1.0]] * len(names)}
    values = function(sample.sample(problem, samples, calc_second_order=False, seed=seed))
    if np.ptp(values) == 0:
        zeros = np.zeros(len(names))
        found = {"S1": zeros, "S1_conf": zeros, "ST": zeros, "ST_conf": zeros}
    else:
        found = analyze.analyze(problem, values, calc_second_order=False, seed=seed)
    return pd.DataFrame(
        {
            "axis": names,
            "first_order": found["S1"],
            "first_order_confidence": found["S1_conf"],
            "total": found["ST"],
            "total_confidence": found["ST_conf"],
        }
    )


def _designs(space: Space, axes: tuple[Axis, ...], unit: npt.NDArray[np.float64]) -> list[Design]:
    """A design for each point of the unit cube."""
    columns = {axis.key: axis.drawn(unit[:, i]) for i, axis in enumerate(axes)}
    fixed = {axis.key: axis.values[0] for axis in space.axes}
    return [
        Design(space.machines[0], fixed | {key: plain(column[i]) for key, column in columns.items()})
        for i in range(len(unit))
    ]

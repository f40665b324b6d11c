"""Kind ``runs``: whole runs of any workload on any machine against your own measured times, energies and powers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from accsim.config.catalogue import load_accelerator
from accsim.config.machine import Accelerator
from accsim.errors import AccsimError, InputError, Problem, plain_name
from accsim.report.lookup import read_both
from accsim.report.result import Report
from accsim.report.simulate import simulate
from accsim.validate.kind import Prediction, Quantity
from accsim.validate.table import Column, Rows, positive, text
from accsim.workload.catalogue import load_workload
from accsim.workload.trace import Workload


@dataclass(frozen=True)
class RunRows:
    """Rows of a machine, a workload with its parameters, and what was measured; a file may hold many machines."""

    name: str = "runs"
    summary: str = "whole runs, each with the mapping that the search finds, against measured rows"
    columns: tuple[Column, ...] = (
        text("machine", needed=False),
        text("workload"),
        positive("latency_s"),
        positive("energy_j", needed=False),
        positive("power_w", needed=False),
    )
    quantities: tuple[Quantity, ...] = (
        Quantity("latency", "latency_s"),
        Quantity("energy", "energy_j"),
        Quantity("power", "power_w"),
    )

    def check(self, rows: Rows) -> list[Problem]:
        """Nothing between the cells of a row."""
        del rows
        return []

    def select(self, rows: Rows, machine: str | None) -> NDArray[np.bool_]:
        """Rows of the machine, all of a file without that column; without a machine, all rows of a file with it."""
        if machine is None:
            if "machine" not in rows:
                raise InputError(Problem("--machine", "", "missing, needed where rows have no column 'machine'"))
            return np.ones(len(rows), dtype=bool)
        acc = load_accelerator(machine)
        if "machine" not in rows:
            return np.ones(len(rows), dtype=bool)
        names = {plain_name(machine), plain_name(acc.name)}
        return np.array([plain_name(name) in names for name in rows["machine"].tolist()])

    def predict(self, rows: Rows, machine: str | None) -> Prediction:
        """Time, energy and power of each row; beside them the roofline's time."""
        names = [machine] * len(rows) if machine is not None else rows["machine"].tolist()
        asked = list(zip(names, rows["workload"].tolist(), strict=True))
        runs, bounds = self._runs(rows, asked)
        found = [runs[one] for one in asked]
        return Prediction(
            {
                "latency": np.array([run.latency_s for run in found]),
                "energy": np.array([run.energy_j for run in found]),
                "power": np.array([run.power_w for run in found]),
            },
            {
                "machine": np.array([run.machine.name for run in found]),
                "workload": np.array([run.workload.name for run in found]),
                "bound by": np.array([run.bound_by for run in found]),
            },
            [f"{work} on {name}" for name, work in asked],
            baselines={"roofline of each op": np.array([bounds[one] for one in asked])},
        )

    def _runs(
        self, rows: Rows, asked: list[tuple[str, str]]
    ) -> tuple[dict[tuple[str, str], Report], dict[tuple[str, str], float]]:
        """A run for each pair of machine and workload, and its analytic bound; problems of all of them at once."""
        read: dict[tuple[str, str], tuple[Workload, Accelerator]] = {}
        problems: list[Problem] = []
        for line, (name, work) in zip(rows.lines.tolist(), asked, strict=True):
            if (name, work) in read:
                continue
            try:
                acc, loaded = read_both(partial(load_accelerator, name), partial(load_workload, work))
                read[name, work] = loaded, acc
            except AccsimError as error:
                problems += [Problem(f"{rows.file}:{line}", "", text) for text in str(error).splitlines()]
        if problems:
            raise InputError(problems)
        runs = {pair: simulate(*both) for pair, both in read.items()}
        bounds = {pair: simulate(*both, fidelity="analytic").latency_s for pair, both in read.items()}
        return runs, bounds

"""What a search found: every trial, the Pareto front, and how fast the front grew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from accsim.sweep.columns import NUMBERS
from accsim.sweep.expressions import Expression
from accsim.sweep.manifest import SCHEMA_VERSION
from accsim.sweep.pareto import Points, front, hypervolume
from accsim.sweep.space import Space
from accsim.sweep.studies import RESULT, VIOLATION
from accsim.sweep.summary import show_points

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from optuna.trial import FrozenTrial
    from rich.console import Console

SHOWN = 10


@dataclass(frozen=True)
class SearchResult:
    """A search that ended.

    Attributes
    ----------
    space : what was searched.
    objectives : what was minimized.
    samplers : the one that was asked for, then ``"random"`` where there is a baseline.
    trials : a row for each trial: its sampler and number, the design, the objectives, the other numbers of the design,
        the violation of constraints, whether it is feasible, and why not.
    hypervolumes : sampler -> float64[trials], the share of the space of objectives that its feasible designs dominate
        after each trial, 0 to 1.
    """

    space: Space
    objectives: tuple[str, ...]
    samplers: tuple[str, ...]
    trials: pd.DataFrame
    hypervolumes: Mapping[str, npt.NDArray[np.float64]]

    @property
    def front(self) -> pd.DataFrame:
        """Designs on the Pareto front of all trials, each once, by the first objective."""
        return front_of_trials(self.trials, self.space.keys, self.objectives)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        columns = ["sampler", "trial", "machine", *self.space.keys, *self.objectives]
        columns = list(dict.fromkeys(columns))
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.space.name,
            "objectives": list(self.objectives),
            "trials": {name: int((self.trials["sampler"] == name).sum()) for name in self.samplers},
            "infeasible": {name: self._infeasible(name) for name in self.samplers},
            "hypervolume": {name: float(self.hypervolumes[name][-1]) for name in self.samplers},
            "front": self.front[columns].to_dict("records"),
        }

    def _infeasible(self, sampler: str) -> int:
        return int((~self.trials["feasible"] & (self.trials["sampler"] == sampler)).sum())

    def show(self, console: Console) -> None:
        """As text and a table."""
        found = self.to_dict()
        for name in self.samplers:
            share, failed = found["hypervolume"][name], found["infeasible"][name]
            console.print(
                f"{name}: {found['trials'][name]} trials, {failed} of them not feasible, hypervolume {share:.3f}"
            )
        if not found["front"]:
            reasons = self.trials["error"].value_counts()
            console.print(f"no design is feasible: {reasons.index[0]}", markup=False)
            return
        rows = [{name: row[name] for name in self._shown()} for row in found["front"]]
        places = np.unique(np.linspace(0, len(rows) - 1, SHOWN).round().astype(int))
        some = f", {SHOWN} of them" if len(rows) > SHOWN else ""
        show_points(
            console, f"Pareto front: {len(rows)} designs{some}", [rows[i] for i in places], self.space.dimensions
        )

    def _shown(self) -> list[str]:
        """Columns that tell designs apart, and the objectives."""
        machine = ["machine"] if len(self.space.machines) > 1 else []
        varied = [axis.key for axis in self.space.axes if axis.interval or axis.size > 1]
        return list(dict.fromkeys(["sampler", "trial", *machine, *varied, *self.objectives]))

    def plot(self) -> Figure:
        """All designs with the fronts, and the hypervolumes after each trial."""
        from accsim.sweep.plot_search import plot_search

        return plot_search(self)


def result_of(
    space: Space, objectives: Sequence[Expression], studies: Mapping[str, Sequence[FrozenTrial]]
) -> SearchResult:
    """The result of some studies."""
    import pandas as pd

    texts = tuple(goal.text for goal in objectives)
    rows = [_row(sampler, trial, texts) for sampler, trials in studies.items() for trial in trials]
    columns = dict.fromkeys(
        ("sampler", "trial", "machine", *space.keys, *texts, *NUMBERS, VIOLATION, "feasible", "error")
    )
    frame = pd.DataFrame(rows, columns=list(columns)).astype({"feasible": bool})
    return SearchResult(space, texts, tuple(studies), frame, hypervolumes_of(frame, texts, tuple(studies)))


def front_of_trials(trials: pd.DataFrame, keys: Sequence[str], objectives: Sequence[str]) -> pd.DataFrame:
    """Designs on the Pareto front of some trials, each once, by the first objective; ``keys`` are the fields."""
    rows = trials[trials["feasible"]].drop_duplicates(["machine", *keys])
    return rows[front(rows[list(objectives)])].sort_values(list(objectives), ignore_index=True)


def hypervolumes_of(
    trials: pd.DataFrame, objectives: Sequence[str], samplers: Sequence[str]
) -> dict[str, npt.NDArray[np.float64]]:
    """Sampler -> the share of the space of objectives that its designs dominate after each of its trials."""
    scaled = scale(trials[list(objectives)].to_numpy(float), trials["feasible"].to_numpy())
    return {name: growth(scaled[(trials["sampler"] == name).to_numpy()]) for name in samplers}


def _row(sampler: str, trial: FrozenTrial, objectives: Sequence[str]) -> dict[str, Any]:
    result = trial.user_attrs[RESULT]
    return {
        "sampler": sampler,
        "trial": trial.number,
        **dict(zip(objectives, trial.values, strict=True)),
        **result["fields"],
        **result["numbers"],
        VIOLATION: result[VIOLATION],
        "feasible": result["error"] is None,
        "error": result["error"],
    }


def scale(values: Points, feasible: npt.NDArray[np.bool_]) -> Points:
    """Objectives from 0 (the least of all feasible designs) to 1 (the most); infinite where not feasible.

    An objective that is positive throughout is scaled by its logarithm: a half counts the same wherever it is gained.
    """
    found = np.full(values.shape, np.inf)
    if not feasible.any():
        return found
    known = values[feasible]
    known = np.where((known > 0).all(axis=0), np.log(np.where(known > 0, known, 1.0)), known)
    low, high = known.min(axis=0), known.max(axis=0)
    found[feasible] = (known - low) / np.where(high > low, high - low, 1.0)
    return found


def growth(scaled: Points) -> npt.NDArray[np.float64]:
    """Hypervolume of the first, the first two, ... of some points, up to one in all objectives."""
    found = np.zeros(len(scaled))
    best: list[Points] = []
    for i, point in enumerate(scaled):
        found[i] = found[i - 1] if i else 0.0
        if np.isfinite(point).all() and not any((other <= point).all() for other in best):
            best = [other for other in best if not (point <= other).all()] + [point]
            found[i] = hypervolume(np.array(best), np.ones(scaled.shape[1]))
    return found

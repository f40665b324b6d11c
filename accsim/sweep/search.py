"""Searches of designs: Optuna asks for a batch of them, an executor runs it, and what is best is a Pareto front."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accsim.errors import InputError, Problem
from accsim.sweep.choices import choices_of, design_of
from accsim.sweep.designs import NO_RESULT, run_designs
from accsim.sweep.executors import Executor
from accsim.sweep.executors.dask_cluster import DaskCluster
from accsim.sweep.executors.in_process import InProcess
from accsim.sweep.expressions import Expression
from accsim.sweep.objectives import read_objectives, values_of, without_value
from accsim.sweep.run import OnProgress, Progress
from accsim.sweep.search_folder import about_search, begun, checked, finished
from accsim.sweep.search_result import SearchResult, result_of
from accsim.sweep.space import Space, read_space
from accsim.sweep.studies import RANDOM, RESULT, VIOLATION, Plan, Trials, Workplace, check_sampler, quiet, trials_of

if TYPE_CHECKING:
    from optuna.trial import Trial

OBJECTIVES = ("latency_s", "energy_j")
BATCH = 20


def optimize(
    space: Space | str | Path,
    objectives: Sequence[str] = OBJECTIVES,
    *,
    trials: int = 200,
    sampler: str = "nsga2",
    batch: int = BATCH,
    seed: int = 0,
    baseline: bool = True,
    executor: Executor | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    progress: OnProgress | None = None,
    command: str = "",
) -> SearchResult:
    """The best designs that a search finds; the same for the same arguments, whoever runs them.

    Parameters
    ----------
    space : a space, the name of one that ships, or the path of its file. Its constraints hold; how it samples does not
        matter, since the search itself chooses.
    objectives : what is minimized, 1 to 4 expressions of a design's numbers: ``"latency_s"``,
        ``"-matrix_utilization"``, ``"latency_s * energy_j"``. Numbers of several workloads are weighted sums.
    trials : designs that are tried; one that was tried before is not run again.
    sampler : ``"nsga2"``, ``"nsga3"``, ``"tpe"``, ``"gp"`` (needs torch) or ``"random"``.
    batch : designs that are asked for at once, and the population of the genetic samplers.
    seed : of the sampler.
    baseline : try as many designs at random too, to see what the sampler is worth.
    executor : where designs are run; here without one.
    out : a folder for the journal, the table, the front and the figure. Several processes may share one.
    resume : go on with a search in ``out``, or take part in it.
    progress : called after each batch.
    command : what the manifest says was called.

    Raises
    ------
    InputError
        For a bad space, objective or sampler, a missing extra, and a folder that holds anything else.
    ExecutorError
        When the executor is lost; ``out`` has what was told before.
    """
    space, goals = _checked(space, objectives, sampler, {"--trials": trials, "--batch": batch})
    plan = Plan(sampler, trials, batch, seed, choices_of(space))
    plans = [plan, dataclasses.replace(plan, sampler=RANDOM)] if baseline and sampler != RANDOM else [plan]
    with quiet(), contextlib.ExitStack() as stack:
        about = about_search(space, goals, plan)
        folder = checked(out, about, resume=resume) if out else None
        place = stack.enter_context(Workplace(folder))
        if folder:
            with place.alone():
                begun(folder, about, resume=resume, command=command)
        if isinstance(executor, DaskCluster):
            executor = stack.enter_context(executor.kept())
        search = _Search(space, goals, plans, place, executor or InProcess(), progress)
        search.run()
        result = result_of(space, goals, {trials.plan.sampler: trials.done() for trials in search.studies})
        if folder:
            with place.alone():
                finished(folder, result, complete=search.complete)
        return result


def _checked(
    space: Space | str | Path, objectives: Sequence[str], sampler: str, counts: Mapping[str, int]
) -> tuple[Space, tuple[Expression, ...]]:
    """The space and the objectives; raises with every problem of all arguments."""
    problems = [
        Problem(name, "", f"read {value}, allowed is at least 2") for name, value in counts.items() if value < 2
    ]
    goals: tuple[Expression, ...] = ()
    try:
        check_sampler(sampler)
    except InputError as error:
        problems += error.problems
    try:
        space = read_space(space)
        goals = read_objectives(space, objectives)
    except InputError as error:
        problems += error.problems
    if problems or not isinstance(space, Space):
        raise InputError(problems)
    return space, goals


class _Search:
    """One process of a search."""

    def __init__(
        self,
        space: Space,
        objectives: Sequence[Expression],
        plans: Sequence[Plan],
        place: Workplace,
        executor: Executor,
        progress: OnProgress | None,
    ) -> None:
        self.space, self.objectives, self.executor = space, objectives, executor
        self.progress = progress or (lambda _: None)
        self.studies = trials_of(place, plans, len(objectives))
        self.start = time.perf_counter()
        self.kept = sum(len(study.done()) for study in self.studies)
        self.warm = False

    @property
    def complete(self) -> bool:
        """Whether every trial has a result."""
        return all(len(study.done()) >= study.plan.trials for study in self.studies)

    def run(self) -> None:
        """Run what nobody else does."""
        for study in self.studies:
            while trials := study.claim():
                self._run(study, trials)
                self.progress(self._state())

    def _run(self, study: Trials, trials: Sequence[Trial]) -> None:
        """Run those designs of some trials that were not run before, each once, and tell all of them in order."""
        known = {_key(trial.params): trial.user_attrs[RESULT] for each in self.studies for trial in each.done()}
        new = {_key(trial.params): trial.params for trial in trials if _key(trial.params) not in known}
        designs = [design_of(self.space, chosen) for chosen in new.values()]
        found = run_designs(self.space, designs, self.executor, warm=self.warm)
        self.warm = self.warm or bool(designs)
        for key, design, one in zip(new, designs, found, strict=True):
            fields = {"machine": design.machine, **design.values}
            error = one.error or without_value(self.objectives, one.numbers)
            violation = one.violation or (NO_RESULT if error else 0.0)
            known[key] = {"fields": fields, "numbers": one.numbers, VIOLATION: violation, "error": error}
        for trial in trials:
            result = known[_key(trial.params)]
            study.tell(trial, values_of(self.objectives, result["numbers"]), result[VIOLATION], result)

    def _state(self) -> Progress:
        done = [trial for study in self.studies for trial in study.done()]
        errors = [trial.user_attrs[RESULT]["error"] for trial in done]
        best = min(
            (trial.values[0] for trial, error in zip(done, errors, strict=True) if error is None), default=math.inf
        )
        wanted = sum(study.plan.trials for study in self.studies)
        return Progress(
            wanted, wanted, len(done), len(done), self.kept, len(done) - errors.count(None), best,
            time.perf_counter() - self.start,
        )  # fmt: skip


def _key(chosen: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(chosen.items()))

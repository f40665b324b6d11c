"""Optuna's studies as a search keeps them: trials are claimed, run by anybody, and told in the order of their numbers.

A journal in a folder holds all that is asked and told. Several processes may work on one: who claims trials holds the
folder's lock meanwhile, and a lock of its own as long as it lives, so that the next one claims what a dead one left.
Samplers are seeded anew at each claim from the trials there are: a search that was ended and goes on asks what it would
have asked.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import logging
import os
import secrets
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accsim.errors import InputError, Problem, nearest

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

SAMPLERS = ("nsga2", "nsga3", "tpe", "gp", "random")
RANDOM = "random"
JOURNAL = "journal.log"
LOCK = ".lock"
WORKERS = ".workers"
WORKER, RESULT, VIOLATION = "worker", "result", "violation"


def check_sampler(name: str) -> None:
    """Refuse what cannot be used here.

    Raises
    ------
    InputError
        For a missing extra, and an unknown sampler.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "IProgress not found")  # tqdm's, in notebooks: no bar of it is shown
            import optuna  # noqa: F401
    except ImportError as error:
        raise InputError("accsim optimize needs the extra 'search': pip install 'accsim[search]'") from error
    if name not in SAMPLERS:
        allowed = f"unknown sampler '{name}', allowed are {', '.join(SAMPLERS)}"
        raise InputError(Problem("--sampler", "", allowed, nearest(name, SAMPLERS)))
    if name == "gp" and importlib.util.find_spec("torch") is None:
        raise InputError(Problem("--sampler", "gp", "needs torch beside the extra 'search': pip install torch"))


def sampler_of(name: str, population: int, seed: Sequence[int]) -> BaseSampler:
    """A sampler of Optuna's, with its own settings but for the population of the genetic ones."""
    from optuna import samplers

    number = int(np.random.SeedSequence(seed).generate_state(1)[0])
    match name:
        case "nsga2":
            return samplers.NSGAIISampler(population_size=population, seed=number)
        case "nsga3":
            return samplers.NSGAIIISampler(population_size=population, seed=number)
        case "tpe":
            return samplers.TPESampler(multivariate=True, constant_liar=True, seed=number)
        case "gp":
            return samplers.GPSampler(seed=number, deterministic_objective=True)
    return samplers.RandomSampler(seed=number)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Optuna tells of each study in its log, and warns of samplers that may change and of designs without numbers."""
    from optuna.exceptions import ExperimentalWarning

    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            warnings.filterwarnings("ignore", "Clip non-finite values")  # gp's, for designs without numbers
            yield
    finally:
        logger.setLevel(level)


class Workplace:
    """Where trials are kept, and who works on them: this process alone, or all that share a folder."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.name = secrets.token_hex(8)
        self._own = -1

    def __enter__(self) -> Workplace:
        if self.folder:
            (self.folder / WORKERS).mkdir(parents=True, exist_ok=True)
            self._own = os.open(self.folder / WORKERS / self.name, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._own, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        if self.folder:
            (self.folder / WORKERS / self.name).unlink(missing_ok=True)
            os.close(self._own)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """No other process is here meanwhile."""
        if not self.folder:
            yield
            return
        lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def lives(self, worker: str | None) -> bool:
        """Whether a process is still at work: nobody else can then take its lock."""
        if worker == self.name:
            return True
        if not worker or not self.folder:
            return False
        try:
            other = os.open(self.folder / WORKERS / worker, os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(other)
        (self.folder / WORKERS / worker).unlink(missing_ok=True)
        return False

    def storage(self) -> BaseStorage:
        """Optuna's storage."""
        from optuna.storages import InMemoryStorage, JournalStorage
        from optuna.storages.journal import JournalFileBackend

        if not self.folder:
            return InMemoryStorage()
        _cut_short_line(self.folder / JOURNAL)
        return JournalStorage(JournalFileBackend(str(self.folder / JOURNAL)))


def _cut_short_line(journal: Path) -> None:
    """Remove what a full disk or a kill left of the last line: what is written next would stand behind it."""
    from optuna.storages.journal import JournalFileSymlinkLock

    if not journal.exists():
        return
    lock = JournalFileSymlinkLock(str(journal))
    lock.acquire()
    try:
        content = journal.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(journal, content.rfind(b"\n") + 1)
    finally:
        lock.release()


@dataclass(frozen=True)
class Plan:
    """How a study asks: by which sampler, how many trials in all and at once, among which choices."""

    sampler: str
    trials: int
    batch: int
    seed: int
    choices: Mapping[str, BaseDistribution]


class Trials:
    """The trials of one study."""

    def __init__(self, place: Workplace, storage: BaseStorage, plan: Plan, objectives: int) -> None:
        import optuna

        self.place, self.plan = place, plan
        directions = [optuna.study.StudyDirection.MINIMIZE] * objectives
        self.study: Study = optuna.create_study(
            storage=storage, study_name=plan.sampler, directions=directions, load_if_exists=True
        )

    def claim(self) -> list[Trial]:
        """The next trials for this process, those first that a dead one left; none when all are done or claimed."""
        with self.place.alone():
            left = self._left()
            if left:
                return left
            known = self.study.get_trials(deepcopy=False)
            taken = sum(trial.state.name in ("COMPLETE", "RUNNING") for trial in known)
            seed = (self.plan.seed, SAMPLERS.index(self.plan.sampler), len(known))
            self.study.sampler = sampler_of(self.plan.sampler, self.plan.batch, seed)
            return [self._ask() for _ in range(min(self.plan.batch, self.plan.trials - taken))]

    def _left(self) -> list[Trial]:
        """Trials of dead processes, which are this one's from now on; those without all choices are given up."""
        from optuna.trial import Trial, TrialState

        self.study.sampler = sampler_of(RANDOM, 0, ())  # a trial that is opened again asks no other for choices
        found = []
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if self.place.lives(trial.user_attrs.get(WORKER)):
                continue
            if set(trial.params) == set(self.plan.choices):
                found.append(Trial(self.study, trial._trial_id))
                found[-1].set_user_attr(WORKER, self.place.name)
            else:
                self.study.tell(trial.number, state=TrialState.FAIL)
        return found

    def _ask(self) -> Trial:
        trial = self.study.ask(dict(self.plan.choices))
        trial.set_user_attr(WORKER, self.place.name)
        return trial

    def tell(self, trial: Trial, values: Sequence[float], violation: float, result: Mapping[str, Any]) -> None:
        """The result of a trial that this process claimed."""
        trial.set_user_attr(RESULT, dict(result))
        if VIOLATION not in trial.constraints:
            trial.set_constraint(VIOLATION, violation)
        self.study.tell(trial, list(values))

    def done(self) -> list[FrozenTrial]:
        """The trials that have a result, by their numbers."""
        from optuna.trial import TrialState

        return self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def trials_of(place: Workplace, plans: Sequence[Plan], objectives: int) -> list[Trials]:
    """The trials of some studies, with all that the journal has of them.

    Raises
    ------
    InputError
        For a journal that cannot be read.
    """
    with place.alone():
        try:
            storage = place.storage()
            return [Trials(place, storage, plan, objectives) for plan in plans]
        except (ValueError, KeyError) as error:
            message = f"cannot be read ({error}); name another folder, or remove the lines from the first bad one on"
            raise InputError(Problem(str(place.folder and place.folder / JOURNAL), "", message)) from error

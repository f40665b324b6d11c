"""Groups in processes of this machine. A process that dies loses nothing: what it had is run again by another."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from multiprocessing.connection import Connection, wait
from typing import Any

from accsim.errors import AccsimError
from accsim.sweep.executors import Done, Work
from accsim.sweep.groups import Group

MOST_DEATHS = 3
"""Processes that a group may take with it before its points are rows with an error."""
AHEAD = 2
"""Groups that a process has at most: the one it runs and the next."""


@dataclass(frozen=True)
class Processes:
    """Runs groups in ``jobs`` local processes.

    Parameters
    ----------
    start : how a process begins: ``fork`` (a copy of this one, with all that is compiled), ``forkserver`` or ``spawn``.
    """

    jobs: int
    start: str = "fork"

    def run(self, work: Work, groups: Iterable[Group]) -> Iterator[Done]:
        """What is done, as it is done."""
        source = iter(groups)
        first = next(source, None)
        if first is None:
            return
        if self.start == "fork":
            work.prepare(first)
        pool = _Pool(self, work, chain([first], source))
        try:
            yield from pool.results()
        finally:
            pool.end()

    def __str__(self) -> str:
        return f"{self.jobs} local processes"


@dataclass(eq=False)
class _Process:
    """A worker, the end of its pipe, and the groups it has."""

    process: Any
    pipe: Connection
    groups: deque[Group] = field(default_factory=deque)


class _Pool:
    """Workers on one sweep, fed from one source."""

    def __init__(self, executor: Processes, work: Work, source: Iterator[Group]) -> None:
        self.context: Any = multiprocessing.get_context(executor.start)
        self.work, self.source = work, source
        self.again: deque[Group] = deque()
        self.deaths: Counter[Group] = Counter()
        self.workers = [self._begin() for _ in range(executor.jobs)]

    def _begin(self) -> _Process:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(self.work, theirs), daemon=True)
        process.start()
        theirs.close()
        return _Process(process, ours)

    def results(self) -> Iterator[Done]:
        """All groups' results; those of a worker that dies come from another."""
        while True:
            for worker in self.workers:
                self._feed(worker)
            busy = [worker for worker in self.workers if worker.groups]
            if not busy:
                return
            ready = wait([worker.pipe for worker in busy])
            for worker in busy:
                if worker.pipe in ready:
                    yield from self._received(worker)

    def _feed(self, worker: _Process) -> None:
        while len(worker.groups) < AHEAD:
            group = self.again.popleft() if self.again else next(self.source, None)
            if group is None:
                return
            worker.groups.append(group)
            try:
                worker.pipe.send(group)
            except OSError:
                return  # it is dead, which is seen when its result is asked for

    def _received(self, worker: _Process) -> Iterator[Done]:
        try:
            result = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._bury(worker)
            return
        if isinstance(result, BaseException):
            raise result
        worker.groups.popleft()
        yield result

    def _bury(self, worker: _Process) -> Iterator[Done]:
        """Replace a dead worker, and give its groups to others: the one it ran is charged with the death."""
        worker.process.join()
        worker.pipe.close()
        guilty = worker.groups.popleft()
        self.again.extend(worker.groups)
        self.workers[self.workers.index(worker)] = self._begin()
        self.deaths[guilty] += 1
        if self.deaths[guilty] < MOST_DEATHS:
            self.again.append(guilty)
        else:
            why = f"the process that ran it died {MOST_DEATHS} times, the last time {_cause(worker.process.exitcode)}"
            yield self.work.give_up(guilty, why)

    def end(self) -> None:
        """Stop all workers."""
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()
            worker.pipe.close()


def _cause(code: int | None) -> str:
    return f"by signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"


def _serve(work: Work, pipe: Connection) -> None:
    """Run groups until nobody sends any; an interrupt of the terminal is the parent's affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    while os.getppid() == parent:
        try:
            group = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            result: Done | BaseException = work(group)
        except Exception as error:  # noqa: BLE001 told to the parent, which raises it
            result = error if isinstance(error, AccsimError) else RuntimeError(f"{type(error).__name__}: {error}")
        pipe.send(result)

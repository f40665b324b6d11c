"""Groups on a Dask cluster: one on this machine, or any whose scheduler's address or file is given.

A worker that dies loses nothing: Dask runs its groups elsewhere. A group that kills one worker after the other becomes
rows with an error.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accsim.errors import InputError, Problem
from accsim.sweep.executors import Done, ExecutorError, Work
from accsim.sweep.groups import Group

if TYPE_CHECKING:
    from distributed import Client

AHEAD = 3
"""Groups that a worker's thread has at most, so that it never waits and memory stays bounded."""
LOCAL = "local"
CONNECT_S = 5


@dataclass(frozen=True)
class DaskCluster:
    """Runs groups on a Dask cluster.

    Parameters
    ----------
    where : ``"local"`` for one process a core of this machine, a scheduler's address (``"tcp://host:8786"``), or the
        path of a scheduler file.
    workers : processes of a local cluster; by default one for each core.
    """

    where: str
    workers: int | None = None

    def run(self, work: Work, groups: Iterable[Group]) -> Iterator[Done]:
        """What is done, as it is done.

        Raises
        ------
        InputError
            When there is no scheduler.
        ExecutorError
            When the scheduler goes away.
        """
        with _quiet(), contextlib.ExitStack() as stack:
            client = stack.enter_context(self._client())
            yield from _results(client, work, iter(groups), str(self))

    @contextlib.contextmanager
    def kept(self) -> Iterator[DaskCluster]:
        """The same cluster for several runs: a local one is begun once, and ends with the block."""
        with _quiet(), self._client() as client:
            yield DaskCluster(str(client.scheduler_info()["address"]))

    @contextlib.contextmanager
    def _client(self) -> Iterator[Client]:
        try:
            from distributed import Client, LocalCluster
        except ImportError as error:
            raise InputError("--dask needs the extra 'cluster': pip install 'accsim[cluster]'") from error
        with contextlib.ExitStack() as stack:
            where: Any = {"address": self.where}
            if self.where == LOCAL:
                workers = self.workers or len(os.sched_getaffinity(0))
                cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
                where = {"address": stack.enter_context(contextlib.closing(cluster))}
            elif "://" not in self.where:
                where = {"scheduler_file": self.where}
                if not Path(self.where).exists():
                    allowed = "allowed is local, tcp://HOST:PORT, or the path of a scheduler file"
                    raise InputError(Problem("--dask", "", f"there is no file '{self.where}'; {allowed}"))
            try:
                client = Client(**where, timeout=CONNECT_S, set_as_default=False)
            except (OSError, ValueError, TimeoutError) as error:
                raise InputError(Problem("--dask", "", f"no scheduler answers at '{self.where}': {error}")) from error
            yield stack.enter_context(contextlib.closing(client))

    def __str__(self) -> str:
        return "a local Dask cluster" if self.where == LOCAL else f"the Dask cluster at {self.where}"


def _results(client: Client, work: Work, source: Iterator[Group], where: str) -> Iterator[Done]:
    """Keep every worker fed, and yield what is done."""
    from distributed import CancelledError, as_completed
    from distributed.scheduler import KilledWorker

    pending: dict[Any, Group] = {}
    completed = as_completed(loop=client.loop)

    def feed() -> None:
        room = AHEAD * max(1, sum(client.nthreads().values())) - len(pending)
        for _, group in zip(range(room), source, strict=False):
            future = client.submit(work, group, pure=False)
            pending[future.key] = group
            completed.add(future)

    try:
        feed()
        while pending:
            future = next(completed)
            group = pending.pop(future.key)
            error = future.exception()
            if isinstance(error, KilledWorker):
                yield work.give_up(group, "the workers that ran it died, one after the other")
            elif error is not None:
                raise error
            else:
                yield future.result()
            feed()
    except (OSError, CancelledError, StopIteration, TimeoutError) as error:
        message = f"lost {where}: {str(error) or type(error).__name__}"
        raise ExecutorError(f"{message}. What was done is in the folder; go on with --resume") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Dask tells of lost connections in its log; what matters of it is an error here."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)

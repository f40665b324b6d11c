"""Sweeps: every point of a space, into a table or a folder of Parquet files, by any executor."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accsim.sweep.executors import Done, Executor, ExecutorError
from accsim.sweep.executors.in_process import InProcess
from accsim.sweep.groups import ALL, Group, GroupHasher, Shard
from accsim.sweep.manifest import COMPLETE, INTERRUPTED, STOPPED, check_goes_on, new_manifest, now
from accsim.sweep.space import Space, read_space
from accsim.sweep.store import Store, opened
from accsim.sweep.work import RunGroup

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Progress:
    """How far a sweep is.

    Attributes
    ----------
    points, groups : done so far, those of an earlier run included; ``all_points`` and ``all_groups`` in all.
    kept : points of an earlier run.
    failed : points without a result among those done now.
    best : least objective (seconds or joules) among those done now; infinite without one.
    seconds : since it began.
    """

    all_points: int
    all_groups: int
    points: int = 0
    groups: int = 0
    kept: int = 0
    failed: int = 0
    best: float = math.inf
    seconds: float = 0.0

    def with_done(self, done: Done, seconds: float) -> Progress:
        """With one more group."""
        points, groups, failed = self.points + done.group.points, self.groups + 1, self.failed + done.failed
        best = min(self.best, done.best)
        return replace(self, points=points, groups=groups, failed=failed, best=best, seconds=seconds)

    def with_kept(self, group: Group) -> Progress:
        """With a group of an earlier run."""
        points, groups, kept = self.points + group.points, self.groups + 1, self.kept + group.points
        return replace(self, points=points, groups=groups, kept=kept)

    @property
    def complete(self) -> bool:
        """Whether every point is done."""
        return self.points == self.all_points


OnProgress = Callable[[Progress], None]
Cancelled = Callable[[], bool]


def never() -> bool:
    """Nobody cancels."""
    return False


def stream(
    space: Space | str | Path, executor: Executor | None = None, *, shard: Shard = ALL, cancelled: Cancelled = never
) -> Iterator[pd.DataFrame]:
    """The rows of a space, a frame for each group as it is done; nothing is kept.

    Parameters
    ----------
    space : a space, the name of one that ships, or the path of its file.
    executor : where points are run; here without one.
    shard : only some of the groups.
    cancelled : asked before each group; once it says True no more are begun.
    """
    space = read_space(space)
    groups = (group for group in shard.groups(space) if not cancelled())
    for done in (executor or InProcess()).run(RunGroup(space), groups):
        yield rows_of(done)


def sweep(
    space: Space | str | Path,
    executor: Executor | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    shard: Shard = ALL,
    progress: OnProgress | None = None,
    cancelled: Cancelled = never,
) -> pd.DataFrame:
    """All rows of a space, by the number of their point.

    Parameters
    ----------
    space : a space, the name of one that ships, or the path of its file.
    executor : where points are run; here without one.
    out : a folder that keeps them, as ``accsim sweep --out``; without one they are in the table alone.
    resume : go on with a sweep in ``out``; what is there and has not changed is not run again.
    shard : only some of the groups.
    progress : called after each group.
    cancelled : asked before each group; once it says True no more are begun, and those done are returned.

    Raises
    ------
    InputError
        For a bad space, and a folder that cannot be written or holds something else.
    ExecutorError
        When the executor is lost; ``out`` has what was done before.
    """
    import pandas as pd

    space = read_space(space)
    if out is not None:
        sweep_into(out, space, executor, resume=resume, shard=shard, progress=progress, cancelled=cancelled)
        from accsim.sweep.store import read_sweep

        frame: pd.DataFrame = read_sweep(out).to_table().to_pandas()
        return frame
    frames = list(stream(space, executor, shard=shard, cancelled=cancelled))
    if not frames:
        from accsim.sweep.columns import schema_of

        return schema_of(space).empty_table().to_pandas()  # type: ignore[no-any-return]
    return pd.concat(frames, ignore_index=True).sort_values("point", ignore_index=True)


def rows_of(done: Done) -> pd.DataFrame:
    """The rows of a group."""
    import pyarrow.parquet as pq

    frame: pd.DataFrame = pq.read_table(io.BytesIO(done.content)).to_pandas()
    return frame


def sweep_into(
    folder: str | Path,
    space: Space,
    executor: Executor | None = None,
    *,
    resume: bool = False,
    shard: Shard = ALL,
    progress: OnProgress | None = None,
    cancelled: Cancelled = never,
    command: str = "",
) -> Progress:
    """Run a space and write its rows into a folder, group by group; memory does not grow with the number of points.

    Returns
    -------
    Progress
        At the end; not ``complete`` where it was cancelled.

    Raises
    ------
    InputError, ExecutorError, KeyboardInterrupt
        As :func:`sweep`. The folder then has what was done before, and a manifest that says so.
    """
    with opened(folder, resume=resume) as store:
        job = _Job(store, space, shard, progress or (lambda _: None), cancelled)
        manifest = new_manifest(space, str(shard), command)
        check_goes_on(store, manifest["sweep"], str(shard))
        store.write_manifest(manifest)
        status = STOPPED
        try:
            job.remove_stale()
            job.run(executor or InProcess())
            status = COMPLETE if job.state.complete else INTERRUPTED
        except KeyboardInterrupt:
            status = INTERRUPTED
            raise
        finally:
            store.write_manifest(manifest | job.result(status))
        return job.state


class _Job:
    """One run of a sweep into a store."""

    def __init__(self, store: Store, space: Space, shard: Shard, progress: OnProgress, cancelled: Cancelled) -> None:
        self.store, self.space, self.shard = store, space, shard
        self.progress, self.cancelled = progress, cancelled
        self.start = time.perf_counter()
        self.hasher = GroupHasher(space)
        self.asked: dict[int, Path] = {}
        self.removed = 0
        groups, points = shard.counted(space)
        self.state = Progress(points, groups)

    def remove_stale(self) -> None:
        """Remove files of rows that do not follow from machines, workloads and networks as they are now."""
        if self.store.files():
            self.removed = self.store.keep_only({self._file_of(group) for group in self.shard.groups(self.space)})

    def run(self, executor: Executor) -> None:
        """Run what is missing."""
        self.progress(self.state)
        for done in executor.run(RunGroup(self.space), self._missing()):
            self.store.put(self.asked.pop(done.group.number), done.content)
            self.state = self.state.with_done(done, time.perf_counter() - self.start)
            self.progress(self.state)
        if self.asked:
            raise ExecutorError(f"{executor} ended without {len(self.asked)} groups; run them with --resume")

    def _missing(self) -> Iterator[Group]:
        """Groups whose rows are not there."""
        for group in self.shard.groups(self.space):
            if self.cancelled():
                return
            file = self._file_of(group)
            if self.store.rows(file) == group.points:
                self.state = self.state.with_kept(group)
                self.progress(self.state)
            else:
                self.asked[group.number] = file
                yield group

    def _file_of(self, group: Group) -> Path:
        return self.store.file_of(group.start, self.hasher(group))

    def result(self, status: str) -> dict[str, Any]:
        """What the manifest says at the end."""
        state = self.state
        return {
            "status": status,
            "ended_at": now(),
            "seconds": time.perf_counter() - self.start,
            "points_done": state.points,
            "points_kept": state.kept,
            "points_failed": state.failed,
            "files_removed": self.removed,
        }

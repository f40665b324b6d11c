"""The progress of a sweep on a terminal: points, points a second, time left, failures, the best so far."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from accsim.report.terminal import progress as compiling
from accsim.report.words import si
from accsim.sweep.run import OnProgress, Progress
from accsim.sweep.summary import UNITS


@contextmanager
def showing(unit: str) -> Iterator[OnProgress | None]:
    """A bar on stderr where that is a terminal, else nothing; the best so far is shown in a unit."""
    if not sys.stderr.isatty():
        with compiling():
            yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(), MofNCompleteColumn(), TextColumn("points"), TextColumn("{task.fields[about]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, about="")

        def show(state: Progress) -> None:
            bar.update(task, total=state.all_points, completed=state.points, about=about(state, unit))

        yield show


def about(state: Progress, unit: str) -> str:
    """Points a second, failures and the best so far in a few words.

    Examples
    --------
    >>> about(Progress(100, 10, points=50, groups=5, failed=2, best=0.25, seconds=2.0), "s")
    '25/s, 2 failed, best 250.0 ms'
    """
    rate = (state.points - state.kept) / state.seconds if state.seconds else 0.0
    parts = [f"{rate:,.0f}/s"] if rate else []
    parts += [f"{state.failed:,} failed"] if state.failed else []
    best = si(state.best, unit) if unit in UNITS.values() else f"{state.best:.4g} {unit}"
    parts += [f"best {best}"] if math.isfinite(state.best) else []
    return ", ".join(parts)

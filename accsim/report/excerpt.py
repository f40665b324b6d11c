"""What the figures over time show of one op: all its programs when they are short, else the first firings of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from accsim.engine.compose import Part
from accsim.engine.program import TICKS_PER_CYCLE, Program, Stage
from accsim.errors import InputError, Problem, nearest
from accsim.report.firings import Firing, first_firings, inner_firings
from accsim.report.plot_style import by_time, op_label, prefix_of
from accsim.report.result import OpRow, Report


@dataclass(frozen=True)
class Shown:
    """One program of an excerpt: the firings that start before ``end``, and when it begins; ticks.

    ``end`` counts from the program's own start, as the times of its firings do; ``begin`` from the excerpt's.
    """

    program: Program
    firings: tuple[Firing, ...]
    begin: int
    end: int

    @cached_property
    def tile_levels(self) -> tuple[int, ...]:
        """Depths of the levels that number a tile: those with several iterations here, without the innermost of them.

        Where that is the only one, it is the tile's.
        """
        looping = [
            depth for depth in range(len(self.program.levels)) if len({f.index[depth] for f in self.firings}) > 1
        ]
        return tuple(looping[:-1] or looping)


@dataclass(frozen=True)
class Excerpt:
    """A stretch of time from the start of an op (or of one of its programs) in which every firing is known.

    Attributes
    ----------
    programs : those shown, one after the other.
    end : ticks.
    in_all : firings of the programs shown.
    whole : whether none of them comes later than ``end``.
    around : where ``programs`` are those run inside a pool's first server, the firings of that pool and beside it.
    """

    report: Report
    row: OpRow
    programs: tuple[Shown, ...]
    end: int
    in_all: int
    whole: bool
    around: tuple[Firing, ...] = ()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of its programs, in order, then those around them."""
        own = [stage for part in self.programs for stage in part.program.stages]
        return (*own, *(firing.stage for firing in self.around))

    @property
    def what(self) -> str:
        """The op, its program where there is but one, and how many firings where they are not all."""
        shown = sum(len(part.firings) for part in self.programs)
        if self.around:
            return f"{op_label(self.row)}: the first {shown} firings on the first server"
        named = op_label(self.row) + (f", {self.programs[0].program.name}" if len(self.programs) == 1 else "")
        return named + (f": the first {shown} of {self.in_all:,} firings" if not self.whole else "")

    @property
    def scale(self) -> tuple[float, str]:
        """Factor from ticks to the unit of the time axis, and the label of that axis."""
        seconds = 1 / TICKS_PER_CYCLE / self.report.accelerator.clock_hz
        unit, prefix = prefix_of(self.end * seconds)
        all_of_it = len(self.row.steps) in (1, 0 if self.around else len(self.programs))
        begun = "op" if all_of_it else "program"
        return seconds / unit, f"time since the start of the {begun} ({prefix}s)"


def excerpt(report: Report, op: str | None, most_firings: int) -> Excerpt:
    """All programs of an op when they have at most ``most_firings`` firings, else the first ones of the longest.

    Parameters
    ----------
    op : name of an op. Default: the one that takes most of the time.

    Raises
    ------
    InputError
        For an unknown op, and for a report of fidelity ``analytic``, which has no order of events.
    """
    if report.fidelity == "analytic":
        raise InputError("a report of fidelity analytic has no timeline: simulate with fidelity tile")
    row = find_row(report, op)
    counts = [sum(part.counters.fires.values()) for part in row.parts]
    pooled = any(stage.inner for step in row.steps for stage in step.program.stages)
    if sum(counts) <= most_firings and not pooled:
        programs, begin = [], -row.parts[0].overhead_ticks
        for step, part in zip(row.steps, row.parts, strict=True):
            begin += part.overhead_ticks
            programs.append(_until(step.program, first_firings(step.program, most_firings), begin, _ticks(part)))
            begin += _ticks(part)
        return Excerpt(report, row, tuple(programs), begin, sum(counts), True)
    longest = max(range(len(counts)), key=lambda i: _ticks(row.parts[i]))
    program = row.steps[longest].program
    found = first_firings(program, 2 * most_firings)
    if any(stage.inner for stage in program.stages):
        return _inside(report, row, found, most_firings)
    whole = counts[longest] <= most_firings
    end = _ticks(row.parts[longest]) if whole else _cut(found, most_firings)
    return Excerpt(report, row, (_until(program, found, 0, end),), end, counts[longest], whole)


def _inside(report: Report, row: OpRow, outer: Sequence[Firing], most: int) -> Excerpt:
    """The first runs of inner programs on the first server of their pool, one after the other."""
    within = {id(firing.stage.inner.program) for firing in outer if firing.stage.inner}
    runs = [run for run in inner_firings(outer, 2 * most) if id(run[0]) in within]
    known = sorted((firing for _, run in runs for firing in run), key=lambda firing: firing.start)
    end = _cut(known, most) if len(known) > most else max(firing.end for firing in known)
    programs = []
    for program, run in runs:
        begin = min(firing.start for firing in run)
        own = [replace(firing, start=firing.start - begin, end=firing.end - begin) for firing in run]
        programs.append(_until(program, own, begin, min(end, max(firing.end for firing in run)) - begin))
    around = tuple(firing for firing in outer if firing.server == 0 and firing.start < end)
    shown = tuple(part for part in programs if part.firings)
    return Excerpt(report, row, shown, end, sum(len(part.firings) for part in shown), False, around)


def _ticks(part: Part) -> int:
    return part.counters.total_ticks


def _until(program: Program, found: Sequence[Firing], begin: int, end: int) -> Shown:
    """Those of the firings found that start before ``end``."""
    return Shown(program, tuple(firing for firing in found if firing.start < end), begin, end)


def find_row(report: Report, op: str | None) -> OpRow:
    """The op of a name, or the one that takes most of the time.

    Raises
    ------
    InputError
        For an unknown name.
    """
    if op is None:
        return by_time(report.ops)[0]
    for row in report.ops:
        if op in row.names:
            return row
    names = [name for row in report.ops for name in row.names]
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    raise InputError(Problem("", "op", f"unknown op '{op[:60]}', allowed are {listed}", nearest(op, names)))


def _cut(found: Sequence[Firing], most: int) -> int:
    """When the first firing after ``most`` starts: until then they are all there is. At 0, when the first one ends.

    Firings that take no time, such as the launch of a thread block, do not count.
    """
    later = [firing.start for firing in found[most:] if firing.end > firing.start]
    ends = [firing.end for firing in found if firing.end > firing.start]
    return min(later, default=max(ends)) or min(ends)

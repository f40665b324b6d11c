"""Mapped tile programs as text: the loop nest from the outside in, as Timeloop prints a mapping.

Stages stand under the loop of the level at which they fire, in issue order. Stages whose index ranges follow one
another are printed as loops one after the other, which is what they are; where ranges overlap there is one loop, and
each stage says when it fires. Cycles are of one firing; ``a..b`` is a range over the iterations.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence

import numpy as np

from accsim.engine.analytic import count_fires
from accsim.engine.program import TICKS_PER_CYCLE, Amount, Hold, Program, Stage
from accsim.engine.tables import IntArray, bounds, spread
from accsim.report.result import OpRow
from accsim.report.words import binary, cycles, mapping_short, op_shape

WIDTH = 100
_INDENT = 2
_Range = tuple[IntArray, IntArray]


def print_op(row: OpRow) -> str:
    """The complete mapping of one op and all its programs."""
    times = f" (x {row.count})" if row.count > 1 else ""
    shape = op_shape(row.op).removeprefix(f"{row.names[0]} ")
    head = [f"{row.names[0]}{times}: {shape}", f"mapping: {mapping_short(row.mapping)}"]
    if row.early:
        head.append(f"early: the first {', '.join(row.early)} is done while the op before runs")
    if len(row.names) > 1:
        head.append("also: " + ", ".join(row.names[1:]))
    lines = [line for text in head for line in textwrap.wrap(text, WIDTH, subsequent_indent="  ")]
    for number, (step, part) in enumerate(zip(row.steps, row.parts, strict=True), 1):
        which = f"program {number} of {len(row.steps)}: " if len(row.steps) > 1 else "program: "
        total = f", {cycles(part.counters.total_ticks / TICKS_PER_CYCLE)} cycles"
        masked = "" if step.useful >= 1 else f", {100 * (1 - step.useful):.1f} % of its MACs masked"
        name, _, body = print_program(step.program, step.copies).partition("\n")
        lines += ["", which + name + total + masked, body]
    return "\n".join(lines)


def print_program(program: Program, copies: float = 1.0) -> str:
    """A program: its name, its buffers, its loop nest.

    Parameters
    ----------
    copies : identical copies (cores) it stands for; printed as the outermost, spatial loop.
    """
    lines = [program.name, *_buffer_lines(program), *_Nest(program, copies).lines()]
    return "\n".join([*lines, *_inner_lines(program)])


def _inner_lines(program: Program) -> Iterator[str]:
    """Inner programs below the one they are in; of those that differ in numbers alone, the first."""
    alike: dict[tuple[str, ...], list[Stage]] = {}
    for stage in program.stages:
        if stage.inner is not None:
            inside = stage.inner.program
            names = (stage.unit, *(level.name for level in inside.levels), *(part.name for part in inside.stages))
            alike.setdefault(names, []).append(stage)
    for first, *others in alike.values():
        assert first.inner is not None
        more = f", {len(others)} more alike, to {others[-1].name}" if others else ""
        shares = "".join(f", {name} shared by {n}" for name, n in first.inner.shares.items())
        name, _, body = print_program(first.inner.program).partition("\n")
        yield f"inside {first.name}{more}: {name}{shares}"
        yield textwrap.indent(body, " " * _INDENT)


def _buffer_lines(program: Program) -> Iterator[str]:
    named = max((len(b.name) for b in program.buffers), default=0)
    for buffer in program.buffers:
        size = f" x {binary(buffer.slot_bytes)}" if buffer.slot_bytes else ""
        memory = f" in {buffer.memory}" if buffer.memory else ""
        plural = "slot" if buffer.slots == 1 else "slots"
        yield f"  buffer {buffer.name:<{named}}  {buffer.slots} {plural}{size}{memory}"
    for memory, capacity in program.capacities.items():
        used = program.reserved_bytes(memory)
        yield f"  memory {memory}: {binary(used)} of {binary(capacity)} used"


class _Nest:
    """Writes the nest of one program.

    Lines are gathered as (indent, name, unit, cycles, notes) first, since columns are as wide as the widest cell.
    """

    def __init__(self, program: Program, copies: float) -> None:
        self.program = program
        self.copies = copies
        self.names = [level.name for level in program.levels]
        self.used = self._used_classes()
        self.ranges = {s.name: [self._range(s, d) for d in range(len(self.names))] for s in program.stages}
        self.depth = {s.name: self._depth(s) for s in program.stages}
        self.cells: list[tuple[int, str, str, str, list[str]] | tuple[int, str]] = []

    def _used_classes(self) -> list[IntArray]:
        """Classes of each level that some iteration belongs to."""
        used: list[IntArray] = []
        for level in self.program.levels:
            trips = int(self._pick(spread(self.program, level.trips), used).max())
            starts = np.concatenate([[0], np.minimum(np.cumsum(np.minimum(level.runs[:-1], 2**40)), 2**40)])
            used.append(np.flatnonzero(starts < trips))
        return used

    def _depth(self, stage: Stage) -> int:
        """The level under which a stage is printed: its own, or above where it fires once but its span varies."""
        depth = self.program.depth(stage.level)
        while depth > 0:
            lo, hi = found = self.ranges[stage.name][depth]
            if np.any(hi - lo != 1) or _same(found, self._full(depth)):
                break
            depth -= 1
        return depth

    @staticmethod
    def _pick(table: IntArray, used: Sequence[IntArray]) -> IntArray:
        for axis, kept in enumerate(used):
            if table.shape[axis] > 1:
                table = np.take(table, kept, axis=axis)
        return table

    def _range(self, stage: Stage, depth: int) -> _Range:
        lo, hi = bounds(self.program, stage, depth)
        return self._pick(lo, self.used), self._pick(hi, self.used)

    def lines(self) -> Iterator[str]:
        """The printed lines."""
        indent = 0
        if self.copies != 1.0:
            whole = math.ceil(self.copies - 1e-9)
            partly = "" if self.copies == whole else f", the work of {self.copies:.1f} full ones"
            self.cells.append((indent, f"for core in [0:{whole})  (spatial{partly})"))
            indent += _INDENT
        self._body(-1, self.program.stages, indent, {})
        stages = [cell for cell in self.cells if len(cell) == 5]
        named = max(cell[0] + len(cell[1]) for cell in stages)
        units = max(len(cell[2]) for cell in stages)
        numbers = max(len(cell[3]) for cell in stages)
        for cell in self.cells:
            if len(cell) == 2:
                yield " " * cell[0] + cell[1]
                continue
            indent, name, unit, number, notes = cell
            head = f"{' ' * indent}{name:<{named - indent}}  {unit:<{units}}  {number:>{numbers}}"
            column = len(head) + 2
            for note in _wrapped(notes, max(30, WIDTH - column)):
                yield f"{head:<{column}}{note}".rstrip()
                head = ""

    def _body(self, depth: int, stages: Sequence[Stage], indent: int, shown: dict[int, _Range]) -> None:
        """What fires at one level: its own stages, and loops of the next level around the deeper ones."""
        inner = depth + 1
        for item in self._items(inner, stages):
            stage = item[0]
            if len(item) == 1 and self.depth[stage.name] <= depth:
                self.cells.append((indent, stage.name, stage.unit, self._held(stage), self._notes(stage, shown)))
                continue
            union = self._union(inner, item)
            self.cells.append((indent, f"for {self.names[inner]} in {_span_text(union)}{self._varies(inner)}"))
            self._body(inner, item, indent + _INDENT, {**shown, inner: union})

    def _items(self, inner: int, stages: Sequence[Stage]) -> Iterator[list[Stage]]:
        """Runs of stages such that every firing of a run, within a level above, comes before those of the next run."""
        if inner == len(self.names):
            yield from ([stage] for stage in stages)
            return
        last = [[hi - 1 for _, hi in self.ranges[stage.name][inner:]] for stage in stages]
        first = [[lo for lo, _ in self.ranges[stage.name][inner:]] for stage in stages]
        for i in range(len(stages) - 2, -1, -1):
            first[i] = [np.minimum(a, b) for a, b in zip(first[i], first[i + 1], strict=True)]
        run = [stages[0]]
        latest = last[0]
        for i, stage in enumerate(stages[1:], 1):
            if self._overlap(inner, stages[i - 1], stage) or not _before(latest, first[i]):
                run.append(stage)
            else:
                yield run
                run = [stage]
            latest = [np.maximum(a, b) for a, b in zip(latest, last[i], strict=True)]
        yield run

    def _overlap(self, inner: int, a: Stage, b: Stage) -> bool:
        """Whether both fire repeatedly, at some common index of a level."""
        if min(self.depth[a.name], self.depth[b.name]) < inner:
            return False
        lo, hi = self.ranges[a.name][inner]
        other_lo, other_hi = self.ranges[b.name][inner]
        return bool(np.any(np.maximum(lo, other_lo) < np.minimum(hi, other_hi)))

    def _union(self, depth: int, stages: Sequence[Stage]) -> _Range:
        lo, hi = self.ranges[stages[0].name][depth]
        for stage in stages[1:]:
            other = self.ranges[stage.name][depth]
            lo, hi = np.minimum(lo, other[0]), np.maximum(hi, other[1])
        return lo, hi

    def _varies(self, depth: int) -> str:
        """Names the outer levels that the trips vary with."""
        trips = self._pick(spread(self.program, self.program.levels[depth].trips), self.used)
        names = [self.names[axis] for axis, size in enumerate(trips.shape) if size > 1]
        return f"  (varies with {', '.join(names)})" if names and trips.min() < trips.max() else ""

    def _ticks(self, stage: Stage, amount: Amount) -> str:
        """Cycles of an amount over the firings of a stage."""
        often, ticks = np.broadcast_arrays(count_fires(self.program, stage), spread(self.program, amount))
        return _cycles_of(ticks[often > 0])

    def _held(self, stage: Stage) -> str:
        """Cycles that the unit is held: of its own work or the slowest rate."""
        often = count_fires(self.program, stage)
        each = [spread(self.program, amount) for amount in (stage.ticks, *(ticks for _, ticks in stage.rates))]
        slowest = np.maximum.reduce(np.broadcast_arrays(*each))
        often, slowest = np.broadcast_arrays(often, slowest)
        return _cycles_of(slowest[often > 0])

    def _notes(self, stage: Stage, shown: dict[int, _Range]) -> list[str]:
        when = [
            f"{self.names[depth]} {_when_text(found, self._trips(depth))}"
            for depth, found in enumerate(self.ranges[stage.name])
            if not (_same(found, self._full(depth)) or (depth in shown and _same(found, shown[depth])))
        ]
        held, own = self._held(stage), self._ticks(stage, stage.ticks)
        rates = [(name, self._ticks(stage, amount)) for name, amount in stage.rates]
        if own not in (held, "0"):
            rates.insert(0, ("work", own))
        notes = ["at " + ", ".join(when)] if when else []
        notes += [", ".join(f"{name} {text}" for name, text in rates if text != "0")]
        notes += [f"latency {cycles(stage.latency / TICKS_PER_CYCLE)}"] if stage.latency else []
        if stage.shift:
            plural = "" if stage.shift == 1 else "s"
            notes.append(f"{stage.shift} {stage.shift_level} iteration{plural} behind")
        notes += [f"stands for a run of '{stage.inner.program.name}'"] if stage.inner else []
        waits = [
            f"{a.stage} @{a.level}{f' lag {a.lag}' if a.lag else ''}{' carried' if a.carried else ''}"
            for a in stage.after
        ]
        notes += ["after " + ", ".join(waits)] if waits else []
        for verb, holds in (("takes", stage.acquires), ("gives back", stage.releases)):
            notes += [f"{verb} " + ", ".join(map(_hold_text, holds))] if holds else []
        return [note for note in notes if note]

    def _trips(self, depth: int) -> IntArray:
        return self._pick(spread(self.program, self.program.levels[depth].trips), self.used)

    def _full(self, depth: int) -> _Range:
        trips = self._trips(depth)
        return np.zeros_like(trips), trips


def _before(last: Sequence[IntArray], first: Sequence[IntArray]) -> bool:
    """Whether index vectors (outermost first) come before or with others, in loop order, in every class."""
    holds = np.asarray(True)
    for a, b in zip(reversed(last), reversed(first), strict=True):
        holds = (a < b) | ((a == b) & holds)
    return bool(np.all(holds))


def _same(a: _Range, b: _Range) -> bool:
    return bool(np.all(a[0] == b[0]) and np.all(a[1] == b[1]))


def _cycles_of(ticks: IntArray) -> str:
    if ticks.size == 0:
        return "never"
    low, high = cycles(int(ticks.min()) / TICKS_PER_CYCLE), cycles(int(ticks.max()) / TICKS_PER_CYCLE)
    return low if low == high else f"{low}..{high}"


def _whole(values: IntArray) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low}..{high}"


def _span_text(span: _Range) -> str:
    lo, hi = _whole(span[0]), _whole(span[1])
    return f"[{lo} : {hi})" if ".." in lo + hi else f"[{lo}:{hi})"


def _when_text(span: _Range, trips: IntArray) -> str:
    lo, hi = span
    if np.all(hi - lo == 1):
        if np.all(lo == 0):
            return "first"
        return "last" if np.all(hi == trips) else _whole(lo)
    return f"in {_span_text(span)}"


def _hold_text(hold: Hold) -> str:
    ends = [f"{', '.join(names)} {end}" for names, end in ((hold.first, "first"), (hold.last, "last")) if names]
    return f"{hold.buffer} ({', '.join(ends)})" if ends else hold.buffer


def _wrapped(notes: Sequence[str], width: int) -> list[str]:
    """Notes joined by semicolons, broken between notes where they do not fit, and within one only if it is too long."""
    lines = [""]
    for i, note in enumerate(notes):
        text = note + (";" if i < len(notes) - 1 else "")
        if lines[-1] and len(lines[-1]) + 1 + len(text) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {text}".strip()
    return [part for line in lines for part in (textwrap.wrap(line, width) or [""])]

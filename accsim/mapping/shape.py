"""The shape of a compiled dataflow's programs: names, edges and kinds of spans, without the numbers.

A dataflow's ``lower`` (compiled) writes the numbers of many points into a :class:`~accsim.kernels.block.Block`.
:meth:`Shape.program` turns one point into a checked :class:`~accsim.engine.program.Program`, the same arrays
included, so a searched point and a reported one are the same program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np

from accsim.config.frozen import FrozenDict
from accsim.engine.arrays import flatten
from accsim.engine.builder import ProgramBuilder
from accsim.engine.program import END as LAST_INDEX
from accsim.engine.program import START as FIRST_INDEX
from accsim.engine.program import After, Amount, Hold, Program, Span, Stage, vary
from accsim.engine.tables import IntArray
from accsim.kernels import layout as k
from accsim.kernels.block import ALL, BEHIND, BETWEEN, END, LAST_BEFORE, MOST_CUTS, START, Block, fill_spans
from accsim.kernels.work import ACTIONS


def between(first: int, last: int) -> int:
    """The kind of span from one cut of the innermost level to another."""
    return BETWEEN + MOST_CUTS * first + last


def behind_first(first: int, last: int) -> int:
    """The kind of span from the second index of a cut of the innermost level to another cut."""
    return BEHIND + MOST_CUTS * first + last


def last_before(cut: int) -> int:
    """The kind of span that is the last index before a cut of the innermost level."""
    return LAST_BEFORE + cut


@dataclass(frozen=True)
class StageShape:
    """A stage without numbers: ``spans`` maps a level to a kind (ALL when it is not there)."""

    name: str
    unit: str
    rates: tuple[str, ...] = ()
    spans: Mapping[str, int] = field(default_factory=dict)
    shift: int = 0
    shift_level: str | None = None
    after: tuple[After, ...] = ()
    acquires: tuple[Hold, ...] = ()
    releases: tuple[Hold, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "spans", FrozenDict(self.spans))


@dataclass(frozen=True)
class Shape:
    """Names and edges of the programs of one dataflow.

    Attributes
    ----------
    levels : name of each loop, outermost first, with its number of classes.
    varying_trips : level -> the outer level whose classes its trips vary with.
    sections : loops, one after the other, that the innermost level is cut into.
    chains : buffer -> stages that do all their work, one after the other, while a slot of it is held: they make lower
        bounds tighter.
    buffers : buffer -> the memory it lies in.
    """

    name: str
    levels: tuple[tuple[str, int], ...]
    resources: tuple[str, ...]
    buffers: Mapping[str, str]
    stages: tuple[StageShape, ...]
    capacities: Mapping[str, int]
    varying_trips: Mapping[str, str] = field(default_factory=dict)
    sections: int = 1
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("buffers", "capacities", "varying_trips", "chains"):
            object.__setattr__(self, name, FrozenDict(getattr(self, name)))

    @cached_property
    def chain_table(self) -> IntArray:
        """A row for each chain: its buffer, and 1 for each stage in it."""
        names = list(self.buffers)
        rows = [
            [names.index(buffer), *(int(stage.name in chain) for stage in self.stages)]
            for buffer, chain in self.chains.items()
        ]
        return np.array(rows, np.int64).reshape(-1, 1 + len(self.stages))

    @cached_property
    def inside(self) -> dict[str, IntArray]:
        """Memory -> 1 for each buffer that lies in it, else 0."""
        memories = np.array(list(self.buffers.values()))
        return {memory: (memories == memory).astype(np.int64) for memory in self.capacities}

    @cached_property
    def classes(self) -> IntArray:
        """Number of classes of each of the four padded levels."""
        pad = k.LEVELS - len(self.levels)
        return np.array([1] * pad + [count for _, count in self.levels], np.int64)

    @cached_property
    def kinds(self) -> IntArray:
        """Kind of span of each stage at each padded level."""
        pad = k.LEVELS - len(self.levels)
        return np.array([[ALL] * pad + [s.spans.get(n, ALL) for n, _ in self.levels] for s in self.stages], np.int64)

    def places(self, names: Sequence[str]) -> list[int]:
        """Where the stages of these names are listed; -1 for those that there are not."""
        listed = {stage.name: s for s, stage in enumerate(self.stages)}
        return [listed.get(name, -1) for name in names]

    def new_block(self, points: int, *, actions: bool) -> Block:
        """An empty block for ``points`` points, run ends open and slots one."""
        rows = len(self.stages) * int(self.classes.prod())
        trips = 1 + sum(self._trip_count(name) for name, _ in self.levels)
        runs = 1 + sum(count for _, count in self.levels)
        return Block(
            np.ones((points, trips), np.int64),
            np.full((points, runs), k.NO_END, np.int64),
            np.zeros((points, self._cut_count()), np.int64),
            np.zeros((points, rows, k.ROW_COLUMNS), np.int64),
            np.ones((points, len(self.buffers)), np.int64),
            np.zeros((points, len(self.buffers)), np.int64),
            np.zeros((points, len(self.stages)), np.int64),
            np.zeros((points if actions else 0, rows if actions else 0, len(ACTIONS))),
        )

    def _cut_count(self) -> int:
        return self._trip_count(self.levels[-1][0]) * (self.sections + 1) if self.sections > 1 else 0

    def _trip_count(self, level: str) -> int:
        outer = self.varying_trips.get(level)
        return 1 if outer is None else dict(self.levels)[outer]

    @cached_property
    def level_table(self) -> IntArray:
        """``ProgramArrays.level`` of this shape (where trips and runs of each padded level lie)."""
        table = np.zeros((k.LEVELS, k.RUN0 + 1), np.int64)
        pad = k.LEVELS - len(self.levels)
        trips = runs = 1
        names = [name for name, _ in self.levels]
        for depth, (name, count) in enumerate(self.levels):
            table[pad + depth, k.TRIP0] = trips
            if name in self.varying_trips:
                table[pad + depth, k.TRIP_STRIDE + pad + names.index(self.varying_trips[name])] = 1
            table[pad + depth, k.RUN0] = runs
            trips += self._trip_count(name)
            runs += count
        return table

    @cached_property
    def static(self) -> k.ProgramArrays:
        """The arrays all points of the shape share, whatever the capacities."""
        return _static(replace(self, capacities=dict.fromkeys(self.capacities, 1)), tuple(self.buffers))

    def program(self, block: Block, i: int, actions: Mapping[str, str] | None = None) -> Program:
        """Point i as a checked program; ``actions`` names the columns to carry over (column -> action name).

        Raises
        ------
        MappingError
            When the builder refuses it, e.g. since its buffers exceed a memory's capacity.
        """
        builder = ProgramBuilder(self.name)
        table = self.level_table
        pad = k.LEVELS - len(self.levels)
        for depth, (name, count) in enumerate(self.levels):
            at = int(table[pad + depth, k.TRIP0])
            ends = block.runs[i, int(table[pad + depth, k.RUN0]) :][: count - 1].tolist()
            runs = [max(1, b - a) for a, b in zip([0, *ends[:-1]], ends, strict=True)] if ends else []
            builder.level(name, self._trips(block, i, name, at), [*runs, 1])
        for resource in self.resources:
            builder.resource(resource)
        for memory, capacity in self.capacities.items():
            builder.memory(memory, capacity)
        for b, (name, memory) in enumerate(self.buffers.items()):
            builder.buffer(name, int(block.slots[i, b]), int(block.slot_bytes[i, b]), memory)
        for s, stage in enumerate(self.stages):
            builder.stage(self._stage(block, i, s, stage, actions or {}))
        return builder.build()

    def _trips(self, block: Block, i: int, name: str, at: int) -> Amount:
        outer = self.varying_trips.get(name)
        if outer is None:
            return int(block.trips[i, at])
        return vary(outer, block.trips[i, at : at + self._trip_count(name)])

    def _stage(self, block: Block, i: int, s: int, shape: StageShape, actions: Mapping[str, str]) -> Stage:
        combos = int(self.classes.prod())
        rows = slice(s * combos, (s + 1) * combos)
        named = [name for name, count in self.levels if count > 1]
        sizes = [count for _, count in self.levels if count > 1]

        def amount(column: int) -> Amount:
            values = block.row[i, rows, column]
            return vary(named, values.reshape(sizes)) if named else int(values[0])

        counted: dict[str, float | Amount] = {}
        for column, action in actions.items():
            values = block.actions[i, rows, ACTIONS.index(column)]
            if np.any(values):
                counted[action] = vary(named, values.reshape(sizes), np.float64) if named else float(values[0])
        return Stage(
            name=shape.name,
            unit=shape.unit,
            ticks=amount(k.D0),
            rates=tuple((name, amount(k.D1 + r)) for r, name in enumerate(shape.rates)),
            latency=int(block.latency[i, s]),
            level=self._declared_level(shape),
            spans={name: self._span(block, i, s, name, kind) for name, kind in shape.spans.items() if kind != ALL},
            shift=shape.shift,
            shift_level=shape.shift_level,
            after=shape.after,
            acquires=shape.acquires,
            releases=shape.releases,
            actions=counted,
        )

    def _declared_level(self, shape: StageShape) -> str:
        """The deepest level at which the stage's span is not of one index, whatever the trips of a point are."""
        names = [name for name, _ in self.levels]
        several = [name for name in names if not _is_one_index(shape.spans.get(name, ALL))]
        return [*names[:1], *several][-1]

    def _span(self, block: Block, i: int, s: int, level: str, kind: int) -> Span:
        if kind == START:
            return FIRST_INDEX
        if kind == END:
            return LAST_INDEX
        names = [name for name, _ in self.levels]
        pad = k.LEVELS - len(names)
        outer = self.varying_trips.get(level)
        combos = int(self.classes.prod())
        table = block.row[i, s * combos : (s + 1) * combos].reshape([count for _, count in self.levels] + [-1])
        pick = tuple(slice(None) if name == outer else 0 for name in names)
        depth = pad + names.index(level)
        lo, hi = table[(*pick, k.LO + depth)], table[(*pick, k.HI + depth)]
        if outer is not None:
            return Span(vary(outer, lo), vary(outer, hi))
        ends = kind >= BETWEEN and (kind - BETWEEN) % MOST_CUTS == self.sections
        return Span(int(lo), None if kind == ALL or ends else int(hi))


def _is_one_index(kind: int) -> bool:
    return kind in (START, END) or LAST_BEFORE <= kind < BETWEEN


@lru_cache(maxsize=256)
def _static(shape: Shape, _buffers: tuple[str, ...]) -> k.ProgramArrays:
    """Arrays of a point with four trips a section, no durations and empty buffers, which are in this order."""
    block = shape.new_block(1, actions=False)
    block.trips[:, 1:] = 4 * shape.sections
    block.cuts[0] = 4 * (np.arange(block.cuts.shape[1]) % (shape.sections + 1))
    fill_spans(block, 0, shape.level_table, shape.kinds, shape.classes)
    return flatten(shape.program(block, 0)).arrays

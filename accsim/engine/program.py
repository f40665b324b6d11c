"""The tile program: one loop nest, its resources, buffers and stages, and the builder that checks it.

Everything that takes time on a chip is a *stage* that occupies a *resource*. A dataflow is a rule that writes such
a program; :mod:`accsim.engine.run` runs it. ``docs/engine.md`` states the rules in full.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from accsim.engine.counters import Counters

TICKS_PER_CYCLE = 4096
MAX_LEVELS = 4
MAX_STAGE_TICKS = 2**60
MAX_PROGRAM_TICKS = 2**62


@dataclass(frozen=True, eq=False)
class Varying:
    """A whole number that differs between the classes of one or more levels.

    Parameters
    ----------
    levels : names of the levels, outermost first.
    values : array with one axis a level, one entry a class of it; whole numbers, except in actions.
    """

    levels: tuple[str, ...]
    values: npt.NDArray[Any]


Amount = int | Varying


def vary(
    levels: str | Sequence[str], values: npt.ArrayLike, dtype: type[np.int64] | type[np.float64] = np.int64
) -> Varying:
    """A :class:`Varying` over the classes of one level (or several); ``dtype`` is float64 for actions."""
    names = (levels,) if isinstance(levels, str) else tuple(levels)
    array = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return Varying(names, array)


@dataclass(frozen=True)
class Level:
    """One loop. Iteration i belongs to class c when i falls into run c of ``runs`` (lengths; the last one is open)."""

    name: str
    trips: Amount
    runs: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class Resource:
    """A unit (``servers`` 1) or a pool of equal servers. Every resource serves its stages in issue order."""

    name: str
    servers: int = 1


@dataclass(frozen=True)
class Buffer:
    """``slots`` places of ``slot_bytes`` each in ``memory``; acquire k waits for release k - slots."""

    name: str
    slots: int
    slot_bytes: int = 0
    memory: str = ""


@dataclass(frozen=True)
class Span:
    """Index range [lo, hi) of a level in which a stage fires. Negative values and None count from the trips."""

    lo: Amount = 0
    hi: Amount | None = None


START = Span(0, 1)
END = Span(-1, None)


@dataclass(frozen=True)
class After:
    """The producer's last firing up to the end of iteration i - lag of ``level``.

    Within the enclosing iteration, unless ``carried``. ``level`` None means the default of the builder.
    """

    stage: str
    lag: int = 0
    level: str | None = None
    carried: bool = False


@dataclass(frozen=True)
class Hold:
    """One slot of ``buffer``, taken or given back at the first or last index of the stage's own range.

    ``first`` and ``last`` name levels; with neither, every firing takes (or gives back) a slot.
    """

    buffer: str
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inner:
    """The program that one firing of a stage stands for, and its run; :func:`accsim.stand_for` makes it.

    Parameters
    ----------
    program : the inner program.
    counters : its counters: their total is the stage's ticks, their actions are the stage's.
    shares : shared resource -> among how many copies its rate is split inside. Every other resource is private: each
        server of the stage's unit has its own.
    """

    program: Program
    counters: Counters
    shares: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """Work of one kind: which unit it holds, for how long, when it fires, on what it waits, what it moves.

    ``ticks`` is the unit's own work; each of ``rates`` (at most two) is (resource, ticks), held from the same start.
    ``latency`` ticks pass between the end of the work and the result. ``actions`` are counted per firing; a value may
    be a number or an array with the axes of ``ticks`` (when that varies).
    """

    name: str
    unit: str
    ticks: Amount
    rates: tuple[tuple[str, Amount], ...] = ()
    latency: int = 0
    level: str = ""
    spans: Mapping[str, Span] = field(default_factory=dict)
    shift: int | None = None
    shift_level: str | None = None
    after: tuple[After, ...] = ()
    acquires: tuple[Hold, ...] = ()
    releases: tuple[Hold, ...] = ()
    actions: Mapping[str, float | Varying] = field(default_factory=dict)
    inner: Inner | None = None


@dataclass(frozen=True)
class Program:
    """A checked tile program. Build one with :class:`ProgramBuilder`."""

    name: str
    levels: tuple[Level, ...]
    resources: tuple[Resource, ...]
    buffers: tuple[Buffer, ...]
    stages: tuple[Stage, ...]
    capacities: Mapping[str, int]

    def stage(self, name: str) -> Stage:
        """The stage of that name; KeyError if there is none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)

    def reserved_bytes(self, memory: str) -> int:
        """Bytes that the buffers take in a memory, with those of the largest inner program of each unit."""
        inside: dict[str, int] = {}
        for stage in self.stages:
            if stage.inner is not None:
                size = stage.inner.program.reserved_bytes(memory)
                inside[stage.unit] = max(inside.get(stage.unit, 0), size)
        own = sum(buffer.slots * buffer.slot_bytes for buffer in self.buffers if buffer.memory == memory)
        return own + sum(inside.values())

    def depth(self, level: str) -> int:
        """Position of a level, 0 outermost."""
        return [lv.name for lv in self.levels].index(level)

"""What a run of a program returns, and how it is read off the engine's final state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accsim.engine.arrays import Flat
from accsim.engine.program import Program, Varying
from accsim.engine.tables import IntArray, spread
from accsim.kernels import layout as k

WHYS = ("resource", "data", "slot", "latency")


@dataclass(frozen=True)
class Occupancy:
    """Use of a buffer: slot-ticks held, largest number of slots held at once, slots reserved.

    Of ``copies`` equal buffers, one in each server of a pool, the slot-ticks are of all, the rest of one.
    """

    slot_ticks: int
    peak: int
    reserved: int
    copies: int = 1


@dataclass(frozen=True)
class Event:
    """One firing: the unit (or server) was held from ``start`` to ``end``, in ticks."""

    stage: str
    firing: int
    start: int
    end: int


@dataclass(frozen=True)
class Counters:
    """The result of a run; times in ticks. ``docs/engine.md`` defines every entry.

    ``busy + sum(stalls) + done == total_ticks * servers`` for every resource, and ``critical_path`` (empty without
    attribution) sums to ``total_ticks``. Resources and buffers of inner programs are among them
    (:mod:`accsim.engine.merge`), a buffer as ``"unit.buffer"``; ``fires`` are of the program's own stages.
    """

    total_ticks: int
    busy: Mapping[str, int]
    stalls: Mapping[str, Mapping[str, int]]
    done: Mapping[str, int]
    servers: Mapping[str, int]
    occupancy: Mapping[str, Occupancy]
    fires: Mapping[str, int]
    actions: Mapping[str, float]
    critical_path: Mapping[str, int]
    events: tuple[Event, ...] = ()

    @property
    def bound_by(self) -> str:
        """The largest entry of the critical path."""
        return max(self.critical_path, key=lambda key: self.critical_path[key], default="")


def read_counters(
    program: Program, flat: Flat, state: k.State, events: k.Events, attribution: k.Attribution | None
) -> Counters:
    """Counters from the state in which a run ended."""
    reader = _Reader(program, flat, state)
    return Counters(
        total_ticks=int(state.times[k.TOTAL_AT]),
        busy=reader.busy(),
        stalls=reader.stalls(),
        done=reader.done(),
        servers={r.name: r.servers for r in program.resources},
        occupancy={
            b.name: Occupancy(int(state.stall[i]), int(state.buffer[i, k.PEAK]), b.slots)
            for i, b in enumerate(program.buffers)
        },
        fires={s.name: int(reader.fires(i).sum()) for i, s in enumerate(program.stages)},
        actions=reader.actions(),
        critical_path={} if attribution is None else reader.critical_path(attribution),
        events=read_events(program, events),
    )


def read_events(program: Program, events: k.Events) -> tuple[Event, ...]:
    """The recorded firings, in issue order."""
    recorded = events.rows[: int(events.count[0])].tolist()
    return tuple(Event(program.stages[s].name, n, a, b) for s, n, a, b in recorded)


class _Reader:
    """Reads one final state; rows of stage s are ``slice(s)`` of the row arrays."""

    def __init__(self, program: Program, flat: Flat, state: k.State) -> None:
        self.program = program
        self.flat = flat
        self.state = state
        self.stage = flat.arrays.stage

    def slice(self, s: int) -> slice:
        first = int(self.stage[s, k.ROW0])
        return slice(first, first + int(np.prod(self.flat.row_shape[s])))

    def fires(self, s: int) -> IntArray:
        return self.state.fires[self.slice(s)]

    def held(self, s: int) -> list[tuple[str, IntArray]]:
        """(resource, ticks a row) of the unit and the rates of stage s."""
        item = self.program.stages[s]
        rows = self.flat.arrays.row[self.slice(s)]
        return [(name, rows[:, k.D0 + i]) for i, name in enumerate([item.unit, *(n for n, _ in item.rates)])]

    def busy(self) -> dict[str, int]:
        total = {r.name: 0 for r in self.program.resources}
        for s in range(len(self.program.stages)):
            for name, ticks in self.held(s):
                total[name] += int(self.fires(s) @ ticks)
        return total

    def stalls(self) -> dict[str, dict[str, int]]:
        total: dict[str, dict[str, int]] = {r.name: {} for r in self.program.resources}

        def add(resource: str, cause: str, ticks: int) -> None:
            if ticks:
                total[resource][cause] = total[resource].get(cause, 0) + ticks

        for s, item in enumerate(self.program.stages):
            held = self.held(s)
            causes = [f"resource:{name}" for name, _ in held] + [""] * (3 - len(held))
            causes += [f"data:{a.stage}" for a in item.after] + [f"slot:{a.buffer}" for a in item.acquires] + ["order"]
            at = int(self.stage[s, k.STALL0])
            gaps = self.state.stall[at : at + 3 * len(causes)].reshape(-1, 3)
            for cause, row in zip(causes, gaps.tolist(), strict=True):
                for (name, _), ticks in zip(held, row, strict=False):
                    add(name, cause, ticks)
            ticks = np.stack([t for _, t in held], axis=1)
            slowest = np.argmax(ticks, axis=1)
            excess = (ticks.max(axis=1) - ticks[:, 0]) * self.fires(s)
            for i in range(1, len(held)):
                add(item.unit, f"held:{held[i][0]}", int(excess[slowest == i].sum()))
        return total

    def done(self) -> dict[str, int]:
        total = int(self.state.times[k.TOTAL_AT])
        left = {}
        for r, item in enumerate(self.program.resources):
            at = int(self.state.resource_at[r])
            left[item.name] = int((total - self.state.times[at : at + item.servers]).sum())
        return left

    def actions(self) -> dict[str, float]:
        total: dict[str, float] = {}
        for s, item in enumerate(self.program.stages):
            for action, amount in item.actions.items():
                total[action] = total.get(action, 0.0) + self._times_fires(s, amount)
        return total

    def _times_fires(self, s: int, amount: float | Varying) -> float:
        fires = self.fires(s)
        if not isinstance(amount, Varying):
            return float(amount) * int(fires.sum())
        shape = self.flat.row_shape[s][k.LEVELS - len(self.program.levels) :]
        table: npt.NDArray[np.float64] = np.broadcast_to(spread(self.program, amount), shape)
        return float(table.reshape(-1) @ fires)

    def critical_path(self, attribution: k.Attribution) -> dict[str, int]:
        last, finish = self._last_firing(attribution)
        columns: dict[tuple[int, str], int] = {}
        for column in np.flatnonzero(attribution.vec[finish]).tolist():
            columns[(column // k.WHYS, WHYS[column % k.WHYS])] = int(attribution.vec[finish, column])
        if last:
            name = int(attribution.note[finish, k.KEY]) // k.WHYS
            for why, ticks in (
                ("end", attribution.note[finish, k.LENGTH]),
                ("latency", attribution.note[finish, k.DELAY]),
            ):
                columns[(name, why)] = columns.get((name, why), 0) + int(ticks)
        path: dict[str, int] = {}
        for (name, why), ticks in columns.items():
            for key, part in self._entries(name, why, ticks):
                if part:
                    path[key] = path.get(key, 0) + part
        return path

    def _last_firing(self, attribution: k.Attribution) -> tuple[bool, int]:
        """(whether anything fired, time index of the largest finish, the last in issue order among equals)."""
        best = (-1, -1)
        where = 0
        for s in range(len(self.program.stages)):
            at, mask, _, fired, _, top = self.state.ring[s, : k.TOP_AT + 1].tolist()
            entry = top if self.program.resources[int(self.stage[s, k.UNIT])].servers > 1 else at + (fired - 1 & mask)
            if fired and (int(self.state.times[entry]), int(attribution.issued[s])) > best:
                best = (int(self.state.times[entry]), int(attribution.issued[s]))
                where = entry
        return best[1] >= 0, where

    def _entries(self, name: int, why: str, ticks: int) -> list[tuple[str, int]]:
        label = self.flat.names[name]
        if name < len(self.program.resources):
            return [(f"{label}/{why}", ticks)]
        stage = self.program.stage(label)
        if stage.inner is None or why == "latency":
            return [(f"{stage.unit}/{why}", ticks)]
        return scale_path(stage.inner.counters.critical_path, ticks)


def scale_path(path: Mapping[str, int], ticks: int) -> list[tuple[str, int]]:
    """A critical path scaled to sum to ``ticks``; what rounding leaves goes to its largest entry."""
    whole = sum(path.values())
    if whole == 0:
        return []
    parts = {key: part * ticks // whole for key, part in path.items()}
    largest = max(path, key=lambda key: path[key])
    parts[largest] += ticks - sum(parts.values())
    return list(parts.items())

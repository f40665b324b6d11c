"""Counters of a program whose stages stand for inner programs: what these do inside is added.

A *private* resource of an inner program is there once for each server of the stage's unit: its ticks add up over the
servers, and where a server waits between two tiles, so does all that is in it. A *shared* resource is there once, and
an inner program in which its rate is split among n copies takes 1 / n of it for the ticks that it counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from accsim.engine.counters import Counters, Occupancy
from accsim.engine.program import Program, Stage


def with_inner(program: Program, outer: Counters) -> Counters:
    """The counters of a program with those of its inner programs added.

    Parameters
    ----------
    outer : counters of the program's own resources and buffers.

    Notes
    -----
    Ticks of a shared resource are rounded down. Its ``done`` is negative where the copies that run at once take more of
    it than there is.
    """
    stages = [stage for stage in program.stages if stage.inner is not None]
    if not stages:
        return outer
    sums = _Sums(outer)
    for unit in dict.fromkeys(stage.unit for stage in stages):
        sums.add_unit(unit, [stage for stage in stages if stage.unit == unit])
    busy = {name: int(ticks) for name, ticks in sums.busy.items()}
    stalls = {name: {cause: int(t) for cause, t in causes.items()} for name, causes in sums.stalls.items()}
    done = {
        name: outer.total_ticks * sums.servers[name] - ticks - sum(stalls[name].values())
        for name, ticks in busy.items()
    }
    return replace(
        outer,
        busy=busy,
        stalls=stalls,
        done=done,
        servers=sums.servers,
        occupancy={**outer.occupancy, **sums.occupancy},
    )


class _Sums:
    """Ticks by resource as they are added up, exact."""

    def __init__(self, outer: Counters) -> None:
        self.outer = outer
        self.busy: dict[str, Fraction] = {name: Fraction(ticks) for name, ticks in outer.busy.items()}
        self.stalls: dict[str, dict[str, Fraction]] = {name: {} for name in outer.busy}
        for name, causes in outer.stalls.items():
            _add(self.stalls[name], causes, Fraction(1))
        self.servers = dict(outer.servers)
        self.occupancy: dict[str, Occupancy] = {}

    def add_unit(self, unit: str, stages: list[Stage]) -> None:
        """Add the inner programs of all stages on one unit."""
        many = self.outer.servers[unit]
        inside: dict[str, int] = {}
        for stage in stages:
            assert stage.inner is not None
            ran, shares, often = stage.inner.counters, stage.inner.shares, self.outer.fires[stage.name]
            for name, ticks in ran.busy.items():
                part = Fraction(often, shares.get(name, 1))
                self.busy[name] = self.busy.get(name, Fraction(0)) + ticks * part
                _add(self.stalls.setdefault(name, {}), ran.stalls[name], part)
                if name in shares:
                    self.servers.setdefault(name, ran.servers[name])
                else:
                    inside[name] = max(inside.get(name, 0), ran.servers[name])
            for buffer, use in ran.occupancy.items():
                self._add_use(f"{unit}.{buffer}", use, often, many)
        for name, servers in inside.items():
            self.servers[name] = self.servers.get(name, 0) + many * servers
            _add(self.stalls[name], self.outer.stalls[unit], Fraction(servers))

    def _add_use(self, name: str, use: Occupancy, often: int, many: int) -> None:
        known = self.occupancy.get(name, Occupancy(0, 0, 0))
        self.occupancy[name] = Occupancy(
            known.slot_ticks + often * use.slot_ticks,
            max(known.peak, use.peak),
            max(known.reserved, use.reserved),
            many * use.copies,
        )


def _add(total: dict[str, Fraction], counts: Mapping[str, int], times: Fraction) -> None:
    for key, count in counts.items():
        total[key] = total.get(key, Fraction(0)) + count * times

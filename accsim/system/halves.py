"""The embedding half of a step as tile programs: stacks go through ids, lookup and vectors, one behind the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from accsim.engine.builder import ProgramBuilder
from accsim.engine.counters import Counters
from accsim.engine.program import TICKS_PER_CYCLE, After, Hold, Program, Stage
from accsim.engine.run import run_program
from accsim.system.runs import Run, summed

CLOCK_HZ = 1e9
"""Of the halves' ticks: 0.24 ps each."""


@dataclass(frozen=True)
class Leg:
    """A part of a step that the stacks go through.

    Attributes
    ----------
    name, unit
        What is done, and on what.
    time_s
        For all stacks, alone, without `latency_s`.
    latency_s
        Until the next leg has it, of each stack.
    busy_s
        Seconds that each resource works for it; `unit` itself for `time_s`.
    inside
        What bounds it within its unit, by share.
    actions
        Counts of a chip, for its energy.
    link_bytes
        Bytes over links between chips, of a mean chip, those that pass through it counted.
    """

    name: str
    unit: str
    time_s: float
    latency_s: float
    busy_s: Mapping[str, float]
    inside: Mapping[str, float]
    actions: Mapping[str, float] = field(default_factory=dict)
    link_bytes: float = 0.0

    @property
    def alone_s(self) -> float:
        """Time of all stacks at once."""
        return self.time_s + self.latency_s

    @property
    def alone(self) -> Run:
        """All stacks at once, with nothing beside them."""
        path = {cause: share * self.alone_s for cause, share in self.inside.items()}
        return Run(self.name, self.alone_s, self.busy_s, path, self.actions)


def pipelined(legs: tuple[Leg, ...], stacks: int) -> Run:
    """Stacks, all alike, that go through the legs: each leg has the next stack while the one behind has this one.

    ``docs/recommendation.md`` has the model.
    """
    counters = run_program(_program(legs, stacks))
    busy, actions = summed(leg.busy_s for leg in legs), summed(leg.actions for leg in legs)
    name = " then ".join(leg.name for leg in legs)
    return Run(name, _seconds(counters.total_ticks), busy, _path(counters, legs), actions)


def _program(legs: tuple[Leg, ...], stacks: int) -> Program:
    build = ProgramBuilder("stacks")
    build.level("stack", stacks)
    for unit in dict.fromkeys(leg.unit for leg in legs):
        build.resource(unit)
    for leg in legs[:-1]:
        build.buffer(leg.name, 2)
    for place, leg in enumerate(legs):
        before = legs[place - 1].name if place else None
        build.stage(
            Stage(
                leg.name, leg.unit, _ticks(leg.time_s / stacks), latency=_ticks(leg.latency_s),
                after=() if before is None else (After(before),),
                acquires=() if leg is legs[-1] else (Hold(leg.name),),
                releases=() if before is None else (Hold(before),),
                shift=min(place, stacks - 1), shift_level="stack",
            )
        )  # fmt: skip
    return build.build()


def _path(counters: Counters, legs: tuple[Leg, ...]) -> dict[str, float]:
    """Seconds by what bounds; time on a unit's account is dealt over what bounds its legs inside."""
    found: dict[str, float] = {}
    for key, ticks in counters.critical_path.items():
        unit, _, why = key.partition("/")
        of_unit = [leg for leg in legs if leg.unit == unit]
        whole = sum(leg.time_s for leg in of_unit)
        shares = {key: 1.0}
        if why != "latency" and whole:
            shares = {}
            for leg in of_unit:
                for cause, share in leg.inside.items():
                    shares[cause] = shares.get(cause, 0.0) + share * leg.time_s / whole
        for cause, share in shares.items():
            found[cause] = found.get(cause, 0.0) + share * _seconds(ticks)
    return found


def _ticks(seconds: float) -> int:
    return round(seconds * CLOCK_HZ * TICKS_PER_CYCLE)


def _seconds(ticks: int) -> float:
    return ticks / TICKS_PER_CYCLE / CLOCK_HZ

"""The builder of tile programs: collects the parts, checks them all at once, fills in the defaults."""

from __future__ import annotations

from collections.abc import Sequence

from accsim.engine.check import check_defaults, check_length, check_program, fill_defaults
from accsim.engine.program import Amount, Buffer, Level, Program, Resource, Stage
from accsim.errors import MappingError


class ProgramBuilder:
    """Collects levels, resources, buffers and stages, then :meth:`build` checks them and fills in the defaults."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._levels: list[Level] = []
        self._resources: list[Resource] = []
        self._buffers: list[Buffer] = []
        self._stages: list[Stage] = []
        self._capacities: dict[str, int] = {}

    def level(self, name: str, trips: Amount, runs: Sequence[int] = (1,)) -> str:
        """Add a loop inside the ones so far. ``runs`` are run lengths of its classes (the last run is open)."""
        self._levels.append(Level(name, trips, tuple(int(r) for r in runs)))
        return name

    def resource(self, name: str, servers: int = 1) -> str:
        """Add a unit, or a pool when ``servers`` > 1."""
        self._resources.append(Resource(name, servers))
        return name

    def memory(self, name: str, capacity_bytes: int) -> str:
        """Name a memory whose capacity bounds the buffers placed in it."""
        self._capacities[name] = capacity_bytes
        return name

    def buffer(self, name: str, slots: int, slot_bytes: int = 0, memory: str = "") -> str:
        """Add a buffer of ``slots`` places."""
        self._buffers.append(Buffer(name, slots, slot_bytes, memory))
        return name

    def stage(self, stage: Stage) -> str:
        """Add a stage after the ones so far (issue order within a step)."""
        self._stages.append(stage)
        return stage.name

    def build(self) -> Program:
        """The checked program.

        Raises
        ------
        MappingError
            With every problem found: unknown names, bad ranges and trips, an unthrottled producer, buffers over
            capacity. What only counting in issue order can tell is raised by the run.
        TooLongError
            When one firing of a stage takes more than 2**60 ticks.
        """
        levels = tuple(self._levels) or (Level("once", 1),)
        program = Program(
            self.name, levels, tuple(self._resources), tuple(self._buffers), tuple(self._stages), dict(self._capacities)
        )
        problems = check_program(program)
        if not problems:
            check_length(program)
            program = fill_defaults(program)
            problems = check_defaults(program)
        if problems:
            raise MappingError(f"program '{self.name}' cannot be built", problems)
        return program

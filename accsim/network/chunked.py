"""Collectives along the rings of a torus as a tile program: ports are resources, chunks are firings of stages.

All chips of a torus do the same at the same time, so the program is that of one chip: what it receives by a port comes
when its neighbour, and so it itself, has sent it by the same port. Sums and the traffic of the chip's memory are stages
and rates beside the sends. ``docs/collectives.md`` has the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from accsim.config.checks import shown
from accsim.engine.builder import ProgramBuilder
from accsim.engine.program import TICKS_PER_CYCLE, After, Hold, Program, Span, Stage, vary
from accsim.errors import InputError, check_choice
from accsim.network.contention import Endpoint
from accsim.network.graph import Graph
from accsim.network.lattice import axis_name
from accsim.network.torus_rings import axis_rings, ring_pieces

CHUNKS: Final = 64
"""Chunks of a step, at most: each is passed on while those behind it still come."""
SMALLEST_CHUNK: Final = 4096
"""Bytes below which a step is not cut further: those of a DMA descriptor."""

_KINDS: Final = {"reduce_scatter": ("reduce",), "all_gather": ("gather",), "all_reduce": ("reduce", "gather")}


class _Run(NamedTuple):
    """A phase of a piece: along one axis, in both directions.

    Attributes
    ----------
    adds : sums are formed.
    steps : half steps of a direction: an even ring ends (or, adding, begins) with half a step.
    step_bytes : of a whole step in one direction.
    """

    piece: int
    phase: int
    axis: int
    adds: bool
    half_steps: int
    step_bytes: float


def ring_program(
    graph: Graph,
    kind: str,
    size: float,
    *,
    clock_hz: float,
    axes: Sequence[int] | None = None,
    endpoint: Endpoint = Endpoint(),  # noqa: B008
    adds_bytes_per_s: float | None = None,
) -> Program:
    """The program of one chip of a torus for a collective along rings of several axes at once.

    Parameters
    ----------
    kind
        ``reduce_scatter``, ``all_gather`` or ``all_reduce``.
    size
        Bytes of the full buffer.
    clock_hz
        A cycle of it has 4096 ticks.
    axes
        Those along which chips take part; by default all.
    endpoint, adds_bytes_per_s
        Limits of the chip, as in `Stepwise`.

    Raises
    ------
    InputError
        If the network is no regular torus, or the collective none of these.
    """
    check_choice("collective of rings", kind, tuple(_KINDS))
    lattice = graph.lattice
    if lattice is None or not all(lattice.wrap) or any(map(any, lattice.twist)):
        raise InputError("a program of one chip needs a torus without twist, on which all chips do the same")
    if not size > 0:
        raise InputError(f"read a buffer of {shown(size)} bytes, allowed is a number above 0")
    taken = tuple(axes or range(lattice.axes))
    runs = list(_runs(graph, kind, size, taken))
    return _Writer(graph, runs, clock_hz, endpoint, adds_bytes_per_s).program(f"{kind} along {len(taken)} axes")


def _runs(graph: Graph, kind: str, size: float, axes: Sequence[int]) -> Iterator[_Run]:
    lattice = graph.lattice
    assert lattice is not None
    for j, piece in enumerate(ring_pieces(graph, axes)):
        bytes_of = []
        left = piece.share * size
        for ring in axis_rings(lattice, piece.order):
            left /= ring.length
            bytes_of.append((2 * ring.up // 4, ring.length, left))
        phase = 0
        for part in _KINDS[kind]:
            for axis, length, step in bytes_of if part == "reduce" else bytes_of[::-1]:
                if length > 1:
                    yield _Run(j, phase, axis, part == "reduce", length - 1, step)
                phase += 1


class _Writer:
    """Writes the stages of runs."""

    def __init__(
        self, graph: Graph, runs: list[_Run], clock_hz: float, endpoint: Endpoint, adds_bytes_per_s: float | None
    ) -> None:
        self.graph, self.runs, self.endpoint, self.adds = graph, runs, endpoint, adds_bytes_per_s
        self.per_s = TICKS_PER_CYCLE * clock_hz

    def program(self, name: str) -> Program:
        """The program: a loop over phases, and in it one over sends."""
        build = ProgramBuilder(name)
        phases = 1 + max(run.phase for run in self.runs)
        # Sums are issued some iterations behind their sends; a phase ends when the last of them are.
        sends = [
            max((_sends(run) + self._behind(run) for run in self.runs if run.phase == k), default=1)
            for k in range(phases)
        ]
        build.level("phase", phases, (1,) * phases)
        build.level("send", vary("phase", sends))
        for axis in sorted({run.axis for run in self.runs}):
            for sign in "+-":
                build.resource(f"{axis_name(axis)}{sign}")
        for unit, limit in self._limits().items():
            if limit is not None:
                build.resource(unit)
        for piece in sorted({run.piece for run in self.runs}):
            build.buffer(f"piece {piece}", 2)
        for run in self.runs:
            self._write(build, run, sends)
        return build.build()

    def _limits(self) -> dict[str, float | None]:
        ports = (self.endpoint.injection_bytes_per_s, self.endpoint.ejection_bytes_per_s)
        given = [limit for limit in ports if limit is not None]
        return {"hbm": self.endpoint.hbm_bytes_per_s, "ports": min(given, default=None), "vector": self.adds}

    def _ticks(self, size: float, rate: float) -> int:
        return max(1, round(size / rate * self.per_s))

    def _rates(self, **moved: float) -> tuple[tuple[str, int], ...]:
        limits = self._limits()
        return tuple(
            (unit, self._ticks(size, limit)) for unit, size in moved.items() if (limit := limits[unit]) is not None
        )

    def _write(self, build: ProgramBuilder, run: _Run, trips: list[int]) -> None:
        """Stages for each direction and, of a reduction, its sums: a chunk waits for the same one of the step before.

        The half step that a reduction on an even ring begins with is a stage of its own, the head.
        """
        mine = [other for other in self.runs if other.piece == run.piece]
        before = [other for other in mine if other.phase < run.phase][-1:]
        chunks, sends = _chunks(run), _sends(run)
        head = chunks // 2 if run.adds and run.half_steps % 2 else 0
        first = (Hold(f"piece {run.piece}", first=("phase", "send")),) if not before else ()
        last = (Hold(f"piece {run.piece}", last=("phase", "send")),) if run is mine[-1] else ()
        for sign in "+-":
            waits = [After(self._done(other, way), 1, "phase") for other in before for way in "+-"]
            name = _name(run, sign)
            if head:
                ends = last if head == sends else ()
                self._send(build, run, sign, f"{name} head", (0, head), trips, waits, first, ends)
                waits = [After(self._done(run, sign, head=True), head, "send")]
            if head < sends:
                again = [] if sends - head <= chunks else [After(self._done(run, sign), chunks, "send")]
                begins = () if head else first
                self._send(build, run, sign, name, (head, sends), trips, [*waits, *again], begins, last)

    def _send(
        self, build: ProgramBuilder, run: _Run, sign: str, name: str, fires: tuple[int, int], trips: list[int],
        waits: list[After], first: tuple[Hold, ...], last: tuple[Hold, ...],
    ) -> None:  # fmt: skip
        """A stage of sends, and one of the sums of what they bring."""
        chunk = run.step_bytes / _chunks(run)
        ticks, latency = self._link(run, sign)
        lo, hi = (vary("phase", [min(end, most) for most in trips]) for end in fires)
        where = {"phase": Span(run.phase, run.phase + 1), "send": Span(lo, hi)}
        sums = run.adds and self.adds is not None
        inbox = (Hold(f"{name} inbox"),) if sums else ()
        build.stage(
            Stage(
                name, f"{axis_name(run.axis)}{sign}", ticks, self._rates(hbm=2 * chunk, ports=chunk), latency, "send",
                where, 0, "send", tuple(waits), (*first, *inbox), () if sums else last,
            )
        )  # fmt: skip
        if sums:
            assert self.adds is not None
            shift = self._behind(run)
            build.buffer(f"{name} inbox", shift + 2)
            build.stage(
                Stage(
                    f"{name} sum", "vector", self._ticks(chunk, self.adds), self._rates(hbm=chunk), 0, "send", where,
                    shift, "send", (After(name, 0, "send"),), (), (*inbox, *last),
                )
            )  # fmt: skip

    def _link(self, run: _Run, sign: str) -> tuple[int, int]:
        """Ticks that a chunk takes on a link, and its latency."""
        link = int(self.graph.link_at[0, 2 * run.axis + (sign == "-")])
        chunk = run.step_bytes / _chunks(run)
        return self._ticks(chunk, float(self.graph.rate[link])), round(float(self.graph.hop_s[link]) * self.per_s)

    def _behind(self, run: _Run) -> int:
        """Iterations after which a chunk has come and is added: what shares the memory with its sum is not held up."""
        if not run.adds or self.adds is None:
            return 0
        ticks, latency = self._link(run, "+")
        return min(_chunks(run) // 2 - 1, 1 - (-latency // ticks))

    def _done(self, run: _Run, sign: str, *, head: bool = False) -> str:
        """The stage of a run that its successors wait for."""
        whole = _name(run, sign)
        alone = run.adds and run.half_steps == 1
        return f"{whole}{' head' if head or alone else ''}{' sum' if run.adds and self.adds is not None else ''}"


def _chunks(run: _Run) -> int:
    """Chunks of a whole step: an even number."""
    return 2 * max(1, min(CHUNKS, int(run.step_bytes / SMALLEST_CHUNK)) // 2)


def _sends(run: _Run) -> int:
    """Chunks that a direction sends in all."""
    return run.half_steps * _chunks(run) // 2


def _name(run: _Run, sign: str) -> str:
    return f"{'reduce' if run.adds else 'gather'} {run.piece} {axis_name(run.axis)}{sign}"

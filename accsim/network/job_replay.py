"""Jobs of a mix of slices that come, run and end: how much of a machine they use, and how long they wait.

Durations and arrivals of the published mix are not published: both are named here and assumed. Arrivals are Poisson;
the machine is a queue M/G/k whose servers are cubes, several of which a job takes at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accsim.config.checks import ArgumentChecks
from accsim.errors import InputError
from accsim.network.goodput import PLACEMENTS, Machine
from accsim.network.ocs import Fabric
from accsim.network.slice_mix import PUBLISHED_MIX, Kinds, Shape, read_mix

Floats = NDArray[np.float64]

DURATIONS: Final[Mapping[str, Callable[[np.random.Generator, float, int], Floats]]] = {
    "exponential": lambda rng, mean, jobs: rng.exponential(mean, jobs),
    "constant": lambda _, mean, jobs: np.full(jobs, mean),
    "lognormal": lambda rng, mean, jobs: rng.lognormal(np.log(mean) - 0.5, 1.0, jobs),
}
"""How long jobs run, by name, all with the mean asked for; of the lognormal one the logarithm has a deviation of 1."""


@dataclass(frozen=True)
class Stream:
    """Jobs that come.

    Parameters
    ----------
    load
        Share of the machine's chips that the jobs would use if none had to wait: arrivals a second x mean duration x
        mean chips of a job ÷ chips. At 1 and above, jobs pile up.
    mean_s
        Mean duration of a job, whatever its size (assumed).
    durations
        A key of `DURATIONS`.
    jobs
        That come in all; the first tenth finds a machine that is still empty and is not counted.
    waiting
        Jobs that do not fit and wait while later ones start; 1 serves strictly in order.
    """

    load: float = 0.8
    mean_s: float = 4 * 3600.0
    durations: str = "exponential"
    jobs: int = 20_000
    waiting: int = 10

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.number("load", "mean_s", positive=True)
        check.choice("durations", DURATIONS)
        check.count("jobs", least=20, most=2**20)
        check.count("waiting", most=2**10)
        check.finish()


@dataclass(frozen=True, eq=False)
class Replay:
    """What a machine does with a stream of jobs.

    Attributes
    ----------
    utilization
        Share of the chips that run jobs, from when a tenth of the jobs has come until the last one comes.
    mean_wait_s, waited
        Of the jobs that come in that time: how long they wait, and which share has to.
    refused
        Share of the jobs that have no place in the machine, whatever works.
    times_s, used
        When the chips in use change, and their share from then on.
    """

    utilization: float
    mean_wait_s: float
    waited: float
    refused: float
    times_s: Floats
    used: Floats


def replay_jobs(
    machine: Machine,
    stream: Stream = Stream(),
    mix: Mapping[Shape, float] = PUBLISHED_MIX,
    *,
    placement: str | None = None,
    seed: int = 0,
) -> Replay:
    """A stream of jobs of a mix on a machine of which everything works.

    Parameters
    ----------
    placement
        None: optical switches, a job takes any cubes. Else where fixed wires allow it, a key of `PLACEMENTS`. Jobs
        smaller than a cube share cubes.
    seed
        The same one gives both kinds of wiring the same jobs.

    Raises
    ------
    InputError
        If the mix is none, or there is no such placement.
    """
    if placement not in (None, *PLACEMENTS):
        raise InputError(f"read the placement '{placement}', allowed are None and {', '.join(PLACEMENTS)}")
    kinds = read_mix(machine, mix, placement or PLACEMENTS[0])
    rng = np.random.default_rng(seed)
    chips = Fabric().side ** 3
    kind = rng.choice(len(kinds.shares), stream.jobs, p=kinds.shares)
    gap = stream.mean_s * float(kinds.chips @ kinds.shares) / (stream.load * machine.cubes * chips)
    comes = np.cumsum(rng.exponential(gap, stream.jobs))
    runs = DURATIONS[stream.durations](rng, stream.mean_s, stream.jobs)
    lost = kinds.placeless[kind] if placement else np.zeros(stream.jobs, np.bool_)
    room = _Room(machine.cubes, chips, kinds, placement is not None)
    starts = _serve(room, kind, comes, runs, np.flatnonzero(~lost), stream.waiting)
    counted = (np.arange(stream.jobs) >= stream.jobs // 10) & ~lost
    waits = (starts - comes)[counted]
    times, used = _in_use(starts[~lost], runs[~lost], kinds.chips[kind[~lost]] / (machine.cubes * chips))
    span = np.clip(times, comes[stream.jobs // 10], comes[-1])
    share = float(used[:-1] @ np.diff(span)) / float(span[-1] - span[0])
    return Replay(share, float(waits.mean()), float((waits > 0).mean()), float(lost.mean()), times, used)


class _Room:
    """Chips of every cube that are free."""

    def __init__(self, cubes: int, chips: int, kinds: Kinds, fixed: bool) -> None:
        self.free = np.full(cubes, chips)
        self.chips, self.kinds, self.fixed = chips, kinds, fixed

    def take(self, kind: int) -> list[int] | None:
        """Cubes that a job gets: the fullest one that has room for it, or whole ones; None if it has to wait."""
        needs, cubes = int(self.kinds.chips[kind]), int(self.kinds.cubes[kind])
        if not cubes:
            full = np.where(self.free >= needs, self.free, self.chips + 1)
            taken = [int(full.argmin())] if full.min() <= self.chips else None
        else:
            taken = self._whole(kind, cubes)
            needs = self.chips
        if taken is not None:
            self.free[taken] -= needs
        return taken

    def _whole(self, kind: int, cubes: int) -> list[int] | None:
        empty = np.flatnonzero(self.free == self.chips)
        if len(empty) < cubes:
            return None
        if not self.fixed:
            return [int(cube) for cube in empty[:cubes]]
        busy = ~np.bitwise_or.reduce(np.uint64(1) << empty.astype(np.uint64))
        fits = np.flatnonzero((self.kinds.places[kind] & busy) == 0)
        if not len(fits):
            return None
        place = int(self.kinds.places[kind][fits[0]])
        return [cube for cube in range(len(self.free)) if place >> cube & 1]

    def leave(self, kind: int, taken: list[int]) -> None:
        """Give back what a job had."""
        self.free[taken] += self.chips if self.kinds.cubes[kind] else int(self.kinds.chips[kind])


def _serve(
    room: _Room, kind: NDArray[np.int64], comes: Floats, runs: Floats, jobs: NDArray[np.int64], most: int
) -> Floats:
    """When each job starts: whenever one comes or ends, those that wait are tried in their order."""
    starts = np.full(len(kind), np.nan)
    running: list[tuple[float, int, list[int]]] = []
    queue: list[int] = []
    coming = iter(jobs.tolist())
    job = next(coming, None)
    while job is not None or queue:
        if job is not None and (not running or comes[job] <= running[0][0]):
            now = float(comes[job])
            queue.append(job)
            job = next(coming, None)
        else:
            now, gone, taken = heapq.heappop(running)
            room.leave(int(kind[gone]), taken)
        at = 0
        while at < min(len(queue), most):
            taken_now = room.take(int(kind[queue[at]]))
            if taken_now is None:
                at += 1
                continue
            begun = queue.pop(at)
            starts[begun] = now
            heapq.heappush(running, (now + float(runs[begun]), begun, taken_now))
    return starts


def _in_use(starts: Floats, runs: Floats, share: Floats) -> tuple[Floats, Floats]:
    """When the share of the chips in use changes, and what it is from then on; who ends makes room at once."""
    times = np.concatenate([starts + runs, starts])
    order = np.argsort(times, kind="stable")
    return times[order], np.cumsum(np.concatenate([-share, share])[order])

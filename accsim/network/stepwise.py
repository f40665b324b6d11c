"""Time of schedules on a network, step by step: the slowest link or chip of each step, and its latency."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from accsim.network.contention import Endpoint
from accsim.network.graph import Floats, Graph
from accsim.network.routing import Minimal, Routes, Routing
from accsim.network.schedule import ROUTED, Ints, Phase, Schedule, Sends


@dataclass(frozen=True, eq=False)
class CollectiveTime:
    """A collective on a network and what it takes.

    Attributes
    ----------
    time_s
        Until every chip has its result.
    steps
        Sends on the longest chain of which each waits for the one before.
    latency_s
        Of that chain: what it would take without bytes.
    link_bytes
        Bytes on every link of the graph, over all steps.
    busy_s
        How long each limit of the busiest chip is in use: ``injection``, ``ejection``, ``hbm``, ``adds``.
    bound_by
        What takes most of the time: ``links``, ``injection``, ``ejection``, ``hbm``, ``adds`` or ``latency``.
    algorithm
        How it is carried out.
    others
        Time of each algorithm that was tried, s, fastest first.
    chip_bytes
        Bytes that a chip ``sends``, ``receives`` and, of these, ``adds`` to what it has, mean over chips.
    """

    time_s: float
    steps: int
    latency_s: float
    link_bytes: Floats
    busy_s: Mapping[str, float]
    bound_by: str
    algorithm: str
    others: Mapping[str, float] = field(default_factory=dict)
    chip_bytes: Mapping[str, float] = field(default_factory=dict)


class Plan(NamedTuple):
    """A schedule of ranks, and what they are on the network.

    Attributes
    ----------
    chips : chip of each rank; int64[ranks].
    block_bytes : of a block of the schedule.
    """

    schedule: Schedule
    chips: np.ndarray[tuple[int], np.dtype[np.int64]]
    block_bytes: float


@dataclass(frozen=True)
class Stepwise:
    """Chips that go through the steps of schedules together.

    Attributes
    ----------
    endpoint
        Limits of a chip. Of its memory, a byte that is sent is read, one that is kept is written, and one that is added
        is read and written.
    adds_bytes_per_s
        Bytes of sums that the vector unit of a chip forms a second; None without a limit.
    routing
        Of sends whose port the schedule does not name.
    """

    graph: Graph
    endpoint: Endpoint = field(default_factory=Endpoint)
    adds_bytes_per_s: float | None = None
    routing: Routing = field(default_factory=Minimal)
    _known: dict[bytes, Routes] = field(default_factory=dict, repr=False, compare=False)

    def time(self, plans: Sequence[Plan], algorithm: str) -> CollectiveTime:
        """Time of schedules that run at once, phase i of each together with phase i of the others.

        Alone, a phase takes the sum over its steps of what the slowest link or chip needs for each. Together, phases
        take what the slowest of them takes alone, or what the slowest link or chip needs for all of them. Latency is
        that of the schedule with most of it.
        """
        late = [0.0] * len(plans)
        whole = _Moved.nothing(self.graph)
        spent: defaultdict[str, float] = defaultdict(float)
        for i in range(max(len(plan.schedule.phases) for plan in plans)):
            together = _Moved.nothing(self.graph)
            slowest: Mapping[str, float] = {}
            for number, plan in enumerate(plans):
                if i < len(plan.schedule.phases):
                    needs, latency = self._alone(plan.schedule.phases[i], plan, together)
                    late[number] += latency
                    slowest = max(slowest, needs, key=lambda one: sum(one.values()))
            name, need = self._slowest(together)
            for what, seconds in ({name: need} if need > sum(slowest.values()) else slowest).items():
                spent[what] += seconds
            whole.add(together)
        total = sum(spent.values())
        spent["latency"] = max(late)
        steps = max(sum(phase.depth for phase in plan.schedule.phases) for plan in plans)
        busy = self._needs(whole)
        del busy["links"]
        bound_by = max(spent, key=spent.__getitem__)
        means = {name: float(each.mean()) for name, each in zip(("sends", "receives", "adds"), whole[1:], strict=True)}
        return CollectiveTime(
            total + max(late), steps, max(late), whole.links, busy, bound_by, algorithm, chip_bytes=means
        )

    def _alone(self, phase: Phase, plan: Plan, together: _Moved) -> tuple[Mapping[str, float], float]:
        """Seconds that a phase takes by what is slowest in its steps, and its latency; adds what it moves."""
        needs: defaultdict[str, float] = defaultdict(float)
        hop = 0.0
        before: Sends | None = None
        for step in phase.steps:
            if before is None or not step.goes_like(before):
                moved = _Moved.nothing(self.graph)
                hop = max(hop, self._move(step, plan, moved))
                name, need = self._slowest(moved)
            before = step
            needs[name] += need
            together.add(moved)
        return needs, phase.depth * hop

    def _move(self, step: Sends, plan: Plan, moved: _Moved) -> float:
        """Note what a step puts on links and chips; the latency of its slowest send."""
        graph = self.graph
        size = step.count * plan.block_bytes
        source, goal = plan.chips[step.source], plan.chips[step.goal]
        np.add.at(moved.sent, source, size)
        np.add.at(moved.received, goal, size)
        np.add.at(moved.added, goal, np.where(step.adds, size, 0.0))
        late = 0.0
        named = step.port != ROUTED
        if named.any():
            link = graph.link_at[source[named], step.port[named]]
            np.add.at(moved.links, link, size[named])
            late = float(graph.hop_s[link].max())
        if not named.all():
            pairs, of = np.unique(source[~named] * graph.chips + goal[~named], return_inverse=True)
            routes = self._routes(pairs)
            whole = np.bincount(of, weights=size[~named])
            weights = np.repeat(whole, np.diff(routes.begin)) * routes.share
            np.add.at(moved.links, routes.link, weights)
            late = max(late, routes.latency_s)
        return late

    def _routes(self, pairs: Ints) -> Routes:
        """Routes of pairs, source x chips + goal; the steps of a ring have the same ones again and again."""
        key = pairs.tobytes()
        if key not in self._known:
            ends = (end.astype(np.int32) for end in np.divmod(pairs, self.graph.chips))
            self._known[key] = self.routing.routes(self.graph, *ends)
        return self._known[key]

    def _slowest(self, moved: _Moved) -> tuple[str, float]:
        """What needs longest, and how long."""
        needs = self._needs(moved)
        name = max(needs, key=needs.__getitem__)
        return name, needs[name]

    def _needs(self, moved: _Moved) -> dict[str, float]:
        """How long the busiest link needs and, for each thing that is limited, the busiest chip."""
        limits = {
            "injection": (self.endpoint.injection_bytes_per_s, moved.sent),
            "ejection": (self.endpoint.ejection_bytes_per_s, moved.received),
            "hbm": (self.endpoint.hbm_bytes_per_s, moved.sent + moved.received + moved.added),
            "adds": (self.adds_bytes_per_s, moved.added),
        }
        needs = {"links": float((moved.links / self.graph.rate).max(initial=0.0))}
        return needs | {name: float(most.max()) / limit for name, (limit, most) in limits.items() if limit is not None}


class _Moved(NamedTuple):
    """Bytes on each link, and those that each chip sends, receives and adds up."""

    links: Floats
    sent: Floats
    received: Floats
    added: Floats

    @classmethod
    def nothing(cls, graph: Graph) -> _Moved:
        return cls(np.zeros(len(graph.target)), *(np.zeros(graph.chips) for _ in range(3)))

    def add(self, other: _Moved) -> None:
        for mine, its in zip(self, other, strict=True):
            mine += its

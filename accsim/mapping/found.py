"""What a search finds: the best mapping, the best of those that lost, and why nothing was found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from accsim.config.machine import Accelerator
from accsim.errors import MappingError
from accsim.mapping.base import Dataflow
from accsim.mapping.goal import DIMENSIONS, Costs, Goal, preference, stack
from accsim.units import format_quantity
from accsim.workload.ops import Op


@dataclass(frozen=True)
class Scored:
    """A complete mapping and what it costs."""

    mapping: Dataflow
    costs: Costs[float]


@dataclass(frozen=True)
class Found:
    """The best complete mapping of a search.

    Attributes
    ----------
    runners_up : the best other mapping, then the best of every other dataflow that was tried, best first.
    points, feasible : how many points the space has, and how many of them fit.
    """

    goal: Goal
    best: Scored
    runners_up: tuple[Scored, ...]
    points: int
    feasible: int

    @property
    def mapping(self) -> Dataflow:
        """The best mapping."""
        return self.best.mapping

    @property
    def cost(self) -> float:
        """Its value of the objective, in s, J, J s or bytes."""
        return self.best.costs.of(self.goal.objective)


def in_order(scored: Sequence[Scored], objective: str) -> list[Scored]:
    """Mappings from the best to the worst."""
    if not scored:
        return []
    return [scored[i] for i in preference(stack([item.costs for item in scored]), objective)]


def best_and_next(ordered: Iterable[Scored]) -> tuple[Scored, tuple[Scored, ...]]:
    """The first of some mappings in order, and the first other one, where there is one."""
    rest = iter(ordered)
    best = next(rest)
    other = next((item for item in rest if item.mapping != best.mapping), None)
    return best, () if other is None else (other,)


def merge(found: Sequence[Found]) -> Found:
    """The best of what was found of several dataflows."""
    goal = found[0].goal
    ordered = in_order([one.best for one in found], goal.objective)
    winner = next(one for one in found if one.best is ordered[0])
    losers = in_order([*winner.runners_up, *ordered[1:]], goal.objective)
    points, feasible = sum(one.points for one in found), sum(one.feasible for one in found)
    return replace(winner, runners_up=tuple(losers), points=points, feasible=feasible)


def unmet(op: Op, acc: Accelerator, name: str, goal: Goal, least: Mapping[str, float]) -> MappingError:
    """Why no mapping of a dataflow keeps the constraints; ``least`` has the least that each quantity can be."""
    reached = {c: f"the least {c.quantity} is {_rounded(least[c.quantity], c.quantity)}" for c in goal.constraints}
    lines = [f"{name}: {c}: {text}" for c, text in reached.items() if least[c.quantity] > c.limit]
    if not lines:
        alone = ", ".join(reached.values())
        lines = [f"{name}: each constraint is kept alone, not all at once: {alone}"]
    return MappingError(f"no mapping of '{op.name}' on {acc.name} keeps {stated(goal)}", lines)


def stated(goal: Goal) -> str:
    """The constraints of a goal in a sentence."""
    return " and ".join(str(constraint) for constraint in goal.constraints)


def _rounded(value: float, quantity: str) -> str:
    dimension = DIMENSIONS[quantity]
    return format_quantity(int(value) if dimension == "bytes" else float(f"{value:.4g}"), dimension)

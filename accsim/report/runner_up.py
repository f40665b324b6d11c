"""Why the mappings that a search did not choose lost."""

from __future__ import annotations

from dataclasses import dataclass, replace

from accsim.mapping.base import Dataflow
from accsim.mapping.goal import TIE, TIMELESS, Costs
from accsim.report.result import OpRow, Report
from accsim.report.simulate import run_mapped
from accsim.report.words import mapping_short, percent

TIE_BREAKERS = ("traffic", "footprint", "energy")


@dataclass(frozen=True)
class RunnerUp:
    """A mapping that lost, beside the chosen one.

    Attributes
    ----------
    change : quantity -> how much more it is than the chosen mapping's, as a fraction; below 0 it is less.
    reason : what decided, in words.
    largest, chosen_largest : the largest part of its cost and of the chosen one's, with its share: an entry of the
        critical path, or where energy is the objective, a component.
    """

    mapping: Dataflow
    costs: Costs[float]
    change: dict[str, float]
    reason: str
    largest: tuple[str, float]
    chosen_largest: tuple[str, float]

    def __str__(self) -> str:
        what = "bound by" if "/" in self.largest[0] else "most energy in"
        parts = f"{_part(self.largest)} (chosen: {_part(self.chosen_largest)})"
        return f"{mapping_short(self.mapping)}: {self.reason}; {what} {parts}"


def runners_up(report: Report, row: OpRow) -> tuple[RunnerUp, ...]:
    """The mappings of an op that lost, the best first; their programs are run at the full clock."""
    return tuple(_runner_up(report, row, i) for i in range(len(row.found.runners_up)))


def _runner_up(report: Report, row: OpRow, i: int) -> RunnerUp:
    item = row.found.runners_up[i]
    fidelity = "tile" if report.fidelity == "cycle" else report.fidelity
    ran = run_mapped(
        report.machine, row.op, 1, row.names, replace(row.found, best=item, runners_up=()), fidelity, False
    )
    chosen = row.found.best.costs
    change = {name: _change(item.costs.of(name), chosen.of(name)) for name in ("latency", *TIE_BREAKERS, "edp")}
    of = report.goal.objective
    return RunnerUp(item.mapping, item.costs, change, _reason(change, of), _largest(ran, of), _largest(row, of))


def _change(value: float, chosen: float) -> float:
    return value / chosen - 1 if chosen else 0.0


def _reason(change: dict[str, float], objective: str) -> str:
    """What decided: the objective, or what breaks ties; then the other quantities of a mapping."""
    order = [objective, *(["latency"] if objective in TIMELESS else [])]
    decisive = next((name for name in order if change[name] > TIE), None)
    tied = "" if decisive else "as good, "
    decisive = decisive or next((name for name in TIE_BREAKERS if change[name] > 0), None)
    if decisive is None:
        return "as good in all, listed later"
    others = [name for name in dict.fromkeys((objective, "latency", *TIE_BREAKERS)) if name != decisive]
    return tied + ", ".join(f"{name} {_signed(change[name])}" for name in (decisive, *others))


def _signed(change: float) -> str:
    return ("+" if change >= 0 else "-") + percent(abs(change))


def _part(largest: tuple[str, float]) -> str:
    return f"{largest[0]} {percent(largest[1])}"


def _largest(row: OpRow, objective: str) -> tuple[str, float]:
    parts = row.energy.breakdown_j if objective == "energy" else row.totals.critical_path
    name = max(parts, key=lambda key: parts[key], default="")
    return name, parts[name] / sum(parts.values()) if name else 0.0

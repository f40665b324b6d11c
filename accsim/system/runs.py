"""Things that run on a slice for a time: one after the other, or side by side on what they share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from accsim.config.machine import Accelerator
from accsim.engine.compose import Alone, at_once
from accsim.engine.energy import energy_of, price_list


@dataclass(frozen=True)
class Run:
    """Something that runs for a time alone, and what it uses.

    Attributes
    ----------
    busy_s
        Seconds that each resource works for it.
    path_s
        What bounds it -> seconds; sums to `time_s`.
    actions
        Counts of a chip, for its energy.
    """

    name: str
    time_s: float
    busy_s: Mapping[str, float]
    path_s: Mapping[str, float]
    actions: Mapping[str, float] = field(default_factory=dict)

    @property
    def bound_by(self) -> str:
        """The largest of what bounds it."""
        return max(self.path_s, key=lambda cause: self.path_s[cause], default="")


def summed(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Sums by name."""
    found: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            found[name] = found.get(name, 0.0) + value
    return found


def in_turn(name: str, runs: Sequence[Run]) -> Run:
    """Runs one after the other."""
    busy, path, actions = (summed(getattr(run, what) for run in runs) for what in ("busy_s", "path_s", "actions"))
    return Run(name, sum(run.time_s for run in runs), busy, path, actions)


def dynamic_j(chip: Accelerator, actions: Mapping[str, float]) -> dict[str, float]:
    """Joules of a chip by component, idle power apart."""
    found = dict(energy_of(actions, price_list(chip), 0.0, 0.0).breakdown_j)
    del found["idle"]
    return found


@dataclass(frozen=True)
class Span:
    """Runs that begin together; the next span begins when all have ended.

    Attributes
    ----------
    ends_s
        When each ends, at max-min fair rates of what they share (`accsim.at_once`).
    """

    runs: tuple[Run, ...]
    ends_s: tuple[float, ...]

    @property
    def time_s(self) -> float:
        """Until the last has ended."""
        return max(self.ends_s)

    @property
    def path_s(self) -> dict[str, float]:
        """Of the run that ends last; slowed down by others, each of its causes lasts longer in proportion."""
        last = max(range(len(self.runs)), key=lambda i: self.ends_s[i])
        run = self.runs[last]
        slower = self.ends_s[last] / run.time_s if run.time_s else 0.0
        return {cause: seconds * slower for cause, seconds in run.path_s.items()}


def together(*runs: Run) -> Span:
    """Runs that begin together."""
    return Span(runs, at_once([Alone(run.time_s, run.busy_s) for run in runs]))

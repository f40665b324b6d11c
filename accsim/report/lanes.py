"""The rows of a timeline: what holds each resource, or when each stage runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from accsim.report.excerpt import Excerpt, Shown
from accsim.report.firings import Firing
from accsim.report.trace_events import resources

MOST_SERVERS = 16
"""Servers of a pool that have a row of their own."""

Tile = tuple[int, ...]


@dataclass(frozen=True)
class Bar:
    """A span of ticks from the excerpt's start in which a stage works on a tile."""

    start: int
    end: int
    stage: str
    tile: Tile = ()


@dataclass(frozen=True)
class Lane:
    """A row of the timeline; lanes of one ``group`` follow one another."""

    label: str
    group: str
    bars: tuple[Bar, ...]


def lanes_by_resource(shown: Excerpt) -> Iterator[Lane]:
    """Units (servers of a pool apart), then ports."""
    bars: dict[tuple[str, int], list[Bar]] = {}
    for part in shown.programs:
        for firing in part.firings:
            held = [((firing.stage.unit, firing.server % MOST_SERVERS), firing.end - firing.start)]
            held += [((name, 0), ticks) for name, ticks in firing.rates]
            for key, ticks in held:
                if ticks:
                    bars.setdefault(key, []).append(_bar(part, firing, ticks))
    for firing in shown.around:
        bar = Bar(firing.start, min(shown.end, firing.end), firing.stage.name)
        bars.setdefault((firing.stage.unit, 0), []).append(bar)
    order = list(resources(shown.report))
    pools = {name for name, server in bars if server}
    for name, server in sorted(bars, key=lambda key: (order.index(key[0]), key[1])):
        yield Lane(f"{name} {server}" if name in pools else name, name, tuple(bars[name, server]))


def lanes_by_stage(shown: Excerpt) -> Iterator[Lane]:
    """Stages by their units, in the order of the program."""
    order = list(resources(shown.report))
    stages = {stage.name: stage for stage in shown.stages}
    for stage in sorted(stages.values(), key=lambda stage: order.index(stage.unit)):
        bars = [
            _bar(part, firing, firing.end - firing.start)
            for part in shown.programs
            for firing in part.firings
            if firing.stage.name == stage.name and firing.end > firing.start
        ]
        if bars:
            yield Lane(stage.name, stage.unit, tuple(bars))


def _bar(part: Shown, firing: Firing, ticks: int) -> Bar:
    end = min(part.end, firing.start + ticks)
    tile = tuple(firing.index[depth] for depth in part.tile_levels)
    return Bar(part.begin + firing.start, part.begin + end, firing.stage.name, tile)

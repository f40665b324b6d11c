"""A long loop's slope equals the maximum cycle ratio of its program graph."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from accsim.engine.builder import ProgramBuilder
from accsim.engine.program import After, Hold, Level, Program, Stage
from accsim.engine.run import run_program
from tests.property.programs import loops
from tests.reference.cycle_ratio import Edge, max_cycle_ratio, period, program_graph

SETTLED = 30_000


def total(program: Program, trips: int, *, jump: bool) -> int:
    return run_program(replace(program, levels=(Level("i", trips),)), jump=jump, attribution=False).total_ticks


def pipeline(slots: int) -> Program:
    """Load 4 (+3), compute 5 (+2), on two units, over so many slots."""
    b = ProgramBuilder("pipeline")
    b.level("i", 10)
    b.resource("dma")
    b.resource("mxu")
    b.buffer("tile", slots)
    b.stage(Stage("load", "dma", 4, latency=3, acquires=(Hold("tile"),)))
    b.stage(Stage("compute", "mxu", 5, latency=2, after=(After("load"),), releases=(Hold("tile"),)))
    return b.build()


@pytest.mark.parametrize(
    ("slots", "ratio"),
    [
        (1, Fraction(4 + 3 + 5 + 2)),  # one tile at a time
        (2, Fraction(4 + 3 + 5 + 2, 2)),  # two tiles in a circuit of 14
        (3, Fraction(5)),  # compute binds: 14 / 3 is less
    ],
)
def test_by_hand(slots: int, ratio: Fraction) -> None:
    program = pipeline(slots)
    edges = program_graph(program)
    assert max_cycle_ratio(edges, 2) == ratio
    step = period(edges, 2, ratio)
    assert total(program, 1000 + step, jump=False) - total(program, 1000, jump=False) == ratio * step


def test_fraction_and_period() -> None:
    # Circuits: 7 in 3 iterations, 2 in 1.
    edges = [Edge(0, 1, 3, 1), Edge(1, 0, 4, 2), Edge(0, 0, 2, 1)]
    assert max_cycle_ratio(edges, 2) == Fraction(7, 3)
    assert period(edges, 2, Fraction(7, 3)) == 3


def test_circuit_without_distance_is_refused() -> None:
    with pytest.raises(ValueError, match="circuit"):
        max_cycle_ratio([Edge(0, 1, 1, 0), Edge(1, 0, 1, 0)], 2)


@given(program=loops(), jump=st.booleans())
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_slope_of_a_long_loop(program: Program, jump: bool) -> None:
    edges = program_graph(program)
    ratio = max_cycle_ratio(edges, len(program.stages))
    step = period(edges, len(program.stages), ratio)
    assume(step < 10_000)
    slope = total(program, SETTLED + step, jump=jump) - total(program, SETTLED, jump=jump)
    assert slope == ratio * step

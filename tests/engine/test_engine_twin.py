"""The engine, played step by step and jumped, against the naive twin: every counter, exactly."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, assume, event, given, settings

from accsim.engine.program import Program
from accsim.engine.run import run_program
from accsim.errors import MappingError
from tests.property.programs import long_programs, programs
from tests.reference.engine_naive import simulate

Outcome = dict[str, Any] | None
"""Every counter of a run, or None when it was refused."""

FIELDS = ("total_ticks", "busy", "stalls", "done", "fires", "actions", "critical_path")
slow_to_draw = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def counters(result: Any) -> dict[str, Any]:
    """The counters as plain values that can be compared."""
    found = {name: getattr(result, name) for name in FIELDS}
    held = {name: (o.slot_ticks, o.peak, o.reserved) for name, o in result.occupancy.items()}
    return found | {"occupancy": held}


def engine(program: Program, *, jump: bool, attribution: bool = True) -> Outcome:
    try:
        return counters(run_program(program, jump=jump, attribution=attribution))
    except MappingError:
        return None


def twin(program: Program) -> Outcome:
    try:
        return counters(simulate(program))
    except MappingError:
        return None


@given(program=programs())
@settings(max_examples=600, suppress_health_check=slow_to_draw)
def test_engine_equals_its_twin(program: Program) -> None:
    expected = twin(program)
    event("legal" if expected else "refused")
    assert engine(program, jump=False) == expected
    assert engine(program, jump=True) == expected


@given(program=programs(most_steps=240))
@settings(max_examples=40, suppress_health_check=slow_to_draw)
def test_engine_equals_its_twin_on_longer_programs(program: Program) -> None:
    expected = twin(program)
    assert engine(program, jump=False) == expected
    assert engine(program, jump=True) == expected


@given(program=long_programs())
@settings(max_examples=200, suppress_health_check=slow_to_draw)
def test_jump_equals_playing_every_step(program: Program) -> None:
    played = engine(program, jump=False)
    event("legal" if played else "refused")
    assert engine(program, jump=True) == played


@given(program=programs())
@settings(max_examples=50, suppress_health_check=slow_to_draw)
def test_attribution_changes_nothing_else(program: Program) -> None:
    attributed = engine(program, jump=True)
    assume(attributed is not None)
    assert attributed is not None
    assert engine(program, jump=True, attribution=False) == attributed | {"critical_path": {}}

"""Laws every tile program obeys, whatever it models, on the engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from accsim.engine.builder import ProgramBuilder
from accsim.engine.counters import Counters
from accsim.engine.program import Amount, Hold, Program, Stage, Varying
from accsim.engine.run import run_program
from accsim.errors import MappingError
from tests.property.programs import programs

MOST_EVENTS = 2_000
law = settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def run(program: Program) -> Counters:
    """Counters and events of a legal program; a draw that is refused is left out."""
    try:
        return run_program(program, most_events=MOST_EVENTS)
    except MappingError:
        reject()


def on_ticks(amount: Amount, change: Callable[[int], int]) -> Amount:
    """The amount, or every entry of its table, changed."""
    if isinstance(amount, Varying):
        return replace(amount, values=change(amount.values))  # type: ignore[arg-type]
    return change(amount)


def with_stages(program: Program, change: Callable[[Stage], Stage]) -> Program:
    return replace(program, stages=tuple(change(stage) for stage in program.stages))


def on_resource(program: Program, resource: str, change: Callable[[int], int]) -> Program:
    """The program with every time on one resource (as unit or as rate) changed."""

    def changed(stage: Stage) -> Stage:
        rates = tuple((n, on_ticks(t, change) if n == resource else t) for n, t in stage.rates)
        return replace(
            stage, rates=rates, ticks=on_ticks(stage.ticks, change) if stage.unit == resource else stage.ticks
        )

    return with_stages(program, changed)


def doubled(program: Program) -> Program:
    """The program with every time doubled, so that halves are whole."""
    for resource in program.resources:
        program = on_resource(program, resource.name, lambda ticks: 2 * ticks)
    return with_stages(program, lambda stage: replace(stage, latency=2 * stage.latency))


def no_time_is_later(earlier: Counters, later: Counters) -> None:
    assert [(e.stage, e.firing) for e in earlier.events] == [(e.stage, e.firing) for e in later.events]
    assert all(a.start <= b.start for a, b in zip(earlier.events, later.events, strict=True))
    assert earlier.total_ticks <= later.total_ticks


@given(program=programs(), data=st.data())
@law
def test_no_time_shrinks_when_a_duration_or_latency_grows(program: Program, data: st.DataObject) -> None:
    before = run(program)
    chosen = data.draw(st.sampled_from(program.stages))
    more = data.draw(st.integers(1, 9))
    longer = replace(chosen, ticks=on_ticks(chosen.ticks, lambda ticks: ticks + more))
    slower = replace(chosen, latency=chosen.latency + more)
    wider = replace(chosen, rates=tuple((n, on_ticks(t, lambda ticks: ticks + more)) for n, t in chosen.rates))
    for changed in (longer, slower, wider):
        no_time_is_later(before, run(with_stages(program, lambda s, c=changed: c if s is chosen else s)))  # type: ignore[misc]


@given(program=programs(), data=st.data())
@law
def test_no_time_grows_with_slots(program: Program, data: st.DataObject) -> None:
    before = run(program)
    takers = Counter(hold.buffer for stage in program.stages for hold in stage.acquires)
    in_order = [buffer for buffer in program.buffers if takers[buffer.name] == 1]
    if not in_order:
        reject()
    chosen = data.draw(st.sampled_from(in_order))
    more = data.draw(st.integers(1, 3))
    buffers = tuple(replace(b, slots=b.slots + more) if b is chosen else b for b in program.buffers)
    no_time_is_later(run(replace(program, buffers=buffers)), before)


@given(program=programs(), data=st.data())
@law
def test_no_time_grows_with_servers(program: Program, data: st.DataObject) -> None:
    before = run(program)
    as_rate = {name for stage in program.stages for name, _ in stage.rates}
    several = [resource for resource in program.resources if resource.name not in as_rate]
    if not several:
        reject()
    chosen = data.draw(st.sampled_from(several))
    resources = tuple(replace(r, servers=r.servers + 1) if r is chosen else r for r in program.resources)
    no_time_is_later(run(replace(program, resources=resources)), before)


def test_slots_taken_out_of_order_may_wait_longer() -> None:
    # Why the law asks for one acquiring stage. Slots 2: z waits for y, 50-51, and w for x, 2-102.
    # Slots 3: z starts at 0, and w waits for y, 50-150. (Acquires are numbered in issue order, not by time.)
    b = ProgramBuilder("out of order")
    b.buffer("tile", 2)
    for name, ticks in (("y", 50), ("x", 2), ("z", 1), ("w", 100)):
        b.resource(f"unit of {name}")
        b.stage(Stage(name, f"unit of {name}", ticks, acquires=(Hold("tile"),), releases=(Hold("tile"),)))
    two = b.build()
    three = replace(two, buffers=(replace(two.buffers[0], slots=3),))
    assert (run(two).total_ticks, run(three).total_ticks) == (102, 150)


@given(program=programs())
@law
def test_every_tick_of_every_resource_has_a_name(program: Program) -> None:
    counters = run(program)
    assert sum(counters.critical_path.values()) == counters.total_ticks
    for resource in program.resources:
        name = resource.name
        parts = [counters.busy[name], *counters.stalls[name].values(), counters.done[name]]
        assert min(parts) >= 0
        assert sum(parts) == counters.total_ticks * resource.servers


@given(program=programs())
@law
def test_halving_a_resource_saves_at_most_half_of_its_entries(program: Program) -> None:
    # On units only: on a pool another server may become free first, which no single path can tell.
    units = replace(program, resources=tuple(replace(r, servers=1) for r in program.resources))
    whole = doubled(units)
    before = run(whole)
    for resource in program.resources:
        entries = sum(before.critical_path.get(f"{resource.name}/{w}", 0) for w in ("resource", "data", "slot", "end"))
        after = run(on_resource(whole, resource.name, lambda ticks: ticks // 2))
        assert 2 * (before.total_ticks - after.total_ticks) <= entries


@given(program=programs())
@law
def test_all_times_scale_together(program: Program) -> None:
    before, after = run(program), run(doubled(program))
    assert after.total_ticks == 2 * before.total_ticks
    assert after.critical_path == {key: 2 * ticks for key, ticks in before.critical_path.items()}


@given(program=programs())
@law
def test_actions_add_over_stages(program: Program) -> None:
    counters = run(program)
    total: dict[str, float] = {}
    for stage in program.stages:
        alone = with_stages(program, lambda s, c=stage: s if s is c else replace(s, actions={}))  # type: ignore[misc]
        for name, count in run(alone).actions.items():
            each = stage.actions[name]
            assert isinstance(each, Varying) or count == counters.fires[stage.name] * each
            total[name] = total.get(name, 0.0) + count
    assert counters.actions == total

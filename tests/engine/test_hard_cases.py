"""The hard cases of tile programs, each with its times worked out by hand; played, jumped and on the naive twin."""

from __future__ import annotations

from typing import Any

import pytest

from accsim.engine.builder import ProgramBuilder
from accsim.engine.compose import Alone, at_once
from accsim.engine.counters import Counters
from accsim.engine.program import END, MAX_PROGRAM_TICKS, After, Hold, Program, Span, Stage, vary
from accsim.engine.run import run_program
from accsim.errors import MappingError, TooLongError
from tests.reference.engine_naive import simulate

FIELDS = ("total_ticks", "busy", "stalls", "done", "fires", "actions", "critical_path")


def plain(result: Any) -> dict[str, Any]:
    """All counters as values that compare equal between engine and twin."""
    held = {name: (use.slot_ticks, use.peak, use.reserved) for name, use in result.occupancy.items()}
    return {name: getattr(result, name) for name in FIELDS} | {"occupancy": held}


def run(program: Program, *, twin: bool = True) -> Counters:
    """The counters, after a look that playing, jumping and (where it is small) the twin agree on all of them."""
    played = run_program(program, jump=False)
    jumped = run_program(program)
    assert jumped == played
    if twin:
        assert plain(simulate(program)) == plain(played)
    assert sum(played.critical_path.values()) == played.total_ticks
    for name, ticks in played.busy.items():
        lost = sum(played.stalls[name].values()) + played.done[name]
        assert ticks + lost == played.total_ticks * played.servers[name]
    return played


def builder(*levels: tuple[str, int], units: str = "dma mxu") -> ProgramBuilder:
    """A builder with loops, outermost first, and units."""
    b = ProgramBuilder("case")
    for name, trips in levels:
        b.level(name, trips)
    for unit in units.split():
        b.resource(unit)
    return b


# Two sibling loops


def flat(rows: int, keys: int, logit: int, softmax: int, attend: int, *, behind: bool) -> Program:
    """FLAT: Logit over the keys, softmax, Attend over the keys, as one level with ranges."""
    b = builder(("row", rows), ("key", 2 * keys), units="matrix vector")
    b.buffer("scores", 2 if behind else 1)
    shift = {"shift": 1, "shift_level": "row"} if behind else {"shift": 0}
    first, second, middle = Span(0, keys), Span(keys, 2 * keys), Span(keys - 1, keys)
    b.stage(Stage("logit", "matrix", logit, spans={"key": first}, acquires=(Hold("scores", first=("key",)),)))
    b.stage(Stage("softmax", "vector", softmax, spans={"key": middle}, after=(After("logit"),), shift=0))
    b.stage(
        Stage(
            "attend", "matrix", attend, spans={"key": second}, after=(After("softmax"),),
            releases=(Hold("scores", last=("key",)),), **shift,
        )
    )  # fmt: skip
    return b.build()


def test_sibling_loops_one_after_the_other() -> None:
    program = flat(8, 3, 5, 10, 7, behind=False)
    # Attend and softmax never overlap at the key level, so that they depend within the row.
    assert program.stage("attend").after == (After("softmax", level="row"),)
    done = run(program)
    assert done.total_ticks == 8 * (3 * 5 + 10 + 3 * 7)
    assert done.stalls["matrix"] == {"data:softmax": 8 * 10}
    assert done.fires == {"logit": 24, "softmax": 8, "attend": 24}


def test_sibling_loops_one_row_behind_bound_by_the_softmax() -> None:
    # softmax 0 follows Logit 0 and never stops; the last Attend comes after it.
    done = run(flat(40, 3, 5, 100, 7, behind=True))
    assert done.total_ticks == 15 + 40 * 100 + 21
    assert done.stalls["vector"] == {"data:logit": 15}
    assert done.occupancy["scores"].peak == 2
    assert max(done.critical_path, key=lambda key: done.critical_path[key]) == "vector/resource"


def test_sibling_loops_one_row_behind_bound_by_the_array() -> None:
    # The softmax fits beside one Logit and beside one Attend: the array never stops.
    done = run(flat(40, 3, 5, 10, 7, behind=True))
    assert done.total_ticks == done.busy["matrix"] == 40 * (15 + 21)
    assert done.stalls["matrix"] == {}


@pytest.mark.parametrize(("softmax", "step"), [(100, 100), (10, 36)])
def test_sibling_loops_long(softmax: int, step: int) -> None:
    a, b = (run(flat(rows, 3, 5, softmax, 7, behind=True), twin=False).total_ticks for rows in (10_000, 30_000))
    assert b - a == 20_000 * step


# One queue for loads and stores


def one_queue(steps: int, slots: int, shifts: tuple[int | None, int | None]) -> Program:
    """Load 256 (latency 100), compute 500, store 256; loads and stores go through one in-order queue."""
    b = builder(("i", steps))
    b.buffer("in", slots)
    b.buffer("out", slots)
    b.stage(Stage("load", "dma", 256, latency=100, acquires=(Hold("in"),)))
    b.stage(
        Stage(
            "compute",
            "mxu",
            500,
            after=(After("load"),),
            acquires=(Hold("out"),),
            releases=(Hold("in"),),
            shift=shifts[0],
        )
    )
    b.stage(Stage("store", "dma", 256, after=(After("compute"),), releases=(Hold("out"),), shift=shifts[1]))
    return b.build()


@pytest.mark.parametrize("slots", [1, 2, 8])
def test_shared_queue_without_shift_is_serial_whatever_the_slots(slots: int) -> None:
    # The store waits for compute, and the next load stands behind the store: 256 + 100 + 500 + 256 a step.
    done = run(one_queue(50, slots, (0, 0)))
    assert done.total_ticks == 50 * 1112
    assert done.stalls["dma"] == {"data:compute": 50 * 600}


def test_shared_queue_with_shift_takes_the_slower_of_queue_and_compute() -> None:
    # Compute one step behind the load, the store one behind compute: max(256 + 256, 500) a step. Load 0 at 0, load
    # 1 at 256; load 2 waits for the slot of compute 0, 356 to 856; from there a load and a store go every 512, and
    # compute k starts with load k + 1, when store k - 2 has left its slot. The last load starts at t = 856 + 512 (n
    # - 3), the last compute at t + 512, and the last store follows it.
    done = run(one_queue(100, 2, (1, 2)))
    assert done.total_ticks == 856 + 512 * 97 + 512 + 500 + 256
    assert done.busy["dma"] == 100 * 512


def test_shared_queue_with_the_default_shifts() -> None:
    # The store is as far behind as compute and waits for it, and the load after next for the store: load, compute and
    # store are a circuit over two steps, max(1112 / 2, 256 + 256, 500) a step.
    program = one_queue(100, 2, (None, None))
    assert [stage.shift for stage in program.stages] == [0, 1, 1]
    run(program)
    a, b = (run(one_queue(n, 2, (None, None)), twin=False).total_ticks for n in (1000, 3000))
    assert b - a == 2000 * 556


# An accumulator


def accumulator(tiles: int, steps: int, mac: int, store: int, slots: int) -> Program:
    """A sum acquired at the first step of a tile and released by the store behind its last."""
    b = builder(("tile", tiles), ("k", steps))
    b.buffer("sum", slots)
    b.stage(Stage("mac", "mxu", mac, acquires=(Hold("sum", first=("k",)),)))
    b.stage(Stage("store", "dma", store, spans={"k": END}, after=(After("mac"),), releases=(Hold("sum"),), shift=0))
    return b.build()


@pytest.mark.parametrize(
    ("store", "slots", "total"),
    [
        (50, 1, 20 * (6 * 10 + 50)),  # the next tile waits for the store
        (50, 2, 20 * 6 * 10 + 50),  # the store is hidden
        (90, 2, 6 * 10 + 20 * 90),  # the store binds
        (90, 1, 20 * (6 * 10 + 90)),
    ],
)
def test_accumulator(store: int, slots: int, total: int) -> None:
    done = run(accumulator(20, 6, 10, store, slots))
    assert done.total_ticks == total
    assert done.occupancy["sum"].peak == slots
    if slots == 1 or store == 50:
        assert done.occupancy["sum"].slot_ticks == 20 * (6 * 10 + store)


# Long transients and the jump


def pipeline(steps: int, slots: int, load: int, compute: int) -> Program:
    """Loads that run ahead of compute by as many steps as there are slots."""
    b = builder(("i", steps))
    b.buffer("tile", slots)
    b.stage(Stage("load", "dma", load, acquires=(Hold("tile"),)))
    b.stage(Stage("compute", "mxu", compute, after=(After("load"),), releases=(Hold("tile"),)))
    return b.build()


def test_near_balance_settles_late() -> None:
    # The load gains one tick a step: only after some 64,000 steps are all 64 slots full and loads begin to wait.
    steps = 300_000
    done = run(pipeline(steps, 64, 1000, 1001), twin=False)
    assert done.total_ticks == 1000 + steps * 1001
    last_load = 1000 + (steps - 64) * 1001
    assert done.stalls["dma"] == {"slot:tile": last_load - (steps - 1) * 1000}
    assert done.occupancy["tile"].peak == 64


def test_near_balance_the_other_way() -> None:
    steps = 300_000
    done = run(pipeline(steps, 64, 1001, 1000), twin=False)
    assert done.total_ticks == steps * 1001 + 1000
    assert done.stalls["mxu"] == {"data:load": 1001 + steps - 1}


def test_near_balance_small_enough_for_the_twin() -> None:
    done = run(pipeline(300, 5, 20, 21))
    assert done.total_ticks == 20 + 300 * 21


@pytest.mark.parametrize("lag", [1, 2, 3, 4])
@pytest.mark.parametrize(("outer", "inner"), [(5, 24), (3, 12_000)])
def test_lag_guards_at_a_loop_start(lag: int, outer: int, inner: int) -> None:
    # Each firing takes 3 and its result 10 more; firing i waits for i - lag of the same outer iteration. So ``lag`` of
    # them go every 13, and the first ones of each outer iteration wait for nothing but the unit.
    b = builder(("outer", outer), ("i", inner), units="unit")
    b.stage(Stage("x", "unit", 3, latency=10, after=(After("x", lag=lag, level="i"),)))
    done = run(b.build(), twin=inner < 100)
    assert done.total_ticks == outer * (13 * (inner // lag - 1) + 3 * lag) + 10


def test_lag_guard_of_a_pipeline_restarts_with_every_outer_iteration() -> None:
    # y i waits for x i - 1, and y 0 of an outer iteration for nothing: it follows the y before it, one tick ahead of
    # its x, and y 1 then stands 2 ticks. So y loses 1 tick a firing but the first.
    b = builder(("outer", 6), ("i", 2000))
    b.buffer("tile", 2)
    b.stage(Stage("x", "dma", 5, acquires=(Hold("tile"),)))
    b.stage(Stage("y", "mxu", 4, after=(After("x", lag=1, level="i"),), releases=(Hold("tile"),), shift=0))
    done = run(b.build(), twin=False)
    assert done.total_ticks == 6 * 2000 * 5
    assert done.stalls["mxu"] == {"data:x": 6 * 2000 - 1}
    assert done.fires == {"x": 12_000, "y": 12_000}


# Varying trips


def causal(trips: list[int], load: int, compute: int, store: int) -> Program:
    """Rows that see fewer and fewer key blocks; the output of each row goes out behind its last block."""
    b = ProgramBuilder("causal")
    b.level("row", len(trips), [1] * len(trips))
    b.level("key", vary("row", trips))
    for unit in ("dma", "mxu", "out"):
        b.resource(unit)
    b.buffer("kv", 2)
    b.buffer("o", 2)
    b.stage(Stage("load", "dma", load, acquires=(Hold("kv"),)))
    b.stage(
        Stage(
            "attend",
            "mxu",
            compute,
            after=(After("load"),),
            acquires=(Hold("o", first=("key",)),),
            releases=(Hold("kv"),),
        )
    )
    b.stage(Stage("store", "out", store, spans={"key": END}, after=(After("attend"),), releases=(Hold("o"),)))
    return b.build()


@pytest.mark.parametrize("trips", [list(range(9, 0, -1)), list(range(1, 10)), [3, 1, 1, 7, 2]])
def test_causal_rows(trips: list[int]) -> None:
    done = run(causal(trips, 6, 8, 5))
    assert done.total_ticks == 6 + sum(trips) * 8 + 5
    assert done.fires == {"load": sum(trips), "attend": sum(trips), "store": len(trips)}
    # Bound by the loads, each row's last block waits for nothing but its own.
    assert run(causal(trips, 8, 6, 5)).total_ticks == sum(trips) * 8 + 6 + 5


def test_causal_rows_long() -> None:
    trips = [4000 * (16 - row) for row in range(16)]
    assert run(causal(trips, 6, 8, 5), twin=False).total_ticks == 6 + sum(trips) * 8 + 5


# Many copies


def copies(count: int, steps: int, hbm: int, compute: int) -> Program:
    """Explicit copies: each with its own queue and array, all on one shared memory channel."""
    b = builder(("i", steps), units="hbm")
    for c in range(count):
        b.resource(f"dma{c}")
        b.resource(f"mxu{c}")
        b.buffer(f"tile{c}", 2)
        b.stage(Stage(f"load{c}", f"dma{c}", 0, rates=(("hbm", hbm),), acquires=(Hold(f"tile{c}"),)))
        b.stage(Stage(f"work{c}", f"mxu{c}", compute, after=(After(f"load{c}"),), releases=(Hold(f"tile{c}"),)))
    return b.build()


@pytest.mark.parametrize(
    ("hbm", "compute", "total"), [(7, 500, 40 * 132 * 7 + 500), (3, 500, 132 * 3 + 40 * 500), (4, 528, 132 * 4 * 41)]
)
def test_one_copy_stands_for_132(hbm: int, compute: int, total: int) -> None:
    explicit = run_program(copies(132, 40, hbm, compute), attribution=False)
    one = run(copies(1, 40, 132 * hbm, compute))
    assert explicit.total_ticks == one.total_ticks == total
    assert explicit.busy["hbm"] == one.busy["hbm"]


def test_a_pool_takes_the_server_that_is_free_first() -> None:
    # 9, 2, 2, 2, 2 and 9 on two servers: the second one does the short ones, then the last tile from 8 to 17.
    b = ProgramBuilder("pool")
    b.level("tile", 6, [1, 4, 1])
    b.resource("sm", servers=2)
    b.stage(Stage("work", "sm", vary("tile", [9, 2, 9])))
    assert run(b.build()).total_ticks == 17


# Two programs at once


def memory_use(hbm: int, compute: int) -> Alone:
    """A program of 100 steps alone: its time and how long it holds hbm."""
    done = run(copies(1, 100, hbm, compute))
    return Alone(done.total_ticks, {name: done.busy[name] for name in ("hbm", "mxu0") if done.busy[name]})


def test_two_programs_bound_by_hbm_take_the_sum() -> None:
    a, b = memory_use(100, 0), memory_use(300, 0)
    assert (a.time, b.time) == (10_000, 30_000)
    # Each gets half: the short one ends after twice its time, then the long one has all of it.
    assert at_once([a, b]) == pytest.approx((20_000, 40_000))


def test_a_program_that_hardly_uses_hbm_beside_one_that_needs_all_of_it() -> None:
    # a alone: 100 x 100 on hbm. b alone: 25 + 100 x 100, a quarter of it on hbm. Together both go at x with
    # x + x 2500 / 10025 = 1 until a ends; what is left of b then goes at full speed.
    a, b = memory_use(100, 0), memory_use(25, 100)
    b = Alone(b.time, {"hbm": b.busy["hbm"], "array of b": b.busy["mxu0"]})
    x = 1 / (1 + 2500 / 10_025)
    ends_a = 10_000 / x
    assert at_once([a, b]) == pytest.approx((ends_a, ends_a + (1 - ends_a * x / 10_025) * 10_025))


def test_programs_on_different_resources_do_not_see_each_other() -> None:
    a = Alone(700, {"hbm": 700})
    b = Alone(900, {"ici": 850})
    assert at_once([a, b]) == (700, 900)


# Events and overflow


def test_event_list() -> None:
    program = pipeline(3, 2, 10, 7)
    done = run_program(program, most_events=6)
    assert [(e.stage, e.firing, e.start, e.end) for e in done.events] == [
        ("load", 0, 0, 10),
        ("load", 1, 10, 20),
        ("compute", 0, 10, 17),
        ("load", 2, 20, 30),
        ("compute", 1, 20, 27),
        ("compute", 2, 30, 37),
    ]
    with pytest.raises(MappingError, match="more events than asked for"):
        run_program(program, most_events=5)


def long_stage(ticks: int, trips: int, latency: int = 0) -> Program:
    """One stage, over and over."""
    b = builder(("i", trips), units="unit")
    b.stage(Stage("x", "unit", ticks, latency=latency))
    return b.build()


@pytest.mark.parametrize("jump", [False, True])
def test_longest_program(jump: bool) -> None:
    assert run_program(long_stage(2**60, 4), jump=jump).total_ticks == MAX_PROGRAM_TICKS
    for too_long in (long_stage(2**60, 5), long_stage(2**60, 4, latency=1)):
        with pytest.raises(TooLongError, match="takes 4611686018427387904 ticks or more; allowed are") as caught:
            run_program(too_long, jump=jump)
        assert caught.value.exit_code == 2


def test_longest_loop() -> None:
    assert run_program(long_stage(2**22, 2**40)).total_ticks == MAX_PROGRAM_TICKS
    with pytest.raises(TooLongError, match="takes 4611686018427387904 ticks or more; allowed are"):
        run_program(long_stage(2**22 + 1, 2**40))


def test_longest_program_of_many_servers() -> None:
    # The ticks of all servers together are counted: 2**11 servers leave 2**52 ticks.
    def pool(ticks: int) -> Program:
        b = ProgramBuilder("pool")
        b.level("i", 1)
        b.resource("pool", 2**11)
        b.stage(Stage("x", "pool", ticks))
        return b.build()

    assert run_program(pool(2**52 - 1)).total_ticks == 2**52 - 1
    with pytest.raises(TooLongError, match=r"since it has 2048 slots or servers") as caught:
        run_program(pool(2**52))
    assert (caught.value.least_ticks, caught.value.most_ticks) == (2**52, 2**52 - 1)


def test_a_jump_while_a_later_reader_stands_still() -> None:
    # Two servers make 100 one-tick tiles; one outer iteration later a unit reads them all, one a step. The jump over
    # them comes long before the reader starts, which must still find each one's own finish: 1, 1, 2, 2, ... 50.
    b = ProgramBuilder("read later")
    b.level("outer", 1)
    b.level("tile", 100)
    b.resource("pool", servers=2)
    b.resource("reader")
    b.buffer("tiles", 1)
    b.buffer("seen", 1)
    b.stage(Stage("make", "pool", 1, shift=0, acquires=(Hold("tiles", last=("tile",)),)))
    b.stage(
        Stage(
            "read", "reader", 0, shift=1, shift_level="outer", after=(After("make", level="tile"),),
            acquires=(Hold("seen", first=("tile",)),), releases=(Hold("tiles", last=("tile",)),),
        )
    )  # fmt: skip
    b.stage(
        Stage(
            "check", "pool", 0, shift=1, shift_level="outer", after=(After("read", level="tile"),),
            releases=(Hold("seen", last=("tile",)),),
        )
    )  # fmt: skip
    program = b.build()
    for attribution in (False, True):
        played, jumped = (run_program(program, jump=jump, attribution=attribution) for jump in (False, True))
        assert jumped == played
        assert jumped.total_ticks == 50
        assert jumped.occupancy["seen"].slot_ticks == 49  # from the first tile's finish to the last one's

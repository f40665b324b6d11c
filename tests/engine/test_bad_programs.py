"""What the builder and the run refuse, each with the words that tell the user why and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from accsim.engine.builder import ProgramBuilder
from accsim.engine.program import START, After, Amount, Hold, Span, Stage, vary
from accsim.engine.run import run_program
from accsim.errors import MappingError, TooLongError

Change = dict[str, Any]


def two_stages(
    load: Change | None = None,
    compute: Change | None = None,
    *,
    levels: tuple[tuple[Any, ...], ...] = (("o", 3), ("i", 4)),
    resources: tuple[tuple[Any, ...], ...] = (("dma",), ("mxu",), ("port",), ("pool", 2)),
    buffers: tuple[tuple[Any, ...], ...] = (("tile", 2, 100, "sram"),),
) -> ProgramBuilder:
    """A sound load and compute over a double buffer, but for the changes."""
    b = ProgramBuilder("bad")
    for level in levels:
        b.level(*level)
    for resource in resources:
        b.resource(*resource)
    b.memory("sram", 1000)
    for buffer in buffers:
        b.buffer(*buffer)
    first: Change = {"name": "load", "unit": "dma", "ticks": 5, "acquires": (Hold("tile"),)}
    second: Change = {
        "name": "compute",
        "unit": "mxu",
        "ticks": 7,
        "after": (After("load"),),
        "releases": (Hold("tile"),),
    }
    b.stage(Stage(**(first | (load or {}))))
    b.stage(Stage(**(second | (compute or {}))))
    return b


def test_without_a_change_it_is_sound() -> None:
    assert run_program(two_stages().build()).total_ticks == 5 + 12 * 7


def with_level(trips: Amount, runs: tuple[int, ...] = (1,)) -> Callable[[], ProgramBuilder]:
    return lambda: two_stages(levels=(("o", 3, (2, 1)), ("i", trips, runs)))


def with_load(**change: Any) -> Callable[[], ProgramBuilder]:
    return lambda: two_stages(load=change)


def with_compute(**change: Any) -> Callable[[], ProgramBuilder]:
    return lambda: two_stages(compute=change)


REFUSED: dict[str, tuple[Callable[[], ProgramBuilder], str]] = {
    # names
    "two levels of a name": (lambda: two_stages(levels=(("i", 3), ("i", 4))), "two levels are named 'i'"),
    "two resources of a name": (lambda: two_stages(resources=(("dma",), ("dma",))), "two resources are named 'dma'"),
    "two buffers of a name": (lambda: two_stages(buffers=(("tile", 2), ("tile", 2))), "two buffers are named 'tile'"),
    "two stages of a name": (with_compute(name="load"), "two stages are named 'load'"),
    "unknown unit": (
        with_load(unit="dna"),
        "unknown resource 'dna'; allowed: dma, mxu, port, pool. Did you mean 'dma'?",
    ),
    "unknown rate": (with_load(rates=(("porte", 3),)), "unknown resource 'porte'; allowed: dma, mxu, port, pool. Did"),
    "unknown producer": (with_compute(after=(After("lood"),)), "after unknown stage 'lood'; allowed: compute, load."),
    "unknown buffer": (
        with_load(acquires=(Hold("tyle"),)),
        "unknown buffer 'tyle'; allowed: tile. Did you mean 'tile'?",
    ),
    "unknown level of a span": (with_load(spans={"j": Span(0, 1)}), "unknown level 'j'; allowed: o, i."),
    "unknown level of a hold": (with_load(acquires=(Hold("tile", first=("k",)),)), "unknown level 'k'; allowed: o, i."),
    "unknown level of a dependence": (
        with_compute(after=(After("load", level="k"),)),
        "after 'load': unknown level 'k'",
    ),
    "unknown shift level": (with_compute(shift=1, shift_level="k"), "unknown level 'k'; allowed: o, i."),
    "unknown memory": (
        lambda: two_stages(buffers=(("tile", 2, 1, "srem"),)),
        "buffer 'tile': unknown memory 'srem'; allowed: sram. Did you mean 'sram'?",
    ),
    # sizes
    "no stages": (lambda: ProgramBuilder("bad"), "no stages: nothing takes time"),
    "five levels": (
        lambda: two_stages(levels=tuple((name, 2) for name in "abcde")),
        "5 levels; at most 4 are allowed: join loops or nest a program",
    ),
    "no trips": (with_level(0), "level 'i': trips = 0; allowed is 1 to 1099511627776"),
    "too many trips": (with_level(2**40 + 1), "level 'i': trips = 1099511627777; allowed is 1 to"),
    "trips that vary with their own level": (
        with_level(vary("i", [1, 2]), (1, 1)),
        "trips: varies with 'i', which is not outside the level it bounds",
    ),
    "trips for more classes than there are": (with_level(vary("o", [1, 2, 3])), "3 values for the 2 classes of 'o'"),
    "trips that vary with nothing known": (with_level(vary("p", [1, 2])), "trips: unknown level 'p'; allowed: o, i."),
    "more axes than levels": (with_level(vary("o", [[1, 2], [3, 4]])), "trips: 2 axes for 1 levels"),
    "empty run": (with_level(4, (0, 1)), "level 'i': run lengths (0, 1); each must be at least 1"),
    "no servers": (
        lambda: two_stages(resources=(("dma",), ("mxu", 0))),
        "resource 'mxu': 0 servers; at least 1 is needed",
    ),
    "no slots": (
        lambda: two_stages(buffers=(("tile", 0),)),
        "buffer 'tile': needs at least 1 slot of at least 0 bytes",
    ),
    "negative ticks": (with_load(ticks=-1), "stage 'load': ticks = -1; allowed is at least 0"),
    "negative ticks of a rate": (with_load(rates=(("port", -3),)), "stage 'load': ticks of rate 'port' = -3"),
    "negative latency": (with_load(latency=-1), "stage 'load': latency -1; allowed is 0 to"),
    "shift beyond all bounds": (
        with_compute(shift=2**20 + 1),
        "stage 'compute': shift 1048577; allowed is 0 to 1048576",
    ),
    "negative lag": (with_compute(after=(After("load", lag=-1),)), "after 'load': lag -1; allowed is 0 to"),
    "over capacity": (
        lambda: two_stages(buffers=(("tile", 2, 600, "sram"),)),
        "needs 1200 B in sram, has 1000 B (tile 2 x 600 B)",
    ),
    # spans and holds
    "span beyond the trips": (with_load(spans={"i": Span(0, 5)}), "span [0, 5) of 'i' leaves its trips 4"),
    "span that ends before it begins": (with_load(spans={"i": Span(3, 2)}), "span [3, 2) of 'i' leaves its trips 4"),
    "span that varies with an inner level": (
        with_load(spans={"o": Span(vary("i", [0]), None)}),
        "span of 'o': varies with 'i', which is not outside the level it bounds",
    ),
    "one resource twice": (with_load(rates=(("dma", 3),)), "stage 'load': holds one resource twice"),
    "three rates": (
        lambda: two_stages(
            load={"rates": (("a", 1), ("b", 1), ("c", 1))}, resources=tuple((name,) for name in ("dma", "mxu", *"abc"))
        ),
        "stage 'load': 3 rates; at most 2 are allowed",
    ),
    "pool as a rate": (with_load(rates=(("pool", 3),)), "rate 'pool' is a pool; a rate has one server"),
    "one buffer twice": (
        with_load(acquires=(Hold("tile"), Hold("tile", first=("i",)))),
        "stage 'load': takes slots of one buffer twice; a stage may do so once a firing",
    ),
    # edges
    "unthrottled producer": (
        with_load(acquires=()),
        "stage 'load' hands to 'compute' without a buffer: an unthrottled producer; acquire a slot at or before",
    ),
    "carried lag of two": (
        with_compute(after=(After("load"), After("load", lag=2, level="i", carried=True))),
        "after 'load' carried over 2 innermost iterations; allowed is 0 or 1 (name an outer level)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_builder_refuses(case: str) -> None:
    make, fragment = REFUSED[case]
    with pytest.raises(MappingError, match=re.escape(fragment)) as caught:
        make().build()
    assert str(caught.value).startswith("program 'bad' cannot be built\n")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"ticks": 2**60 + 1}, "stage 'load': ticks = 1152921504606846977; allowed is 0 to 1152921504606846976"),
        ({"ticks": 2**70}, "stage 'load': ticks = 1180591620717411303424; allowed is 0 to 1152921504606846976"),
        ({"rates": (("port", 2**61),)}, "stage 'load': ticks of rate 'port' = 2305843009213693952; allowed is 0 to"),
        ({"ticks": vary("o", [5, 2**62])}, "stage 'load': ticks = 4611686018427387904; allowed is 0 to"),
    ],
)
def test_a_stage_that_is_too_long(change: Change, fragment: str) -> None:
    b = two_stages(load=change, levels=(("o", 3, (2, 1)), ("i", 4)))
    with pytest.raises(TooLongError, match=re.escape(f"program 'bad' is too long: {fragment}")) as caught:
        b.build()
    assert caught.value.exit_code == 2


def test_shifts_of_different_levels_are_not_inherited() -> None:
    b = two_stages(
        load={"shift": 1, "shift_level": "o"},
        compute={"shift": 1, "shift_level": "i"},
    )
    b.stage(Stage("store", "port", 3, after=(After("load"), After("compute"))))
    message = (
        "stage 'store': its producers ask for shifts at different levels, 'load' for 1 of 'o' and 'compute' for 1 of "
        "'i': set shift= and shift_level= of the stage"
    )
    with pytest.raises(MappingError, match=re.escape(message)):
        b.build()


def loads_kept_at_two_levels(**compute: Any) -> ProgramBuilder:
    """One load a row, kept over the row in 3 slots, and one a step in 2 slots; a stage that needs both."""
    b = ProgramBuilder("two levels")
    b.level("row", 3)
    b.level("step", 4)
    b.resource("dma")
    b.resource("mxu")
    b.buffer("kept", 3)
    b.buffer("streamed", 2)
    b.stage(Stage("load_kept", "dma", 5, spans={"step": START}, acquires=(Hold("kept"),)))
    b.stage(Stage("load", "dma", 5, acquires=(Hold("streamed"),)))
    releases = (Hold("kept", last=("step",)), Hold("streamed"))
    b.stage(Stage("compute", "mxu", 7, after=(After("load_kept"), After("load")), releases=releases, **compute))
    return b


def test_default_shifts_of_loads_at_different_levels_name_what_to_set() -> None:
    with pytest.raises(MappingError) as caught:
        loads_kept_at_two_levels().build()
    assert caught.value.rejected == (
        "stage 'compute': its producers ask for shifts at different levels, 'load_kept' for 2 of 'row' and 'load' for "
        "1 of 'step': set shift= and shift_level= of the stage",
    )
    assert loads_kept_at_two_levels(shift=1, shift_level="step").build().stage("compute").shift == 1


def test_all_problems_at_once() -> None:
    b = two_stages(load={"ticks": -1, "latency": -2}, compute={"shift": -1, "after": (After("lood"),)})
    with pytest.raises(MappingError) as caught:
        b.build()
    assert len(caught.value.rejected) == 4


RUN_REFUSED: dict[str, tuple[Callable[[], ProgramBuilder], str]] = {
    "later firing": (
        lambda: two_stages(load={"unit": "mxu", "after": (After("compute"),)}, compute={"after": ()}),
        "stage 'load' depends on a later firing of 'compute': list 'compute' before it, give 'load' a larger shift",
    ),
    "shift ahead of the producer": (
        lambda: two_stages(load={"shift": 2}, compute={"shift": 1}),
        "stage 'compute' depends on a later firing of 'load'",
    ),
    "too few slots for the shift": (
        with_compute(shift=3),
        "stage 'load' takes a slot of 'tile' whose release comes later in issue order: give it more than 2 slots",
    ),
    "release before acquire": (
        lambda: two_stages(
            load={"acquires": (), "releases": (Hold("tile"),)},
            compute={"acquires": (Hold("tile"),), "releases": (), "after": (), "shift": 0},
        ),
        "stage 'load' gives back a slot of 'tile' before it is taken",
    ),
    "fewer releases": (
        lambda: two_stages(compute={"releases": (Hold("tile", last=("i",)),)}, buffers=(("tile", 12),)),
        "buffer 'tile': 12 slots are taken and 3 given back by the end",
    ),
    "void at every firing": (
        with_compute(after=(After("load", lag=4, level="i"),), shift=0),
        "stage 'compute': its dependence on 'load' (level 'i', lag 4) is void at every firing",
    ),
}


@pytest.mark.parametrize("jump", [False, True])
@pytest.mark.parametrize("case", RUN_REFUSED)
def test_the_run_refuses(case: str, jump: bool) -> None:
    make, fragment = RUN_REFUSED[case]
    program = make().build()
    with pytest.raises(MappingError, match=re.escape(fragment)) as caught:
        run_program(program, jump=jump)
    assert str(caught.value).startswith("program 'bad' cannot run\n")

"""Collectives as tile programs of one chip, against all chips played chunk by chunk, and against closed forms."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accsim.engine.program import TICKS_PER_CYCLE
from accsim.engine.run import run_program
from accsim.errors import InputError
from accsim.network.catalogue import read_topology
from accsim.network.chunked import ring_program
from accsim.network.collectives import Collective, run_collective
from accsim.network.contention import Endpoint
from accsim.network.stepwise import Stepwise

B, ALPHA = 50e9, 1e-6


def seconds(text: str, kind: str, size: float, **given: object) -> float:
    program = ring_program(read_topology(text).graph, kind, size, clock_hz=1e9, **given)  # type: ignore[arg-type]
    return run_program(program).total_ticks / TICKS_PER_CYCLE / 1e9


def all_chips(p: int, adds: bool, block: float, chunks: int) -> float:
    """A gather (or a reduction: its steps backwards) on a ring of p chips, every chip and chunk by itself.

    A chip sends chunks of a step in order, each when its port is free and the chunk has come. Block b of chip c is at
    distance t from c: in a gather it has come t hops and is sent on in step t; in a reduction it goes on to a chip
    that is nearer to b.
    """
    far = p // 2
    steps = list(range(far))
    parts = {t: [*range(chunks)] if p % 2 or t < far - 1 else [*range(chunks // 2)] for t in steps}
    chunk = block / chunks / B
    free = {(c, way): 0.0 for c in range(p) for way in (1, -1)}
    come: dict[tuple[int, int, int, int], float] = {}
    ends = 0.0
    for t in reversed(steps) if adds else steps:
        for c in range(p):
            for way in (1, -1):
                # A gather sends on the block that began t hops behind; a reduction one that ends t + 1 hops ahead.
                owner = (c + way * (t + 1)) % p if adds else (c - way * t) % p
                for q in parts[t]:
                    start = max(free[c, way], come.get((c, way, owner, q), 0.0))
                    free[c, way] = start + chunk
                    arrival = start + chunk + ALPHA
                    come[(c + way) % p, way, owner, q] = arrival
                    ends = max(ends, arrival)
    return ends


@given(st.integers(2, 9), st.booleans(), st.floats(100.0, 2e8))
@settings(max_examples=60)
def test_one_chip_does_what_all_chips_do(p: int, adds: bool, size: float) -> None:
    block = size / p
    chunks = 2 * max(1, min(64, int(block / 4096)) // 2)
    kind = "reduce_scatter" if adds else "all_gather"
    if p == 2:
        chunks_time = all_chips(3, adds, block / 2, chunks // 2)  # two links join two chips: a half block over each
        assert seconds("torus:2", kind, size) == pytest.approx(chunks_time, rel=1e-4)
        return
    assert seconds(f"torus:{p}", kind, size) == pytest.approx(all_chips(p, adds, block, chunks), rel=1e-4)


@pytest.mark.parametrize("shape", ["8", "4x4", "5x5", "4x4x4", "8x8x8"])
@pytest.mark.parametrize("kind", ["all_gather", "reduce_scatter", "all_reduce"])
def test_large_messages_meet_the_closed_form(shape: str, kind: str) -> None:
    sides = [int(side) for side in shape.split("x")]
    chips, size = math.prod(sides), 2.0**30
    form = (2 if kind == "all_reduce" else 1) * (chips - 1) / chips * size / (2 * B * len(sides))
    found = seconds(f"torus:{shape}", kind, size)
    assert form * (1 - 1e-6) <= found <= 1.01 * form


@pytest.mark.parametrize("text", ["torus:6", "torus:4x4x4", "torus:5x5"])
@pytest.mark.parametrize("size", [1e3, 1e9])
def test_it_agrees_with_the_steps_where_latency_or_bytes_are_all(text: str, size: float) -> None:
    steps = run_collective(Stepwise(read_topology(text).graph), Collective("all_reduce", size, None, "torus_rings"))
    assert seconds(text, "all_reduce", size) == pytest.approx(steps.time_s, rel=0.01)


def test_pieces_of_unequal_axes_wait_for_each_other_at_a_port() -> None:
    """Each piece makes 2 x (2 + 2 + 4) hops; a port that serves them in order adds some, all in step would be 24."""
    assert 16e-6 <= seconds("torus:4x4x8", "all_reduce", 1e3) <= 24.1e-6


def test_chunks_hide_the_latency_of_the_steps() -> None:
    size = 2.0**22
    steps = run_collective(
        Stepwise(read_topology("torus:16").graph), Collective("all_gather", size, None, "torus_rings")
    )
    bytes_only = 15 / 16 * size / (2 * B)
    assert (bytes_only + ALPHA) * (1 - 1e-4) <= seconds("torus:16", "all_gather", size) <= bytes_only + 2 * ALPHA
    assert steps.time_s == pytest.approx(bytes_only + 8 * ALPHA)


def test_sums_and_memory_beside_the_links() -> None:
    size, share = 2.0**30, 63 / 64 * 2.0**30
    free = seconds("torus:4x4x4", "all_reduce", size)
    # Sums that keep up cost the last chunk's; slow ones bind: 63/64 of the buffer at their rate.
    assert free <= seconds("torus:4x4x4", "all_reduce", size, adds_bytes_per_s=1e12) <= 1.01 * free
    slow = seconds("torus:4x4x4", "reduce_scatter", size, adds_bytes_per_s=20e9)
    assert share / 20e9 <= slow <= 1.02 * share / 20e9
    memory = seconds("torus:4x4x4", "all_reduce", size, adds_bytes_per_s=1e12, endpoint=Endpoint(hbm_bytes_per_s=400e9))
    assert 5 * share / 400e9 <= memory <= 1.05 * 5 * share / 400e9
    ports = seconds("torus:4x4x4", "all_gather", size, endpoint=Endpoint(injection_bytes_per_s=100e9))
    assert share / 100e9 <= ports <= 1.01 * share / 100e9


@pytest.mark.parametrize("text", ["mesh:4x4", "twisted:4x4x8", "hypercube:3"])
def test_one_chip_stands_only_for_a_torus(text: str) -> None:
    with pytest.raises(InputError, match="needs a torus without twist"):
        ring_program(read_topology(text).graph, "all_reduce", 1e6, clock_hz=1e9)


def test_bad_arguments() -> None:
    torus = read_topology("torus:4").graph
    with pytest.raises(InputError, match="unknown collective of rings 'broadcast'"):
        ring_program(torus, "broadcast", 1e6, clock_hz=1e9)
    with pytest.raises(InputError, match="read a buffer of 0 bytes"):
        ring_program(torus, "all_reduce", 0, clock_hz=1e9)

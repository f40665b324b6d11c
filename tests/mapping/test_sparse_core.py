"""Embedding units: their programs against counts by hand, closed forms and laws."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import accsim
from accsim.config.machine import Accelerator
from accsim.embedding.imbalance import Imbalance
from accsim.embedding.work import Exchange, StackWork, StepWork
from accsim.engine.counters import Counters
from accsim.engine.dram import RandomRows, dram_access
from accsim.engine.program import TICKS_PER_CYCLE
from accsim.engine.run import run_program
from accsim.mapping.sparse_core import unit_programs

TILES = 64
NONE = Imbalance(0.0, 0.0)


def even(count: float) -> Imbalance:
    return Imbalance(count, count)


def stack(name: str = "t", **given: Any) -> StackWork:
    """Sums at the owner of bags of 8 rows of 128 fp32, 1024 bags a chip, no duplicates, all spread evenly."""
    lookups = 8192.0
    usual: dict[str, Any] = {
        "features": 1, "width": 128, "dtype": "fp32", "optimizer": "adagrad", "looked_up": lookups,
        "asked": even(lookups), "served": even(lookups), "fetched": even(lookups / TILES),
        "combined": even(lookups / TILES), "sent": even(1024.0), "received": 1024.0, "joined": 0.0,
        "updated": even(lookups / TILES),
    }  # fmt: skip
    return StackWork(name, **usual | given)


def scaled(one: StackWork, factor: float) -> StackWork:
    """The same with more samples."""
    grown = {}
    for name, value in vars(one).items():
        if isinstance(value, Imbalance):
            grown[name] = Imbalance(value.mean * factor, value.largest * factor)
        elif isinstance(value, float):
            grown[name] = value * factor
    return replace(one, **grown)


def step(*stacks: StackWork, samples: float = 1024.0) -> StepWork:
    return StepWork(samples, 128, TILES, "none", stacks, Exchange(0.0, 0.0))


def machine(**given: object) -> Accelerator:
    """TPU v4 at 1 GHz, with DRAM at the rate of its standard, and short latencies in whole cycles."""
    usual = {"clock": "1 GHz", "memories.hbm.read_bandwidth": "1228.8 GB/s"}
    return accsim.load_accelerator("tpu_v4", set=usual | {key.replace("__", "."): v for key, v in given.items()})


def both(acc: Accelerator, work: StepWork) -> tuple[Counters, Counters]:
    programs = unit_programs(acc, work)
    return run_program(programs.forward), run_program(programs.backward)


def random_share(size: int, writes: float = 0.0) -> float:
    return dram_access(RandomRows(size, 2**40 // size, write_fraction=writes), "hbm2_2400").efficiency


def up(cycles: float) -> int:
    return math.ceil(cycles * TICKS_PER_CYCLE * (1 - 1e-12))


def test_a_tiny_step_by_hand() -> None:
    """Four rows a tile, one chunk: every stage waits for the one before, so that their times add up."""
    acc = machine()
    tiny = scaled(stack(), 1 / 32)  # 256 ids, 32 bags; 4 rows a tile
    stream, latency = acc.main_memory.efficiency, 500 * TICKS_PER_CYCLE
    channel = 19.2  # bytes a cycle
    ids, rows = (256 * 12 + 256 * 4) / 64, 4 * 512
    parts = 32 * 64 * (1 - (1 - 1 / 64) ** 8)
    forward = [
        up(1000 + 6 * 100),  # six kinds of work behind it
        up(ids / (channel * stream)) + latency,
        up((256 + 256) / 4 / 16),
        up(rows / (channel * random_share(512))) + latency,
        up(4 * 128 / 8),
        up((parts - 32) * 128 / 4 / 128),
        max(up((32 * 512 + 256 * 4) / 4 / 512), up((32 * 512 + 256 * 4) / 64 / (channel * stream))),
    ]
    backward = [
        up(1000 + 10 * 100),
        up(32 * 512 / 64 / (channel * stream)) + latency,
        up(32 * 512 / 4 / 512),
        max(up(32 * 512 / 4 / 512), up(32 * 512 / 64 / (channel * stream))),
        up((32 * 512 + 256 * 4) / 64 / (channel * stream)) + latency,
        up(256 / 4 / 16),
        up(256 * 512 / 4 / 512),
        up(4 * 128 / 8),
        up(2 * rows / (channel * random_share(512, 0.5))) + latency,
        up(4 * 128 * (3 + 3 + 8) / 8),
        up(2 * rows / (channel * random_share(512, 0.5))) + latency,
    ]
    found = both(acc, step(tiny, samples=32.0))
    assert [one.total_ticks for one in found] == [sum(forward), sum(backward)]

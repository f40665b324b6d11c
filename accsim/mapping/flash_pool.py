"""Attention on a GPU under a mask, or of different lengths: tiles run on a pool of SMs, from the longest on.

What a tile does on its SM is an inner program, one for each length. In it all SMs are taken to be at work, and to share
the memories of the chip: tiles end one by one, and none is idle as long as one waits.
"""

from __future__ import annotations

from accsim.config.machine import Accelerator
from accsim.engine.builder import ProgramBuilder
from accsim.engine.inner import stand_for
from accsim.engine.program import Span, Stage
from accsim.mapping.attention import problems_of
from accsim.mapping.base import Step
from accsim.mapping.flash_blocks import lower_tiles
from accsim.mapping.flash_tiles import tiles_of
from accsim.mapping.machine_numbers import action_names, all_ports
from accsim.workload.ops import Attention


def pool_of_tiles(op: Attention, acc: Accelerator, ahead: bool, row: int, key: int) -> Step:
    """The program of tiles of ``row`` query rows and blocks of ``key`` keys; ``ahead`` as ``Flash.pipeline``.

    Raises
    ------
    MappingError
        When a tile does not fit an SM.
    """
    tiles = tiles_of(problems_of(op), row, key)
    inside = lower_tiles(op, acc, ahead, row, key, actions=True)
    in_all = tiles.in_all
    active = min(acc.cores, in_all)
    outside = {name for memory in acc.memories[1:] for name in all_ports(memory)}
    shares = {name: active for name in inside.shape.resources if name in outside}
    builder = ProgramBuilder(f"{inside.shape.name} on a pool of SMs")
    builder.level("tile", in_all)
    builder.resource("sm", active)
    first = 0
    for i, (length, count) in enumerate(zip(tiles.lengths, tiles.counts, strict=True)):
        program = inside.shape.program(inside.block, i, action_names(acc, op.dtype))
        span = Span(first, first + count)
        builder.stage(stand_for(Stage(f"tile_{length}", "sm", 0, spans={"tile": span}), program, shares))
        first += count
    return Step(builder.build())

"""FlashAttention (the first): key blocks outside, query tiles inside, partial outputs in main memory in between.

Source: Dao et al., "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness", NeurIPS 2022 (arXiv
2205.14135), Algorithm 1. ``docs/attention.md`` has the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.program import After, Hold
from accsim.errors import MappingError
from accsim.kernels.block import START
from accsim.mapping.attention import (
    check_equal_lengths,
    form_codes,
    key_block_sizes,
    problem_of,
    row_tile_sizes,
    share_of,
    tile_rows,
)
from accsim.mapping.base import check_choices, register_dataflow
from accsim.mapping.compiled import CompiledDataflow, Points, Writer
from accsim.mapping.flash1_lower import At, least_tiles, lower_flash1
from accsim.mapping.kv_format import convert_on_arrival, kv_numbers
from accsim.mapping.machine_numbers import STATIONARY, memory_plan, ways
from accsim.mapping.shape import Shape, StageShape, between
from accsim.workload.ops import Attention, Op

MOST_CAUSAL_BLOCKS = 256
"""A search leaves out key blocks so small that each of more than this many needs numbers of its own under a mask."""


class _Variant(NamedTuple):
    """What decides the shape of a program: classes of key blocks and row tiles, mask, and values that are keys."""

    key_classes: int
    row_classes: int
    causal: bool
    window: bool
    shared_kv: bool


@dataclass(frozen=True)
class Flash1(CompiledDataflow):
    """A FlashAttention-1 mapping; choices left ``None`` are searched.

    Parameters
    ----------
    block_q : query rows of a tile; two of a core's tiles or more see each key block, since outputs leave in between.
    block_kv : keys of a block; one that has all keys of a head, so that outputs need not come back, is tried if there
        is no other.
    stationary : form of both operators on the array.
    """

    kinds: ClassVar[tuple[str, ...]] = ("attention",)

    block_q: int | None = None
    block_kv: int | None = None
    stationary: str | None = None

    def __post_init__(self) -> None:
        check_choices(self, positive=("block_q", "block_kv"), among={"stationary": tuple(STATIONARY)})

    def space(self, op: Op, acc: Accelerator) -> list[Points]:
        assert isinstance(op, Attention)
        check_equal_lengths(op, "flash1")
        problem = problem_of(op)
        keys = [self.block_kv] if self.block_kv else key_block_sizes(op, acc, 5)
        found: dict[bool, dict[_Variant, list[tuple[int, ...]]]] = {True: {}, False: {}}
        for row in row_tile_sizes(op, acc, self.block_q):
            tile = min(row, op.q_len * problem.shared)
            share = share_of(problem, tile, acc.cores)
            tiles = -(-share.rows // tile)
            for key in keys:
                blocks = -(-problem.keys // key)
                if blocks > 1 and least_tiles(problem, tile, share, tiles, key, blocks) < 2:
                    continue
                if op.causal and blocks > MOST_CAUSAL_BLOCKS and key != keys[-1]:
                    continue
                short = tile_rows(problem, tile, share, tiles - 1)[0] < tile
                several = blocks if op.causal else min(blocks, 2)
                variant = _Variant(several, 1 + short, op.causal, op.window is not None, op.shared_kv)
                points = found[blocks > 1].setdefault(variant, [])
                points += [(row, key, form) for form in form_codes(acc, self.stationary)]
        tables = found[True] or found[False]
        if not tables:
            raise MappingError(f"'{op.name}': flash1 needs two row tiles on a core at each of two key blocks or more")
        return [Points(variant, np.array(points, np.int64)) for variant, points in tables.items()]

    def complete(self, op: Op, acc: Accelerator, points: Points, i: int) -> Flash1:
        row, key, form = points.table[i].tolist()
        return Flash1(row, key, {code: name for name, code in STATIONARY.items()}[form])

    def writer(self, op: Op, acc: Accelerator, variant: tuple[Any, ...]) -> Writer:
        assert isinstance(op, Attention)
        machine, conversion = kv_numbers(op, acc)
        shape = _shape(acc, _Variant(*variant), conversion is not None)
        at = At(*shape.places(At._fields))
        problem = problem_of(op)
        grid = problem._replace(window=problem.keys)
        return Writer.compiled(shape, lower_flash1, problem, grid, float(op.scores), at, machine, conversion)


register_dataflow("flash1", Flash1)


@lru_cache(maxsize=64)
def _shape(acc: Accelerator, variant: _Variant, converted: bool) -> Shape:
    """Under a window the row tiles of a key block begin behind those whose windows do."""
    way = ways(acc)
    sums, capacities = memory_plan(acc)
    memory = acc.memories[0].name
    shared_kv = variant.shared_kv
    keys, values = (() if shared_kv else (Hold("k", last=("row",)),)), Hold("k" if shared_kv else "v", last=("row",))
    seen = {"row": between(1, 2)} if variant.window else {}
    stages: tuple[StageShape, ...] = (
        StageShape("load_k", "dma", way.loads, {"row": START}, acquires=(Hold("k"),)),
        StageShape("load_v", "dma", way.loads, {"row": START}, acquires=(Hold("v"),)),
        StageShape("load_q", "dma", way.loads, seen, acquires=(Hold("q"),)),
        StageShape("load_o", "dma", way.loads, seen, acquires=(Hold("out"),)),
        StageShape(
            "logit", "matrix", way.local, seen, after=(After("load_q"), After("load_k", level="key")),
            acquires=(Hold("scores"),), releases=(Hold("q"), *keys),
        ),
        StageShape(
            "softmax", "vector", way.local if sums == memory else (), seen, after=(After("logit"), After("load_o")),
        ),
        StageShape(
            "attend", "matrix", way.local, seen,
            after=(After("softmax"), After("load_k" if shared_kv else "load_v", level="key")),
            releases=(Hold("scores"), values),
        ),
        StageShape(
            "store_o", "dma", way.stores, seen, shift=1, shift_level="row", after=(After("attend"),),
            releases=(Hold("out"),),
        ),
    )  # fmt: skip
    stages = tuple(stage for stage in stages if not (shared_kv and stage.name == "load_v"))
    buffers = {"q": memory, "k": memory, **({} if shared_kv else {"v": memory}), "scores": sums, "out": sums}
    if converted:
        stages, buffers = convert_on_arrival(stages, buffers, way.local)
    return Shape(
        "flash1",
        (("head", 1), ("key", variant.key_classes), ("row", variant.row_classes)),
        way.resources("dma", "matrix", "vector"),
        buffers,
        stages,
        capacities,
        {"row": "key"} if variant.causal else {},
        2 if variant.window else 1,
    )

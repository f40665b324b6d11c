"""The shape of the programs of thread blocks: loops, stages and buffers of one SM, without the numbers."""

from __future__ import annotations

from functools import lru_cache

from accsim.config.machine import Accelerator
from accsim.engine.program import After, Hold
from accsim.kernels.block import END, START
from accsim.mapping.conversion import Passed
from accsim.mapping.machine_numbers import REGISTERS, places, ways
from accsim.mapping.shape import Shape, StageShape


@lru_cache(maxsize=256)
def thread_block_shape(
    acc: Accelerator, behind: int, split: bool, passed: Passed, capacities: tuple[int, int]
) -> Shape:
    """A launch, loads, what prepares operands, products, the epilogue, and a reduction of sums that are split.

    ``behind`` is the k steps of later thread blocks before an epilogue, ``capacities`` are shared memory and registers.
    """
    way = ways(acc)
    memory = acc.memories[0].name
    buffers = {"ring": memory, "sums": REGISTERS}
    limits = {memory: capacities[0], REGISTERS: capacities[1]}
    once = {"wave": END, "k": END}
    stages = [StageShape("load", "dma", way.loads, after=(After("launch"),), acquires=(Hold("ring"),))]
    used: tuple[Hold, ...] = (Hold("ring"),)
    prepared = [("convert", "vector", way.local, "converted")] if passed.converted else []
    prepared += [("decompress", "decompressor", (), "decompressed")] if passed.decompressed else []
    for name, unit, rates, buffer in prepared:
        buffers[buffer] = REGISTERS
        used = (*used, Hold(buffer))
        stages.append(StageShape(name, unit, rates, after=(After(stages[-1].name),), acquires=(Hold(buffer),)))
    waiting = (Hold("promoted"),) if passed.promoted else ()
    stages.append(
        StageShape("matmul", "matrix", way.local, after=(After(stages[-1].name),), acquires=waiting, releases=used)
    )
    if passed.promoted:
        buffers["promoted"] = REGISTERS
        stages.append(StageShape("promote", "vector", after=(After("matmul"),), releases=waiting))

    def results(name: str, unit: str, rates: tuple[str, ...], spans: dict[str, int], freed: str = "") -> StageShape:
        return StageShape(
            name, unit, rates, spans, shift=behind, shift_level="k", after=(After(stages[-1].name),),
            releases=(Hold(freed),) if freed else (),
        )  # fmt: skip

    packed = ("compress", "compressor", ())
    if passed.compressed and not split:
        stages.append(results(*packed, {"k": END}))
    stages.append(results("epilogue", "vector", way.stores, {"k": END}, "sums"))
    partials: tuple[Hold, ...] = ()
    if split:
        middle = places(acc)["middle"]
        buffers["partials"] = middle.name
        limits[middle.name] = middle.capacity_bytes
        partials = (Hold("partials", first=("wave",)),)
        if passed.compressed:
            stages.append(results(*packed, once))
        stages.append(results("reduce", "vector", (way.stores[0], way.loads[1]), once, "partials"))
    launch = StageShape("launch", "dispatch", (), {"k": START}, acquires=(Hold("sums"), *partials))
    return Shape(
        "thread blocks gemm" + (", split k" if split else ""),
        (("wave", 2), ("k", 1)),
        way.resources(*dict.fromkeys(("dispatch", "dma", "matrix", "vector", *(stage.unit for stage in stages)))),
        buffers,
        (launch, *stages),
        limits,
    )

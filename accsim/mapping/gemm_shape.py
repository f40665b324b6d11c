"""The shape of a stationary GEMM's programs: loops, stages and buffers, without the numbers."""

from __future__ import annotations

from functools import lru_cache

from accsim.config.machine import Accelerator
from accsim.engine.program import After, Hold
from accsim.kernels.block import END, START
from accsim.mapping.conversion import Passed
from accsim.mapping.machine_numbers import REGISTERS, memory_plan, ways
from accsim.mapping.shape import Shape, StageShape


@lru_cache(maxsize=256)
def gemm_shape(acc: Accelerator, form: str, order: str, resident: bool, passed: Passed) -> Shape:
    """Loads, what prepares operands for the matrix unit, its products, what is done to results, and the store."""
    way = ways(acc)
    outer, inner = ("m", "n") if order == "mn" else ("n", "m")
    outer_load, inner_load = ("load_a", "load_b") if order == "mn" else ("load_b", "load_a")
    kept = (resident and {inner: START}) or {}
    needed = {
        outer_load: After(outer_load, level="k", carried=True) if resident else After(outer_load),
        inner_load: After(inner_load),
    }
    used = {outer_load: Hold(outer_load[-1], last=(inner,) if resident else ()), inner_load: Hold(inner_load[-1])}
    stages = [
        StageShape(name, "dma", way.loads, kept if name == outer_load else {}, acquires=(Hold(name[-1]),))
        for name in ("load_a", "load_b")
    ]
    memory = acc.memories[0].name
    place, capacities = memory_plan(acc)
    buffers = {"a": memory, "b": memory, "c": memory} | ({"sums": place} if place == REGISTERS else {})
    behind = int(bool(passed.converted))  # a step: the next load takes the ports before the conversion does
    level = "k" if behind else None
    if passed.converted:
        buffers["converted"] = place
        stages.append(
            StageShape(
                "convert",
                "vector",
                way.local,
                shift=behind,
                shift_level=level,
                after=tuple(needed.pop(f"load_{operand}") for operand in passed.converted),
                acquires=(Hold("converted"),),
                releases=tuple(used.pop(f"load_{operand}") for operand in passed.converted),
            )
        )
        needed["convert"], used["convert"] = After("convert"), Hold("converted")
    if passed.decompressed:
        buffers["decompressed"] = place
        sources = ("convert" if operand in passed.converted else f"load_{operand}" for operand in passed.decompressed)
        stages.append(
            StageShape(
                "decompress",
                "decompressor",
                shift=behind,
                shift_level=level,
                after=tuple(needed[source] for source in dict.fromkeys(sources)),
                acquires=(Hold("decompressed"),),
            )
        )
        needed["decompress"], used["decompress"] = After("decompress"), Hold("decompressed")
    stages.append(
        StageShape(
            "matmul",
            "matrix",
            way.local,
            shift=behind,
            shift_level=level,
            after=tuple(needed.values()),
            acquires=tuple(Hold(name, first=("k",)) for name in buffers if name in ("c", "sums")),
            releases=(*used.values(), *(Hold(name, last=("k",)) for name in buffers if name == "sums")),
        )
    )
    stages += _results(way.local, way.stores, behind + 1, passed)
    units = dict.fromkeys(("dma", "matrix", *(stage.unit for stage in stages)))
    return Shape(
        f"{form} gemm",
        (("product", 1), (outer, 2), (inner, 2), ("k", 2)),
        way.resources(*units),
        buffers,
        tuple(stages),
        capacities,
    )


def _results(local: tuple[str, ...], stores: tuple[str, str], shift: int, passed: Passed) -> list[StageShape]:
    """Stages of complete results, one after the other."""
    units = [("quantize", "vector", local)] if passed.quantized else []
    units += [("compress", "compressor", ())] if passed.compressed else []
    units += [("store_c", "dma", stores)]
    before = ("matmul", *(name for name, _, _ in units))
    return [
        StageShape(
            name,
            unit,
            rates,
            {"k": END},
            shift=shift,
            shift_level="k",
            after=(After(source),),
            releases=(Hold("c"),) if name == "store_c" else (),
        )
        for source, (name, unit, rates) in zip(before, units, strict=False)
    ]

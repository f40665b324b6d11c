"""The shapes of FLAT's programs: which stages there are, in which sections of the key level, and what they hold."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from accsim.config.machine import Accelerator
from accsim.engine.program import After, Hold
from accsim.kernels.block import END, START
from accsim.mapping.attention import Loops
from accsim.mapping.machine_numbers import memory_plan, ways
from accsim.mapping.shape import Shape, StageShape, between, last_before

SPILLED_STAGES = (
    "logit_spilled", "spill_scores", "fetch_scores", "softmax_spilled", "spill_weights", "fetch_weights",
    "attend_spilled",
)  # fmt: skip


class Variant(NamedTuple):
    """What of a FLAT mapping decides the shape of its program."""

    q: bool
    """Q of a tile is loaded once; False: again for every key block."""
    k: bool
    """K of a head is loaded once; False: for every row tile."""
    v: bool
    """As ``k``, for V."""
    pipelined: bool
    two_pass: bool
    spilled: bool
    loops: Loops
    granularity: str
    """What a tile is, as in ``Flat.granularity``."""
    shared_kv: bool = False
    """K of a head stays and is V too: one buffer, loaded once."""

    @property
    def beside(self) -> bool:
        """Softmax of spilled blocks runs beside Attend of the row tile before."""
        return self.spilled and self.pipelined

    @property
    def staged(self) -> str:
        """The tensors that stay, as in ``Flat.staged``."""
        return "".join(letter for letter in "qkv" if getattr(self, letter)) + "o"


class At(NamedTuple):
    """Where a shape's stages are listed; -1 for those it does not have."""

    load_q: int
    load_k: int
    logit: int
    logit_spilled: int
    spill_scores: int
    softmax: int
    fetch_scores: int
    softmax_spilled: int
    spill_weights: int
    load_v: int
    attend: int
    fetch_weights: int
    attend_spilled: int
    finish: int
    store_o: int


@lru_cache(maxsize=256)
def flat_shape(acc: Accelerator, variant: Variant) -> Shape:
    """The shape of a variant's programs on a machine."""
    spilled = variant.spilled
    way = ways(acc)
    loads, stores, local = way
    sums, capacities = memory_plan(acc)
    memory = acc.memories[0].name
    behind = 1 if variant.pipelined else 0
    q = Hold("q", last=("key",)) if variant.q else Hold("q")
    k, v = _kept("k", variant.k), _kept("v", variant.v)
    values = k if variant.shared_kv else v
    scores = Hold("scores", last=("key",))
    spill, fetch, attend, end = _cuts(variant)
    # what stays longer than a firing is given back by the last to use it; a row tile may have no spilled part, so that
    # then it is the next stage that all row tiles have
    logit_reads = ((q, variant.q), *(() if variant.shared_kv else ((k.back, variant.k),)))
    late = [hold for hold, stays in logit_reads if stays and spilled]
    logit_gives = tuple(hold for hold, _ in logit_reads if hold not in late)
    late_v = [values.back] if variant.v and spilled else []
    attend_gives = (scores, *(hold for hold in (values.back,) if hold not in late_v))
    weights_gives = (Hold("weights"), *attend_gives[1:])
    store_gives = (Hold("out"), *late_v)
    last_attend = "attend_spilled" if spilled else "attend"
    logit_after = (After("load_q"), After("load_k", level="key", carried=variant.k))
    attend_after = () if variant.shared_kv else (After("load_v", level="key", carried=variant.v),)
    unscaled = "finish" if variant.two_pass else last_attend
    left_out = {
        *(() if spilled else SPILLED_STAGES),
        *(() if variant.two_pass else ("finish",)),
        *(("load_v",) if variant.shared_kv else ()),
    }
    stages = [
        StageShape(
            "load_q", "dma", loads, {"key": START if variant.q else between(0, spill)}, acquires=(Hold("q"),)
        ),
        StageShape("load_k", "dma", loads, {"key": between(0, spill), **k.once}, acquires=(k.taken,)),
        StageShape(
            "logit", "matrix", local, {"key": between(0, 1)},
            after=logit_after, acquires=(Hold("scores", first=("key",)),), releases=logit_gives,
        ),
        StageShape(
            "logit_spilled", "matrix", local, {"key": between(1, 2)},
            after=(*logit_after, After("logit")), acquires=(Hold("leaving"),), releases=logit_gives,
        ),
        StageShape(
            "spill_scores", "dma", stores, {"key": between(1, 2)},
            shift=1, shift_level="key", after=(After("logit_spilled"),), releases=(Hold("leaving"),),
        ),
        StageShape(
            "softmax", "vector", local, {"key": END if variant.beside else last_before(spill)},
            after=(After("logit"), After("logit_spilled")) if spilled else (After("logit"),),
            releases=tuple(late),
        ),
        StageShape(
            "fetch_scores", "dma", loads, {"key": between(fetch, fetch + 1)},
            after=(After("spill_scores", level="row"),), acquires=(Hold("fetched"),),
        ),
        StageShape(
            "softmax_spilled", "vector", local, {"key": between(fetch, fetch + 1)}, after=(After("fetch_scores"),)
        ),
        StageShape(
            "spill_weights", "dma", stores, {"key": between(fetch, fetch + 1)},
            shift=1, shift_level="key", after=(After("softmax_spilled"),), releases=(Hold("fetched"),),
        ),
        StageShape(
            "load_v", "dma", loads, {"key": between(attend, end), **v.once}, acquires=(v.taken,),
            shift=behind, shift_level="row",
        ),
        StageShape(
            "attend", "matrix", local, {"key": between(attend, attend + 1)},
            after=(After("softmax"), *attend_after), acquires=(Hold("out", first=("key",)),), releases=attend_gives,
            shift=behind, shift_level="row",
        ),
        StageShape(
            "fetch_weights", "dma", loads, {"key": between(attend + 1, end)},
            after=(After("spill_weights", level="row"),), acquires=(Hold("weights"),),
            shift=behind, shift_level="row",
        ),
        StageShape(
            "attend_spilled", "matrix", local, {"key": between(attend + 1, end)},
            after=(After("fetch_weights"), *attend_after, After("attend")), releases=weights_gives,
            shift=behind, shift_level="row",
        ),
        StageShape(
            "finish", "vector", local if sums == memory else (), {"key": END}, after=(After(last_attend),),
            shift=behind, shift_level="row",
        ),
        StageShape(
            "store_o", "dma", stores, {"key": END},
            shift=1 + behind, shift_level="row", after=(After(unscaled),), releases=store_gives,
        ),
    ]  # fmt: skip
    buffers = [
        "q", "k", *([] if variant.shared_kv else ["v"]), "scores", "out",
        *(["leaving", "fetched", "weights"] if spilled else []),
    ]  # fmt: skip
    return Shape(
        f"flat {variant.staged}" + " pipelined" * variant.pipelined + " spilled" * spilled,
        variant.loops.levels(2 if variant.beside or not spilled else 3),
        way.resources("dma", "matrix", "vector"),
        {name: sums if name == "out" else memory for name in buffers},
        tuple(stage for stage in stages if stage.name not in left_out),
        capacities,
        variant.loops.varying,
        end,
        {"scores": ("logit", "softmax", "attend")},
    )


def _cuts(variant: Variant) -> tuple[int, int, int, int]:
    """Cuts of the key level: where Logit ends, softmax of spilled blocks and Attend begin, and Attend ends.

    Logit | Attend; spilled: Logit | its spilled part | softmax of that | Attend | its spilled part. Where Attend is a
    row tile behind, the softmax of a tile's spilled part runs beside the spilled part of the Attend of the one before.
    """
    if not variant.spilled:
        return 1, 1, 1, 2
    return (2, 3, 2, 4) if variant.beside else (2, 2, 3, 5)


class _Kept(NamedTuple):
    """How a tensor of a whole head is loaded, taken and given back."""

    once: dict[str, int]
    taken: Hold
    back: Hold


def _kept(buffer: str, stays: bool) -> _Kept:
    if stays:
        return _Kept({"row": START}, Hold(buffer, first=("key",)), Hold(buffer, last=("row", "key")))
    return _Kept({}, Hold(buffer), Hold(buffer))

"""The shapes of FLAT's programs: which stages there are, in which sections of the key level, and what they hold."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from accsim.config.machine import Accelerator
from accsim.engine.program import After, Hold
from accsim.kernels.block import END, START
from accsim.mapping.attention import Loops
from accsim.mapping.kv_format import convert_on_arrival
from accsim.mapping.machine_numbers import Ways, memory_plan, ways
from accsim.mapping.shape import Shape, StageShape, behind_first, between, last_before

PARTIAL_STAGES = ("load_partial", "store_partial")
SPILLED_STAGES = (
    "logit_spilled", "spill_scores", "fetch_scores", "softmax_spilled", "spill_weights", "fetch_weights",
    "attend_spilled",
)  # fmt: skip


def staged_name(letters: Iterable[str]) -> str:
    """What stays, as in ``Flat.staged``."""
    return "".join(letters) or "none"


class Variant(NamedTuple):
    """What of a FLAT mapping decides the shape of its program."""

    q: bool
    """Q of a tile is loaded once; False: again for every key block."""
    k: bool
    """K of a head is loaded once; False: for every row tile."""
    v: bool
    """As ``k``, for V."""
    o: bool
    """O of a tile stays until it is whole; False: it passes in pieces."""
    partial: bool
    """An O that passes is a sum of several key blocks: it leaves after each of them and comes back for the next."""
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
        return staged_name(letter for letter in "qkvo" if getattr(self, letter))


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
    load_partial: int
    attend: int
    fetch_weights: int
    attend_spilled: int
    store_partial: int
    finish: int
    store_o: int
    convert_k: int
    convert_v: int


@lru_cache(maxsize=256)
def flat_shape(acc: Accelerator, variant: Variant, converted: bool) -> Shape:
    """The shape of a variant's programs on a machine; ``converted``: keys and values are, as they arrive."""
    sums, capacities = memory_plan(acc)
    memory = acc.memories[0].name
    way = ways(acc)
    cuts = _cuts(variant)
    stages: tuple[StageShape, ...] = (
        *_logit_stages(way, variant, cuts),
        *_softmax_stages(way, variant, cuts),
        *_attend_stages(way, variant, cuts),
        *_output_stages(way, variant, sums == memory),
    )
    left_out = {
        *(() if variant.spilled else SPILLED_STAGES),
        *(() if variant.two_pass else ("finish",)),
        *(("load_v",) if variant.shared_kv else ()),
        *(() if variant.partial else PARTIAL_STAGES),
    }
    names = [
        "q", "k", *([] if variant.shared_kv else ["v"]), "scores", "out",
        *(["leaving", "fetched", "weights"] if variant.spilled else []),
    ]  # fmt: skip
    stages = tuple(stage for stage in stages if stage.name not in left_out)
    buffers = {name: sums if name == "out" else memory for name in names}
    if converted:
        stages, buffers = convert_on_arrival(stages, buffers, way.local)
    return Shape(
        f"flat {variant.staged}" + " pipelined" * variant.pipelined + " spilled" * variant.spilled,
        variant.loops.levels(2 if variant.beside or not variant.spilled else 3),
        way.resources("dma", "matrix", "vector"),
        buffers,
        stages,
        capacities,
        variant.loops.varying,
        cuts.end,
        {"scores": ("logit", "softmax", "attend")},
    )


def _logit_stages(way: Ways, variant: Variant, cuts: _Cuts) -> tuple[StageShape, ...]:
    """Loads of Q and K, Logit, and the way of its spilled blocks to main memory."""
    k = _kept("k", variant.k)
    after = (After("load_q"), After("load_k", level="key", carried=variant.k))
    gives, _ = _read_by_logit(variant)
    return (
        StageShape(
            "load_q", "dma", way.loads, {"key": START if variant.q else between(0, cuts.spill)}, acquires=(Hold("q"),)
        ),
        StageShape("load_k", "dma", way.loads, {"key": between(0, cuts.spill), **k.once}, acquires=(k.taken,)),
        StageShape(
            "logit", "matrix", way.local, {"key": between(0, 1)},
            after=after, acquires=(Hold("scores", first=("key",)),), releases=gives,
        ),
        StageShape(
            "logit_spilled", "matrix", way.local, {"key": between(1, 2)},
            after=(*after, After("logit")), acquires=(Hold("leaving"),), releases=gives,
        ),
        StageShape(
            "spill_scores", "dma", way.stores, {"key": between(1, 2)},
            shift=1, shift_level="key", after=(After("logit_spilled"),), releases=(Hold("leaving"),),
        ),
    )  # fmt: skip


def _softmax_stages(way: Ways, variant: Variant, cuts: _Cuts) -> tuple[StageShape, ...]:
    """The softmax of what stays, and of spilled blocks, which come for it and leave again."""
    spilled = {"key": between(cuts.fetch, cuts.fetch + 1)}
    _, late = _read_by_logit(variant)
    return (
        StageShape(
            "softmax", "vector", way.local, {"key": END if variant.beside else last_before(cuts.spill)},
            after=(After("logit"), After("logit_spilled")) if variant.spilled else (After("logit"),), releases=late,
        ),
        StageShape(
            "fetch_scores", "dma", way.loads, spilled,
            after=(After("spill_scores", level="row"),), acquires=(Hold("fetched"),),
        ),
        StageShape("softmax_spilled", "vector", way.local, spilled, after=(After("fetch_scores"),)),
        StageShape(
            "spill_weights", "dma", way.stores, spilled,
            shift=1, shift_level="key", after=(After("softmax_spilled"),), releases=(Hold("fetched"),),
        ),
    )  # fmt: skip


def _attend_stages(way: Ways, variant: Variant, cuts: _Cuts) -> tuple[StageShape, ...]:
    """Attend, and the loads of V, of partial sums, and of spilled weights."""
    v, values = _kept("v", variant.v), _read_by_attend(variant)
    late = () if _late_values(variant) else (values,)
    behind: dict[str, Any] = {"shift": int(variant.pipelined), "shift_level": "row"}
    every, spilled = {"key": between(cuts.attend, cuts.end)}, {"key": between(cuts.attend + 1, cuts.end)}
    after = (
        *(() if variant.shared_kv else (After("load_v", level="key", carried=variant.v),)),
        *((After("load_partial", level="key"),) if variant.partial else ()),
    )
    return (
        StageShape("load_v", "dma", way.loads, {**every, **v.once}, acquires=(v.taken,), **behind),
        StageShape(
            "load_partial", "dma", way.loads, {"key": behind_first(cuts.attend, cuts.end)}, acquires=(Hold("out"),),
            **behind,
        ),
        StageShape(
            "attend", "matrix", way.local, {"key": between(cuts.attend, cuts.attend + 1)},
            after=(After("softmax"), *after), acquires=(Hold("out", first=("key",)),),
            releases=(Hold("scores", last=("key",)), *late), **behind,
        ),
        StageShape(
            "fetch_weights", "dma", way.loads, spilled,
            after=(After("spill_weights", level="row"),), acquires=(Hold("weights"),), **behind,
        ),
        StageShape(
            "attend_spilled", "matrix", way.local, spilled,
            after=(After("fetch_weights"), *after, After("attend")), releases=(Hold("weights"), *late), **behind,
        ),
        StageShape(
            "store_partial", "dma", way.stores, {"key": behind_first(cuts.attend, cuts.end)},
            after=tuple(After(name, 1, "key") for name in _attends(variant)), releases=(Hold("out"),), **behind,
        ),
    )  # fmt: skip


def _output_stages(way: Ways, variant: Variant, sums_are_local: bool) -> tuple[StageShape, ...]:
    """The division of the outputs, and their store: of an O that does not stay before the next tile needs its place."""
    attended = tuple(After(name, level="row") for name in _attends(variant))
    behind = int(variant.pipelined)
    return (
        StageShape(
            "finish", "vector", way.local if sums_are_local else (), {"key": END}, after=attended,
            shift=behind, shift_level="row",
        ),
        StageShape(
            "store_o", "dma", way.stores, {"key": END if variant.o else START},
            shift=1 + behind, shift_level="row", after=(After("finish"),) if variant.two_pass else attended,
            releases=(Hold("out"), *([_read_by_attend(variant)] if _late_values(variant) else [])),
        ),
    )  # fmt: skip


def _attends(variant: Variant) -> tuple[str, ...]:
    """The stages of Attend; under a mask a row tile may have no spilled part."""
    return ("attend", "attend_spilled") if variant.spilled else ("attend",)


def _read_by_logit(variant: Variant) -> tuple[tuple[Hold, ...], tuple[Hold, ...]]:
    """What Logit gives back, and what the softmax does.

    What stays longer than a firing is given back by the last to use it; a row tile may have no spilled part, so that
    then it is the next stage that all row tiles have.
    """
    q = Hold("q", last=("key",)) if variant.q else Hold("q")
    read = [(q, variant.q)] + ([] if variant.shared_kv else [(_kept("k", variant.k).back, variant.k)])
    late = tuple(hold for hold, stays in read if stays and variant.spilled)
    return tuple(hold for hold, _ in read if hold not in late), late


def _read_by_attend(variant: Variant) -> Hold:
    """The values, that Attend gives back, or the store of O."""
    return _kept("k", variant.k).back if variant.shared_kv else _kept("v", variant.v).back


def _late_values(variant: Variant) -> bool:
    """Whether the values are given back by the store of O, as with :func:`_read_by_logit`."""
    return variant.v and variant.spilled


class _Cuts(NamedTuple):
    """Cuts of the key level: where Logit ends, softmax of spilled blocks and Attend begin, and Attend ends."""

    spill: int
    fetch: int
    attend: int
    end: int


def _cuts(variant: Variant) -> _Cuts:
    """The sections of the key level.

    Logit | Attend; spilled: Logit | its spilled part | softmax of that | Attend | its spilled part. Where Attend is a
    row tile behind, the softmax of a tile's spilled part runs beside the spilled part of the Attend of the one before.
    """
    if not variant.spilled:
        return _Cuts(1, 1, 1, 2)
    return _Cuts(2, 3, 2, 4) if variant.beside else _Cuts(2, 2, 3, 5)


class _Kept(NamedTuple):
    """How a tensor of a whole head is loaded, taken and given back."""

    once: dict[str, int]
    taken: Hold
    back: Hold


def _kept(buffer: str, stays: bool) -> _Kept:
    if stays:
        return _Kept({"row": START}, Hold(buffer, first=("key",)), Hold(buffer, last=("row", "key")))
    return _Kept({}, Hold(buffer), Hold(buffer))

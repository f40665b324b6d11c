"""What the figures of FLAT run: its platforms and models, the corrected model of the paper, and the engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from accsim.config.catalogue import load_accelerator
from accsim.config.machine import Accelerator
from accsim.errors import MappingError
from accsim.published.flat_corrected import Estimate, Platform, Shape, platform_of
from accsim.published.flat_search import search
from accsim.report.result import Report
from accsim.report.simulate import simulate
from accsim.validate.flat import PLATFORMS
from accsim.workload.ops import Attention

CORRECTED = "flat-corrected"
ENGINE = "engine"
FREE_SOFTMAX = "engine, free softmax"

BATCH = 64
"""Sequences of every run of the paper, and of FuseMax's rows. Source: FuseMax's artifact."""

FREE = {
    "vector_unit.lanes": 2**20,
    "memories.sg.read_bandwidth": "1e6 TB/s",
    "memories.sg.write_bandwidth": "1e6 TB/s",
}
"""What the paper leaves out of its model: the softmax takes no time, and neither does the bandwidth of the buffer."""


class Model(NamedTuple):
    """Heads of a layer and their width. Source: FuseMax's artifact."""

    name: str
    heads: int
    head_dim: int


BERT = Model("BERT", 12, 64)
XLM = Model("XLM", 16, 128)
MODELS = (BERT, Model("TrXL", 16, 64), Model("T5", 8, 64), XLM)


@cache
def machine(platform: str, free_softmax: bool = False) -> Accelerator:
    """The machine of a platform of the paper."""
    return load_accelerator(PLATFORMS[platform], set=FREE if free_softmax else None)


def attention(model: Model, seq_len: int, batch: int = BATCH) -> Attention:
    """Logit, softmax and Attend of one layer."""
    return Attention(batch=batch, heads=model.heads, q_len=seq_len, kv_len=seq_len, head_dim=model.head_dim)


def shape(model: Model, lengths: Sequence[int] | int) -> Shape:
    """The same for the corrected model, at one length or several."""
    return Shape(BATCH, model.heads, np.asarray(lengths), model.head_dim)


def corrected(model: Model, lengths: Sequence[int], platform: Platform | str, *, fused: bool) -> Estimate:
    """The corrected model's best mappings: all of them (FLAT), or those whose scores leave the chip (FLEX)."""
    where = platform_of(machine(platform)) if isinstance(platform, str) else platform
    return search(shape(model, lengths), where, stage_scores=(False, True) if fused else (False,))[1]


def run(workload: Attention | str, acc: Accelerator, dataflow: str) -> Report | None:
    """The engine's report of a workload, with everything searched; None where no mapping fits."""
    try:
        return simulate(workload, acc, dataflow=dataflow)
    except MappingError:
        return None


def fastest(workload: Attention | str, acc: Accelerator, dataflows: Iterable[str]) -> Report | None:
    """The fastest of the dataflows that fit."""
    reports = [report for report in (run(workload, acc, dataflow) for dataflow in dataflows) if report]
    return min(reports, key=lambda report: report.latency_s, default=None)


def flat(workload: Attention | str, acc: Accelerator) -> Report | None:
    """What the paper calls FLAT-Opt: fused or not, whichever is faster."""
    return fastest(workload, acc, ("flat", "unfused"))

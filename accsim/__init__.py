"""accsim: a cycle-approximate simulator of machine-learning accelerators.

Examples
--------
>>> import accsim
>>> report = accsim.simulate(accsim.Gemm(m=512, n=768, k=768), "systolic_128")
>>> report.bound_by in report.critical_path
True
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "Accelerator": "accsim.config.machine",
    "load_accelerator": "accsim.config.catalogue",
    "list_accelerators": "accsim.config.catalogue",
    "AccsimError": "accsim.errors",
    "InputError": "accsim.errors",
    "MappingError": "accsim.errors",
    "TooLongError": "accsim.errors",
    "NM": "accsim.sparsity.nm",
    "VNM": "accsim.sparsity.nm",
    "Block": "accsim.sparsity.patterns",
    "Channel": "accsim.sparsity.patterns",
    "Unstructured": "accsim.sparsity.patterns",
    "Dense": "accsim.sparsity.patterns",
    "Window": "accsim.sparsity.attention_masks",
    "TopKeys": "accsim.sparsity.attention_masks",
    "read_pattern": "accsim.sparsity.spelling",
    "Mask": "accsim.sparsity.mask",
    "draw_mask": "accsim.sparsity.masks",
    "conforms": "accsim.sparsity.masks",
    "load_masks": "accsim.sparsity.masks",
    "SparseUnit": "accsim.sparsity.sparse_unit",
    "legality": "accsim.sparsity.legality",
    "number_format": "accsim.sparsity.number_formats",
    "quantize": "accsim.sparsity.quantize",
    "Workload": "accsim.workload.trace",
    "load_workload": "accsim.workload.catalogue",
    "list_workloads": "accsim.workload.catalogue",
    "Gemm": "accsim.workload.ops",
    "Attention": "accsim.workload.ops",
    "Softmax": "accsim.workload.ops",
    "Norm": "accsim.workload.ops",
    "Elementwise": "accsim.workload.ops",
    "Conv2d": "accsim.workload.ops",
    "Pool2d": "accsim.workload.ops",
    "Embedding": "accsim.workload.ops",
    "EmbeddingBag": "accsim.workload.ops",
    "LstmCell": "accsim.workload.ops",
    "Constraint": "accsim.mapping.goal",
    "Dataflow": "accsim.mapping.base",
    "Step": "accsim.mapping.base",
    "TileProgram": "accsim.mapping.writer",
    "register_dataflow": "accsim.mapping.base",
    "list_dataflows": "accsim.mapping.base",
    "WeightStationary": "accsim.mapping.gemm",
    "OutputStationary": "accsim.mapping.gemm",
    "InputStationary": "accsim.mapping.gemm",
    "ThreadBlocks": "accsim.mapping.thread_blocks",
    "Streamed": "accsim.mapping.vector",
    "Unfused": "accsim.mapping.unfused",
    "Naive": "accsim.mapping.naive",
    "Flat": "accsim.mapping.flat",
    "Flash": "accsim.mapping.flash",
    "Flash1": "accsim.mapping.flash1",
    "FuseMax": "accsim.mapping.fusemax",
    "ByLength": "accsim.mapping.by_length",
    "Lstm": "accsim.mapping.lstm",
    "Torus": "accsim.network.torus",
    "read_topology": "accsim.network.catalogue",
    "simulate": "accsim.system.simulate",
    "train_step": "accsim.system.recommend",
    "StepReport": "accsim.system.step",
    "Slice": "accsim.system.slices",
    "read_slice": "accsim.system.slices",
    "Report": "accsim.report.result",
    "ProgramBuilder": "accsim.engine.builder",
    "Stage": "accsim.engine.program",
    "After": "accsim.engine.program",
    "Hold": "accsim.engine.program",
    "Span": "accsim.engine.program",
    "TICKS_PER_CYCLE": "accsim.engine.program",
    "vary": "accsim.engine.program",
    "optimize": "accsim.sweep.search",
    "run_program": "accsim.engine.run",
    "stand_for": "accsim.engine.inner",
    "at_once": "accsim.engine.compose",
    "Alone": "accsim.engine.compose",
}

__all__ = sorted([*_PUBLIC, "sweep"])


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that ``import accsim`` stays fast."""
    if name == "sweep":
        return import_module("accsim.sweep")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'accsim' has no attribute '{name}'")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

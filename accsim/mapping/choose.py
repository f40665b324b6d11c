"""Which mapping an op gets when none is asked for."""

from __future__ import annotations

from accsim.config.compute_units import TensorCore
from accsim.config.machine import Accelerator
from accsim.mapping.base import Dataflow, find_dataflow
from accsim.mapping.flash import Flash
from accsim.mapping.flat import Flat
from accsim.mapping.found import Found
from accsim.mapping.gemm import default_form, default_gemm
from accsim.mapping.goal import Goal
from accsim.mapping.lstm import Lstm
from accsim.mapping.search import search_all
from accsim.mapping.unfused import Unfused
from accsim.mapping.vector import Streamed
from accsim.workload.ops import Op


def default_dataflows(op: Op, acc: Accelerator, effort: str = "standard") -> tuple[Dataflow, ...]:
    """The dataflows tried for an op: fused and un-fused attention (FLAT on arrays alone), its GEMM, streams.

    A convolution takes the machine's own stationary form, a step of an LSTM a product and streamed gates. An exhaustive
    search tries both kinds of softmax of FLAT.
    """
    if op.kind == "attention" and isinstance(acc.matrix_unit, TensorCore):
        return Flash(), Unfused()
    if op.kind == "attention":
        return Flash(), Flat() if effort == "standard" else Flat(softmax=None), Unfused()
    if op.kind == "gemm":
        return (default_gemm(acc),)
    if op.kind == "conv2d":
        return (default_form(acc),)
    if op.kind == "lstm_cell":
        return (Lstm(),)
    return (Streamed(),)


def choose(op: Op, acc: Accelerator, dataflow: Dataflow | str | None, goal: Goal) -> Found:
    """The best complete mapping of an op: of the given dataflow where it serves the op, else of the defaults.

    Raises
    ------
    InputError
        For an unknown dataflow.
    MappingError
        When nothing fits, or nothing keeps the constraints, with what was rejected and why.
    TooLongError
        When all that fits takes longer than can be counted.
    """
    given = find_dataflow(dataflow) if isinstance(dataflow, str) else dataflow
    options = (given,) if given is not None and op.kind in given.kinds else default_dataflows(op, acc, goal.effort)
    return search_all(options, op, acc, goal)

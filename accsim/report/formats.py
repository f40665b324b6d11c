"""What a report says of the data types of an op."""

from __future__ import annotations

from accsim.config.machine import Accelerator
from accsim.mapping.format_run import format_run
from accsim.mapping.kv_format import kv_run
from accsim.mapping.lstm import parts
from accsim.workload.ops import Attention, Conv2d, Gemm, LstmCell, Op


def formats_told(op: Op, acc: Accelerator) -> str:
    """What is done to the data types of an op, in a sentence; nothing where all are one of the matrix unit."""
    if isinstance(op, LstmCell):
        op = parts(op)[0]
    if isinstance(op, Gemm | Conv2d):
        return format_run(op, acc).reason
    if not isinstance(op, Attention) or op.read_dtype == op.dtype:
        return ""
    converted = kv_run(op, acc).converted
    done = f"are converted to {op.dtype}" if converted else f"are multiplied with {op.dtype} as they are"
    return f"keys and values in {op.read_dtype} {done}"

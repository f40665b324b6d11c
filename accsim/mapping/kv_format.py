"""Keys and values in a data type of their own: multiplied as they are, or converted by the vector unit as they arrive.

A program that converts them has a stage ``convert_k`` and one ``convert_v`` behind their loads: what arrives is stored
as it came until then, and what is made of it takes its place. ``docs/number_formats.md`` has the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.program import After, Hold
from accsim.errors import InputError
from accsim.kernels.jit import kernel
from accsim.kernels.layout import D0
from accsim.kernels.matrix import Machine, vector_ticks
from accsim.kernels.work import CONVERT, MULTIPLY, write_local
from accsim.mapping.format_run import FormatRun, format_run
from accsim.mapping.machine_numbers import machine_numbers
from accsim.mapping.shape import StageShape
from accsim.units import dtype_bits, dtype_layout
from accsim.workload.ops import Attention, Gemm

CONVERSIONS = ("convert_k", "convert_v")
STORED = {"k": "stored_k", "v": "stored_v"}
"""Buffers of what arrives, by those of what is made of it."""


class Conversion(NamedTuple):
    """What is done to each key and value.

    ``array`` is the machine as its matrix unit sees it. ``cycles`` are those of one lane, and ``multiplies`` is 1 where
    they have scales.
    """

    array: Machine
    cycles: float
    multiplies: float


def kv_run(op: Attention, acc: Accelerator) -> FormatRun:
    """How the keys and values of an op are multiplied: as the operand B of a product with its queries is.

    Raises
    ------
    InputError
        When the matrix unit does not multiply the op's data type, or that does not hold the values of the other.
    """
    acc.matrix_unit.rate(op.dtype)
    run = format_run(Gemm(1, 1, 1, dtype=op.dtype, weights=False, weight_dtype=op.read_dtype, name=op.name), acc)
    if run.dtype != op.dtype or "A" in run.converted:
        raise InputError(
            f"'{op.name}': {acc.name} multiplies keys and values in {op.read_dtype} neither with {op.dtype} nor as "
            f"{op.dtype}"
        )
    return run


@lru_cache(maxsize=1024)
def kv_numbers(op: Attention, acc: Accelerator, *, in_registers: bool = False) -> tuple[Machine, Conversion | None]:
    """Bare numbers of a machine, ``bytes_b`` those of a stored key or value, and of what converts them, if it does.

    Parameters
    ----------
    in_registers
        Whether they are converted into registers, from which the matrix unit takes them; else in the local memory.

    Raises
    ------
    InputError
        As `kv_run`.
    """
    machine = machine_numbers(acc, op.dtype)
    if op.read_dtype == op.dtype:
        return machine, None
    converted = kv_run(op, acc).converted
    machine = machine._replace(bytes_b=dtype_bits(op.read_dtype) / 8)
    if not converted:
        return machine, None
    unit = acc.vector_unit
    multiplies = float(dtype_layout(op.read_dtype).scale_bits > dtype_layout(op.dtype).scale_bits == 0)
    cycles = unit.widen_cycles + multiplies * unit.cycles_per_element["multiply"]
    array = machine._replace(bytes_b=0.0 if in_registers else machine.element_bytes)
    return machine, Conversion(array, cycles, multiplies)


def convert_on_arrival(
    stages: tuple[StageShape, ...], buffers: Mapping[str, str], local: tuple[str, ...], *, later: int = 0
) -> tuple[tuple[StageShape, ...], dict[str, str]]:
    """Stages and buffers with a conversion behind each load of keys or values, ``later`` iterations after it.

    What is made takes the place in the buffers that the load had, which gets one of two slots for what arrives. Users
    wait for the conversion.
    """
    names = {f"load_{buffer}": f"convert_{buffer}" for buffer in STORED}
    found: list[StageShape] = []
    kept = dict(buffers)
    for stage in stages:
        after = tuple(replace(one, stage=names.get(one.stage, one.stage)) for one in stage.after)
        if stage.name not in names:
            found.append(replace(stage, after=after))
            continue
        stored = STORED[stage.name[-1]]
        arrives = Hold(stored)
        found.append(replace(stage, acquires=(arrives,)))
        found.append(
            StageShape(
                names[stage.name], "vector", local, stage.spans, stage.shift + later, stage.shift_level,
                (After(stage.name),), stage.acquires, (arrives,),
            )
        )  # fmt: skip
        kept[stored] = buffers[stage.acquires[0].buffer]
    return tuple(found), kept


@kernel
def write_stored(block, i, first, count, sizes):
    """Two slots each for what arrives of keys and of values: ``count`` buffers from ``first`` on, of these bytes."""
    for which in range(count):
        block.slots[i, first + which] = 2
        block.slot_bytes[i, first + which] = int(np.ceil(sizes[which]))


@kernel
def write_conversion(block, i, row, elements, conversion, machine, want):
    """The vector unit converts so many keys or values, from the local memory to where the matrix unit takes them."""
    block.row[i, row, D0] = vector_ticks(elements * conversion.cycles, machine)
    read, write = elements * machine.bytes_b, elements * conversion.array.bytes_b
    write_local(block, i, row, read, write, (0.0, 0.0), machine, want)
    if want:
        block.actions[i, row, CONVERT] = elements
        block.actions[i, row, MULTIPLY] = elements * conversion.multiplies


@kernel
def write_conversions(block, i, rows, elements, conversion, machine, want):
    """The conversions of so many elements of keys and of values; a negative row where there is none."""
    for which in range(2):
        if rows[which] >= 0:
            write_conversion(block, i, rows[which], elements[which], conversion, machine, want)

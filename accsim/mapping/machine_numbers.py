"""What a compiled lower needs to know of a machine, as bare numbers, and the names of its resources and actions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, TypedDict

from accsim.config.machine import Accelerator, Memory, SystolicArray
from accsim.errors import InputError, Problem
from accsim.kernels.matrix import SUM_BYTES, TICKS, Machine
from accsim.kernels.systolic import (
    INPUT_STATIONARY,
    OUTPUT_STATIONARY,
    OVERLAP_FULL,
    OVERLAP_NONE,
    OVERLAP_WEIGHTS,
    WEIGHT_STATIONARY,
)
from accsim.units import dtype_bits

OVERLAPS = {"none": OVERLAP_NONE, "weights": OVERLAP_WEIGHTS, "full": OVERLAP_FULL}
STATIONARY = {
    "weight_stationary": WEIGHT_STATIONARY,
    "output_stationary": OUTPUT_STATIONARY,
    "input_stationary": INPUT_STATIONARY,
}
MOST_MEMORIES = 3
OUTER = "outer"
DTYPE_COLUMNS = ("mac", "mac_padded", "mac_exp", "mac_gated", "decode", "encode")
"""Columns of ``Block.actions`` that are named with a data type."""
REGISTERS = "matrix_unit.registers"
"""Where sums lie on a tensor core; a path of the machine file, which no memory can be named."""


def check_memories(acc: Accelerator) -> None:
    """Refuse a machine with more memories than mappings know how to use, or with ports of the same name.

    Raises
    ------
    InputError
        When there are more than three, or when a memory's name is that of another one's port.
    """
    if len(acc.memories) > MOST_MEMORIES:
        allowed = f"allowed for a simulation are at most {MOST_MEMORIES}: local, one between, main"
        raise InputError(Problem("", "memories", f"{acc.name} has {len(acc.memories)} memories; {allowed}"))
    for one, other in itertools.combinations(acc.memories, 2):
        if both := all_ports(one) & all_ports(other):
            message = f"{one.name} and {other.name} would both have a port '{min(both)}'; name one of them otherwise"
            raise InputError(Problem("", "memories", message))


@lru_cache(maxsize=256)
def machine_numbers(acc: Accelerator, dtype: str) -> Machine:
    """Bare numbers of a machine for dense products of one data type.

    Raises
    ------
    InputError
        When the matrix unit does not support the data type, or the machine has more than three memories.
    """
    check_memories(acc)
    unit = acc.matrix_unit
    array = isinstance(unit, SystolicArray)
    costs = acc.vector_unit.cycles_per_element
    local, main = acc.memories[0], acc.main_memory
    middle = acc.memories[1] if len(acc.memories) == MOST_MEMORIES else None
    share = 1 if local.scope == "core" else acc.cores

    def per_tick(bytes_per_s: float) -> float:
        return bytes_per_s / acc.clock_hz / TICKS

    def ticks(seconds: float) -> int:
        return round(seconds * acc.clock_hz * TICKS)

    return Machine(
        cores=acc.cores,
        systolic=int(array),
        rows=unit.rows if isinstance(unit, SystolicArray) else unit.m,
        cols=unit.cols if isinstance(unit, SystolicArray) else unit.n,
        depth=1 if isinstance(unit, SystolicArray) else unit.k,
        count=unit.count,
        overlap=OVERLAPS[unit.fold_overlap] if isinstance(unit, SystolicArray) else OVERLAP_FULL,
        rate=unit.rate(dtype),
        element_bytes=dtype_bits(dtype) / 8,
        lanes=acc.vector_unit.lanes,
        **{f"cost_{op}": float(costs[op]) for op in ("max", "exp", "add", "multiply", "divide", "rescale", "convert")},
        local_read=per_tick(local.usable_read_bytes_per_s) / share,
        local_write=per_tick(local.usable_write_bytes_per_s) / share,
        local_shared=int(local.shared_bandwidth),
        **_bank_numbers(local, acc.clock_hz),
        middle_capacity=middle.capacity_bytes if middle else 0,
        middle_read=per_tick(middle.usable_read_bytes_per_s) if middle else 1.0,
        middle_write=per_tick(middle.usable_write_bytes_per_s) if middle else 1.0,
        main_read=per_tick(main.usable_read_bytes_per_s),
        main_write=per_tick(main.usable_write_bytes_per_s),
        load_latency=ticks(main.latency_s + (middle.latency_s if middle else 0.0)),
        store_latency=ticks(main.latency_s + (middle.latency_s if middle else 0.0)),
        sum_bytes=float(SUM_BYTES),
        operand_width=unit.sparse.operand_width_bytes or 0.0,
        accumulator_banks=unit.sparse.accumulator_banks or 0,
        **_dense(dtype_bits(dtype) / 8),
    )


class ProductNumbers(TypedDict):
    """What :class:`Machine` has of a product, see there."""

    kept: int
    run: int
    bytes_a: float
    bytes_b: float
    decoded_a: float
    decoded_b: float
    gated: float
    pace: float
    issued: float
    added: float
    selected_a: float
    selected_b: float
    gathered_a: float
    gathered_b: float
    group: int
    lines_a: float
    lines_b: float


def _dense(element: float) -> ProductNumbers:
    return ProductNumbers(
        kept=1, run=1, bytes_a=element, bytes_b=element, decoded_a=0.0, decoded_b=0.0, gated=0.0, pace=1.0, issued=1.0,
        added=1.0, selected_a=0.0, selected_b=0.0, gathered_a=1.0, gathered_b=1.0, group=1,
        lines_a=1.0, lines_b=1.0,
    )  # fmt: skip


class BankNumbers(TypedDict):
    """What :class:`Machine` has of the banks of the local memory."""

    local_banks: int
    local_bank_bytes: float
    local_read_words: float
    local_write_words: float


def _bank_numbers(local: Memory, clock_hz: float) -> BankNumbers:
    """Banks of the local memory; one where its layout lets no accesses meet.

    Bandwidths and clock are decimal, so quotients that should be whole are so after nine digits.
    """
    read, write = local.read_bytes_per_s / clock_hz, local.write_bytes_per_s / clock_hz
    width = local.bank_width_bytes or nine_digits(max(read, write) / local.banks)
    banks = local.banks if local.layout == "linear" else 1
    return BankNumbers(
        local_banks=banks,
        local_bank_bytes=float(width),
        local_read_words=min(nine_digits(read / width), float(banks)),
        local_write_words=min(nine_digits(write / width), float(banks)),
    )


def nine_digits(value: float) -> float:
    """A number rounded to nine significant digits."""
    return float(f"{value:.9g}")


def overhead_ticks(acc: Accelerator, name: str) -> int:
    """A named fixed cost of the machine file, 0 where it has none."""
    overhead = acc.overheads.get(name)
    return round(overhead.time_s * acc.clock_hz * TICKS) if overhead else 0


def places(acc: Accelerator) -> dict[str, Memory]:
    """The memories by their place from the array outward: local, main, and middle where there is one between."""
    found = {"local": acc.memories[0], "main": acc.main_memory}
    if len(acc.memories) == MOST_MEMORIES:
        found["middle"] = acc.memories[1]
    return found


def memory_plan(acc: Accelerator) -> tuple[str, dict[str, int]]:
    """(where sums in progress lie, capacities of one core): a tensor core's registers, else the local memory."""
    local, unit = acc.memories[0], acc.matrix_unit
    capacities = {local.name: local.capacity_bytes // (1 if local.scope == "core" else acc.cores)}
    if isinstance(unit, SystolicArray):
        return local.name, capacities
    return REGISTERS, capacities | {REGISTERS: unit.registers_bytes}


def port(memory: Memory, direction: str, side: str = "") -> str:
    """Name of the resource that reads (or writes) of a memory hold: one name where both share a port."""
    return "_".join(part for part in (memory.name, side, "" if memory.shared_bandwidth else direction) if part)


def all_ports(memory: Memory) -> set[str]:
    """Names of every port that a memory may have."""
    return {port(memory, way, side) for way in ("read", "write") for side in ("", OUTER)}


class Ways(NamedTuple):
    """Ports that are held on the way: of a load, of a store, of work on what lies in the local memory."""

    loads: tuple[str, str]
    stores: tuple[str, str]
    local: tuple[str, ...]

    def resources(self, *units: str) -> tuple[str, ...]:
        """Units, then every port once."""
        return (*units, *dict.fromkeys((*self.loads, *self.stores, *self.local)))


def ways(acc: Accelerator) -> Ways:
    """The ports of a machine's memories.

    A load holds the main memory's port and that of the memory it passes on the way or, without one, of the local
    memory. That is a port of its own where the local memory is double-buffered.
    """
    at = places(acc)
    local, main, second = at["local"], at["main"], at.get("middle", at["local"])
    side = OUTER if second is local and local.double_buffered else ""
    into, out_of = ("read", "write") if "middle" in at else ("write", "read")
    return Ways(
        (port(main, "read"), port(second, into, side)),
        (port(main, "write"), port(second, out_of, side)),
        tuple(dict.fromkeys((port(local, "read"), port(local, "write")))),
    )


def action_names(acc: Accelerator, dtype: str) -> Mapping[str, str]:
    """Action name of each column of ``Block.actions`` on this machine, e.g. ``local_read`` -> ``read.sg``."""
    names = {column: f"{column}.{dtype}" for column in DTYPE_COLUMNS}
    names |= {op: f"vector.{op}" for op in ("max", "exp", "add", "multiply", "divide", "rescale", "convert")}
    names |= {column: column for column in ("pe_steady_cycles", "pe_busy_cycles")}
    for place, memory in places(acc).items():
        names |= {f"{place}_{way}": f"{way}.{memory.name}" for way in ("read", "write")}
    return names

"""Sums over all chips of a slice: time on the links, and what they ask of main memory and vector units."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final

from accsim.config.machine import Accelerator
from accsim.mapping.machine_numbers import port
from accsim.network.collectives import Collective, run_collective
from accsim.network.stepwise import CollectiveTime, Stepwise
from accsim.network.topology import Topology
from accsim.system.halves import Leg
from accsim.system.slices import Slice

SUMMED_BYTES: Final = 4
"""Of a number that is summed: fp32."""
VECTOR: Final = "vector"


def sum_over_chips(name: str, on: Slice, size: float) -> Leg:
    """The sum of a buffer of so many bytes over all chips, by the fastest algorithm.

    Of a chip's main memory a byte that is sent is read, one that is kept is written, and one that is added is read and
    written; sums are formed in its vector units. Source: ``docs/collectives.md``.
    """
    if on.chips == 1 or size == 0:
        return Leg(name, on.links, 0.0, 0.0, {}, {})
    chip = on.chip
    main = chip.main_memory
    adds_bytes_per_s = SUMMED_BYTES * _adds_per_s(chip)
    found = _fastest(on.network, size, main.read_bytes_per_s * main.efficiency, adds_bytes_per_s)
    sent, received, added = (found.chip_bytes[what] for what in ("sends", "receives", "adds"))
    time = found.time_s - found.latency_s
    busy = {on.links: time, VECTOR: added / adds_bytes_per_s}
    for way, size_, rate in (
        ("read", sent + added, main.read_bytes_per_s),
        ("write", received, main.write_bytes_per_s),
    ):
        busy[port(main, way)] = busy.get(port(main, way), 0.0) + size_ / (rate * main.efficiency)
    actions = {f"read.{main.name}": sent + added, f"write.{main.name}": received, "vector.add": added / SUMMED_BYTES}
    of = {"hbm": main.name, "adds": VECTOR}.get(found.bound_by, on.links)
    links = float(found.link_bytes.sum()) / on.chips
    return Leg(name, on.links, time, found.latency_s, busy, {f"{of}/{name}": 1.0}, actions, links)


def _adds_per_s(chip: Accelerator) -> float:
    unit = chip.vector_unit
    return chip.cores * unit.lanes * chip.clock_hz / unit.cycles_per_element["add"]


@lru_cache(maxsize=64)
def _fastest(network: Topology, size: float, memory_bytes_per_s: float, adds_bytes_per_s: float) -> CollectiveTime:
    endpoint = replace(network.endpoint, hbm_bytes_per_s=memory_bytes_per_s)
    return run_collective(Stepwise(network.graph, endpoint, adds_bytes_per_s), Collective("all_reduce", size))

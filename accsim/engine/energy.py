"""Energy from action counts: the sum of count times price, with low, nominal and high prices kept apart.

Source of the rule: Accelergy (Wu et al., ICCAD 2019): energy is additive over actions. Prices come from the table
that the machine names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accsim.config.energy import VECTOR_OPS, Range
from accsim.config.machine import Accelerator
from accsim.units import canonical_dtype

MACS = ("mac", "mac_padded", "mac_exp")
"""Multiply-accumulates of the matrix unit, all at one price: useful ones, masked ones, those of exponentials on PEs."""


@dataclass(frozen=True)
class Energy:
    """Joules of each component at nominal prices, and the span of the total over low and high prices.

    Components are memories by name, ``mac``, ``vector`` and ``idle``; ``latency_s`` is the time they were spent in.
    """

    breakdown_j: Mapping[str, float]
    low_j: float
    high_j: float
    latency_s: float

    @property
    def total_j(self) -> float:
        """Sum of the components, in joules."""
        return sum(self.breakdown_j.values())

    @property
    def power_w(self) -> float:
        """Average power: energy over time."""
        return self.total_j / self.latency_s if self.latency_s else 0.0


def price_list(acc: Accelerator, *dtypes: str) -> dict[str, Range]:
    """Picojoules of every priced action of a machine: ``mac.bf16``, ``vector.exp``, ``read.sg`` (a byte), ...

    MACs are those of the data types that are named, by default of all that the matrix unit multiplies.
    """
    table = acc.energy
    prices: dict[str, Range] = {}
    for name in map(canonical_dtype, dtypes or acc.matrix_unit.rates):
        prices |= {f"{kind}.{name}": table.mac_pj(name) for kind in MACS}
        prices[f"mac_gated.{name}"] = table.mac_pj(name).scaled(acc.matrix_unit.sparse.gated_energy)
        prices |= {f"{kind}.{name}": Range(energy, energy, energy) for kind, energy in _codec_energies(acc)}
    prices |= {f"vector.{op}": table.vector_pj(op) for op in VECTOR_OPS}
    memories = {m.name: table.memory_pj_per_byte(m.kind, m.capacity_bytes // m.banks) for m in acc.memories}
    if acc.sparse_core is not None:
        memories["spmem"] = table.memory_pj_per_byte("sram", acc.sparse_core.slice_bytes)
    beside = {"host": acc.host, "server": acc.data_center}
    memories |= {name: table.memory_pj_per_byte("ddr", 1) for name, processors in beside.items() if processors}
    for name, price in memories.items():
        prices |= {f"read.{name}": price, f"write.{name}": price}
    return prices


def _codec_energies(acc: Accelerator) -> list[tuple[str, float]]:
    """(action, picojoules) of the decompressor and the compressor, where the machine has them and their energy."""
    unpacks, packs = acc.matrix_unit.sparse.decompressor, acc.matrix_unit.sparse.compressor
    both = (("decode", unpacks), ("encode", packs))
    return [(kind, codec.energy_pj) for kind, codec in both if codec is not None and codec.energy_pj is not None]


def component(action: str) -> str:
    """The part of the chip an action is charged to: a memory's name, ``mac``, ``vector`` or ``codec``."""
    head, _, tail = action.partition(".")
    if head in ("read", "write"):
        return tail
    if head in ("decode", "encode"):
        return "codec"
    return "mac" if head in (*MACS, "mac_gated") else "vector"


def energy_of(actions: Mapping[str, float], prices: Mapping[str, Range], idle_w: float, latency_s: float) -> Energy:
    """Energy of action counts plus the idle power over the time.

    Parameters
    ----------
    actions : counts by action; those without a price (cycles counted for utilization) cost nothing.
    """
    breakdown: dict[str, float] = {}
    low = high = idle_w * latency_s
    for action, count in actions.items():
        if action in prices:
            price = prices[action]
            part = component(action)
            breakdown[part] = breakdown.get(part, 0.0) + count * price.nominal * 1e-12
            low += count * price.low * 1e-12
            high += count * price.high * 1e-12
    breakdown["idle"] = idle_w * latency_s
    return Energy(breakdown, low, high, latency_s)

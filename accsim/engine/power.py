"""The clock that a power cap leaves: the largest step at which energy over time is within the cap.

Source of the rule: a board's power management lowers the clock until the average power meets the limit (NVIDIA's NVML
calls it the software power cap). Here the average is over the whole run, and one clock holds for all of it.

Notes
-----
Power is not taken to be monotone in the clock. Two facts make the search exact without it, for a fixed mapping: its
actions, hence its dynamic energy E, do not depend on the clock; and its cycles do not grow when the clock falls, since
work in the clock's domain takes the same cycles and the rest the same seconds (times are non-decreasing in every
duration). The cap holds at a clock f if the run takes at least T = E / (cap - idle), and from cycles C at some clock,
it takes at most C / f at any f below. So a step above C / T fails without being run, and the first step found to hold,
going down, is the largest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from accsim.config.machine import Accelerator, Memory
from accsim.units import format_quantity

SLACK = 1e-3
"""Steps this close above C / T are run all the same: durations are whole ticks, rounded up at each clock."""


class Run(Protocol):
    """What the search asks of a run."""

    @property
    def total_cycles(self) -> float:
        """Its time in cycles of its clock."""

    @property
    def latency_s(self) -> float:
        """Its time in seconds."""

    @property
    def energy_j(self) -> float:
        """Its energy at nominal prices."""

    @property
    def power_w(self) -> float:
        """Energy over time."""


R = TypeVar("R", bound=Run)


@dataclass(frozen=True)
class PowerCap:
    """What a machine's power cap did to a run.

    Attributes
    ----------
    machine : the machine as its file describes it, at its full clock.
    clock_hz : clock of the run.
    full_power_w, power_w : average power at the full clock and at that of the run.
    """

    machine: Accelerator
    clock_hz: float
    full_power_w: float
    power_w: float

    @property
    def cap_w(self) -> float:
        """The cap."""
        assert self.machine.power.cap_w is not None
        return self.machine.power.cap_w

    @property
    def bound(self) -> bool:
        """True if the cap lowered the clock."""
        return self.clock_hz < self.machine.clock_hz

    @property
    def met(self) -> bool:
        """True if the run is within the cap."""
        return self.power_w <= self.cap_w

    def __str__(self) -> str:
        cap = format_quantity(self.cap_w, "power")
        full, clock = (format_quantity(hz, "frequency") for hz in (self.machine.clock_hz, self.clock_hz))
        if not self.met and not self.machine.power.clocks_hz:
            return f"WARNING: above the cap of {cap}; the machine has no list of clocks to lower"
        if not self.met:
            return f"WARNING: above the cap of {cap} even at the lowest clock, {clock} of {full}"
        if not self.bound:
            return f"cap {cap}, not reached at {full}"
        return f"the cap of {cap} lowers the clock from {full} ({self.full_power_w:.4g} W) to {clock}"


def at_clock(acc: Accelerator, clock_hz: float) -> Accelerator:
    """The machine at another clock.

    Memories of kind ``sram`` are in the clock's domain: their bandwidths scale with it and their latencies against it,
    so that both stay the same in cycles. Memories of another kind have their own clock, and named overheads are paid by
    the host: both stay the same in seconds.
    """
    if clock_hz == acc.clock_hz:
        return acc
    factor = clock_hz / acc.clock_hz
    memories = tuple(_in_clock_domain(memory, factor) if memory.kind == "sram" else memory for memory in acc.memories)
    return acc.model_copy(update={"clock_hz": clock_hz, "memories": memories})


def _in_clock_domain(memory: Memory, factor: float) -> Memory:
    return memory.model_copy(
        update={
            "read_bytes_per_s": memory.read_bytes_per_s * factor,
            "write_bytes_per_s": memory.write_bytes_per_s * factor,
            "latency_s": memory.latency_s / factor,
        }
    )


def within_cap(acc: Accelerator, full: R, run_at: Callable[[Accelerator], R]) -> tuple[R, PowerCap | None]:
    """The run at the largest clock whose average power is within the machine's cap; None without a cap.

    Parameters
    ----------
    acc : the machine at its full clock.
    full : the run there.
    run_at : runs the same mappings on the machine at another clock.

    Notes
    -----
    Clocks tried are the steps of ``power.clocks`` below the machine's. When none is within the cap, the lowest is
    taken and the result is not ``met``.
    """
    limits = acc.power
    if limits.cap_w is None:
        return full, None
    run, clock = full, acc.clock_hz
    steps = [step for step in limits.clocks_hz if step < acc.clock_hz]
    while run.power_w > limits.cap_w and steps:
        least_s = (run.energy_j - limits.idle_w * run.latency_s) / (limits.cap_w - limits.idle_w)
        may_hold = [step for step in steps if step <= run.total_cycles / least_s * (1 + SLACK)]
        clock = (may_hold or steps[:1])[-1]
        steps = [step for step in steps if step < clock]
        run = run_at(at_clock(acc, clock))
    return run, PowerCap(acc, clock, full.power_w, run.power_w)

"""Steps side by side, for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.console import Console
from rich.text import Text

from accsim.report.render import TRUST, show
from accsim.report.sheet import Sheet, put
from accsim.report.words import binary, parameters, si
from accsim.system.step import StepReport


def print_steps(console: Console, steps: Mapping[str, StepReport]) -> None:
    """One column a step, one row a figure."""
    first = next(iter(steps.values()))
    given = parameters({name: first.workload.parameters[name] for name in ("batch", "dtype")})
    put(console, Text(f"{first.workload.name} ({given}) on {first.slice.chip.name}: training steps", style="bold"))
    put(console, Text(f"trust: {TRUST[first.slice.chip.trust]}; machine {first.slice.chip.hash}"))
    show(console, "Steps", _comparison(steps))


def _comparison(steps: Mapping[str, StepReport]) -> Sheet:
    found = Sheet(("", *steps))
    first = next(iter(steps.values()))

    def line(name: str, text: Callable[[StepReport], str]) -> None:
        found.add(name, *(text(step) for step in steps.values()))

    line("chips", lambda s: f"{s.slice.chips}")
    line("step time", lambda s: si(s.step_s, "s"))
    line("speedup", lambda s: f"{first.step_s / s.step_s:.2f} x")
    line("samples/s", lambda s: si(s.samples_per_s, ""))
    line("energy of all chips", lambda s: si(s.energy_j * s.slice.chips, "J"))
    line("power of a chip", lambda s: si(s.power_w, "W"))
    line("embedding alone", lambda s: si(s.embedding_s, "s"))
    line("dense alone", lambda s: si(s.dense_s, "s"))
    line("memory, fullest chip", lambda s: binary(sum(s.memory.values())))
    line("bound by", lambda s: s.bound_by)
    line("schedule", lambda s: s.schedule)
    line("dedup", lambda s: s.work.dedup)
    line("looked up by", lambda s: s.where)
    line("placement", lambda s: s.placed)
    return found

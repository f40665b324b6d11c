"""Steps on slices as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from accsim.report.render import TRUST, show
from accsim.report.sheet import GAP, Sheet, put
from accsim.report.words import binary, parameters, percent, si
from accsim.system.step import StepReport

TOP_CAUSES = 3
LEAST_SHARE = 0.0005


def print_step(console: Console, step: StepReport) -> None:
    """A step: summary, its parts, what runs at once, resources, memory and energy."""
    chips = f"{step.slice.chips} chips, {step.work.samples:g} samples each"
    given = parameters({name: step.workload.parameters[name] for name in ("batch", "dtype")})
    put(console, Text(f"{step.workload.name} ({given}) on {step.slice.name}: {chips}", style="bold"))
    trust = TRUST[step.slice.chip.trust]
    stacks = f"{step.embedding.stacks} stacks" if step.embedding.stacks > 1 else "one stack"
    lookups = "rows of a trace" if step.work.counted else "rows"
    looked_up = f"{lookups} looked up by {step.where}, dedup {step.work.dedup}, {stacks}"
    put(console, Text(f"training step, {step.schedule}; {looked_up}"))
    put(console, Text(f"trust: {trust}; machine {step.slice.chip.hash}"))
    summary = Sheet(("", ""), words=(0, 1), wrap=(1,))
    for name, text in _summary(step):
        summary.add(name, text)
    console.print()
    put(console, summary, GAP)
    show(console, "Parts, each alone", _parts(step))
    show(console, "One after the other, and within a row at once", _spans(step))
    show(console, "Resources", _resources(step))
    show(console, f"{step.slice.chip.main_memory.name.upper()} of a chip", _memory(step))
    show(console, "Energy of a chip", _energy(step))
    if step.unit_share is not None:
        show(console, "Embedding units in the chip", _unit_share(step))


def _summary(step: StepReport) -> Iterable[tuple[str, str]]:
    yield "step time", si(step.step_s, "s")
    yield "throughput", f"{si(step.samples_per_s, '')} samples/s"
    causes = ((cause, seconds / step.step_s) for cause, seconds in step.critical_path_s.items())
    yield "bound by", ", ".join(f"{cause} {percent(share)}" for cause, share in list(causes)[:TOP_CAUSES])
    yield "halves alone", f"embedding {si(step.embedding_s, 's')}, dense {si(step.dense_s, 's')}"
    if step.outside is not None:
        holder, size, capacity = step.outside
        room = "its capacity is not given" if capacity is None else f"{percent(size / capacity)} of {binary(capacity)}"
        yield "tables", f"{binary(size)} in {holder}; {room}"
    cap = f"; {step.cap}" if step.cap else ""
    yield "energy of a chip", f"{si(step.energy_j, 'J')}, average power {si(step.power_w, 'W')}{cap}"
    slower = {words: seconds / step.step_s for words, seconds in step.other_placements_s.items()}
    others = [f"also tried, {ratio:.3g} x as slow: {words}" for words, ratio in slower.items()]
    yield "placement", "; ".join([step.placed, *others])


def _parts(step: StepReport) -> Sheet:
    found = Sheet(("part", "on", "time", "bound by"), words=(0, 1, 3))
    halves = (step.embedding.forward, step.embedding.backward)
    forward, backward = ([(leg.name, leg.unit, leg.alone) for leg in legs] for legs in halves)
    dense = [(name, step.dense.unit, run) for name, run in step.dense.segments.items()]
    before = [(f"{step.input.name} of the next", path.partition("/")[0], step.input) for path in step.input.path_s]
    if step.slice.chip.host is None:
        found.add("input of the next", "", "not charged", "the machine file has no host")
    for name, unit, run in [*before, *forward, *dense, ("all_reduce", step.slice.links, step.all_reduce), *backward]:
        found.add(name, unit, si(run.time_s, "s"), run.bound_by)
    return found


def _spans(step: StepReport) -> Sheet:
    found = Sheet(("runs", "ends after", "alone", "lasts"), words=(0,), wrap=(0,))
    for span in step.spans:
        for i, (run, end) in enumerate(zip(span.runs, span.ends_s, strict=True)):
            found.add(run.name, si(end, "s"), si(run.time_s, "s"), si(span.time_s, "s") if i == 0 else "")
    return found


def _resources(step: StepReport) -> Sheet:
    found = Sheet(("resource", "busy"), words=(0,))
    for name, share in sorted(step.utilization.items(), key=lambda item: -item[1]):
        if share >= LEAST_SHARE:
            found.add(name, percent(share))
    return found


def _memory(step: StepReport) -> Sheet:
    found = Sheet(("what", "bytes", "share"), words=(0,))
    capacity = step.slice.chip.main_memory.capacity_bytes
    verdict = f"all of {binary(capacity)}: {'fits' if step.fits else 'DOES NOT FIT'}"
    for name, size in [*step.memory.items(), (verdict, sum(step.memory.values()))]:
        if size:
            found.add(name.replace("_", " "), si(size, "B"), percent(size / capacity))
    return found


def _energy(step: StepReport) -> Sheet:
    found = Sheet(("part", "energy", "share"), words=(0,))
    parts = step.energy_breakdown_j
    for name, joules in sorted(parts.items(), key=lambda item: -item[1]):
        if joules:
            found.add(name, si(joules, "J"), percent(joules / step.energy_j))
    if step.link_bytes:
        found.add(f"links, {si(step.link_bytes, 'B')} a chip", "no price", "")
    return found


def _unit_share(step: StepReport) -> Sheet:
    found = Sheet(("share", "simulated", "published"), words=(0,))
    share = step.unit_share
    if share is not None:
        known = [share.published_power_fraction, share.area_fraction]
        power, area = ("" if one is None else percent(one) for one in known)
        energy = f"{si(share.energy_j, 'J')}, {percent(share.energy_fraction)}"
        found.add("energy and power: vector units and scratchpads", energy, power)
        found.add("die", "an input", area)
    return found

"""Networks in words and as plain data: traffic, collectives, goodput."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from accsim.errors import InputError
from accsim.network import TOPOLOGIES
from accsim.network.contention import Transfer
from accsim.network.goodput import PLACEMENTS, Machine
from accsim.network.job_replay import Stream, replay_jobs
from accsim.network.slice_mix import mix_goodput
from accsim.network.slice_search import Need, SliceChoice
from accsim.network.stepwise import CollectiveTime
from accsim.network.topology import Topology
from accsim.network.virtual_channels import ESCAPE, SCHEMES, minimal_channels
from accsim.report.render import show
from accsim.report.result import SCHEMA_VERSION
from accsim.report.sheet import GAP, Sheet, put
from accsim.report.words import percent, si

FIGURE_4: Sequence[tuple[int, int, int]] = (
    (1, 1, 1), (1, 1, 2), (1, 2, 2), (2, 2, 2), (2, 2, 4), (2, 4, 4), (3, 4, 4), (4, 4, 4),
)  # fmt: skip
"""Slices of 64 to 4096 chips, in cubes: Jouppi et al., *TPU v4*, ISCA 2023, Figure 4."""


def topology_dict(topology: Topology) -> dict[str, Any]:
    """A topology as plain data."""
    graph = topology.graph
    return {
        **topology.form(),
        "chips": graph.chips,
        "switches": graph.nodes - graph.chips,
        "links": len(graph.target),
        "diameter": graph.diameter,
        "mean_distance": graph.distance_sum / max(graph.chips - 1, 1),
        "cost_usd": graph.cost_usd,
        "power_w": graph.power_w,
    }


def all_to_all_dict(topology: Topology, found: Transfer, bytes_per_pair: int) -> dict[str, Any]:
    """An all-to-all as plain data."""
    sent = bytes_per_pair * (topology.chips - 1)
    return {
        "schema_version": SCHEMA_VERSION,
        "topology": topology_dict(topology),
        "bytes_per_pair": bytes_per_pair,
        "time_s": found.time_s,
        "latency_s": found.latency_s,
        "bounds_s": dict(found.bounds_s),
        "bound_by": found.bound_by,
        "max_link_bytes": found.max_link_bytes,
        "mean_link_bytes": float(found.link_bytes.mean()) if len(found.link_bytes) else 0.0,
        "sent_bytes_per_s": sent / found.time_s if found.time_s else 0.0,
        "algorithm": found.algorithm,
    }


def collective_dict(topology: Topology, kind: str, size: int, found: CollectiveTime) -> dict[str, Any]:
    """A collective as plain data."""
    return {
        "schema_version": SCHEMA_VERSION,
        "topology": topology_dict(topology),
        "collective": kind,
        "bytes": size,
        "time_s": found.time_s,
        "steps": found.steps,
        "latency_s": found.latency_s,
        "bound_by": found.bound_by,
        "max_link_bytes": float(found.link_bytes.max(initial=0.0)),
        "busy_s": dict(found.busy_s),
        "algorithm": found.algorithm,
        "others_s": dict(found.others),
    }


def goodput_dict(
    machines: Iterable[Machine],
    slices: Sequence[tuple[int, int, int]],
    confidence: float,
    placement: str,
    samples: int,
) -> dict[str, Any]:
    """Goodput of each machine and slice as plain data; where there is no closed form for fixed wires, of samples."""
    rows = []
    for machine in machines:
        for shape in slices:
            size = math.prod(shape)
            row: dict[str, Any] = {
                "host": machine.host,
                "slice": [4 * side for side in shape],
                "chips": 64 * size,
                "switched": machine.switched(size),
                "guaranteed": machine.guaranteed(size, confidence),
                "fixed": machine.fixed(shape, placement) if samples == 0 else None,
            }
            if samples:
                names = "sampled_switched", "sampled_fixed"
                for name, sampled in zip(names, machine.sample(shape, placement, samples), strict=True):
                    row[name], row[f"{name}_standard_error"] = sampled.mean, sampled.standard_error
            rows.append(row)
    return {
        "schema_version": SCHEMA_VERSION,
        "confidence": confidence,
        "placement": placement,
        "samples": samples,
        "rows": rows,
    }


def mix_dict(machines: Iterable[Machine], waiting: int, samples: int) -> dict[str, Any]:
    """Goodput of each machine with the published mix of slices as plain data."""
    rows = []
    for machine in machines:
        found = mix_goodput(machine, waiting=waiting, samples=samples)
        row: dict[str, Any] = {"host": machine.host}
        for name, sampled in (("switched", found.switched), ("fixed", found.fixed)):
            row |= {name: sampled.mean, f"{name}_standard_error": sampled.standard_error}
        rows.append(row | {"unplaceable": found.unplaceable})
    return {"schema_version": SCHEMA_VERSION, "waiting": waiting, "samples": samples, "rows": rows}


def channels_dict(topology: Topology) -> dict[str, Any]:
    """Virtual channels of each scheme that fits a network as plain data, and why the others do not."""
    rows: list[dict[str, Any]] = []
    for scheme in (ESCAPE, *SCHEMES):
        try:
            rows.append(asdict(minimal_channels(topology.graph, scheme)))
        except InputError as error:
            rows.append({"scheme": scheme, "refused": str(error)})
    return {"schema_version": SCHEMA_VERSION, "topology": topology_dict(topology), "schemes": rows}


def jobs_dict(stream: Stream, seed: int) -> dict[str, Any]:
    """What TPU v4's machine does with a stream of jobs, by its wiring, as plain data."""
    rows = []
    for placement in (None, *PLACEMENTS):
        found = replay_jobs(Machine(1.0), stream, placement=placement, seed=seed)
        counted = ("utilization", "mean_wait_s", "waited", "refused")
        rows.append({"placement": placement} | {name: getattr(found, name) for name in counted})
    return {"schema_version": SCHEMA_VERSION, "stream": asdict(stream), "seed": seed, "rows": rows}


def print_all_to_all(console: Console, plain: Mapping[str, Any]) -> None:
    """What `all_to_all_dict` says."""
    summary = _network(plain["topology"], f"all-to-all of {si(plain['bytes_per_pair'], 'B')} a pair")
    summary.add("time", si(plain["time_s"], "s"))
    summary.add("latency in it", si(plain["latency_s"], "s"))
    summary.add("sent by a chip", si(plain["sent_bytes_per_s"], "B/s"))
    summary.add("busiest link", f"{si(plain['max_link_bytes'], 'B')}; average {si(plain['mean_link_bytes'], 'B')}")
    summary.add("bound by", plain["bound_by"])
    for name, seconds in plain["bounds_s"].items():
        summary.add(f"  {name} alone", si(seconds, "s"))
    summary.add("routing, contention", plain["algorithm"])
    _put(console, plain["topology"], summary)


def print_collective(console: Console, plain: Mapping[str, Any]) -> None:
    """What `collective_dict` says."""
    summary = _network(plain["topology"], f"{plain['collective']} of {si(plain['bytes'], 'B')}")
    summary.add("time", si(plain["time_s"], "s"))
    summary.add("latency in it", f"{si(plain['latency_s'], 's')} in {plain['steps']} steps")
    summary.add("busiest link", si(plain["max_link_bytes"], "B"))
    summary.add("bound by", plain["bound_by"])
    summary.add("algorithm", plain["algorithm"])
    others = {name: time for name, time in plain["others_s"].items() if name != plain["algorithm"]}
    for name, time in others.items():
        summary.add(f"  {name} instead", si(time, "s"))
    _put(console, plain["topology"], summary)


def slices_dict(
    chips: int, needs: Sequence[Need], groups: Mapping[str, int], found: Sequence[SliceChoice]
) -> dict[str, Any]:
    """Slices from the fastest on as plain data."""
    return {
        "schema_version": SCHEMA_VERSION,
        "chips": chips,
        "groups": dict(groups),
        "needs": [asdict(need) for need in needs],
        "slices": [
            {
                "shape": list(choice.torus.shape),
                "twisted": choice.torus.twisted,
                "axes": {name: list(axes) for name, axes in choice.axes.items()},
                "time_s": choice.time_s,
                "parts_s": list(choice.parts_s),
            }
            for choice in found
        ],
    }


def print_slices(console: Console, needs: Sequence[Need], found: Sequence[SliceChoice]) -> None:
    """Slices from the fastest on, and the time of each collective on them."""
    heads = [f"{need.kind} {need.group}" for need in needs]
    sheet = Sheet(("slice", "time", "slower", *heads), words=(0,))
    for choice in found:
        slower = choice.time_s / found[0].time_s - 1
        parts = (si(part, "s") for part in choice.parts_s)
        sheet.add(str(choice), si(choice.time_s, "s"), percent(slower) if slower else "", *parts)
    show(console, "Slices, the fastest first", sheet)


def _network(topology: Mapping[str, Any], what: str) -> Sheet:
    summary = Sheet(("", ""), words=(0, 1), wrap=(1,))
    summary.add("traffic", what)
    counts = f"{topology['chips']:,} chips, {topology['switches']:,} switches, {topology['links']:,} links"
    summary.add("network", counts)
    summary.add("distance", f"{topology['mean_distance']:.3f} hops on average, {topology['diameter']} at most")
    for name, unit in (("cost_usd", "USD"), ("power_w", "W")):
        if topology[name] is not None:
            summary.add(f"{name.partition('_')[0]} of all cables", si(topology[name], unit))
    return summary


def _put(console: Console, topology: Mapping[str, Any], summary: Sheet) -> None:
    shape = topology.get("shape") or topology.get("children")
    text = topology["kind"] + (f" {'x'.join(map(str, shape))}" if shape else "")
    twisted = ", twisted" if topology.get("twisted") or topology.get("twist") else ""
    put(console, Text(text + twisted, style="bold"))
    put(console, summary, GAP)


def print_goodput(console: Console, plain: Mapping[str, Any]) -> None:
    """What `goodput_dict` says."""
    sampled = bool(plain["samples"])
    sure = f"{percent(plain['confidence'])} sure"
    heads = ("chips", "slice", "hosts up", "switched", sure, f"fixed, {plain['placement']}")
    found = Sheet((*heads, "±"), words=(1,)) if sampled else Sheet(heads, words=(1,))
    for row in plain["rows"]:
        shape = "x".join(map(str, row["slice"]))
        cells = (f"{row['chips']:,}", shape, percent(row["host"]), percent(row["switched"]), percent(row["guaranteed"]))
        if sampled:
            error = percent(row["sampled_fixed_standard_error"])
            found.add(*cells, percent(row["sampled_fixed"]), error)
        else:
            found.add(*cells, percent(row["fixed"]))
    show(console, "Goodput: share of the machine that does useful work", found)


def print_mix(console: Console, plain: Mapping[str, Any]) -> None:
    """What `mix_dict` says."""
    found = Sheet(("hosts up", "switched", "±", "fixed", "±", "jobs without a place"), words=())
    for row in plain["rows"]:
        names = ("host", "switched", "switched_standard_error", "fixed", "fixed_standard_error", "unplaceable")
        found.add(*(percent(row[name]) for name in names))
    show(console, f"Goodput of the published mix of slices, {plain['waiting']} jobs waiting", found)


def print_channels(console: Console, plain: Mapping[str, Any]) -> None:
    """What `channels_dict` says."""
    found = Sheet(("scheme", "channels a link", "free of deadlock"), words=(0, 2), wrap=(2,))
    for row in plain["schemes"]:
        free = row.get("refused") or ("yes" if row["deadlock_free"] else "no")
        found.add(row["scheme"], str(row.get("per_link", "")), free)
    show(console, "Virtual channels for all shortest paths", found)


def print_jobs(console: Console, plain: Mapping[str, Any]) -> None:
    """What `jobs_dict` says."""
    found = Sheet(("a slice lies", "in use", "mean wait", "jobs that wait", "without a place"), words=(0,))
    for row in plain["rows"]:
        where = f"fixed wires, {row['placement']}" if row["placement"] else "switched, any cubes"
        shares = (percent(row[name]) for name in ("waited", "refused"))
        found.add(where, percent(row["utilization"]), f"{row['mean_wait_s'] / 3600:.2f} h", *shares)
    stream = plain["stream"]
    mean = f"{stream['durations']} of {stream['mean_s'] / 3600:g} h"
    show(console, f"Jobs of the published mix: load {percent(stream['load'])}, {mean}", found)


def print_topologies(console: Console) -> None:
    """How topologies are spelled."""
    found = Sheet(("spelling", "numbers"), words=(0, 1), wrap=(1,))
    for spelling in TOPOLOGIES.values():
        found.add(*spelling.example.split(", ", 1))
    found.add("file:PATH", "cables as rows of a CSV or Parquet file")
    show(console, "Topologies", found)

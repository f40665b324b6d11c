"""Where the ids of a step come from: hosts have them, and they go from there to what looks rows up.

A step's ids come to its chips while the step before runs, since nothing that is trained changes them. Which chip, or
which machine, is asked for a row is settled in the step itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from accsim.config.host import DataCenter, Host
from accsim.embedding.work import ID_BYTES, StepWork
from accsim.mapping.embedding_counts import Counts
from accsim.mapping.embedding_place import COO_BYTES
from accsim.mapping.machine_numbers import port
from accsim.system.halves import Leg
from accsim.system.runs import Run
from accsim.system.slices import Slice

HOST, SERVERS = "host", "variable_server"
INPUT: Final = "input"


def input_run(on: Slice, work: StepWork, where: str) -> Run:
    """Ids of a chip's samples on their way from its host; nothing where the machine file has no host.

    Embedding units and cores read them from main memory with sample and weight; for tables on hosts only ids pass the
    chip, and for those on servers none do.
    """
    host, counts, main = on.chip.host, Counts(work), on.chip.main_memory
    if host is None or where == SERVERS:
        return Run(INPUT, 0.0, {}, {})
    if where == HOST:
        return _moved(f"{HOST}.pcie_down", float(counts.asked.mean.sum()) * ID_BYTES, host)
    size = float(counts.ids.sum()) * COO_BYTES
    run = _moved("pcie_down", size, host)
    written = {port(main, "write"): size / (main.write_bytes_per_s * main.efficiency)}
    return Run(INPUT, run.time_s, {**run.busy_s, **written}, run.path_s, {f"write.{main.name}": size})


def _moved(way: str, size: float, host: Host) -> Run:
    time = size / host.pcie_bytes_per_s
    return Run(INPUT, time, {way: time}, {f"{way}/{INPUT}": time})


def id_legs(on: Slice, work: StepWork, where: str, exchanged: Leg) -> tuple[Leg, ...]:
    """How ids come to those that have the rows.

    Parameters
    ----------
    exchanged
        The exchange between chips.
    """
    return _LEGS.get(where, _from_chip_to_chip)(on, work, exchanged)


def _from_chip_to_chip(on: Slice, work: StepWork, exchanged: Leg) -> tuple[Leg, ...]:
    del on, work
    return (exchanged,)


def _on_to_hosts(on: Slice, work: StepWork, exchanged: Leg) -> tuple[Leg, ...]:
    """From chip to chip, and from each to its own host."""
    host = on.chip.host
    assert isinstance(host, Host)
    served = float(Counts(work).served.largest.sum())
    return exchanged, _asked("ids to host", f"{HOST}.pcie_up", served, host.pcie_bytes_per_s, host.latency_s)


def _from_hosts_to_servers(on: Slice, work: StepWork, exchanged: Leg) -> tuple[Leg, ...]:
    """Over the network of the data centre, past the chips."""
    del exchanged
    servers = on.chip.data_center
    assert isinstance(servers, DataCenter)
    asked = float(Counts(work).asked.largest.sum())
    return (_asked("ids", f"{SERVERS}.network_up", asked, servers.chip_bytes_per_s, servers.latency_s),)


def _asked(name: str, way: str, ids: float, bytes_per_s: float, latency_s: float) -> Leg:
    time = ids * ID_BYTES / bytes_per_s
    return Leg(name, way, time, latency_s, {way: time}, {f"{way}/ids": 1.0})


_LEGS: Final[Mapping[str, Callable[[Slice, StepWork, Leg], tuple[Leg, ...]]]] = {
    HOST: _on_to_hosts,
    SERVERS: _from_hosts_to_servers,
}

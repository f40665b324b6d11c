"""Collectives as workloads: ``all_reduce?bytes=1 GiB`` on a slice, or on the axis ``network.topology``."""

from __future__ import annotations

from functools import partial

from accsim.config.checks import shown
from accsim.errors import AccsimError, InputError, Problem
from accsim.network import read_topology
from accsim.network.named_collectives import collective_bytes, collective_kind
from accsim.network.topology import Topology
from accsim.sweep.kinds.base import Block, Ready, Work
from accsim.sweep.kinds.on_slice import names_slice, slice_at
from accsim.sweep.outcome import IntArray, Outcome
from accsim.sweep.settings import NETWORK, SLICE, TOPOLOGY, WORKLOAD, Setting, Settings, machine_of, resolved_network

_NAME = "topology"


def topology_of(setting: Setting, folder: str) -> Topology:
    """The topology of the fields of a network; those beside the topology's name are its own.

    Parameters
    ----------
    folder : where the path of a ``file:PATH`` starts from.

    Raises
    ------
    InputError
        Without a name, for an unknown one, and for fields or values that it does not take.
    """
    values = dict(setting)
    name = values.pop(_NAME, None)
    if not isinstance(name, str):
        raise InputError(f"read {shown(name)} as network.topology, allowed is a text such as 'torus:4x4x8'")
    name = resolved_network(name, folder)
    texts = {key: str(value).lower() if isinstance(value, bool) else value for key, value in values.items()}
    query = "&".join(f"{key}={text}" for key, text in texts.items())
    joint = "&" if "?" in name else "?"
    return read_topology(f"{name}{joint}{query}" if query else name)


class Collectives:
    """Collectives on a slice or on the axis ``network.topology``; the energy of a network is not known."""

    what = "a collective"
    takes = ("", WORKLOAD, NETWORK, SLICE)

    def serves(self, work: Work) -> bool:
        """Whatever the machine."""
        return collective_kind(work.workload) is not None

    def load(self, work: Work, setting: Settings) -> int:
        """Its bytes."""
        return collective_bytes(work.workload, dict(setting.workload))

    def place(self, work: Work, setting: Settings) -> Topology:
        """The slice's network, or for a single chip that of the fields of a network."""
        if names_slice(work) and setting.network:
            message = f"is for a single chip, and a slice of '{work.machine}' has a network of its own"
            raise InputError(Problem("", f"{NETWORK}{setting.network[0][0]}", message))
        if names_slice(work):
            return slice_at(work, setting).network
        if not setting.network:
            several = f"add the axis {TOPOLOGY}: ['torus:4x4x8'], or name a slice, such as tpu_v4:4x4x8"
            raise InputError(f"'{work.machine}' is a single chip, and a collective needs several: {several}")
        return topology_of(setting.network, work.folder)

    def ready(self, block: Block) -> Ready:
        """Its network, built."""
        work, setting = block.work, block.setting
        network, size = self.place(work, setting), self.load(work, setting)
        acc = machine_of(work.machine, work.folder, setting.machine)
        return Ready(acc, network.chips, partial(_run, network, work.workload, size))


def _run(network: Topology, workload: str, size: int, outcome: Outcome, at: IntArray) -> None:
    """Time a collective by its fastest algorithm."""
    if not len(at):
        return
    kind = collective_kind(workload)
    assert kind is not None
    try:
        found = network.collective(kind, size)
    except AccsimError as error:
        outcome.fail(at, str(error))
        return
    outcome.set_numbers(at, {"latency_s": found.time_s})
    outcome.set_text("mapping", at, found.algorithm)
    outcome.set_text("bound_by", at, found.bound_by)

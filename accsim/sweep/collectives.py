"""Collectives as workloads: ``all_reduce?bytes=1 GiB`` on the slices of the axis ``network.topology``."""

from __future__ import annotations

from accsim.config.checks import shown
from accsim.errors import AccsimError, InputError, Problem, plain_name
from accsim.network import read_topology
from accsim.network.collective_algorithms import KINDS
from accsim.network.topology import Topology
from accsim.sweep.axes import Scalar
from accsim.sweep.outcome import IntArray, Outcome
from accsim.sweep.settings import Settings, resolved_network
from accsim.units import UnitError, parse_quantity
from accsim.workload.query import parse_query

TOPOLOGY = "topology"
_BYTES = "bytes"


def collective_kind(name: str) -> str | None:
    """Kind of collective that a workload's name stands for; None if there is none.

    Examples
    --------
    >>> collective_kind("all-reduce?bytes=1 GiB"), collective_kind("bert_base")
    ('all_reduce', None)
    """
    bare = plain_name(name.partition("?")[0])
    return next((kind for kind in KINDS if plain_name(kind) == bare), None)


def collective_bytes(name: str, setting: tuple[tuple[str, Scalar], ...]) -> int:
    """Bytes of a collective: those of the buffer on each chip.

    Raises
    ------
    InputError
        For parameters other than ``bytes``, and a size that is none.
    """
    values = {**parse_query(name)[1], **dict(setting)}
    problems = [
        Problem(f"query:{key[:60]}", "", f"unknown key of a collective, allowed is {_BYTES}")
        for key in values
        if key != _BYTES
    ]
    if _BYTES not in values:
        problems.append(Problem("", "", f"missing, needed are its {_BYTES}: {name}?{_BYTES}=1 MiB"))
    if problems:
        raise InputError(problems)
    try:
        return int(parse_quantity(values[_BYTES], "bytes"))
    except UnitError as error:
        raise InputError(Problem(f"query:{_BYTES}", "", error.message, error.suggestion)) from error


def topology_of(setting: tuple[tuple[str, Scalar], ...], folder: str) -> Topology:
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
    name = values.pop(TOPOLOGY, None)
    if not isinstance(name, str):
        raise InputError(f"read {shown(name)} as network.topology, allowed is a text such as 'torus:4x4x8'")
    name = resolved_network(name, folder)
    texts = {key: str(value).lower() if isinstance(value, bool) else value for key, value in values.items()}
    query = "&".join(f"{key}={text}" for key, text in texts.items())
    joint = "&" if "?" in name else "?"
    return read_topology(f"{name}{joint}{query}" if query else name)


def run_collective(name: str, folder: str, setting: Settings, outcome: Outcome, at: IntArray) -> None:
    """Time a collective by its fastest algorithm and write it to points; a network's energy is not known."""
    kind = collective_kind(name)
    assert kind is not None
    try:
        size = collective_bytes(name, setting.workload)
        found = topology_of(setting.network, folder).collective(kind, size)
    except AccsimError as error:
        outcome.fail(at, str(error))
        return
    outcome.set_numbers(at, {"latency_s": found.time_s})
    outcome.set_text("mapping", at, found.algorithm)
    outcome.set_text("bound_by", at, found.bound_by)

"""What the fields of a point stand for: the machine, the workload and the mapping they make, loaded once each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from accsim.config.catalogue import load_accelerator
from accsim.config.data_files import is_path, slice_parts
from accsim.config.machine import Accelerator
from accsim.errors import InputError, Problem, nearest, plain_name
from accsim.mapping.base import Dataflow, find_dataflow
from accsim.sweep.axes import Scalar, written
from accsim.workload.catalogue import load_workload
from accsim.workload.op_query import op_kind, read_op
from accsim.workload.query import parse_query
from accsim.workload.trace import Workload

WORKLOAD = "workload."
MAPPING = "mapping."
NETWORK = "network."
SLICE = "slice."
STEP = "step."
PREFIXES = (WORKLOAD, MAPPING, NETWORK, SLICE, STEP)
PLACED = (NETWORK, SLICE, STEP)
"""Prefixes of fields that say what work runs on, beside a chip."""
DATAFLOW = "mapping.dataflow"
TOPOLOGY = "network.topology"
SHAPE = "slice.shape"

Setting = tuple[tuple[str, Scalar], ...]
"""Fields and their values as a file gives them; hashable, so that what they make is kept."""


class Settings(NamedTuple):
    """Fields of a point as files give them, by what they are of."""

    machine: Setting
    workload: Setting
    mapping: Setting
    network: Setting
    slice: Setting
    step: Setting


def split(values: Mapping[str, Any], dimensions: Mapping[str, str | None]) -> Settings:
    """The fields of a point by what they are of."""
    found: dict[str, list[tuple[str, Scalar]]] = {prefix: [] for prefix in ("", *PREFIXES)}
    for key, value in values.items():
        prefix = section(key)
        found[prefix].append((key.removeprefix(prefix), written(value, dimensions.get(key))))
    return Settings(*map(tuple, found.values()))


def section(key: str) -> str:
    """The prefix of a field, one of `PREFIXES`; nothing of a field of a machine."""
    return next((prefix for prefix in PREFIXES if key.startswith(prefix)), "")


def resolved(name: str, folder: str) -> str:
    """A path that a space file names, from that file's folder on; a shipped name as it is."""
    bare, mark, query = name.partition("?")
    return f"{(Path(folder) / bare).resolve()}{mark}{query}" if is_path(bare) else name


def chip_name(machine: str) -> str:
    """The machine that a slice is made of; of one chip, its own name.

    Examples
    --------
    >>> chip_name("tpu_v4:twisted:4x4x8"), chip_name("tpu_v4")
    ('tpu_v4', 'tpu_v4')
    """
    parts = slice_parts(machine)
    return machine if parts is None else parts[0]


def network_file(name: str, folder: str) -> Path | None:
    """The file of a topology ``file:PATH``, from the folder of the space on; None of any other topology."""
    kind, _, path = name.partition("?")[0].partition(":")
    return (Path(folder) / path).resolve() if plain_name(kind) == "file" and path else None


def resolved_network(name: str, folder: str) -> str:
    """A topology with the path of its file from the folder of the space on; any other as it is."""
    file = network_file(name, folder)
    _, mark, query = name.partition("?")
    return name if file is None else f"file:{file}{mark}{query}"


def spelling(name: str, folder: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """A name such that two of the same machine or workload are equal: its file or plain name, and its parameters.

    Examples
    --------
    >>> spelling("H100 SXM", ".") == spelling("h100-sxm", "."), spelling("bert_base?seq=8&batch=1", ".")
    (True, ('bertbase', (('batch', '1'), ('seq', '8'))))
    """
    try:
        bare, query = parse_query(resolved(name, folder))
    except InputError:  # loading it says what is wrong
        return name, ()
    return bare if is_path(bare) else plain_name(bare), tuple(sorted(query.items()))


@lru_cache(maxsize=512)
def machine_of(name: str, folder: str, setting: Setting = ()) -> Accelerator:
    """A machine with some fields set, of a slice its chip. Raises as :func:`accsim.load_accelerator` does."""
    bare = chip_name(name)
    return _first_equal(load_accelerator(resolved(bare, folder), set=dict(setting)))


@lru_cache(maxsize=512)
def _first_equal(acc: Accelerator) -> Accelerator:
    """The first of all equal machines: caches by machine find one and the same object without comparing it whole."""
    return acc


@lru_cache(maxsize=512)
def workload_of(name: str, folder: str, setting: Setting = ()) -> Workload:
    """A workload with some parameters set, also those of a single op. Raises as :func:`accsim.load_workload` does."""
    spec = resolved(name, folder)
    bare, query = parse_query(spec)
    kind = op_kind(bare)
    if kind is None:
        return load_workload(spec, set=dict(setting))
    texts = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in setting}
    return read_op(kind, query | texts)


def forget_files() -> None:
    """Read machines and workloads anew when they are asked for next: their files may have changed."""
    machine_of.cache_clear()
    workload_of.cache_clear()


D = TypeVar("D", bound=Dataflow)


def dataflow_of(setting: Setting) -> Dataflow:
    """The dataflow that the fields of a mapping make, one of which is ``dataflow``.

    Raises
    ------
    InputError
        For an unknown dataflow, a field that it does not have, or a value that the field does not take.
    """
    values = dict(setting)
    return with_choices(find_dataflow(str(values.pop("dataflow"))), values)


def with_choices(dataflow: D, values: Mapping[str, Scalar]) -> D:
    """A dataflow with some of its choices given. Raises as :func:`dataflow_of` does."""
    known = choices(dataflow)
    for key in values:
        if key not in known:
            name = type(dataflow).__name__
            allowed = f"allowed are {', '.join(known)}" if known else "it has none"
            raise InputError(Problem("", key, f"{name} has no choice '{key}', {allowed}", nearest(key, known)))
    return replace(dataflow, **values)  # type: ignore[type-var]


def choices(dataflow: Dataflow) -> tuple[str, ...]:
    """Names of a dataflow's choices that are plain values."""
    plain = ("int", "str", "bool", "int | None", "str | None", "bool | None")
    return tuple(field.name for field in fields(dataflow) if str(field.type) in plain)  # type: ignore[arg-type]

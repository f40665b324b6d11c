"""Collectives as workloads are named: ``all_reduce?bytes=1 GiB``."""

from __future__ import annotations

from collections.abc import Mapping

from accsim.config.frozen import FrozenDict
from accsim.errors import InputError, Problem, plain_name
from accsim.network.collective_algorithms import KINDS
from accsim.units import UnitError, parse_quantity
from accsim.workload.query import parse_query

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


def collective_bytes(name: str, set: Mapping[str, object] = FrozenDict({})) -> int:  # noqa: A002
    """Bytes of a collective: those of the buffer on each chip.

    Parameters
    ----------
    set
        Parameters to replace.

    Raises
    ------
    InputError
        For parameters other than ``bytes``, and a size that is none.
    """
    values = {**parse_query(name)[1], **set}
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

"""A single op as a workload's spec: ``gemm?m=512&n=512&k=512``."""

from __future__ import annotations

from collections.abc import Mapping

from accsim.config.frozen import FrozenDict
from accsim.config.reader import MarkedDocument, parse_scalar
from accsim.errors import Problem, nearest, plain_name
from accsim.workload.op_form import FORMS, read_form
from accsim.workload.trace import Entry, Workload

_NOT_IN_A_QUERY = ("op", "after")


def op_kind(name: str) -> str | None:
    """Kind of op that a name stands for, in any case and with any separators; None if there is none.

    Examples
    --------
    >>> op_kind("GEMM"), op_kind("bert_base")
    ('gemm', None)
    """
    return next((kind for kind in FORMS if plain_name(kind) == plain_name(name)), None)


def read_op(kind: str, query: Mapping[str, str]) -> Workload:
    """A workload of one op.

    Parameters
    ----------
    kind
        Key of `FORMS`.
    query
        The keys of an op of a trace file, as texts.

    Raises
    ------
    InputError
        With every key that is unknown, missing or out of range.

    Examples
    --------
    >>> read_op("gemm", {"m": "4", "n": "5", "k": "6"}).macs
    120
    """
    known = [key for key in FORMS[kind].model_fields if key not in _NOT_IN_A_QUERY]
    document = MarkedDocument("query", {"op": kind}, {}, {(): "query"})
    problems = []
    for key, text in query.items():
        where = f"query:{key[:60]}"
        if key in known:
            document = document.with_value((key,), parse_scalar(text), where)
        else:
            message = f"unknown key of {kind}, allowed are {', '.join(known)}"
            problems.append(Problem(where, "", message, nearest(key, known)))
    form, op = read_form(document, problems)
    values = FrozenDict({key: document.data[key] for key in query})
    return Workload(name=kind, entries=(Entry(op, form.repeat, weight_sets=form.weight_sets),), parameters=values)

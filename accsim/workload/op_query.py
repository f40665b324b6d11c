"""A single op as a workload's spec: ``gemm?m=512&n=512&k=512``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

from accsim.config.frozen import FrozenDict
from accsim.config.reader import MarkedDocument, parse_scalar, validate
from accsim.errors import InputError, Problem, nearest, plain_name
from accsim.workload.ops import OPS
from accsim.workload.trace import Entry, Workload
from accsim.workload.trace_file import FORMS

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
    form = validate(FORMS[kind], document, also=problems)
    given = {f.name: getattr(form, f.name) for f in fields(OPS[kind]) if f.name not in form.not_of_the_op}
    try:
        op = OPS[kind](name=form.name or kind, **given)
    except InputError as error:
        paths = [problem.path.rpartition(".")[2] for problem in error.problems]
        placed = [replace(p, where=f"query:{path}", path=path) for p, path in zip(error.problems, paths, strict=True)]
        raise InputError(placed) from error
    values = FrozenDict({key: document.data[key] for key in query})
    return Workload(name=kind, entries=(Entry(op, form.repeat),), parameters=values)

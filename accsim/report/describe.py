"""What a machine, a dataflow, an op or a mapped program is, as plain data."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from typing import Any

from accsim.config.field_docs import field_docs
from accsim.config.machine import Accelerator
from accsim.config.reader import FileModel
from accsim.engine.energy import price_list
from accsim.engine.program import TICKS_PER_CYCLE, Inner, Program, Varying
from accsim.mapping.base import find_dataflow
from accsim.report.result import SCHEMA_VERSION, OpRow, Report
from accsim.report.tables import mapping_dict
from accsim.units import format_quantity
from accsim.workload.op_form import FORMS

_DIMENSIONS = {
    "_bytes_per_s": "bandwidth",
    "_bytes": "bytes",
    "_hz": "frequency",
    "_s": "time",
    "_w": "power",
    "_mm2": "area",
}
"""Suffix of a field's name to the dimension of its value; the longest comes first."""

_NOT_NUMBERS = ("name", "source", "sources", "estimated", "trust", "energy", "area_table", "standard")


def describe_machine(acc: Accelerator) -> dict[str, Any]:
    """A machine: every number with its unit, its source or why it is estimated, energy by action and area by part.

    Values are in the base unit of the dimension (``text`` has the unit), prices in pJ an operation or a byte.
    """
    prices = {action: price for action, price in price_list(acc).items() if not action.startswith("mac_")}
    return {
        "kind": "machine",
        "name": acc.name,
        "hash": acc.hash,
        "trust": acc.trust,
        "source": acc.source,
        "peak_macs_per_s": {dtype: acc.peak_macs_per_s(dtype) for dtype in acc.matrix_unit.rates},
        "numbers": list(_numbers(acc, acc)),
        "energy": {
            "table": acc.energy.name,
            "hash": acc.energy.hash,
            "estimated": acc.estimated.get("energy"),
            "prices_pj": {action: asdict(price) for action, price in prices.items()},
        },
        "area": _areas(acc),
    }


def _areas(acc: Accelerator) -> dict[str, Any]:
    table = acc.area_table
    return {
        "table": table and table.name,
        "hash": table and table.hash,
        "estimated": table and table.estimated,
        "area_mm2": acc.area_mm2,
        "parts_mm2": acc.area_breakdown_mm2,
    }


def _numbers(
    acc: Accelerator, part: object, path: tuple[str, ...] = (), dimension: str = "", given: bool = True
) -> Iterator[dict[str, Any]]:
    """A row for each number below a part of a machine; those not ``given`` are defaults."""
    if isinstance(part, FileModel):
        for name, field in type(part).model_fields.items():
            if name not in _NOT_NUMBERS:
                suffix = next((end for end in _DIMENSIONS if name.endswith(end)), "")
                whole = (*path, field.alias or name)
                stated = given and name in part.model_fields_set
                yield from _numbers(acc, getattr(part, name), whole, _DIMENSIONS.get(suffix, ""), stated)
    elif isinstance(part, tuple) and all(isinstance(item, FileModel) for item in part):
        for memory in part:
            yield from _numbers(acc, memory, (*path, memory.name), given=given)
    elif isinstance(part, Mapping):
        for key, value in part.items():
            yield from _numbers(acc, value, (*path, key), dimension, given)
    elif part is not None:
        yield {
            "path": ".".join(path),
            "value": part,
            "text": _text(part, dimension),
            "default": not given,
            "source": _note(acc.sources, path),
            "estimated": _note(acc.estimated, path),
        }


def _text(value: object, dimension: str) -> str:
    if isinstance(value, tuple):
        ends = [_text(value[0], dimension), _text(value[-1], dimension)]
        return f"{' to '.join(dict.fromkeys(ends))}, {len(value)} in all"
    return format_quantity(value, dimension) if dimension and isinstance(value, int | float) else _plain(value)


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _note(notes: Mapping[str, str], path: tuple[str, ...]) -> str | None:
    """The note of a path, or of the nearest part around it."""
    return next((notes[key] for end in range(len(path), 0, -1) if (key := ".".join(path[:end])) in notes), None)


def describe_inputs(report: Report) -> dict[str, Any]:
    """What was run: the machine with the source of every number, and the workload without its ops."""
    work = report.workload
    return {
        "schema_version": SCHEMA_VERSION,
        "machine": describe_machine(report.machine),
        "workload": {
            "name": work.name,
            "source": work.source,
            "parameters": dict(work.parameters),
            "hyperparameters": dict(work.hyperparameters),
            "op_count": work.op_count,
            "macs": work.macs,
            "weight_bytes": work.weight_bytes,
        },
    }


def describe_dataflow(name: str) -> dict[str, Any]:
    """A dataflow: the ops it maps, what it does, its choices with their defaults (null is searched).

    Raises
    ------
    InputError
        For an unknown name.
    """
    dataflow = find_dataflow(name)
    choices: tuple[Field[Any], ...] = fields(dataflow) if is_dataclass(dataflow) else ()
    module = inspect.getmodule(type(dataflow))
    about = inspect.getdoc(module) if module and module.__name__.startswith("accsim.") else None
    return {
        "kind": "dataflow",
        "name": name,
        "class": type(dataflow).__name__,
        "maps": list(dataflow.kinds),
        "about": (about or "").replace("``", ""),
        "description": (inspect.getdoc(type(dataflow)) or "").replace("``", ""),
        "choices": {field.name: _default(field) for field in choices},
    }


def _default(field: Field[Any]) -> Any:
    return None if field.default is MISSING else field.default


def describe_op(kind: str) -> dict[str, Any]:
    """A kind of op: its keys in a trace, each with what it means, whether it is needed, its default."""
    form = FORMS[kind]
    docs = field_docs(form)
    keys = {
        name: {
            "description": docs.get(name, ""),
            "needed": field.is_required(),
            "usual": field.is_required() or name in form.usual,
            "default": None if field.is_required() else field.get_default(call_default_factory=True),
        }
        for name, field in form.model_fields.items()
        if name != "op"
    }
    return {"kind": "op", "name": kind, "description": inspect.getdoc(form) or "", "keys": keys}


def describe_row(row: OpRow) -> dict[str, Any]:
    """A mapped op with its programs."""
    programs = [
        {
            "copies": step.copies,
            "useful": step.useful,
            "cycles": part.counters.total_ticks / TICKS_PER_CYCLE,
            **_program_dict(step.program),
        }
        for step, part in zip(row.steps, row.parts, strict=True)
    ]
    return {
        "names": list(row.names),
        "op": row.op.to_dict(),
        "count": row.count,
        "mapping": mapping_dict(row.mapping),
        "early": list(row.early),
        "programs": programs,
    }


def _program_dict(program: Program) -> dict[str, Any]:
    return {
        "name": program.name,
        "levels": _data(program.levels),
        "resources": _data(program.resources),
        "buffers": _data(program.buffers),
        "stages": _data(program.stages),
        "capacities_bytes": dict(program.capacities),
        "ticks_per_cycle": TICKS_PER_CYCLE,
    }


def _data(value: Any) -> Any:
    """Plain data of any part of a program; of an inner program's run, its cycles."""
    if isinstance(value, Inner):
        cycles = value.counters.total_ticks / TICKS_PER_CYCLE
        return {"cycles": cycles, "shares": dict(value.shares), **_program_dict(value.program)}
    if isinstance(value, Varying):
        return {"levels": list(value.levels), "values": value.values.tolist()}
    if is_dataclass(value):
        return {field.name: _data(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_data(item) for item in value]
    return value

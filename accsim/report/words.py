"""Numbers and mappings in words: what the printed reports have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from itertools import groupby

from accsim.mapping.base import Dataflow
from accsim.mapping.gemm import FORMS, Stationary
from accsim.units import format_quantity
from accsim.workload.ops import Op

_SMALL = ("", "m", "u", "n", "p")
_LARGE = ("", "k", "M", "G", "T", "P", "E")
_SHORT = 5
_UNSAID = (("spill", 0), ("granularity", "row"))
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def si(value: float, unit: str) -> str:
    """Value with four digits and an SI prefix; without a unit, a count.

    Examples
    --------
    >>> si(3.4359785, "s"), si(113316867072, "B"), si(0.0000125, "J"), si(0, "W"), si(999960, "B")
    ('3.436 s', '113.3 GB', '12.50 uJ', '0 W', '1.000 MB')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}".strip()
    if unit == "s" and value >= 1000.0:  # nobody reads kiloseconds
        return f"{value:,.0f} s"
    if unit == "B" and 1 <= value < 1000.0 and value == int(value):
        return f"{value:.0f} B"
    power = math.floor(math.log10(float(f"{abs(value):.3e}")) / 3)
    power = max(-len(_SMALL) + 1, min(power, len(_LARGE) - 1))
    prefix = _LARGE[power] if power >= 0 else _SMALL[-power]
    return f"{value / 1000.0**power:#.4g} {prefix}{unit}".strip()


def binary(size_bytes: int) -> str:
    """Bytes of a capacity: exactly in a unit that makes it short, else with four digits and a binary prefix.

    Examples
    --------
    >>> binary(524288), binary(80 * 10**9), binary(123457)
    ('512 KiB', '80 GB', '120.6 KiB')
    """
    exact = format_quantity(size_bytes, "bytes")
    if len(exact.split()[0]) <= _SHORT:
        return exact
    power = min((size_bytes.bit_length() - 1) // 10, len(_BINARY) - 1)
    return f"{size_bytes / 1024**power:#.4g} {_BINARY[power]}"


def cycles(number: float) -> str:
    """Cycles: whole from 1,000 on, with one digit after the point below.

    Examples
    --------
    >>> cycles(3229819795.5), cycles(71.71), cycles(256.0)
    ('3,229,819,796', '71.7', '256')
    """
    if number >= 1000 or number == int(number):
        return f"{number:,.0f}"
    return f"{number:.1f}"


def percent(share: float) -> str:
    """A share of 1 as percent; below 0.1 % with two digits.

    Examples
    --------
    >>> percent(0.8791), percent(0.000041), percent(0)
    ('87.9 %', '0.0041 %', '0 %')
    """
    return f"{100 * share:.1f} %" if 100 * share >= 0.1 else f"{100 * share:.2g} %"


def mapping_short(mapping: Dataflow) -> str:
    """A mapping's choices in few words: GEMM forms as WS, OS and IS with the tile's m x n x k.

    Examples
    --------
    >>> from accsim.mapping.flat import Flat
    >>> mapping_short(FORMS["output_stationary"](512, 768, 256, "mn", True, 1, 2))
    'OS 512x768x256, mn, resident, split_n 2'
    >>> mapping_short(Flat(rows=256, staged="qkvo", pipelined=False))
    'Flat rows 256, qkvo'
    """
    if isinstance(mapping, Stationary):
        tile = "x".join("?" if size is None else str(size) for size in (mapping.tile_m, mapping.tile_n, mapping.tile_k))
        rest = [text for name, text in _choices(mapping) if not name.startswith("tile_")]
        return ", ".join([f"{_initials(mapping.form)} {tile}", *rest])
    return " ".join([type(mapping).__name__, ", ".join(text for _, text in _choices(mapping))]).strip()


def _choices(mapping: object) -> list[tuple[str, str]]:
    """(field, text) of every choice that says something: no defaults, no False, no split by 1, spill or row tile."""
    found = []
    all_fields = fields(mapping) if is_dataclass(mapping) else ()
    for field in all_fields:
        value = getattr(mapping, field.name)
        silent = value is None or value is False or value == field.default
        if silent or (field.name.startswith("split_") and value == 1) or (field.name, value) in _UNSAID:
            continue
        if value is True:
            text = field.name
        elif isinstance(value, Dataflow):
            text = f"{field.name} {mapping_short(value)}"
        elif isinstance(value, tuple):
            items = [mapping_short(item) if isinstance(item, Dataflow) else item for item in value]
            text = f"{field.name} {_several(items)}"
        elif isinstance(value, str):
            text = _initials(value) if value in FORMS else value
        else:
            text = str(value) if len(all_fields) == 1 else f"{field.name} {value}"
        found.append((field.name, text))
    return found


def _initials(form: str) -> str:
    return "".join(part[0] for part in form.split("_")).upper()


def op_shape(op: Op) -> str:
    """The sizes of an op in words; what is 0, off or absent is left out.

    Examples
    --------
    >>> from accsim.workload.ops import Gemm
    >>> op_shape(Gemm(4, 5, 6))
    'gemm m 4, n 5, k 6, batch 1, bf16, weights'
    """
    return f"{op.kind} " + ", ".join(
        _value(f.name, getattr(op, f.name)) for f in fields(op) if f.name != "name" and getattr(op, f.name)
    )


def _value(name: str, value: object) -> str:
    if value is True:
        return name
    if isinstance(value, tuple):
        return f"{name} {_several(value)}"
    return str(value) if name in ("dtype", "function") else f"{name} {value}"


def _several(values: Iterable[object]) -> str:
    """Values one after the other, each with how often it follows itself."""
    runs = [(item, len(list(same))) for item, same in groupby(values)]
    return "; ".join(f"{item}x{times}" if times > 1 else str(item) for item, times in runs)


def parameters(values: Mapping[str, object]) -> str:
    """Parameters in words, those without a value left out.

    Examples
    --------
    >>> parameters({"batch": 64, "seq": None, "weights": False})
    'batch 64, weights false'
    """
    given = {name: value for name, value in values.items() if value is not None}
    return ", ".join(f"{name} {str(v).lower() if isinstance(v, bool) else v}" for name, v in given.items())

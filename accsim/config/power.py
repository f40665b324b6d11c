"""What a chip draws when idle, what it may draw at most, and the clocks it can be lowered to."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from accsim.config.fields import Power, Quantity, Wording
from accsim.config.reader import FileModel, PlacedError, Wrong
from accsim.errors import nearest
from accsim.units import UnitError, format_quantity

MOST_CLOCKS = 4096
_FREQUENCY = Quantity("frequency", 1e12)
_RANGE_KEYS = ("from", "to", "step")
_ALLOWED = "a list of ascending clocks, or a mapping with the keys from, to, step"
_ROUNDING = 1e-9


def _read_clocks(value: Any) -> tuple[float, ...]:
    """Clocks in Hz, ascending, of a list or of ``{from, to, step}``; the last step ends at ``to``."""
    if isinstance(value, Mapping):
        return _of_range(value)
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"allowed is {_ALLOWED}")
    if not 1 <= len(value) <= MOST_CLOCKS:
        raise ValueError(f"read {len(value)} clocks, allowed are 1 to {MOST_CLOCKS}")
    clocks = _parsed(dict(enumerate(value)))
    falls = [i + 1 for i, (low, high) in enumerate(itertools.pairwise(clocks)) if low >= high]
    if falls:
        raise PlacedError([Wrong((i,), f"read '{value[i]}', allowed is a clock above the one before") for i in falls])
    return clocks


def _of_range(value: Mapping[str, Any]) -> tuple[float, ...]:
    known = ", ".join(_RANGE_KEYS)
    wrong = [
        Wrong((key,), f"unknown key, allowed are {known}", nearest(str(key), _RANGE_KEYS), key=True)
        for key in value
        if key not in _RANGE_KEYS
    ]
    wrong += [Wrong((key,), "missing, needed is a frequency") for key in _RANGE_KEYS if key not in value]
    if wrong:
        raise PlacedError(wrong)
    first, last, step = _parsed({key: value[key] for key in _RANGE_KEYS})
    if first > last:
        raise PlacedError([Wrong(("to",), f"read '{value['to']}', allowed is a clock not below 'from'")])
    steps = round((last - first) / step)
    if abs(first + steps * step - last) > _ROUNDING * last:
        span = format_quantity(last - first, "frequency")
        raise PlacedError([Wrong(("step",), f"read '{value['step']}', allowed is a whole part of {span}, to - from")])
    if steps >= MOST_CLOCKS:
        raise PlacedError([Wrong(("step",), f"gives {steps + 1} clocks, allowed are at most {MOST_CLOCKS}")])
    return (*(first + i * step for i in range(steps)), last)


def _parsed(values: Mapping[Any, Any]) -> tuple[float, ...]:
    clocks: list[float] = []
    wrong: list[Wrong] = []
    for key, value in values.items():
        try:
            clocks.append(_FREQUENCY.parse(value))
        except UnitError as error:
            wrong.append(Wrong((key,), error.message, error.suggestion))
    if wrong:
        raise PlacedError(wrong)
    return tuple(clocks)


def _clocks_schema() -> dict[str, Any]:
    clock = _FREQUENCY.json_schema()
    span = {
        "type": "object",
        "properties": dict.fromkeys(_RANGE_KEYS, clock),
        "required": list(_RANGE_KEYS),
        "additionalProperties": False,
    }
    return {"anyOf": [{"type": "array", "items": clock, "minItems": 1, "maxItems": MOST_CLOCKS}, span]}


Clocks = Annotated[
    tuple[float, ...], Wording(_ALLOWED), BeforeValidator(_read_clocks), WithJsonSchema(_clocks_schema())
]
"""Ascending clocks in Hz; the file lists them or gives ``{from, to, step}``."""


class PowerLimits(FileModel):
    """What the chip draws when idle, what it may draw at most, and the clocks it can run at."""

    idle_w: Power = Field(alias="idle")
    """Drawn while nothing runs."""
    cap_w: Power | None = Field(default=None, alias="cap")
    """Most it may draw on average; none by default."""
    clocks_hz: Clocks = Field(default=(), alias="clocks")
    """Steps to which a power cap can lower the clock; those above the machine's clock are not used."""

    @model_validator(mode="after")
    def _cap_above_idle(self) -> PowerLimits:
        if self.cap_w is not None and self.cap_w <= self.idle_w:
            cap, idle = format_quantity(self.cap_w, "power"), format_quantity(self.idle_w, "power")
            message = f"read {cap}, allowed is a cap above the idle power, {idle}"
            raise PlacedError([Wrong(("cap",), message)])
        return self

"""Field types of input files: quantities with units, data types, names, read-only mappings."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import pydantic
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import core_schema

from accsim.config.frozen import FrozenDict
from accsim.config.reader import PlacedError, Wrong
from accsim.units import DIMENSIONS, DTYPES, UnitError, canonical_dtype, format_quantity, parse_quantity

V = TypeVar("V")


@dataclass(frozen=True)
class Wording:
    """Marks a field whose allowed values are better told in words than by its type."""

    allowed: str


@dataclass(frozen=True)
class Quantity:
    """Marks a number that the file gives with a unit; the model holds it in the base unit.

    Attributes
    ----------
    dimension
        Key of `accsim.units.DIMENSIONS`.
    most
        Largest value, in the base unit.
    positive
        True if 0 is refused.
    """

    dimension: str
    most: float
    positive: bool = True

    @property
    def allowed(self) -> str:
        """What a user may write, for messages."""
        bound = f"{'above 0' if self.positive else 'from 0'} to {format_quantity(self.most, self.dimension)}"
        return f"{DIMENSIONS[self.dimension].allowed}, {bound}"

    def parse(self, value: object) -> float:
        """Value in the base unit; raises `UnitError` on a wrong unit or a value out of range."""
        number = parse_quantity(value, self.dimension)
        if number > self.most or (self.positive and number == 0):
            raise UnitError(f"read '{value}', allowed is {self.allowed}")
        return number

    def __get_pydantic_core_schema__(
        self, source: Any, handler: pydantic.GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self.parse, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: pydantic.GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return self.json_schema()

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema of such a text."""
        dimension = DIMENSIONS[self.dimension]
        units = "|".join(re.escape(unit) for unit in dimension.units)
        pattern = rf"^\s*\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*({units})\s*$"
        return {"type": "string", "pattern": pattern, "examples": [dimension.example], "x-dimension": dimension.name}


Frequency = Annotated[float, Quantity("frequency", 1e12)]
Capacity = Annotated[int, Quantity("bytes", 2**62)]
Bandwidth = Annotated[float, Quantity("bandwidth", 1e18)]
Latency = Annotated[float, Quantity("time", 1.0, positive=False)]
OverheadTime = Annotated[float, Quantity("time", 1e3, positive=False)]
Power = Annotated[float, Quantity("power", 1e6, positive=False)]
Area = Annotated[float, Quantity("area", 1e6)]
Count = Annotated[int, Field(ge=1, le=65536)]
EnergyPj = Annotated[float, Quantity("energy_pj", 1e9, positive=False)]

Name = Annotated[
    str,
    Field(pattern=r"^[A-Za-z][A-Za-z0-9_.\-]{0,63}$"),
    Wording("a name of at most 64 letters, digits and '_', '-', '.', with a letter first"),
]
Identifier = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9_]{0,31}$"),
    Wording("a name of at most 32 small letters, digits and '_', with a letter first"),
]
Text = Annotated[str, Field(min_length=1, max_length=2000)]
DtypeName = Annotated[str, Field(json_schema_extra={"examples": list(DTYPES)})]


def canonical_keys(value: Any) -> Any:
    """A mapping with the canonical names of the data types that are its keys."""
    if not isinstance(value, Mapping):
        return value
    wrong: list[Wrong] = []
    first: dict[str, str] = {}
    for spelled in value:
        try:
            name = canonical_dtype(spelled)
        except UnitError as error:
            wrong.append(Wrong((spelled,), error.message, error.suggestion, key=True))
            continue
        if name in first:
            wrong.append(Wrong((spelled,), f"'{spelled}' is the data type {name}, as is '{first[name]}'", key=True))
        first.setdefault(name, spelled)
    if wrong:
        raise PlacedError(wrong)
    return {name: value[spelled] for name, spelled in first.items()}


def _not_empty(value: Mapping[str, V]) -> Mapping[str, V]:
    if not value:
        raise ValueError("read an empty mapping, allowed is at least one entry")
    return value


freeze: Callable[[Any], Any] = FrozenDict
"""Turns a validated mapping into a read-only one."""

ByDtype = Annotated[
    Mapping[DtypeName, V], AfterValidator(freeze), AfterValidator(_not_empty), BeforeValidator(canonical_keys)
]
"""Mapping whose keys are data types in any spelling; the model holds canonical names."""

Notes = Annotated[Mapping[str, Text], AfterValidator(freeze)]
"""Mapping from a dotted path of the same file to a remark."""


def content_hash(model: pydantic.BaseModel) -> str:
    """First 12 hex digits of the sha256 of a model's content, independent of the order of keys and of spelling."""
    content = json.dumps(model.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()[:12]

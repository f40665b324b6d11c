"""JSON Schemas of the input files that this layer reads, for editors."""

from __future__ import annotations

from typing import Any

from accsim.config.area import AreaTable
from accsim.config.dram import DramStandard
from accsim.config.energy import EnergyTable
from accsim.config.machine import Accelerator, Memory
from accsim.config.reader import FileModel

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def machine_schema() -> dict[str, Any]:
    """JSON Schema of a machine file; quantities are texts with a pattern of the allowed units."""
    schema = _schema(Accelerator, "accsim machine")
    memory = schema["$defs"][Memory.__name__]
    for hidden in Memory.not_in_file:
        del memory["properties"][hidden]
        memory["required"].remove(hidden)
    memory["properties"]["standard"] = {
        "type": "string",
        "description": memory["properties"]["standard"]["description"],
    }
    described = schema["properties"]["memories"]["description"]
    schema["properties"]["memories"] = {
        "type": "object",
        "description": described,
        "minProperties": 2,
        "additionalProperties": {"$ref": f"#/$defs/{Memory.__name__}"},
    }
    for table in ("energy", "area_table"):
        schema["properties"][table] = {"type": "string", "description": schema["properties"][table]["description"]}
    return _without_unused(schema)


def energy_schema() -> dict[str, Any]:
    """JSON Schema of an energy table."""
    return _schema(EnergyTable, "accsim energy table")


def area_schema() -> dict[str, Any]:
    """JSON Schema of an area table."""
    return _schema(AreaTable, "accsim area table")


def dram_schema() -> dict[str, Any]:
    """JSON Schema of a DRAM standard."""
    return _schema(DramStandard, "accsim DRAM standard")


def _schema(model: type[FileModel], title: str) -> dict[str, Any]:
    return {"$schema": DIALECT, **model.model_json_schema(), "title": title}


def _without_unused(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without definitions that nothing refers to."""
    while True:
        text = str({**schema, "$defs": ""}) + str(schema["$defs"])
        kept = {name: body for name, body in schema["$defs"].items() if f"'#/$defs/{name}'" in text}
        if len(kept) == len(schema["$defs"]):
            return schema
        schema = {**schema, "$defs": kept}

"""The JSON Schemas fit the shipped files."""

from __future__ import annotations

import json
import re
import warnings
from typing import Any

import pytest

from accsim.config.catalogue import data_folder, list_accelerators, shipped_names
from accsim.config.schema import area_schema, energy_schema, machine_schema
from accsim.config.yaml_marks import read_yaml

KINDS: dict[str, Any] = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
KINDS["number"] = (int, float)


def breaches(schema: dict[str, Any], value: Any, definitions: dict[str, Any]) -> list[str]:
    """A small JSON Schema checker: references, objects, arrays, patterns, bounds, enumerations and unions."""
    if "$ref" in schema:
        return breaches(definitions[schema["$ref"].rsplit("/", 1)[1]], value, definitions)
    for choices in (schema.get("anyOf"), schema.get("oneOf")):
        if choices is not None:
            fits = any(not breaches(choice, value, definitions) for choice in choices)
            return [] if fits else [f"{value} fits no branch"]
    kind = schema.get("type")
    if kind == "null":
        return [] if value is None else ["not null"]
    if kind is not None and not isinstance(value, KINDS[kind]):
        return [f"{value!r} is no {kind}"]
    found = [f"{value!r} is not allowed"] if value not in schema.get("enum", [schema.get("const", value)]) else []
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        found.append(f"{value!r} does not fit {schema['pattern']}")
    if isinstance(value, list):
        found += [b for item in value for b in breaches(schema["items"], item, definitions)]
    if isinstance(value, dict):
        known, other = schema.get("properties", {}), schema.get("additionalProperties", True)
        found += [f"{key} is missing" for key in schema.get("required", []) if key not in value]
        found += [f"{key} is unknown" for key in value if key not in known and other is False]
        parts = [(known.get(key, other), item) for key, item in value.items()]
        found += [b for part, item in parts if isinstance(part, dict) for b in breaches(part, item, definitions)]
    return found


@pytest.mark.parametrize("name", list_accelerators())
def test_machines_fit(name: str) -> None:
    schema, data = machine_schema(), read_yaml(data_folder("hw_configs") / f"{name}.yaml").data
    assert breaches(schema, data, schema["$defs"]) == []
    damages: list[dict[str, Any]] = [
        {"clock": "940"},
        {"clock": 940},
        {"cores": "1"},
        {"x": 1},
        {"memories": {"a": {}}},
    ]
    for damage in damages:
        assert breaches(schema, {**data, **damage}, schema["$defs"]) != []


def test_clocks_are_a_list_or_a_range() -> None:
    schema, data = machine_schema(), read_yaml(data_folder("hw_configs") / "a100_sxm.yaml").data
    span = {"from": "1 GHz", "to": "2 GHz", "step": "100 MHz"}
    for clocks, fits in ((["1 GHz"], True), (span, True), ([1], False), (span | {"by": "1 Hz"}, False), ({}, False)):
        changed = {**data, "power": {"idle": "1 W", "clocks": clocks}}
        assert (breaches(schema, changed, schema["$defs"]) == []) == fits


TABLES = [(kind, name) for kind in ("energy", "area") for name in shipped_names(f"hw_configs/{kind}")]


@pytest.mark.parametrize(("kind", "name"), TABLES)
def test_tables_fit(kind: str, name: str) -> None:
    schema = {"energy": energy_schema, "area": area_schema}[kind]()
    data = read_yaml(data_folder(f"hw_configs/{kind}") / f"{name}.yaml").data
    assert breaches(schema, data, schema["$defs"]) == []
    assert breaches(schema, {**data, "node_nm": "7"}, schema["$defs"]) != []


def test_schemas_are_json_with_descriptions_and_the_keys_of_the_file() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schemas = [machine_schema(), energy_schema(), area_schema()]
    for schema in schemas:
        assert json.loads(json.dumps(schema)) == schema
        assert all(part.get("description") or part.get("$ref") for part in schema["properties"].values())
    memory = schemas[0]["$defs"]["Memory"]["properties"]
    assert {"capacity", "read_bandwidth", "latency"} <= set(memory)
    assert "name" not in memory
    assert memory["capacity"]["x-dimension"] == "bytes"
    assert memory["layout"]["enum"] == ["skewed", "linear"]
    assert [part.get("x-dimension") for part in memory["bank_width"]["anyOf"]] == ["bytes", None]
    assert schemas[0]["properties"]["energy"]["type"] == "string"

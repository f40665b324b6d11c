"""Fields of a machine by the dotted path that its file gives them, as numbers in base units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic

from accsim.config.machine import Accelerator
from accsim.sweep.axes import Scalar

SIZES = ("cores", "matrix_unit", "vector_unit", "memories")
"""Fields on which the area of a chip depends."""


def machine_field(acc: Accelerator, path: str) -> Scalar | None:
    """The number or text of a field, ``"memories.sg.capacity"``; None where there is none.

    Examples
    --------
    >>> from accsim.config.catalogue import load_accelerator
    >>> machine_field(load_accelerator("flat_edge"), "memories.sg.capacity")
    524288
    """
    found: Any = acc
    for step in path.split("."):
        found = _below(found, step)
    return found if isinstance(found, str | int | float | bool) else None


def _below(value: Any, step: str) -> Any:
    if isinstance(value, pydantic.BaseModel):
        names = {field.alias or name: name for name, field in type(value).model_fields.items()}
        return getattr(value, names[step]) if step in names else None
    if isinstance(value, Mapping):
        return value.get(step)
    if isinstance(value, tuple):
        return next((item for item in value if getattr(item, "name", None) == step), None)
    return None

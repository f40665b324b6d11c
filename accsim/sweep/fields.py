"""Fields of a machine by the dotted path that its file gives them, as numbers in base units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pydantic

from accsim.config.catalogue import SIZED, shipped_names
from accsim.config.machine import Accelerator
from accsim.sweep.axes import Scalar


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


def why_no_area(acc: Accelerator, changed: Iterable[str]) -> str | None:
    """Why the area of a machine with some fields changed is not known, and what makes it so; None where it is.

    Examples
    --------
    >>> from accsim.config.catalogue import load_accelerator
    >>> print(why_no_area(load_accelerator("flat_edge"), ()))
    None
    """
    if acc.area_mm2 is not None:
        return None
    size = next((key for key in changed if key.split(".")[0] in SIZED), None)
    where = "" if size is None else f" where '{size}' changes (an 'area' in its file is that of the sizes there)"
    tables = ", ".join(shipped_names("hw_configs/area"))
    remedy = f"add the axis area_table with one of {tables} or a path, or give 'area' as an axis or linked field"
    return f"the area of {acc.name} is not known{where}: {remedy}"


def _below(value: Any, step: str) -> Any:
    if isinstance(value, pydantic.BaseModel):
        names = {field.alias or name: name for name, field in type(value).model_fields.items()}
        return getattr(value, names[step]) if step in names else None
    if isinstance(value, Mapping):
        return value.get(step)
    if isinstance(value, tuple):
        return next((item for item in value if getattr(item, "name", None) == step), None)
    return None

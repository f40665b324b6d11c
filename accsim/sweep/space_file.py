"""The keys of a space file, as ``accsim schema sweep`` describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from accsim.config.fields import Name, Text, Wording, freeze
from accsim.config.frozen import FrozenDict
from accsim.config.reader import FileModel, PlacedError, Wrong
from accsim.mapping.goal import EFFORTS, OBJECTIVES
from accsim.sweep.axes import Axis, read_axis
from accsim.sweep.expressions import Expression, ExpressionError
from accsim.sweep.sampling import GRID, SampleField

_SCALAR = {"type": ["string", "number", "boolean"]}
_AXIS_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "array", "items": _SCALAR, "minItems": 1},
        *(
            {
                "type": "object",
                "properties": {kind: {"type": "array", "items": _SCALAR, "minItems": size, "maxItems": size}},
                "required": [kind],
                "additionalProperties": False,
            }
            for kind, size in (("range", 3), ("linspace", 3), ("logspace", 3), ("uniform", 2), ("loguniform", 2))
        ),
    ]
}


class Weighted(FileModel):
    """A workload and how much it counts."""

    workload: Text
    """A shipped name with parameters (``bert_base?seq=4096``), an op (``gemm?m=512&n=512&k=512``), or a path."""
    weight: Annotated[float, Field(gt=0, strict=False)] = 1.0
    """How much it counts in a sum over workloads."""


def _named_weighted(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [{"workload": item} if isinstance(item, str) else item for item in value]


def _read_axes(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    found: dict[str, Axis] = {}
    wrong: list[Wrong] = []
    for key, form in value.items():
        try:
            found[key] = read_axis(key, form)
        except PlacedError as error:
            wrong += [
                Wrong((key, *f.path), f.message, f.suggestion, f.key) for f in error.findings if isinstance(f, Wrong)
            ]
    if wrong:
        raise PlacedError(wrong)
    return found


def _expression(value: Any) -> Any:
    if isinstance(value, Expression):
        return value
    if not isinstance(value, str):
        raise ValueError("allowed is a text with an expression, such as 'area_mm2 <= 10'")
    try:
        return Expression.parse(value)
    except ExpressionError as error:
        raise ValueError(str(error)) from error


ExpressionField = Annotated[
    Expression,
    BeforeValidator(_expression),
    WithJsonSchema({"type": "string", "examples": ["area_mm2 <= 10", "memories.sg.capacity <= 32 MiB"]}),
    Wording("an expression, such as 'area_mm2 <= 10'"),
]


class SpaceFile(FileModel):
    """A space of designs, and how each of its points is simulated."""

    model_config = FileModel.model_config | {"arbitrary_types_allowed": True}

    name: Name | None = None
    """Name in reports; the file's own without one."""
    machines: Annotated[tuple[Text, ...], Field(min_length=1, strict=False)]
    """Machines that ship, paths, or slices (``tpu_v4:4x4x8``); each with every workload and combination of the axes."""
    workloads: Annotated[tuple[Weighted, ...], Field(min_length=1, strict=False), BeforeValidator(_named_weighted)]
    """Workloads, with a weight each where there are several."""
    axes: Annotated[
        Mapping[str, Annotated[Axis, WithJsonSchema(_AXIS_SCHEMA)]], BeforeValidator(_read_axes), AfterValidator(freeze)
    ] = Field(default_factory=FrozenDict)
    """Field to its values: a field of the machine's file, ``workload.PARAMETER``, ``mapping.dataflow``,
    ``mapping.FIELD`` of the dataflows named there, ``slice.shape``, or ``step.CHOICE`` of a training step."""
    linked: Annotated[Mapping[str, ExpressionField], AfterValidator(freeze)] = Field(default_factory=FrozenDict)
    """Field to an expression over axes that gives its value: ``{matrix_unit.cols: matrix_unit.rows}``."""
    constraints: Annotated[tuple[ExpressionField, ...], Field(strict=False)] = ()
    """What a point must keep, as expressions over axes, fields of the machine, and columns of the result."""
    sample: SampleField = GRID
    """Which combinations of the axes are taken."""
    fidelity: Literal["tile", "analytic"] = "tile"
    """tile runs the engine; analytic gives its closed-form lower bound."""
    objective: Literal[OBJECTIVES] = "latency"  # type: ignore[valid-type]
    """What is minimized where a mapping is searched."""
    effort: Literal[EFFORTS] = "standard"  # type: ignore[valid-type]
    """How fine the search of a mapping is."""

"""What the fields of a model mean: the texts below them in its source, read only when somebody asks."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise

import pydantic


@lru_cache(maxsize=256)
def field_docs(model: type[pydantic.BaseModel]) -> Mapping[str, str]:
    """Text of each field that has one, those of its bases included.

    pydantic would read all of them as it makes the classes, which takes longer than a simulation.
    """
    docs: dict[str, str] = {}
    for base in reversed(model.__mro__):
        own = {name for name in getattr(base, "__annotations__", ()) if name in model.model_fields}
        if issubclass(base, pydantic.BaseModel) and own:
            docs = {name: text for name, text in docs.items() if name not in own} | _own_docs(base)
    return {name: text for name, text in docs.items() if name in model.model_fields}


def _own_docs(model: type[pydantic.BaseModel]) -> dict[str, str]:
    (found,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(found, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for field, below in pairwise(found.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }

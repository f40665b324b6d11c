"""What all ops have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, ClassVar, TypeVar, cast

from accsim.config.checks import ArgumentChecks
from accsim.sparsity.base import Pattern
from accsim.units import tensor_bits

FROM_OTHERS = cast(int, None)
"""Default of a number that a constructor fills in from other fields; once constructed it is always an int."""

T = TypeVar("T", bound="Counted")


def tensor_bytes(elements: int, dtype: str) -> int:
    """Bytes of a densely packed tensor with the scales of its blocks, rounded up to a whole byte.

    Examples
    --------
    >>> tensor_bytes(3, "bf16"), tensor_bytes(3, "int4"), tensor_bytes(64, "mxfp8")
    (6, 2, 66)
    """
    return -(-tensor_bits(elements, dtype) // 8)


def check_own_dtypes(op: Counted, check: ArgumentChecks, *fields: str) -> None:
    """Data types that an op has beside `dtype`, None where they are that."""
    for field in fields:
        if getattr(op, field) is None:
            continue
        check.dtype(field)
        if getattr(op, field) == op.dtype:
            object.__setattr__(op, field, None)


class Counted:
    """What all ops have in common; an op without matrix work or weights overrides nothing here."""

    __slots__ = ()
    kind: ClassVar[str]
    dtype: str

    @property
    def macs(self) -> int:
        """Multiply-accumulates, exactly."""
        return 0

    @property
    def macs_effectual(self) -> int:
        """Multiply-accumulates by values that a pattern keeps; all of them without one."""
        return self.macs

    @property
    def flop(self) -> int:
        """Floating-point operations of the matrix work, 2 a MAC; vector operations are not among them."""
        return 2 * self.macs

    @property
    def weight_bytes(self) -> int:
        """Bytes of parameters."""
        return 0

    @property
    def vector_ops(self) -> Mapping[str, int]:
        """Number of operations of the vector unit by name, a subset of `VECTOR_OPERATIONS`."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Kind and fields as plain data; a pattern as its text, lengths as a list."""
        given = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]
        return {"kind": self.kind} | given

    @property
    def key(self: T) -> T:
        """The op without its name: equal keys need equal work, and take equal time."""
        return replace(self, name=self.kind)  # type: ignore[type-var]


class Product:
    """What ops that are a product C[m,n] = A[m,k] B[k,n] have in common; they have these fields."""

    __slots__ = ()
    dtype: str
    weight_dtype: str | None
    out_dtype: str | None

    @property
    def operand_dtypes(self) -> tuple[str, str, str]:
        """Data types of A, B and C."""
        return self.dtype, self.weight_dtype or self.dtype, self.out_dtype or self.dtype


def _plain(value: object) -> object:
    if isinstance(value, Pattern):
        return str(value)
    return list(value) if isinstance(value, tuple) else value

"""Mappings of an op as several ops, one after the other, each with a mapping of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from accsim.config.machine import Accelerator
from accsim.mapping.base import Dataflow, Step
from accsim.workload.ops import Op


@dataclass(frozen=True)
class Part:
    """An op within an op.

    Attributes
    ----------
    options : the dataflows that it may be mapped with; the one given, where there is one.
    useful : share of its multiply-accumulates that no mask hides.
    """

    op: Op
    options: tuple[Dataflow, ...]
    useful: float = 1.0


class Composed(Dataflow):
    """A frozen dataclass whose fields are the mappings of its parts; one that is None is searched."""

    @abstractmethod
    def parts(self, op: Op, acc: Accelerator) -> Mapping[str, Part]:
        """Name (of its field, or one that ``with_mappings`` knows) -> the part, in the order in which they run."""

    def with_mappings(self, mappings: Mapping[str, Dataflow]) -> Self:
        """The same with a mapping for each part."""
        return replace(self, **mappings)  # type: ignore[type-var]

    def steps(self, op: Op, acc: Accelerator) -> tuple[Step, ...]:
        """The programs of the parts; what is left open is the first of its space."""
        return tuple(
            replace(step, useful=step.useful * part.useful)
            for part in self.parts(op, acc).values()
            for step in part.options[0].steps(part.op, acc)
        )

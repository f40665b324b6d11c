"""The interface of a dataflow, the registry of their names, and what a mapping lowers to.

A dataflow is a frozen dataclass. Its fields are a mapping's choices; ``None`` means *searched*. A new one subclasses
:class:`Dataflow`, says which ops it serves, and writes tile programs; :func:`register_dataflow` gives it a name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import ClassVar

from accsim.config.machine import Accelerator
from accsim.engine.program import Program
from accsim.errors import InputError, Problem, nearest
from accsim.workload.ops import Op


@dataclass(frozen=True)
class Step:
    """One program of a mapped op, run by identical copies (cores) of which it stands for one.

    Attributes
    ----------
    program : the tile program of one copy; shared resources serve it at its share of their rate.
    copies : active copies, fractional where the last ones have less work: actions count this often.
    useful : share of its multiply-accumulates that no mask hides.
    early : names of the stages whose data is known before the op, such as weights: their first firing may be done
        while the op before runs.
    """

    program: Program
    copies: float = 1.0
    useful: float = 1.0
    early: tuple[str, ...] = ()


class Dataflow(ABC):
    """A rule that writes the tile programs of an op on a machine."""

    kinds: ClassVar[tuple[str, ...]]
    """Kinds of ops served, e.g. ``("gemm",)``."""
    mixes_lengths: ClassVar[bool] = False
    """Whether one program takes sequences of different lengths; else each length of a batch is mapped on its own."""

    @abstractmethod
    def steps(self, op: Op, acc: Accelerator) -> tuple[Step, ...]:
        """The programs of this mapping, one after the other.

        Raises
        ------
        MappingError
            When it does not fit the machine.
        """

    def candidates(self, op: Op, acc: Accelerator, objective: str) -> Sequence[Dataflow]:
        """The complete mappings this one stands for; itself when nothing is left open."""
        return (self,)


def check_choices(
    mapping: object, *, positive: Sequence[str], among: Mapping[str, Sequence[str | bool]], natural: Sequence[str] = ()
) -> None:
    """Check the fields of a mapping that are not None: whole numbers from 1 or (natural) from 0, choices from a list.

    Raises
    ------
    InputError
        With every problem.
    """
    problems = []
    for name in (*positive, *natural):
        value = getattr(mapping, name)
        least = 0 if name in natural else 1
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            what = "a whole number from 0 on" if name in natural else "a positive whole number"
            problems.append(Problem("", name, f"read {value!r}, allowed is {what}", None))
    for name, allowed in among.items():
        value = getattr(mapping, name)
        if value is not None and value not in allowed:
            names = [str(item) for item in allowed]
            problems.append(
                Problem("", name, f"read {value!r}, allowed are {', '.join(names)}", nearest(str(value), names))
            )
    if problems:
        raise InputError(problems)


Factory = Callable[[], Dataflow]
_REGISTRY: dict[str, Factory] = {}
ENTRY_POINTS = "accsim.dataflows"


def register_dataflow(name: str, factory: Factory) -> None:
    """Give a dataflow a name, usable wherever a name is (``--dataflow``, ``simulate(dataflow=...)``).

    Parameters
    ----------
    factory : called without arguments; returns the dataflow with everything open searched.

    Raises
    ------
    InputError
        When the name is taken or not a plain name.
    """
    if not name.replace("_", "").isalnum():
        raise InputError(f"a dataflow's name has letters, digits and _, read '{name}'")
    if name in _REGISTRY and _REGISTRY[name] is not factory:
        raise InputError(f"the dataflow '{name}' is already registered")
    _REGISTRY[name] = factory


def list_dataflows() -> tuple[str, ...]:
    """Names of all dataflows, those of installed plug-ins included."""
    return tuple(sorted({*_REGISTRY, *(point.name for point in entry_points(group=ENTRY_POINTS))}))


def find_dataflow(name: str) -> Dataflow:
    """The dataflow of a name.

    Raises
    ------
    InputError
        When there is none.
    """
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    if plain in _REGISTRY:
        return _REGISTRY[plain]()
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == plain:
            factory: Factory = point.load()
            return factory()
    names = list_dataflows()
    raise InputError(
        Problem("", "dataflow", f"unknown dataflow '{name}', allowed are {', '.join(names)}", nearest(name, names))
    )

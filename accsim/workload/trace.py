"""A workload: ops in order, how often each is done, and what each waits for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import NamedTuple, cast, get_args

from accsim.config.checks import ArgumentChecks, shown
from accsim.config.frozen import FrozenDict
from accsim.errors import nearest
from accsim.workload.embeddings import EmbeddingSet
from accsim.workload.ops import OPS, Embedding, EmbeddingBag, Op

_OP_TYPES = get_args(Op)
_OP_NAME = cast(str, None)
_ALL_REPEATS = cast(int, None)
_MAX_SUGGESTIONS = 20
"""Most unknown names that get a suggestion; each is compared with every name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One op of a workload.

    Parameters
    ----------
    op
        What is done.
    repeat
        How often, one after the other; the layers of a model are repeats.
    name
        Name within the workload. Default: the op's.
    after
        Names of earlier entries whose results it needs. Empty: it needs the entry before it.
    weight_sets
        How many of the repeats have parameters of their own: 1 for the steps of a recurrent layer. Default: all.

    Raises
    ------
    InputError
        With every field that is out of range.
    """

    op: Op
    repeat: int = 1
    name: str = _OP_NAME
    after: tuple[str, ...] = ()
    weight_sets: int = _ALL_REPEATS

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        if not isinstance(self.op, _OP_TYPES):
            check.fail("op", f"read {shown(self.op)}, allowed is an op: {', '.join(OPS)}")
        check.fill("name", getattr(self.op, "name", "op"))
        whole = check.count("repeat")
        check.name()
        check.sequence("after", str, "names of earlier entries")
        given = whole and not check.fill("weight_sets", self.repeat)
        if given and check.count("weight_sets") and self.weight_sets > self.repeat:
            check.fail("weight_sets", f"read {self.weight_sets}, allowed are at most the {self.repeat} repeats")
        check.finish()


@dataclass(frozen=True, slots=True)
class Workload:
    """Ops in the order in which they are issued.

    Iterating gives (op, count) for each entry.

    Parameters
    ----------
    name
        Name in reports.
    entries
        At least one, with names that differ; `Entry.after` names only earlier ones, so there is no cycle.
    parameters
        What it was expanded for: batch, lengths, dtype, ...
    source
        Where it comes from.
    architecture, hyperparameters
        Of a model: its key in `accsim.workload.models.ARCHITECTURES` and its shape. Empty for a trace.
    embeddings
        Of a recommendation model: its embedding tables and the features that read them.

    Raises
    ------
    InputError
        With every name given twice, unknown, or of a later entry.

    Examples
    --------
    >>> from accsim.workload.ops import Gemm, Softmax
    >>> work = Workload("two", (Entry(Gemm(4, 4, 8), repeat=3), Entry(Softmax(4, 4))))
    >>> work.macs, work.op_count, [(op.kind, count) for op, count in work]
    (384, 4, [('gemm', 3), ('softmax', 1)])
    """

    name: str
    entries: tuple[Entry, ...]
    parameters: Mapping[str, int | str] = field(default_factory=FrozenDict)
    source: str = ""
    architecture: str = ""
    hyperparameters: Mapping[str, int | str | bool] = field(default_factory=FrozenDict)
    embeddings: EmbeddingSet | None = None

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.name()
        if check.sequence("entries", Entry, "entries"):
            for wrong in order_problems([(entry.name, entry.after) for entry in self.entries]):
                where = "name" if wrong.after is None else f"after[{wrong.after}]"
                check.fail(f"entries[{wrong.entry}].{where}", wrong.message, wrong.suggestion)
            if not self.entries:
                check.fail("entries", "read no entry, allowed is at least one")
        for name in ("parameters", "hyperparameters"):
            check.mapping(name)
        if self.embeddings is not None:
            check.instance("embeddings", EmbeddingSet)
        check.finish()

    def __iter__(self) -> Iterator[tuple[Op, int]]:
        return ((entry.op, entry.repeat) for entry in self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all ops."""
        return sum(op.macs * count for op, count in self)

    @property
    def macs_effectual(self) -> int:
        """Multiply-accumulates of all ops by values that are not pruned."""
        return sum(op.macs_effectual * count for op, count in self)

    @property
    def flop(self) -> int:
        """Floating-point operations of the matrix work, 2 a MAC."""
        return 2 * self.macs

    @property
    def weight_bytes(self) -> int:
        """Bytes of parameters that the ops read: of each entry, its op's times its weight sets.

        An embedding table is not among them: a lookup reads rows of it, which are input bytes.
        """
        return sum(entry.op.weight_bytes * entry.weight_sets for entry in self.entries)

    @property
    def table_bytes(self) -> int:
        """Bytes of embedding tables that are no product's weights.

        Each lookup has a table of its own, but for a recommendation model's features, which may share them.
        """
        found = [
            op.table_bytes * entry.weight_sets
            for entry in self.entries
            if isinstance(op := entry.op, Embedding | EmbeddingBag)
            if not (isinstance(op, Embedding) and op.tied)
        ]
        return self.embeddings.weight_bytes if found and self.embeddings is not None else sum(found)

    @property
    def op_count(self) -> int:
        """Number of ops done, repeats counted."""
        return sum(entry.repeat for entry in self.entries)

    def distinct_ops(self) -> tuple[tuple[Op, int], ...]:
        """Ops that differ in more than their name, in order of appearance, each with how often it is done.

        Each is an op's `key`, that is without a name of its own.
        """
        counts: dict[Op, int] = {}
        for op, count in self:
            counts[op.key] = counts.get(op.key, 0) + count
        return tuple(counts.items())

    def successions(self) -> tuple[tuple[Op | None, Op, int], ...]:
        """(op before, op, how often) of every pair of keys in the order in which ops run; None before the first.

        Neighbouring entries with the same repeat are done in rounds, as the layers of a model are: the first of a round
        comes after the last of the round before. An entry that repeats alone comes after itself.

        Examples
        --------
        >>> from accsim.workload.ops import Gemm, Softmax
        >>> work = Workload("two layers", (Entry(Gemm(4, 4, 8), repeat=2), Entry(Softmax(4, 4), repeat=2)))
        >>> [(before and before.kind, op.kind, times) for before, op, times in work.successions()]
        [(None, 'gemm', 1), ('softmax', 'gemm', 1), ('gemm', 'softmax', 2)]
        """
        counts: dict[tuple[Op | None, Op], int] = {}
        before: Op | None = None
        for repeat, entries in groupby(self.entries, key=lambda entry: entry.repeat):
            ops = [entry.op.key for entry in entries]
            again = [(ops[-1], ops[0], repeat - 1)] if repeat > 1 else []
            inside = [(one, other, repeat) for one, other in pairwise(ops)]
            for one, other, times in [(before, ops[0], 1), *again, *inside]:
                counts[one, other] = counts.get((one, other), 0) + times
            before = ops[-1]
        return tuple((one, other, times) for (one, other), times in counts.items())


class OrderProblem(NamedTuple):
    """A name that is given twice, or waited for in vain."""

    entry: int
    """Index of the entry at fault."""
    after: int | None
    """Index into what it waits for; None if its own name is at fault."""
    message: str
    suggestion: str | None = None
    first: int | None = None
    """Index of the entry that had the name first."""


def order_problems(entries: Sequence[tuple[str, Sequence[str]]]) -> Iterator[OrderProblem]:
    """What is wrong with the names of entries and the names they wait for, given as (name, after)."""
    first: dict[str, int] = {}
    for at, (name, _) in enumerate(entries):
        if first.setdefault(name, at) < at:
            yield OrderProblem(at, None, f"the name '{name}' is given twice", first=first[name])
    unknown = 0
    for at, (name, after) in enumerate(entries):
        seen: set[str] = set()
        for i, needed in enumerate(after):
            if needed == name:
                yield OrderProblem(at, i, f"'{name}' cannot wait for itself")
            elif needed in seen:
                yield OrderProblem(at, i, f"'{needed}' stands here twice")
            elif needed not in first:
                unknown += 1
                near = nearest(needed, first) if unknown <= _MAX_SUGGESTIONS else None
                yield OrderProblem(at, i, f"read {shown(needed)}, allowed are names of earlier entries", near)
            elif first[needed] > at:
                yield OrderProblem(at, i, f"'{needed}' comes later, allowed are names of earlier entries")
            seen.add(needed)

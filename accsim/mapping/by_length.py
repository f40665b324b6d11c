"""Sequences of different lengths for dataflows whose programs have equal ones: groups of similar lengths in turn.

The sequences of a group are padded to the longest of them, as in a batch of a framework without ragged tensors.
``docs/attention.md`` has what this costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from accsim.config.machine import Accelerator
from accsim.errors import MappingError
from accsim.mapping.base import Dataflow
from accsim.mapping.composed import Composed, Part
from accsim.workload.ops import Attention, Op

MOST_GROUPS = 16
"""Programs at most; the time to search them bounds it."""
FEWER = 4
"""Groups are tried that are so many times fewer than the ones before, down to a single one."""


@dataclass(frozen=True)
class ByLength(Composed):
    """A mapping for each group of sequences, which have all cores; what these leave open is searched.

    Parameters
    ----------
    mappings : one for each group, those with the longest keys first.
    lengths : how many of the pairs of lengths, in the order of ``Attention.runs``, each group has.
    """

    kinds: ClassVar[tuple[str, ...]] = ("attention",)
    mixes_lengths: ClassVar[bool] = True

    mappings: tuple[Dataflow, ...]
    lengths: tuple[int, ...]

    def parts(self, op: Op, acc: Accelerator) -> dict[str, Part]:
        assert isinstance(op, Attention)
        if len(self.mappings) != len(self.lengths) or sum(self.lengths) != len(op.runs):
            raise MappingError(
                f"'{op.name}' has {len(op.runs)} pairs of lengths: there are {len(self.mappings)} mappings for "
                f"{', '.join(map(str, self.lengths))} of them"
            )
        found, first = {}, 0
        for i, (mapping, count) in enumerate(zip(self.mappings, self.lengths, strict=True)):
            group = op.runs[first : first + count]
            whole = padded(group, f"{op.name}, group {i + 1}")
            found[str(i)] = Part(whole, (mapping,), sum(run.scores for run in group) / whole.scores)
            first += count
        return found

    def with_mappings(self, mappings: Mapping[str, Dataflow]) -> Self:
        return replace(self, mappings=tuple(mappings.values()))


def padded(runs: Sequence[Attention], name: str) -> Attention:
    """Some runs of equal lengths as one, with the most queries and keys of them."""
    most = {size: max(getattr(run, size) for run in runs) for size in ("q_len", "kv_len")}
    return replace(runs[0], batch=sum(run.batch for run in runs), name=name, **most)


def by_length(dataflow: Dataflow, op: Op) -> tuple[Dataflow, ...]:
    """The dataflow; where it does not mix lengths and the op has several, its groupings of them to choose from."""
    if not isinstance(op, Attention) or len(op.runs) == 1 or dataflow.mixes_lengths:
        return (dataflow,)
    found = []
    groups = min(len(op.runs), MOST_GROUPS)
    while groups:
        each, more = divmod(len(op.runs), groups)
        lengths = (each + 1,) * more + (each,) * (groups - more)
        found.append(ByLength((dataflow,) * groups, lengths))
        groups = 0 if groups == 1 else -(-groups // FEWER)
    return tuple(found)

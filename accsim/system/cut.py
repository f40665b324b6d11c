"""A step's embeddings cut into stacks that go through lookups and links one behind the other."""

from __future__ import annotations

from dataclasses import fields, replace

from accsim.embedding.imbalance import Imbalance
from accsim.embedding.work import StackWork, StepWork


def cut(work: StepWork, stacks: int) -> StepWork:
    """The same work in so many stacks, at least those that tables make and at most as many as features.

    The features of a stack are dealt evenly over the pieces that it is cut into, each with its part of all counts, and
    as uneven over tiles and chips as the whole. A stack whose pieces have most to carry is cut next.
    """
    whole = work.stacks
    pieces = [1] * len(whole)
    for _ in range(min(stacks, sum(stack.features for stack in whole)) - len(whole)):
        largest = max(
            (i for i, stack in enumerate(whole) if pieces[i] < stack.features),
            key=lambda i: whole[i].features * whole[i].width / pieces[i],
        )
        pieces[largest] += 1
    parts = (part for stack, count in zip(whole, pieces, strict=True) for part in _parts(stack, count))
    return replace(work, stacks=tuple(parts))


def _parts(stack: StackWork, count: int) -> list[StackWork]:
    """Pieces of a stack, of a feature more or less."""
    if count == 1:
        return [stack]
    each, more = divmod(stack.features, count)
    return [_part(stack, each + 1)] * more + [_part(stack, each)] * (count - more)


def _part(stack: StackWork, features: int) -> StackWork:
    share = features / stack.features
    counts: dict[str, float | Imbalance] = {}
    for field in fields(stack):
        count = getattr(stack, field.name)
        if isinstance(count, float):
            counts[field.name] = share * count
        elif isinstance(count, Imbalance):
            counts[field.name] = Imbalance(share * count.mean, share * count.largest)
    return replace(stack, features=features, **counts)  # type: ignore[arg-type]

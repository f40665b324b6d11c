"""Kinds of work that a sweep runs, each with what it takes."""

from __future__ import annotations

from accsim.sweep.kinds.base import Block, Kind, Ready, Work
from accsim.sweep.kinds.chip_work import ChipWork
from accsim.sweep.kinds.collectives import Collectives
from accsim.sweep.kinds.steps import Steps

__all__ = ["KINDS", "Block", "Kind", "Ready", "Work", "kind_of"]

KINDS: tuple[Kind, ...] = (Collectives(), Steps(), ChipWork())
"""Of those that serve a workload on a machine, the first is taken."""


def kind_of(work: Work) -> Kind:
    """The kind that a workload on a machine is of.

    Examples
    --------
    >>> on_chip, on_slice = Work("tpu_v4", "all_reduce", ".", ()), Work("tpu_v4:4x4x4", "dlrm_v1", ".", ())
    >>> kind_of(on_chip).what, kind_of(on_slice).what
    ('a collective', 'a training step on a slice')
    """
    return next(kind for kind in KINDS if kind.serves(work))

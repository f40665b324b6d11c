"""``flat-frame``: the roofline of FRAME, with which FLAT's authors drew their sparse-attention figure.

A model of that program (github.com/maestro-project/frame, commit 952f46e), not of a machine: no tiles, no capacity, no
softmax, no search. FLAT is one switch: the scores are taken to be on the chip. ``docs/flat_published.md`` has what it
reproduces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, prod


@dataclass(frozen=True)
class FrameSystem:
    """A machine as FRAME describes it."""

    peak_flop_per_s: float
    off_chip_bytes_per_s: float
    on_chip_bytes_per_s: float | None
    """None: transfers on the chip take no time."""
    array: tuple[int, int, int]
    """Arrays, and the rows and columns of each."""
    word_bytes: int = 2


TPU_V3 = FrameSystem(123.2e12, 900 * 2**30, 9000 * 2**30, (4, 128, 128))
"""FRAME's default system: 4 x 128 x 128 MACs at 940 MHz. Source: FRAME, where bandwidths are of 2^30 bytes."""

SPARSE_FIGURE = replace(TPU_V3, on_chip_bytes_per_s=None)
"""The system of FLAT's sparse-attention figure, whose printed ratios leave out the time on the chip."""


@dataclass(frozen=True)
class Operator:
    """``outer`` products of (left x contract) and (contract x upper), and which of its tensors are on the chip.

    ``shared`` says that all products have the second operand in common, as a layer's weights.
    """

    outer: int
    left: int
    upper: int
    contract: int
    on_chip: frozenset[str] = frozenset()
    shared: bool = False

    @property
    def macs(self) -> int:
        """Multiplications with an addition."""
        return self.outer * self.left * self.upper * self.contract

    @property
    def elements(self) -> dict[str, int]:
        """Elements of ``input``, ``other`` (the second operand) and ``output``."""
        return {
            "input": self.outer * self.left * self.contract,
            "other": (1 if self.shared else self.outer) * self.upper * self.contract,
            "output": self.outer * self.left * self.upper,
        }

    def compute_s(self, system: FrameSystem) -> float:
        """Time of the arrays.

        Notes
        -----
        MACs / (peak x efficiency); the efficiency is what whole passes use of the arrays, where the products are dealt
        to the arrays and the two longest of the three extents to the rows and columns. Source: FRAME.
        """
        longest = sorted((self.left, self.upper, self.contract), reverse=True)[:2]
        arrays, *sides = system.array
        sizes, places = (self.outer, *longest), (arrays, *sorted(sides, reverse=True))
        passes = prod(ceil(size / place) for size, place in zip(sizes, places, strict=True))
        efficiency = prod(sizes) / (passes * prod(places))
        return 2 * self.macs / system.peak_flop_per_s / efficiency

    def memory_s(self, system: FrameSystem) -> float:
        """Time of all transfers, one after the other.

        Notes
        -----
        Sum over the tensors of bytes / bandwidth of the place where the tensor is. Source: FRAME.
        """
        on_chip = system.on_chip_bytes_per_s
        each = {
            name: count * system.word_bytes / (on_chip or float("inf"))
            if name in self.on_chip
            else count * system.word_bytes / system.off_chip_bytes_per_s
            for name, count in self.elements.items()
        }
        return sum(each.values())

    def latency_s(self, system: FrameSystem) -> float:
        """The longer of the arrays' and the transfers' time. Source: FRAME."""
        return max(self.compute_s(system), self.memory_s(system))


def attention(batch: int, heads: int, seq_len: int, head_dim: int, *, flat: bool) -> tuple[Operator, Operator]:
    """Logit and Attend; with ``flat`` the scores between them are on the chip. Source: FRAME."""
    logit = Operator(batch * heads, seq_len, seq_len, head_dim, frozenset({"output"} if flat else ()))
    attend = Operator(batch * heads, seq_len, head_dim, seq_len, frozenset({"input"} if flat else ()))
    return logit, attend


def layer_products(batch: int, seq_len: int, d_model: int, d_ff: int) -> tuple[Operator, ...]:
    """The products of a layer that have weights: Q, K, V, O and the two of the feed-forward part. Source: FRAME."""
    sizes = [(d_model, d_model)] * 4 + [(d_model, d_ff), (d_ff, d_model)]
    return tuple(Operator(1, batch * seq_len, outputs, inputs, shared=True) for inputs, outputs in sizes)


def compute_to_memory_ratio(operators: tuple[Operator, ...], system: FrameSystem) -> float:
    """Time of the arrays over time of the transfers, of all operators: the number printed in FLAT's sparse figure."""
    return sum(op.compute_s(system) for op in operators) / sum(op.memory_s(system) for op in operators)


def attention_share_of_macs(seq_len: int, d_model: int, d_ff: int) -> float:
    """Share of Logit and Attend in the multiplications of a layer, as FLAT's slide 7 shows it of the run time.

    Notes
    -----
    N / (6 d_model + N) for d_ff = 4 d_model. Batch and heads cancel.
    """
    scores = sum(op.macs for op in attention(1, 1, seq_len, d_model, flat=False))
    return scores / (scores + sum(op.macs for op in layer_products(1, seq_len, d_model, d_ff)))

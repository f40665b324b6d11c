"""Patterns of the scores of attention, queries by keys; `Block` is one of them too."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np

from accsim.config.checks import ArgumentChecks
from accsim.sparsity.base import SCORE_AXES, Axes, Bools, Pattern, Shape, kept_of, sides, smallest


@dataclass(frozen=True, slots=True)
class Window(Pattern):
    """Sliding window: a query sees keys fewer than `width` places away; the last query stands at the last key.

    Parameters
    ----------
    width
        A query sees its own key and width − 1 before it.
    causal
        False: and width − 1 after it.

    Examples
    --------
    >>> Window(2).kept((4, 4)), Window(2, causal=False).kept((4, 4))
    (7, 10)
    """

    kind: ClassVar[str] = "window"
    width: int
    causal: bool = True

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.count("width")
        check.flag("causal")
        check.finish()

    def kept(self, shape: Shape, axes: Axes = SCORE_AXES) -> int:
        queries, keys = sides(self.kind, shape)
        at = np.arange(queries) + keys - queries
        last = np.minimum(at + (0 if self.causal else self.width - 1), keys - 1)
        return int(np.maximum(last - np.maximum(at - self.width + 1, 0) + 1, 0).sum())

    def draw(self, shape: Shape, axes: Axes, rng: np.random.Generator) -> Bools:
        return self._seen(shape)

    def allows(self, mask: Bools, axes: Axes) -> bool:
        return not bool((mask & ~self._seen(mask.shape)).any())

    def _seen(self, shape: Shape) -> Bools:
        queries, keys = sides(self.kind, shape)
        away = np.arange(queries)[:, None] + keys - queries - np.arange(keys)
        ahead = 0 if self.causal else self.width - 1
        return (-ahead <= away) & (away < self.width)


@dataclass(frozen=True, slots=True)
class TopKeys(Pattern):
    """Each query keeps the same number of keys, which ones depends on the data.

    ELSA (ISCA 2021) and Sanger (MICRO 2021) predict which scores are small and skip them; the density is theirs to
    report. A mask is drawn uniformly.

    Parameters
    ----------
    density
        Share of the keys that a query keeps.
    """

    kind: ClassVar[str] = "top_keys"
    density: Fraction

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.share("density")
        check.finish()

    def kept(self, shape: Shape, axes: Axes = SCORE_AXES) -> int:
        queries, keys = sides(self.kind, shape)
        return queries * kept_of(keys, self.density)

    def draw(self, shape: Shape, axes: Axes, rng: np.random.Generator) -> Bools:
        return smallest(rng.random(sides(self.kind, shape)), kept_of(shape[1], self.density))

    def allows(self, mask: Bools, axes: Axes) -> bool:
        sides(self.kind, mask.shape)
        return bool((mask.sum(axis=1) <= kept_of(mask.shape[1], self.density)).all())

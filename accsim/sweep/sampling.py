"""Which points of a space are taken: all of its grid, or a number of them drawn at random or evenly spread."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, Field

from accsim.config.fields import Wording
from accsim.config.reader import FileModel

BLOCK = 4096
"""Draws that are made at once, so that any stretch of a sample is had without those before it."""
MOST_LATIN = 10_000_000


class Sample(FileModel):
    """How points are drawn: each machine and workload gets the same."""

    method: Literal["grid", "random", "latin", "sobol"]
    """grid: every combination; random: independent draws; latin: a Latin hypercube; sobol: a scrambled sequence."""
    count: Annotated[int, Field(ge=1, le=MOST_LATIN)] = 1
    """How many combinations of the axes are drawn."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """The same seed draws the same points."""

    def unit(self, axes: int, start: int, stop: int) -> npt.NDArray[np.float64]:
        """Draws ``start`` to ``stop`` as places in the unit cube, float64[n, axes].

        A Latin hypercube is drawn whole, 8 bytes a draw and axis; the others take memory of one block.
        """
        if self.method == "latin":
            return _latin(axes, self.count, self.seed)[start:stop]
        draw = _random if self.method == "random" else _sobol
        blocks = range(start // BLOCK, -(-stop // BLOCK))
        drawn = np.concatenate([draw(axes, self.seed, block) for block in blocks])
        return np.asarray(drawn[start - blocks.start * BLOCK : stop - blocks.start * BLOCK])


def _method_alone(value: Any) -> Any:
    return {"method": value} if value == "grid" else value


GRID = Sample(method="grid")

SampleField = Annotated[
    Sample,
    BeforeValidator(_method_alone),
    Wording("'grid', or {method: random, latin or sobol, count: N, seed: N}"),
]


def _random(axes: int, seed: int, block: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng([seed, block]).random((BLOCK, axes))


def _sobol(axes: int, seed: int, block: int) -> npt.NDArray[np.float64]:
    """Source: Joe and Kuo's direction numbers with Owen's scrambling, as in ``scipy.stats.qmc.Sobol``."""
    from scipy.stats import qmc

    engine = qmc.Sobol(axes, scramble=True, rng=np.random.default_rng(seed))
    if block:
        engine.fast_forward(block * BLOCK)
    return np.asarray(engine.random(BLOCK))


@lru_cache(maxsize=4)
def _latin(axes: int, count: int, seed: int) -> npt.NDArray[np.float64]:
    from scipy.stats import qmc

    return np.asarray(qmc.LatinHypercube(axes, rng=np.random.default_rng(seed)).random(count))

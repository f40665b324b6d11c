"""Steps of recommendation models on slices of TPU v3 and v4 that have as many chips: what several figures run."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from accsim.figures.tpuv4.bisection import SLICES
from accsim.system import StepReport, read_slice, train_step

V3, V4 = "tpu_v3", "tpu_v4"
SAMPLES: Final = 8192
"""Of a chip: 2048 for each of the four embedding units of TPU v4, the smaller end of what section 7.9 says of internal
models; as many on TPU v3, so that batches of as many chips are equal."""

DEDUP: Final = {"tensor_core": "owner"}
"""Where duplicates are dropped; of places not here, at the chip that asks. Each is the fastest of three."""


def slice_name(machine: str, chips: int, *, twisted: bool = True) -> str:
    """The slice of a machine with so many chips, as square or cubic as they get; twisted where it can be."""
    flat, solid = SLICES[chips]
    if machine == V3:
        return f"{V3}:{flat[0]}x{flat[1]}"
    twist = "twisted:" if twisted and max(solid) == 2 * min(solid) else ""
    return f"{V4}:{twist}{'x'.join(map(str, solid))}"


@lru_cache(maxsize=256)
def step(
    model: str,
    machine: str,
    chips: int,
    *,
    twisted: bool = True,
    samples: int = SAMPLES,
    where: str = "sparse_core",
    changes: tuple[tuple[str, object], ...] = (),
) -> StepReport:
    """A step of so many samples a chip, embeddings beside the dense half of the step before.

    Parameters
    ----------
    changes
        Settings of the machine.
    """
    on = read_slice(slice_name(machine, chips, twisted=twisted), set=dict(changes))
    return train_step(
        f"{model}?batch={samples * chips}", on, where=where, dedup=DEDUP.get(where, "source"), schedule="pipelined"
    )

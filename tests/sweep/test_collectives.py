"""Collectives on slices: times of rows against those of the network itself and against a ring's closed form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import accsim
from accsim.errors import InputError
from accsim.sweep.space import read_space

WriteSpace = Callable[..., Path]
SLICES = """
machines: [tpu_v4]
workloads: ["all_reduce?bytes=64 MiB", "all_to_all?bytes=1 MiB"]
axes:
  network.topology: ["torus:4x4x4", "torus:4x4x8", "twisted:4x4x8"]
  network.link_bytes_per_s: [50 GB/s, 100 GB/s]
"""


def test_rows_are_what_the_network_says(write_space: WriteSpace) -> None:
    frame = accsim.sweep(write_space(SLICES))
    assert frame["feasible"].all()
    for row in frame.to_dict("records"):
        kind, size = row["workload"].split("?bytes=")
        spec = f"{row['network.topology']}?link_bytes_per_s={row['network.link_bytes_per_s'] / 1e9:g} GB/s"
        found = accsim.read_topology(spec).collective(kind, {"64 MiB": 2**26, "1 MiB": 2**20}[size])
        assert (row["latency_s"], row["bound_by"], row["mapping"]) == (found.time_s, found.bound_by, found.algorithm)


def test_a_large_all_reduce_moves_two_buffers_over_six_links(write_space: WriteSpace) -> None:
    """2 (n - 1) / n of the buffer over the six links of a chip: Thakur et al., 2005."""
    text = (
        SLICES.replace("64 MiB", "4 GiB").replace(', "all_to_all?bytes=1 MiB"', "").replace("all_reduce", "all-reduce")
    )
    frame = accsim.sweep(write_space(text))
    cubes = frame[frame["network.topology"] == "torus:4x4x4"]
    wanted = 2 * 63 / 64 * 2**32 / (6 * cubes["network.link_bytes_per_s"])
    np.testing.assert_array_less(wanted * 0.999, cubes["latency_s"])
    np.testing.assert_allclose(cubes["latency_s"], wanted, rtol=0.05)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("torus:4x4x4", "tors:4x4x4"), "torus"),
        (("64 MiB", "64"), "without a unit"),
        (("bytes=1 MiB", "size=1 MiB"), "allowed is bytes"),
        (
            ("all_to_all?bytes=1 MiB", "gemm?m=8&n=8&k=8"),
            "is work on a chip with 'tpu_v4', and 'network.topology' is for a collective",
        ),
        (("network.topology:", "network.hop_latency_s:"), "network.topology"),
    ],
)
def test_what_is_refused(write_space: WriteSpace, change: tuple[str, str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_space(write_space(SLICES.replace(*change)))

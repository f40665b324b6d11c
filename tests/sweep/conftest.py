"""Small spaces: two machines and a few dozen points that are simulated in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

SMALL = """
machines: [flat_edge, flat_cloud]
workloads: ["gemm?m=96&n=64&k=128", {workload: "gemm?m=33&n=40&k=64", weight: 2}]
axes:
  vector_unit.lanes: [16, 32]
  memories.sg.capacity: [4 KiB, 128 KiB, 2 MiB]
  mapping.dataflow: [output_stationary, weight_stationary]
"""


@pytest.fixture
def write_space(tmp_path: Path) -> Callable[..., Path]:
    """Writes the text of a space file, and says where."""

    def write(text: str = SMALL) -> Path:
        path = tmp_path / "space.yaml"
        path.write_text(text)
        return path

    return write

"""Slices by name, and the tori they are."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import accsim
from accsim.config.data_files import data_folder
from accsim.errors import InputError
from accsim.network.torus import Torus
from accsim.system import StepReport, read_slice


def test_a_slice_of_whole_cubes_is_a_torus_of_the_published_links() -> None:
    found = read_slice("tpu_v4:4x4x8")
    assert found.chip.name == "tpu_v4"
    assert found.network == Torus((4, 4, 8), link_efficiency=0.9)  # Torus has TPU v4's links by default


@pytest.mark.parametrize(
    ("spec", "wrap"),
    [
        ("tpu_v4:2x2x4", (False, False, False)),  # below a cube: no wrap
        ("tpu_v4:4x4", (False, False)),
        ("tpu_v5e:16x16", (True, True)),
        ("tpu_v5e:8x16", (False, True)),
        ("tpu_v3:8x32", (False, True)),
    ],
)
def test_axes_close_as_published(spec: str, wrap: tuple[bool, ...]) -> None:
    network = read_slice(spec).network
    assert isinstance(network, Torus)
    assert network.wrap == wrap


def test_a_twisted_slice() -> None:
    network = read_slice("tpu_v4:twisted:4x4x8").network
    assert isinstance(network, Torus)
    assert network.twisted


def test_chips_of_a_node_share_its_switch() -> None:
    found = read_slice("h100_sxm:8")
    assert found.chips == 8
    # Source: NVIDIA H100 data sheet, 900 GB/s in both directions together.
    assert found.network.link_bytes_per_s == 450e9


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tpu_v4:4x4x4x4", "read 4 axes, allowed are at most 3"),
        ("tpu_v4:16x16x17", "read 4,352 chips, allowed are 1 to 4,096"),
        ("tpu_v4:0x4x4", "read 0 chips, allowed are 1 to 4,096"),
        ("tpu_v4:4by4", "read '4by4', allowed are chips along each axis with 'x' in between"),
        ("tpu_v4:", "read ''"),
        ("tpu_v4:twisted:4x4x6", "4x4x6: read the twisted shape 4x4x6, allowed are axes of k and 2k chips"),
        ("tpu_v4:twisted:4x4x4", "4x4x4: read the twisted shape 4x4x4, allowed are axes of k and 2k chips"),
        ("tpu_v4:twistd:4x4x8", "Did you mean 'tpu_v4:twisted:4x4x8'?"),
        ("tpu_v4:round:4x4x8", "read 'round:4x4x8', allowed are chips along each axis"),
        ("flat_cloud:2x2", "flat_cloud has neither an interconnect nor links to other chips, allowed is 'flat_cloud'"),
        ("h100_sxm:9", "allowed are 2 to 8 chips of a node"),
        ("tpu_v44:4x4x4", "tpu_v4"),
    ],
)
def test_a_wrong_slice_says_what_is_allowed(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        read_slice(spec)


@pytest.mark.parametrize("folder", ["", "./", "my machines/"])
def test_a_machine_file_makes_slices_too(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my machines").mkdir()
    name = f"{folder}mytpu.yaml"
    Path(name).write_text((data_folder("hw_configs") / "tpu_v4.yaml").read_text().replace("jouppi_7nm", _energy()))
    found = read_slice(f"{name}:twisted:4x4x8")
    assert (found.chips, found.chip.name) == (128, "tpu_v4")
    step = accsim.simulate("dlrm_v1?batch=4096", f"{name}:4x4x4", dedup="owner", placement="rows")
    assert isinstance(step, StepReport)
    with pytest.raises(InputError, match="a slice of several chips, where one chip is asked for"):
        accsim.load_accelerator(f"{name}:4x4x4")
    with pytest.raises(InputError, match=r"none\.yaml"):
        read_slice(f"{folder}none.yaml:4x4x4")


def _energy() -> str:
    return os.fspath(data_folder("hw_configs/energy") / "jouppi_7nm.yaml")

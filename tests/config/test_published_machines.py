"""Every shipped chip against what its maker prints: peak rates, main memory, on-chip memory, power."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from accsim.config.catalogue import list_accelerators, load_accelerator

TOLERANCE = 5e-3
TERA, GIGA, GIB, MIB, KIB = 1e12, 1e9, 2**30, 2**20, 2**10


class Printed(NamedTuple):
    """Figures as printed: dense FLOP/s (or OP/s) by data type, bytes, bytes/s, watts (None: not printed)."""

    source: str
    peaks: dict[str, float]
    main_bytes: float
    main_bytes_per_s: float
    on_chip_bytes: dict[str, float]
    idle_w: float | None = None
    cap_w: float | None = None


MICRO = "Jouppi et al., IEEE Micro 2026 (arXiv 2606.15870), Table 1"
GCP = "Google Cloud TPU documentation, TPU7x page, table of generations; v6e and v5e pages"
GCP_JAX = f"{GCP}; int4: jax-ml/jax, jax/_src/pallas/mosaic/tpu_info.py"
PRINTED = {
    "tpu_v2": Printed(MICRO, {"bf16": 46 * TERA}, 16 * GIB, 700 * GIGA, {"vmem": 32 * MIB}),
    "tpu_v3": Printed(
        "Jouppi et al., ISCA 2023, Table 4", {"bf16": 123 * TERA}, 32 * GIB, 900 * GIGA, {"vmem": 32 * MIB}, 123
    ),
    "tpu_v4i": Printed(
        MICRO, {"bf16": 138 * TERA, "int8": 138 * TERA}, 8 * GIB, 614 * GIGA, {"vmem": 16 * MIB, "cmem": 128 * MIB}
    ),
    "tpu_v4": Printed(
        "Jouppi et al., ISCA 2023, Table 4",
        {"bf16": 275 * TERA, "int8": 275 * TERA},
        32 * GIB,
        1200 * GIGA,
        {"vmem": 32 * MIB, "cmem": 128 * MIB},
        90,
    ),
    "tpu_v5e": Printed(
        GCP_JAX,
        {"bf16": 197 * TERA, "int8": 394 * TERA, "int4": 788 * TERA},
        16 * GIB,
        819 * GIGA,
        {"vmem": 128 * MIB},
    ),
    "tpu_v5p": Printed(
        GCP_JAX,
        {"bf16": 459 * TERA, "fp8": 459 * TERA, "int8": 918 * TERA, "int4": 1840 * TERA},
        95 * GIB,
        2765 * GIGA,
        {"vmem": 128 * MIB},
    ),
    "tpu_v6e": Printed(
        GCP_JAX,
        {"bf16": 918 * TERA, "fp8": 918 * TERA, "int8": 1836 * TERA, "int4": 3680 * TERA},
        32 * GIB,
        1638 * GIGA,
        {"vmem": 128 * MIB},
    ),
    "tpu7x": Printed(GCP, {"bf16": 2307 * TERA, "fp8": 4614 * TERA}, 192 * GIB, 7380 * GIGA, {"vmem": 128 * MIB}),
    # Four chips: 1.394 PFLOP/s fp16, 0.349 fp32, 261 TB/s; main memory is the SRAM, whose exchange rate is not printed.
    "ipu_bow": Printed(
        "Graphcore, Bow-2000 data sheet and IPU Programmer's Guide",
        {"fp16": 1394 / 4 * TERA, "fp32": 349 / 4 * TERA},
        1472 * 624 * KIB,
        4 * 1472 * 1.85 * GIGA,
        {},
        None,
        300,
    ),
    "a100_sxm": Printed(
        "NVIDIA A100 data sheet, 2021; int4: Ampere architecture white paper",
        {"bf16": 312 * TERA, "fp16": 312 * TERA, "tf32": 156 * TERA, "int8": 624 * TERA, "int4": 1248 * TERA},
        80 * GIGA,
        2039 * GIGA,
        {"l2": 40e6, "smem": 108 * 164 * KIB},
        None,
        400,
    ),
    "a100_pcie": Printed(
        "NVIDIA A100 data sheet, 2021; int4: Ampere architecture white paper",
        {"bf16": 312 * TERA, "fp16": 312 * TERA, "tf32": 156 * TERA, "int8": 624 * TERA, "int4": 1248 * TERA},
        80 * GIGA,
        1935 * GIGA,
        {"l2": 40e6, "smem": 108 * 164 * KIB},
        None,
        300,
    ),
    "h100_sxm": Printed(
        "NVIDIA H100 data sheet (figures with sparsity, halved)",
        {"bf16": 989.5 * TERA, "fp16": 989.5 * TERA, "tf32": 494.5 * TERA, "fp8": 1979 * TERA, "int8": 1979 * TERA},
        80 * GIGA,
        3.35 * TERA,
        {"l2": 50e6, "smem": 132 * 228 * KIB},
        None,
        700,
    ),
    "h100_pcie": Printed(
        "NVIDIA H100 data sheet (figures with sparsity, halved)",
        {"bf16": 756.5 * TERA, "fp16": 756.5 * TERA, "tf32": 378 * TERA, "fp8": 1513 * TERA, "int8": 1513 * TERA},
        80 * GIGA,
        2 * TERA,
        {"l2": 50e6, "smem": 114 * 228 * KIB},
        None,
        350,
    ),
    "h200_sxm": Printed(
        "NVIDIA H200 data sheet (figures with sparsity, halved)",
        {"bf16": 989.5 * TERA, "fp16": 989.5 * TERA, "tf32": 494.5 * TERA, "fp8": 1979 * TERA, "int8": 1979 * TERA},
        141 * GIGA,
        4.8 * TERA,
        {"l2": 50e6, "smem": 132 * 228 * KIB},
        None,
        700,
    ),
    "b200_sxm": Printed(
        "NVIDIA DGX B200 data sheet, an eighth (figures with sparsity, halved); block formats as its fp8, fp6 and fp4",
        {"bf16": 2250 * TERA, "fp16": 2250 * TERA, "tf32": 1125 * TERA, "fp8": 4500 * TERA, "int8": 4500 * TERA}
        | {"mxfp8": 4500 * TERA, "mxfp6": 4500 * TERA, "mxfp4": 9000 * TERA, "nvfp4": 9000 * TERA},
        180 * GIGA,
        8 * TERA,
        {"l2": 126e6},
        None,
        1000,
    ),
    "l40s": Printed(
        "NVIDIA L40S data sheet (dense figures)",
        {"bf16": 362.05 * TERA, "fp16": 362.05 * TERA, "tf32": 183 * TERA, "fp8": 733 * TERA, "int8": 733 * TERA},
        48 * GIGA,
        864 * GIGA,
        {"l2": 96e6, "smem": 142 * 100 * KIB},
        None,
        350,
    ),
}
ABSTRACT = {"flat_edge", "flat_cloud", "systolic_128", "dstc_like", "s2ta_like", "stc_flexible", "vegeta_like"}
"""Machines of papers and tools, not chips; they have their own tests."""


def test_every_chip_is_checked() -> None:
    assert set(PRINTED) | ABSTRACT == set(list_accelerators())


@pytest.mark.parametrize("name", PRINTED)
def test_printed_figures(name: str) -> None:
    acc, printed = load_accelerator(name), PRINTED[name]
    for dtype, peak in printed.peaks.items():
        assert 2 * acc.peak_macs_per_s(dtype) == pytest.approx(peak, rel=TOLERANCE)
    assert acc.main_memory.capacity_bytes == pytest.approx(printed.main_bytes, rel=TOLERANCE)
    assert acc.main_memory.read_bytes_per_s == pytest.approx(printed.main_bytes_per_s, rel=TOLERANCE)
    for memory, size in printed.on_chip_bytes.items():
        level = acc.memory(memory)
        assert level.capacity_bytes * (acc.cores if level.scope == "core" else 1) == size
    if printed.idle_w is not None:
        assert acc.power.idle_w == printed.idle_w
    if printed.cap_w is not None:
        assert acc.power.cap_w == printed.cap_w


@pytest.mark.parametrize("name", PRINTED)
def test_what_is_not_printed_says_so(name: str) -> None:
    acc, printed = load_accelerator(name), PRINTED[name]
    if printed.idle_w is None:
        assert "power.idle" in acc.estimated
    unprinted = set(acc.matrix_unit.rates) - set(printed.peaks)
    assert unprinted == ({"bf16"} if name == "ipu_bow" else set())
    assert all(f"matrix_unit.rates.{dtype}" in acc.estimated for dtype in unprinted)
    for memory in acc.memories:
        assert f"memories.{memory.name}.latency" in acc.estimated
    if acc.power.clocks_hz:
        assert "power.clocks" in set(acc.sources) | set(acc.estimated)


def test_clocks_that_nobody_printed_are_told() -> None:
    """v6e and TPU7x: printed rates and arrays imply 3.50 and 4.40 GHz at one MAC a cycle and element."""
    for name, arrays, implied_hz in (("tpu_v6e", 2, 3.50e9), ("tpu7x", 4, 4.40e9)):
        acc = load_accelerator(name)
        peak = PRINTED[name].peaks["bf16"]
        assert peak / (arrays * 256 * 256 * 2) == pytest.approx(implied_hz, rel=2e-3)
        assert acc.clock_hz * acc.matrix_unit.rate("bf16") == pytest.approx(implied_hz, rel=2e-3)
        assert {"clock", "matrix_unit.rates"} <= set(acc.estimated)


def test_an_ipu_tile_reads_and_writes_24_bytes_a_cycle() -> None:
    tile = load_accelerator("ipu_bow").memory("tile")
    assert tile.shared_bandwidth
    assert 1472 * tile.read_bytes_per_s == pytest.approx(261e12 / 4, rel=TOLERANCE)
    assert tile.read_bytes_per_s == pytest.approx(24 * 1.85e9, rel=1e-9)


def test_clock_lists() -> None:
    a100 = load_accelerator("a100_sxm").power.clocks_hz
    assert (len(a100), a100[0], a100[1], a100[-1]) == (81, 210e6, 225e6, 1410e6)
    assert 1280e6 not in a100
    listed = load_accelerator("a100_sxm", set={"power.clocks": ["1 GHz", "1.41 GHz"]}).power.clocks_hz
    assert listed == (1e9, 1.41e9)
    assert load_accelerator("a100_sxm", set={"power.clocks.step": "75 MHz"}).power.clocks_hz == a100[::5]
    assert load_accelerator("tpu_v4").power.clocks_hz == ()

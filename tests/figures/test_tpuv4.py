"""The figures of TPU v4 against second sources: exact sums, closed forms, counts by hand, the paper's tables."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import comb

import pytest

from accsim.figures.tpuv4 import goodput
from tests.figures.conftest import Made, Maker

Figures = Callable[[str], Made]


@pytest.fixture
def tpuv4(made: Maker) -> Figures:
    """Makes a figure of TPU v4."""
    return lambda name: made(name, paper="tpuv4")


# Goodput

CELLS = {
    (0.990, 64): (0.8515, 0.797, 0.8515), (0.995, 256): (0.8997, 0.875, 0.7256), (0.999, 512): (0.9199, 0.875, 0.8798),
    (0.990, 1024): (0.7474, 0.750, 0.0763), (0.995, 2048): (0.5029, 0.500, 0.0768),
    (0.999, 2048): (0.6795, 0.500, 0.5991), (0.999, 3072): (0.7500, 0.750, 0.3478), (0.999, 4096): (0.3590, 0, 0.3590),
}  # fmt: skip
"""Mean and sure goodput with switches, and of aligned blocks, by an exact binomial with SciPy; four digits."""


@pytest.mark.parametrize(("host", "chips"), CELLS)
def test_goodput_is_that_of_the_exact_binomial(host: float, chips: int, tpuv4: Figures) -> None:
    here = tpuv4("goodput")
    modes = (goodput.MEAN, goodput.SURE, goodput.ALIGNED)
    found = [here.value(host=host, chips=chips, mode=mode) for mode in modes]
    assert found == pytest.approx(CELLS[host, chips], abs=0.0006)


def test_goodput_meets_the_published_values_and_switches_are_never_worse(tpuv4: Figures) -> None:
    here = tpuv4("goodput")
    known = here.rows.dropna(subset=["published"])
    assert len(known) == 6 * 2
    assert known["relative_error"].abs().max() < 0.012
    assert (known[known["mode"] == goodput.SURE]["relative_error"] == 0).all()
    by_mode = here.rows.pivot(index=["host", "chips"], columns="mode", values=["simulated", "standard_error"])
    mean, aligned, anywhere = (by_mode["simulated", m] for m in (goodput.MEAN, goodput.ALIGNED, goodput.ANYWHERE))
    slack = 4 * by_mode["standard_error", goodput.ANYWHERE] + 1e-12
    assert (aligned <= anywhere + slack).all()
    assert (anywhere <= mean + slack).all()


def test_one_cube_goes_anywhere_so_all_wirings_are_alike(tpuv4: Figures) -> None:
    for host in goodput.HOSTS:
        up = float(Fraction(str(host)) ** 16)
        found = tpuv4("goodput").select(host=host, chips=64).set_index("mode")
        assert found["simulated"][[goodput.MEAN, goodput.ALIGNED]].tolist() == pytest.approx([up] * 2)
        sampled = found.loc[goodput.ANYWHERE]
        assert abs(sampled["simulated"] - up) < 4 * sampled["standard_error"]
        sure = [n for n in range(65) if sum(comb(64, k) * up**k * (1 - up) ** (64 - k) for k in range(n, 65)) >= 0.9]
        assert found.loc[goodput.SURE, "simulated"] == max(sure) / 64


# Twisted tori

TORI = {
    "4x4x8": ((8, 6), (512, 440), (128, 73.333), 1.745), "4x8x8": ((10, 6), (1280, 1104), (256, 184), 1.391),
    "8x8x16": ((16, 12), (8192, 7136), (2048, 1189.333), 1.722),
    "8x16x16": ((20, 12), (20480, 17856), (4096, 2976), 1.376),
    "12x12x24": ((24, 18), (41472, 36216), (10368, 6036), 1.718),
}  # fmt: skip
"""Regular and twisted: diameters, sums of distances, largest loads; ideal gains. By a breadth-first search by hand."""


@pytest.mark.parametrize("slice_", TORI)
def test_tori_are_those_counted_by_hand(slice_: str, tpuv4: Figures) -> None:
    here = tpuv4("twist")
    *pairs, gain = TORI[slice_]
    for quantity, mode, pair in zip(
        ("diameter", "sum of distances", "largest link load"), ("shortest paths", "shortest paths", "minimal"), pairs,
        strict=True,
    ):  # fmt: skip
        found = [here.value(slice=slice_, quantity=quantity, mode=mode, twist=twist) for twist in ("none", "tpu_v4")]
        assert found == pytest.approx(pair, rel=1e-5)
    assert round(here.value(slice=slice_, quantity="all-to-all gain", mode="minimal", twist="tpu_v4"), 3) == gain


def test_every_routing_stands_beside_the_measured_gains(tpuv4: Figures) -> None:
    gains = tpuv4("twist").select(quantity="all-to-all gain", twist="tpu_v4").dropna(subset=["published"])
    assert gains.drop_duplicates("slice")["published"].tolist() == [1.63, 1.31]
    loads = {  # of a regular and of a twisted torus, for 4x4x8 and for 4x8x8; hand counts of section 2.8's lattices
        "minimal": ((128, 220 / 3), (256, 184)), "optimal": ((128, 220 / 3), (256, 184)),
        "dimension_order?ties=axis_split": ((128, 226 / 3), (256, 560 / 3)),
        "dimension_order?ties=shortest": ((160, 86), (320, 226)),
        "dimension_order?ties=lexicographic": ((160, 108), (320, 256)),
    }  # fmt: skip
    for mode, pairs in loads.items():
        found = gains[gains["mode"] == mode].set_index("slice")["simulated"][["4x4x8", "4x8x8"]]
        assert found.tolist() == pytest.approx([regular / twisted for regular, twisted in pairs])


def test_wrong_twists_gain_little_and_the_documentation_quotes_all_to_all(tpuv4: Figures) -> None:
    here = tpuv4("twist")
    found = {twist: round(here.value(twist=twist), 2) for twist in ("x to z", "x and y to z", "x to y")}
    assert found == {"x to z": 1.52, "x and y to z": 0.98, "x to y": 1.00}
    documented = here.select(quantity="documented gain")
    assert documented["published"].notna().all()
    assert documented["relative_error"].abs().max() < 0.03

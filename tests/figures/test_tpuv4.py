"""The figures of TPU v4 against second sources: exact sums, closed forms, counts by hand, the paper's tables."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import comb, prod

import numpy as np
import pytest

from accsim.figures.tpuv4 import goodput, heatmap, scaling, slices
from accsim.network.slice_mix import PUBLISHED_MIX
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


# Bisection

FCC, BCC, FCC_8 = 128 * 6 / 440, 256 * 6 / 1104, 2048 * 6 / 7136
"""What twisting gains in all-to-all on 4x4x8, 4x8x8 and 8x8x16."""


def test_bisection_of_every_pod_is_the_published_one(tpuv4: Figures) -> None:
    pods = tpuv4("bisection").select(mode="cut of the links", quantity="bisection")
    assert len(pods) == 7
    assert (pods["relative_error"] == 0).all()
    assert tpuv4("bisection").select(quantity="documented bisection")["relative_error"].item() == pytest.approx(
        16 / 15 - 1
    )


@pytest.mark.parametrize(
    ("choice", "ratios"),
    [
        ("v3 torus, v4 regular", (10 / 7, 10 / 7, 10 / 7, 20 / 7, 10 / 7)),
        ("v3 torus, v4 twisted", (10 / 7, FCC * 10 / 7, BCC * 10 / 7, 20 / 7, FCC_8 * 10 / 7)),
        ("v3 mesh, v4 regular", (20 / 7, 20 / 7, 20 / 7, 40 / 7, 10 / 7)),
        ("v3 mesh, v4 twisted", (20 / 7, FCC * 20 / 7, BCC * 20 / 7, 40 / 7, FCC_8 * 10 / 7)),
    ],
)
def test_ratios_of_slices_are_links_over_links(choice: str, ratios: tuple[float, ...], tpuv4: Figures) -> None:
    """Twice (open: once) the links across a slice's longest axis, times the rate, 50 over 70 GB/s."""
    here = tpuv4("bisection")
    found = here.select(mode=choice, quantity="bisection ratio v4/v3").sort_values("chips")["simulated"]
    assert found.tolist() == pytest.approx(ratios)
    for end, pick in (("least", min), ("most", max)):
        row = here.select(mode=choice, quantity=f"bisection ratio v4/v3, {end}").iloc[0]
        assert row["simulated"] == pick(found)
        assert row["published"] == {"least": 2, "most": 4}[end]


def test_all_to_all_gains_the_ratio_less_what_the_hops_take(tpuv4: Figures) -> None:
    """Bandwidth term N d m / 8b of a torus and N d m / 4b of a mesh; a hop is 1 us."""
    found = tpuv4("bisection").select(quantity="embedding speedup v4/v3", mode="v3 torus, v4 regular")
    for chips, old, new in ((64, (8, 8), (4, 4, 4)), (1024, (32, 32), (8, 8, 16))):
        size = 512 * 150 * 256 / chips
        times = [
            chips * max(shape) * size / 8 / rate + 1e-6 * sum(n // 2 for n in shape)
            for shape, rate in ((old, 70e9), (new, 50e9))
        ]
        assert found.set_index("chips")["simulated"][chips] == pytest.approx(times[0] / times[1])


# The mix of slices

LISTED = {
    "<64": "2.1 0.4 6.7 4.7 6.4 8.9", "64": "13.9", "128-192": "16.0 1.5 0.7", "256-384": "9.2 1.5 1.0 0.1",
    "512-768": "9.6 1.7 0.6 0.7", "1024-1536": "1.8 1.4 0.3 0.1 0.1 0.1 0.1 0.1", "2048-3072": "1.4 0.3 5.7 0.4",
}  # fmt: skip
"""Table 2, in percent."""


def test_groups_are_the_sums_of_the_listed_shares(tpuv4: Figures) -> None:
    here = tpuv4("slices")
    groups = {name: sum(Fraction(text) for text in listed.split()) for name, listed in LISTED.items()}
    whole = sum(groups.values())
    assert whole == Fraction("97.5")
    for name, share in groups.items():
        case = {"case": f"{name} chips", "quantity": "share of a group"}
        assert here.value(**case, mode="sum of the shares") == pytest.approx(float(share / 100))
        assert here.value(**case, mode="renormalised") == pytest.approx(float(share / whole))
    shares = here.select(quantity="share of slices")["simulated"]
    assert shares.sum() == pytest.approx(1)


def test_statements_of_the_text(tpuv4: Figures) -> None:
    """By hand: 68.3 of 97.5 are of 64 chips or more, 33.1 can be twisted, 28.4 are, 51.7 have sides of 4 and 8."""
    found = tpuv4("slices").select(quantity="statement").set_index("case")
    wanted = {
        "at least 64 chips": 68.3 / 97.5, "twistable": 33.1 / 97.5, "twistable, of at least 64 chips": 33.1 / 68.3,
        "twisted, of twistable": 28.4 / 33.1, "twisted": 28.4 / 97.5, "twisted, of at least 64 chips": 28.4 / 68.3,
        "all sides 4 or 8": 51.7 / 97.5,
    }  # fmt: skip
    assert found["simulated"].to_dict() == pytest.approx(wanted)
    assert found["relative_error"].abs().max() < 0.065


def test_goodput_of_the_mix(tpuv4: Figures) -> None:
    here = tpuv4("slices")
    table = here.select(quantity="goodput").pivot(index=["waiting", "host"], columns="mode", values="simulated")
    assert (table["switches"] > table["wires"]).all()
    for _, line in table.groupby("waiting"):
        assert (line.diff().dropna() > 0).all(axis=None), "more hosts that work, more goodput"
    for host in (0.98, 0.99):
        assert table["switches"][10, host] < host**16, "no more than the cubes that work"
    pencils = (0.6 + 0.1 + 0.1 + 0.1 + 0.1 + 0.4) / 97.5  # 4x4x32, 4x4x64, 4x8x32, 4x4x96, 8x8x24, 4x4x192
    assert here.value(quantity="slices lost") == pytest.approx(pencils)


def test_the_mix_that_is_replayed_is_the_table() -> None:
    found: dict[tuple[int, ...], float] = {}
    for one in slices.listed():
        found[one.shape] = found.get(one.shape, 0.0) + 100 * one.share
    assert found == pytest.approx(dict(PUBLISHED_MIX))


# Loads of links


def test_loads_add_up_to_traffic_times_distance(tpuv4: Figures) -> None:
    here = tpuv4("heatmap")
    for mode, case in heatmap.CASES.items():
        graph = case.torus.graph
        hops = np.array([graph.hops(chip) for chip in range(graph.chips)])
        found = here.select(mode=mode)["simulated"].sum()
        assert found == pytest.approx((hops * case.traffic).sum()), mode
        assert case.traffic.sum() == pytest.approx(128 * 127)


@pytest.mark.parametrize(
    ("mode", "least", "most"),
    [
        ("regular, minimal", {"x": 64, "y": 64, "z": 128}, {"x": 64, "y": 64, "z": 128}),
        ("twisted, minimal", dict.fromkeys("xyz", 440 / 6), dict.fromkeys("xyz", 440 / 6)),
        ("mesh, dimension order", {"x": 96, "y": 96, "z": 112}, {"x": 128, "y": 128, "z": 256}),
    ],
)
def test_loads_of_uniform_traffic(mode: str, least: dict[str, int], most: dict[str, int], tpuv4: Figures) -> None:
    """N d / 8 on a closed axis of d; on an open one N k (d - k) / d behind its k-th chip; S / 6 with the twist."""
    loads = tpuv4("heatmap").select(mode=mode).groupby("axis")["simulated"]
    assert loads.min().to_dict() == pytest.approx(least)
    assert loads.max().to_dict() == pytest.approx(most)


# Collectives


@pytest.mark.parametrize(("network", "shape"), [("4x4x4", (4, 4, 4)), ("16x16x16", (16, 16, 16))])
def test_all_reduce_on_cubes_is_the_closed_form(network: str, shape: tuple[int, ...], tpuv4: Figures) -> None:
    """Twice (N - 1) / N of the buffer over 3 axes of 2 links, and a hop for each step; the rings always fit."""
    times = tpuv4("collectives").select(network=network, kind="all_reduce", quantity="time")
    for row in times.itertuples():
        moved = 2 * (1 - 1 / prod(shape)) * row.size_bytes / (6 * 50e9)  # type: ignore[operator]
        assert row.simulated == pytest.approx((moved + 1e-6 * sum(n // 2 * 2 for n in shape)) * 1e6, rel=1e-6)
        assert row.algorithm == "torus_rings"


def test_all_to_all_is_bound_by_the_long_axis_or_the_twist(tpuv4: Figures) -> None:
    here = tpuv4("collectives").select(kind="all_to_all", quantity="time", size_bytes=2**31).set_index("network")
    for network, chips, load, hops in (
        ("4x4x4", 64, 32, 6),
        ("4x4x8 twisted", 128, 440 / 6, 6),
        ("16x16x16", 4096, 8192, 24),
    ):
        wanted = load * 2**31 / chips / 50e9 + hops * 1e-6
        assert here.loc[network, "simulated"] == pytest.approx(wanted * 1e6, rel=1e-6)


def test_all_reduce_of_pods_is_that_of_all_links(tpuv4: Figures) -> None:
    here = tpuv4("collectives").select(quantity="bandwidth of all chips")
    for network, links, mode, allowed in (
        ("TPU v4 pod", 4096 * 6 * 50e9, "links at 90 %", 0.01), ("TPU v5e pod", 256 * 4 * 50e9, "links at 100 %", 1e-3),
        ("TPU v6e pod", 256 * 4 * 100e9, "links at 100 %", 1e-3),
    ):  # fmt: skip
        row = here[(here["network"] == network) & (here["mode"] == mode)].iloc[0]
        assert abs(row["relative_error"]) < allowed
        assert row["simulated"] * 1e12 == pytest.approx(links * float(mode.split()[2]) / 100, rel=1e-3)


# Beyond 4096 chips


def test_all_to_all_on_large_tori_is_the_closed_form(tpuv4: Figures) -> None:
    """N d / 8 pairs on a link of the longest axis d; S / 6 twisted. 300 GB/s are shared by two links an axis."""
    rates = tpuv4("beyond").select(quantity="all-to-all bandwidth of a chip")
    assert set(rates["chips"]) == {4096 * 2**k for k in range(5)}
    for row in rates.itertuples():
        shape = [int(n) for n in str(row.shape).split("x")]
        link = 300e9 / (2 * len(shape))
        assert prod(shape) == row.chips
        load = prod(shape) * max(shape) / 8
        if row.torus == "3D twisted":
            k = min(shape)
            limit = {(k, k, 2 * k): 7 / 8, (k, 2 * k, 2 * k): 35 / 32}[k, shape[1], shape[2]]  # Camarero et al., 2015
            assert row.simulated * 1e9 == pytest.approx(link * 6 / (limit * k), rel=0.01)
        else:
            assert row.simulated * 1e9 == pytest.approx((prod(shape) - 1) * link / load)


def test_diameters_and_all_reduces_of_large_tori(tpuv4: Figures) -> None:
    here = tpuv4("beyond")
    for row in here.select(quantity="diameter").itertuples():
        shape = [int(n) for n in str(row.shape).split("x")]
        if row.torus != "3D twisted":
            assert row.simulated == sum(n // 2 for n in shape)
    both = here.select(quantity="all-reduce time").pivot(index="shape", columns="mode", values="simulated").dropna()
    assert {"16x16x16", "8x8x8x8", "4x4x4x4x4x4"} <= set(both.index)
    cubes = [shape for shape in both.index if len(set(shape.split("x"))) == 1]
    assert both.loc[cubes, "steps on links"].tolist() == pytest.approx(both.loc[cubes, "closed form"].tolist())
    assert (both["steps on links"] >= both["closed form"] * (1 - 1e-9)).all(), "the closed form is a bound"


def test_a_step_takes_as_long_as_its_longer_half_and_balance_is_where_they_cross(tpuv4: Figures) -> None:
    rows = tpuv4("balance").rows
    timed = rows[rows["quantity"].str.startswith("time of") & rows["case"].str.startswith("widths")]
    each = timed.pivot(index="x", columns="quantity", values="simulated")
    halves = each[["time of SparseCore and links", "time of TensorCore and all-reduce"]]
    assert (each["time of step"] >= halves.max(axis=1) * (1 - 1e-9)).all()
    assert (each["time of step"] <= halves.sum(axis=1)).all()
    assert halves.iloc[:, 1].is_monotonic_increasing
    ratio = rows[rows["quantity"] == "sparse over dense time"]
    assert ratio["published"].tolist() == [0.75]
    assert ratio["simulated"].item() == pytest.approx(halves.loc[1.0].iloc[0] / halves.loc[1.0].iloc[1])
    assert ratio["relative_error"].item() == pytest.approx(-0.2, abs=0.03)


def test_twice_the_links_gain_at_most_two_times_and_twice_the_units_little(tpuv4: Figures) -> None:
    rows = tpuv4("lookups").rows.set_index(["case", "x"])["simulated"]
    for valency in (1, 10, 100):
        gain = rows["links twice as fast", valency] / rows["as built", valency]
        assert 1.5 < gain <= 2.0
        # Links bind: an all-to-all of 128 chips at 45 GB/s takes longer than 64 tiles to fetch what it moves.
        assert rows["8 SparseCores", valency] == pytest.approx(rows["as built", valency], rel=0.01)


def test_distinct_rows_of_the_fitted_mixture_are_those_counted(tpuv4: Figures) -> None:
    rows = tpuv4("dedup").rows
    counted = rows[rows["published"].notna()]
    assert len(counted) == 1
    assert abs(counted["relative_error"].iloc[0]) < 0.1
    for _, line in rows[rows["quantity"] == "unique fraction"].groupby("case"):
        assert line.sort_values("x")["simulated"].is_monotonic_decreasing


@pytest.mark.slow
def test_published_samples_of_a_unit_and_scaling_of_capped_and_growing_batches(tpuv4: Figures) -> None:
    rows = tpuv4("scaling").rows
    samples = rows[rows["quantity"].str.startswith("samples")]
    assert samples["simulated"].tolist() == samples["published"].tolist() == [128]
    even = rows[rows["quantity"].str.startswith("throughput of a chip")]
    for case in ("MLPerf DLRM", "DLRM0"):
        assert even[even["case"] == case].sort_values("chips")["simulated"].is_monotonic_decreasing
    assert set(even["chips"]) == {16, 32, 64, 128, 256, 512, 1024}
    useful = rows[rows["quantity"] == "largest useful slice"].set_index("case")
    assert useful.loc["DLRM0", "simulated"] == useful.loc["DLRM0", "published"] == 1024
    shares = rows[rows["quantity"].str.startswith("share of the critical path")]
    assert shares.groupby(["case", "chips"])["simulated"].sum().tolist() == pytest.approx([1.0] * 18)


@pytest.mark.parametrize("case", [scaling.MLPERF, scaling.DCN])
def test_sums_over_chips_bind_more_on_twice_the_chips(case: str) -> None:
    half, whole = (scaling.bound(scaling.simulated(case, chips)) for chips in (512, 1024))
    assert sum(half.values()) == pytest.approx(1)
    assert whole["sums over chips"] > half["sums over chips"]
    assert whole["ids from the host"] == 0

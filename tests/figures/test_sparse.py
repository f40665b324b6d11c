"""The figures of sparse products against second sources: counts of drawn masks, samples, integrals, values by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import ml_dtypes
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import erf, erfinv

from accsim.figures.sparse import crossover, formats, imbalance, legality, storage
from accsim.sparsity.base import Bools
from accsim.sparsity.formats import BITMASK, COO
from accsim.sparsity.masks import draw_mask
from accsim.sparsity.nm import NM, VNM
from accsim.sparsity.patterns import Unstructured
from accsim.sparsity.sparse_unit import SparseUnit
from accsim.sparsity.storage import encode
from tests.figures.conftest import Made, Maker
from tests.reference.legality_by_hand import CONTRACTS, by_hand

Floats = NDArray[np.float64]


@pytest.fixture
def sparse(made: Maker) -> Callable[[str], Made]:
    """Makes a figure of sparse products."""
    return lambda name: made(name, paper="sparse")


# Storage


def test_formula_and_encoder_agree(sparse: Callable[[str], Made]) -> None:
    bits = sparse("storage").select(quantity="bits an element")
    keys = ["form", "case", "density", "value_bits"]
    wide = bits.pivot(index=keys, columns="mode", values=["simulated", "standard_error"]).reset_index("form")
    formula, encoded = wide["simulated", "formula"], wide["simulated", "encoded masks"]
    error = wide["standard_error", "encoded masks"]
    linear = wide["form"].isin(["bitmask", "CSR", "COO", "N:M index"])
    assert linear.sum() == 2 * (9 * 3 + 4 * 4)
    assert (encoded[linear] == formula[linear]).all()
    assert (error[linear] == 0).all()
    uneven = ~linear & formula.notna() & encoded.notna()
    assert uneven.sum() == 2 * 9 * 2
    entry = 8 / (storage.SIDE**2 * storage.MASKS)  # bits an element, less than one more entry in one of the masks
    allowed = (4 * error[uneven]).where(error[uneven] > 0, entry)
    assert ((encoded - formula)[uneven].abs() <= allowed).all()


@pytest.mark.parametrize(
    ("case", "value_bits", "form", "bits"),
    [
        ("2:4", 16, "N:M index", 9.0), ("2:4", 8, "N:M index", 5.0), ("1:8", 16, "N:M index", 2.375),
        ("2:4", 16, "bitmask", 9.0), ("2:4", 8, "bitmask", 5.0), ("1:8", 16, "bitmask", 3.0),
        ("2:4", 16, "COO", (16 + 8 + 8) / 2), ("1:8", 16, "COO", (16 + 8 + 8) / 8),
        ("2:4", 16, "CSR", (16 + 8) / 2 + 257 * 17 / 65536), ("2:4", 8, "COO", (8 + 8 + 8) / 2),
        ("2:4", 16, "block ELLPACK (4x4)", 16 + 7 / 16), ("2:4", 16, "least, N:M", 8 + math.log2(6) / 4),
    ],
)  # fmt: skip
def test_bits_by_hand(case: str, value_bits: int, form: str, bits: float, sparse: Callable[[str], Made]) -> None:
    here = sparse("storage").select(case=case, value_bits=value_bits, form=form)
    assert here["simulated"].tolist() == pytest.approx([bits] * len(here), rel=1e-12)


def test_no_format_needs_less_than_the_entropy_of_the_masks(sparse: Callable[[str], Made]) -> None:
    bits = sparse("storage").select(mode="encoded masks")
    for row in bits.itertuples():
        if row.case == "unstructured":
            ways = math.comb(storage.SIDE**2, int(row.density * storage.SIDE**2))  # type: ignore[operator]
            least = row.density * row.value_bits + math.log2(ways) / storage.SIDE**2  # type: ignore[operator]
        else:
            n, m = map(int, str(row.case).split(":"))
            least = n / m * row.value_bits + math.log2(math.comb(m, n)) / m  # type: ignore[operator]
        assert row.simulated >= least - 1e-12


def test_scale_sim_stores_a_run_more_in_each_column(sparse: Callable[[str], Made]) -> None:
    here = sparse("storage").select(case="SCALE-Sim 363x96").set_index("quantity")
    assert here["published"].to_dict() == {"stored size": 18768, "metadata size": 1104}
    assert here["published"].tolist() == [92 * 2 * 96 * words for words in (1 + 2 / 32, 2 / 32)]
    assert here["simulated"].tolist() == [91 * 2 * 96 * words for words in (1 + 2 / 32, 2 / 32)]


# Bitmask against coordinate list


@pytest.mark.parametrize("density", crossover.DENSITIES, ids=str)
def test_products_are_those_of_a_drawn_mask(density: Fraction, sparse: Callable[[str], Made]) -> None:
    here = sparse("crossover").select(density=float(density), mode="products alone").set_index("form")["simulated"]
    mask = draw_mask(Unstructured(density=density), (128, 128))
    skipped = sum(128 for row in range(128) for col in range(128) if mask[row, col])
    assert here["coordinate list"] == pytest.approx(skipped, abs=128)
    assert here["bitmask"] == 128 * 128 * 128


@pytest.mark.parametrize("density", crossover.DENSITIES, ids=str)
def test_storage_crosses_where_encoded_masks_do(density: Fraction) -> None:
    codes = storage.codes_of(draw_mask(Unstructured(density=density), (128, 128)), 8)
    bitmask, coordinates = (encode(form, codes, 8).bits for form in (BITMASK, COO))
    assert (coordinates < bitmask) == (density < crossover.storage_crossing())


def test_published_cycles_and_energies_cross_where_the_notes_say(sparse: Callable[[str], Made]) -> None:
    here = sparse("crossover")
    wins = {
        quantity: here.select(quantity=quantity).pivot_table("published", "density", "form").pipe(
            lambda table: (table["coordinate list"] < table["bitmask"]).to_dict()
        )
        for quantity in ("cycles", "energy")
    }  # fmt: skip
    assert wins == {"cycles": {0.01: True, 0.2: True, 0.4: True, 0.8: False}, "energy": {0.04: True, 0.08: False}}
    assert set(here.select(mode="not simulated")["quantity"]) == {"energy"}
    errors = here.select(mode="products alone").dropna(subset=["published"]).set_index("form")["relative_error"]
    assert errors["bitmask"].tolist() == pytest.approx([128 / 129 - 1] * 4)
    assert (errors["coordinate list"] < -0.25).all(), "a lower bound, and not near"


# Patterns against units


def executed(pattern: NM | VNM, unit: SparseUnit, contracted: str) -> Fraction:
    """Share that a unit executes of drawn masks, by looking at every run of them."""
    if contracted not in ("k", "n"):
        return Fraction(1)
    masks = [draw_mask(pattern, (120, 120), seed) for seed in range(3)]
    if unit.unstructured:
        return Fraction(int(masks[0].sum()), masks[0].size)
    if pattern.axis != contracted and not getattr(pattern, "transposable", False):
        return Fraction(1)  # it promises nothing along the other axis, though a sparse mask may fit 7:8 by chance
    along = [mask if contracted == "n" else mask.T for mask in masks]
    shares = [Fraction(n, m) for n, m in unit.modes if all(fits(mask, n, m) for mask in along)]
    if isinstance(pattern, VNM) and unit.gathered_rows and all(gathers(mask, pattern, unit) for mask in along):
        shares.append(Fraction(pattern.n, pattern.m))
    return min([*shares, Fraction(1)])


def fits(mask: Bools, n: int, m: int) -> bool:
    return all(mask[:, start : start + m].sum(axis=1).max() <= n for start in range(0, mask.shape[1], m))


def gathers(mask: Bools, pattern: VNM, unit: SparseUnit) -> bool:
    """Every tile of the unit's rows uses at most 4 of each m columns, and a row n of them."""
    tiles = [
        mask[row : row + unit.gathered_rows, start : start + pattern.m]
        for row in range(0, mask.shape[0], unit.gathered_rows)
        for start in range(0, mask.shape[1], pattern.m)
    ]
    return all(tile.any(axis=0).sum() <= 4 and tile.sum(axis=1).max() <= pattern.n for tile in tiles)


@pytest.mark.parametrize("unit", legality.UNITS, ids=lambda unit: unit.name)
def test_executed_density_is_what_drawn_masks_allow(unit: SparseUnit, sparse: Callable[[str], Made]) -> None:
    here = sparse("legality").select(hardware=unit.name).set_index(["pattern", "along", "product"])["simulated"]
    for one in legality.placed():
        if not isinstance(one.pattern, (NM, VNM)) or one.extents:
            continue
        for product, contracted in CONTRACTS.items():
            wanted = executed(one.pattern, unit, contracted)
            assert here[one.rule, one.along, product] == pytest.approx(float(wanted)), (one, product)


def test_every_cell_is_that_of_the_table_by_hand(sparse: Callable[[str], Made]) -> None:
    here = sparse("legality")
    assert len(here.rows) == 31 * 10 * 3
    cells = here.rows.set_index(["pattern", "along", "hardware", "product"])
    for one in legality.placed():
        for unit, product in itertools.product(legality.UNITS, CONTRACTS):
            length = one.extents["k"] if one.extents else None
            verdict, share = by_hand(one.pattern, unit.name, "B", product, length)
            cell = cells.loc[one.rule, one.along, unit.name, product]
            assert (cell["verdict"], cell["simulated"]) == (verdict.value, pytest.approx(float(share))), (one, unit)


def test_every_cell_has_a_reason_and_published_densities_are_met_but_one(sparse: Callable[[str], Made]) -> None:
    here = sparse("legality")
    assert here.rows[["verdict", "reason"]].notna().all(axis=None)
    known = here.rows.dropna(subset=["published"])
    assert len(known) == 9
    assert "not simulated" not in set(known["mode"])
    off = known[known["relative_error"].abs() > 1e-9]
    assert off[["pattern", "hardware", "verdict"]].to_numpy().tolist() == [
        ["2:6", "sparse_tensor_core", "needs re-pruning"]
    ]


# Load imbalance


def test_drawn_masks_agree_with_the_order_statistic(sparse: Callable[[str], Made]) -> None:
    rows = sparse("imbalance").rows
    wide = rows.pivot(index=["positions", "lanes", "density"], columns="mode", values=["simulated", "standard_error"])
    both = wide["simulated"][["order statistic", "drawn masks"]].dropna()
    error = wide["standard_error", "drawn masks"].loc[both.index]
    assert len(both) == 4 * 4 + 4 * 4 + 5 - 4 - 4
    assert (error > 0).all()
    assert ((both["drawn masks"] - both["order statistic"]).abs() < 4 * error).all()


@pytest.mark.parametrize(("positions", "lanes", "density"), [(16, 32, 0.05), (64, 2, 0.2), (64, 128, 0.5)])
def test_the_order_statistic_is_the_mean_of_sampled_maxima(
    positions: int, lanes: int, density: float, sparse: Callable[[str], Made]
) -> None:
    case = {"positions": positions, "lanes": lanes, "density": density, "mode": "order statistic"}
    longest = np.random.default_rng(1).binomial(positions, density, (20_000, lanes)).max(axis=1)
    expected = positions * density / sparse("imbalance").value(**case)
    assert abs(expected - longest.mean()) < 4 * longest.std() / math.sqrt(len(longest))


@pytest.mark.parametrize(("density", "efficiency"), [(0.1, 0.54), (0.5, 0.80)])
def test_efficiencies_by_another_calculation(density: float, efficiency: float, sparse: Callable[[str], Made]) -> None:
    case = {"positions": 64, "lanes": 32, "density": density, "mode": "order statistic"}
    assert round(sparse("imbalance").value(**case), 2) == efficiency


def test_nm_is_in_balance_and_lanes_lose_more_the_more_and_the_smaller(sparse: Callable[[str], Made]) -> None:
    here = sparse("imbalance")
    assert (here.select(mode=imbalance.BALANCED)["simulated"] == 1).all()
    closed = here.select(mode="order statistic")
    for _, line in closed.groupby(["lanes", "density"]):
        assert line.sort_values("positions")["simulated"].is_monotonic_increasing
    for _, line in closed.groupby(["positions", "density"]):
        assert line.sort_values("lanes")["simulated"].is_monotonic_decreasing


# Number formats


def table(name: str, count: int) -> Floats:
    """All finite numbers of an element that are not negative, as ml_dtypes decodes its codes."""
    codes = np.arange(count // 2, dtype=np.uint8).view(getattr(ml_dtypes, name)).astype(np.float64)
    return np.unique(codes[np.isfinite(codes)])


E4M3, E5M2 = table("float8_e4m3fn", 256), table("float8_e5m2", 256)
E2M3, E3M2, E2M1 = table("float6_e2m3fn", 64), table("float6_e3m2fn", 64), table("float4_e2m1fn", 16)
WHOLE = {bits: np.arange(2.0 ** (bits - 1)) for bits in (4, 6, 8)}


def nearest(values: Floats, numbers: Floats) -> Floats:
    return numbers[np.searchsorted((numbers[1:] + numbers[:-1]) / 2, values)]


def mx_scale(exponent: int) -> Callable[[Floats], Floats]:
    return lambda largest: 2.0 ** (np.floor(np.log2(largest)) - exponent)


def hbfp_scale(bits: int) -> Callable[[Floats], Floats]:
    return lambda largest: 2.0 ** (np.ceil(np.log2(largest)) + 1 - bits)


def nvfp4_scale(largest: Floats) -> Floats:
    """With the tensor's own scale of the values that the figure draws."""
    tensor = float(np.float32(np.abs(formats.normal_values()).max() / (6 * 448)))
    return nearest(largest / 6 / tensor, E4M3) * tensor


BLOCKS: dict[str, tuple[Floats, int, Callable[[Floats], Floats]]] = {
    "int8": (WHOLE[8], 4096, lambda largest: largest / 127), "int4": (WHOLE[4], 4096, lambda largest: largest / 7),
    "hbfp8": (WHOLE[8], 64, hbfp_scale(8)), "hbfp6": (WHOLE[6], 64, hbfp_scale(6)),
    "hbfp4": (WHOLE[4], 64, hbfp_scale(4)), "mxfp8_e4m3": (E4M3, 32, mx_scale(8)),
    "mxfp8_e5m2": (E5M2, 32, mx_scale(15)), "mxfp6_e2m3": (E2M3, 32, mx_scale(2)),
    "mxfp6_e3m2": (E3M2, 32, mx_scale(4)), "mxfp4": (E2M1, 32, mx_scale(2)),
    "mxint8": (WHOLE[8] / 64, 32, mx_scale(0)), "nvfp4": (E2M1, 16, nvfp4_scale),
}  # fmt: skip
"""Numbers of the element, values that share a scale, and the scale by their largest magnitude."""

ALONE = {"fp8_e4m3": E4M3, "fp8_e5m2": E5M2}


def lost(values: Floats, numbers: Floats, scale: Floats | float) -> Floats:
    return (values - scale * nearest(values / scale, numbers)) ** 2


def mean_square_error(name: str) -> float:
    """Expected squared error of a standard normal value: an integral, for blocks over the largest value as well.

    The largest magnitude of B values has the distribution function erf(x / √2)^B, and, given it, the other B − 1 values
    are independent normal ones that stay below it.
    """
    parts = (np.arange(4000) + 0.5) / 4000
    if name in ALONE:
        values = 9 * (np.arange(400_000) + 0.5) / 400_000
        return float(np.average(lost(values, ALONE[name], 1.0), weights=np.exp(-(values**2) / 2)))
    numbers, block, scale_of = BLOCKS[name]
    quantiles = (np.arange(1000) + 0.5) / 1000
    largest = math.sqrt(2) * erfinv(quantiles ** (1 / block))[:, None]
    scale = scale_of(largest)
    below = lost(largest * parts, numbers, scale)
    others = np.average(below, axis=1, weights=np.exp(-((largest * parts) ** 2) / 2))
    return float((lost(largest, numbers, scale)[:, 0] + (block - 1) * others).mean() / block)


@pytest.mark.parametrize("name", formats.FORMATS)
def test_noise_is_that_of_the_integral(name: str, sparse: Callable[[str], Made]) -> None:
    here = sparse("formats").select(form=name, log2_size=0).set_index("quantity")
    ratio = here.loc["signal to noise"]
    assert abs(ratio["simulated"] + 10 * math.log10(mean_square_error(name))) < 4 * ratio["standard_error"]
    assert here.loc["relative error", "simulated"] == pytest.approx(10 ** (-ratio["simulated"] / 20), rel=1e-9)


def test_largest_of_normal_values_has_the_distribution_that_the_integral_takes() -> None:
    largest = np.abs(np.random.default_rng(2).standard_normal((20_000, 16))).max(axis=1)
    share = np.sort(erf(largest / math.sqrt(2)) ** 16)
    assert np.abs(share - np.arange(20_000) / 20_000).max() < 1.95 / math.sqrt(20_000), "Kolmogorov, 0.1 %"


def test_no_format_is_better_than_the_rate_distortion_bound(sparse: Callable[[str], Made]) -> None:
    ratio = sparse("formats").select(quantity="signal to noise")
    assert (ratio["simulated"] < 20 * math.log10(2) * ratio["bits_per_value"]).all()


def test_scales_follow_the_size_of_the_values_and_fp8_alone_does_not(sparse: Callable[[str], Made]) -> None:
    ratio = sparse("formats").select(quantity="signal to noise")
    spread: pd.Series[float] = ratio.groupby("form")["simulated"].agg(np.ptp)
    assert (spread[["int8", "hbfp8", "mxfp8_e4m3", "nvfp4"]] < 1e-9).all()
    assert (spread[["fp8_e4m3", "fp8_e5m2"]] > 10).all()

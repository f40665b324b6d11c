"""Figures of sparse products that run the engine: against formulas by hand, energies of pruned MACs, and laws."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import accsim
from accsim.cli import app
from accsim.figures.sparse import gating, tpu, venom
from accsim.workload.catalogue import load_workload
from accsim.workload.ops import Gemm
from tests.figures.conftest import Maker

MEASURED = Path(__file__).resolve().parents[3] / "shared" / "data" / "sparse24_calibration.csv"


# 2:4 by shape


def ideal_by_hand(m: int, n: int, k: int, share: float, tera: float, giga: float, launch_us: float) -> float:
    """Microseconds in fp16: launch, then multiplications or bytes, whichever takes longer."""
    rows = -(-m // 32) * 32 if share < 1 else -(-m // 8) * 8
    place = 2 / 8 if share < 1 else 0  # bytes
    math_us = 2 * rows * n * k * share / (tera * 1e6)
    moved_us = (n * k * share * (2 + place) + 2 * m * k + 2 * m * n) / (giga * 1e3)
    return launch_us + max(math_us, moved_us)


@pytest.mark.parametrize(
    ("machine", "m", "n", "k", "tera", "giga", "launch"),
    [
        ("a100_sxm", 16384, 16384, 16384, 312, 2039, 3.13),
        ("a100_sxm", 1, 4096, 4096, 312, 2039, 3.13),
        ("a100_sxm", 3072, 768, 3072, 312, 2039, 3.13),
        ("rtx_3090", 4096, 768, 768, 71, 936, 3.13),
    ],
)
def test_the_ideal_unit_by_hand(
    machine: str, m: int, n: int, k: int, tera: float, giga: float, launch: float, made: Maker
) -> None:
    dense, sparse = (ideal_by_hand(m, n, k, share, tera, giga, launch) for share in (1, 0.5))
    shown = made("two_four", paper="sparse").value(machine=machine, m=m, n=n, k=k, mode="ideal unit")
    assert shown == pytest.approx(dense / sparse, rel=0.005)


def test_published_speedups_are_ratios_of_the_times_in_their_source(made: Maker) -> None:
    rows = made("two_four", paper="sparse").select(mode="engine")
    for published, source in rows[["published", "source"]].itertuples(index=False):
        numbers = re.search(r"([\d.]+) and ([\d.]+) (us|ms|TFLOP/s)$", source)
        if numbers:
            assert published == pytest.approx(float(numbers[1]) / float(numbers[2]), rel=0.012)
    assert rows["source"].str.contains(r" and ").sum() >= 18


def test_speedups_of_the_engine_are_those_of_two_runs(made: Maker) -> None:
    shown = made("two_four", paper="sparse").value(machine="a100_sxm", m=12288, n=768, k=3072, mode="engine")
    dense, sparse = (
        accsim.simulate(Gemm(12288, 768, 3072, dtype="fp16", sparsity=pattern), "a100_sxm", power_cap=False)  # type: ignore[arg-type]
        for pattern in (None, "2:4")
    )
    assert shown == dense.latency_s / sparse.latency_s


@pytest.mark.parametrize("name", ["two_four", "venom"])
def test_no_speedup_exceeds_what_is_left_out(name: str, made: Maker) -> None:
    rows = made(name, paper="sparse").rows
    simulated = rows[rows["mode"].isin(["engine", "ideal unit"])]
    left_out = 2.0 if name == "two_four" else simulated["pattern"].str.split(":").str[1].astype(int) / 2
    assert (simulated["simulated"] <= left_out * (1 + 1e-9)).all()
    assert (simulated["simulated"] >= 1 - 1e-9).all()


# Measured times


def table(*lines: str) -> str:
    return "\n".join(("gpu,lib,pattern,dtype,model,M,N,K,best_us", *lines)) + "\n"


def test_a_file_of_times_becomes_speedups(tmp_path: Path, made: Maker) -> None:
    data = tmp_path / "times.csv"
    cases = [("SQUARE", 4096, 4096, 4096), ("a model", 64, 2048, 8192), ("a model", 4096, 2048, 8192)]
    data.write_text(
        table(
            *(f"A100,a,dense,BF16,{model},{m},{n},{k},30" for model, m, n, k in cases),
            *(f"a100,b,2_4,bf16,{model},{m},{n},{k},{20 + i}" for i, (model, m, n, k) in enumerate(cases)),
        )
    )
    here = made("measured", data, paper="sparse")
    assert len(here.rows) == 6
    for i, (_, m, n, k) in enumerate(cases):
        assert here.select(M=m, N=n, K=k)["published"].tolist() == pytest.approx([30 / (20 + i)] * 2)
    dense, sparse = (ideal_by_hand(64, 2048, 8192, share, 312, 1935, 4.12) for share in (1, 0.5))
    assert here.value(M=64, mode="ideal unit") == pytest.approx(dense / sparse, rel=0.005)


def test_cases_without_both_times_are_told(tmp_path: Path) -> None:
    data = tmp_path / "times.csv"
    data.write_text(table("A100,a,dense,BF16,x,64,64,64,30", "A100,b,2_4,BF16,x,64,64,128,20"))
    result = CliRunner().invoke(app, ["figure", "sparse", "measured", "--data", str(data)])
    assert result.exit_code == 2
    shown = " ".join(result.stderr.split())
    assert "A100 BF16 x 64 64 64: read the patterns dense; needed are one dense, one 2_4" in shown
    assert "A100 BF16 x 64 64 128: read the patterns 2_4" in shown


@pytest.mark.skipif(not MEASURED.exists(), reason="the measured times do not ship")
def test_measured_times(made: Maker) -> None:
    rows = made("measured", MEASURED, paper="sparse").rows
    times = pd.read_csv(MEASURED, comment="#").pivot(
        index=["M", "N", "K", "model"], columns="pattern", values="best_us"
    )
    engine = rows[rows["mode"] == "engine"].set_index(["M", "N", "K", "model"])
    assert len(engine) == len(times)
    assert engine["published"].to_dict() == pytest.approx((times["dense"] / times["2_4"]).to_dict())
    error = rows["relative_error"].abs().groupby(rows["mode"]).mean()
    assert error["engine"] < 0.15 < error["ideal unit"]  # as the notes have it


# V:N:M


def test_the_ideal_gathering_unit_by_hand(made: Maker) -> None:
    # 2:8 of 4096 x 4096 x 1024, bound by multiplications
    dense, sparse = (ideal_by_hand(4096, 4096, 1024, share, 71.1, 936, 3.13) for share in (1, 0.25))
    assert made("venom", paper="sparse").value(pattern="2:8", n=4096, mode="ideal unit") == pytest.approx(
        dense / sparse, rel=0.005
    )
    assert made("venom", paper="sparse").value(pattern="2:8", n=4096, mode=venom.CEILING) == 4


# Gated and skipped


def test_gating_spares_the_energy_of_pruned_multiplications_and_no_time(made: Maker) -> None:
    figure = made("gating", paper="sparse")
    energy = accsim.load_accelerator(gating.MACHINE).energy.mac_pj("bf16").nominal
    for phase, rows in gating.ROWS.items():
        for kept in gating.KEPT:
            case = {"phase": phase, "density": kept / gating.RUN}
            plain, gated = (
                {q: figure.value(mode=mode, quantity=q, **case) for q in ("time", "energy of mac")}
                for mode in (gating.NOTHING, gating.GATING)
            )
            assert gated["time"] == plain["time"]
            pruned = rows * gating.SIDE**2 * (1 - kept / gating.RUN)
            spared_uj = pruned * energy * 1e-6 * (1 - 0.018 / 0.561)
            assert plain["energy of mac"] - gated["energy of mac"] == pytest.approx(spared_uj, rel=1e-6, abs=1e-9)


def test_skipping_is_no_faster_than_its_share_and_dense_without_zeros(made: Maker) -> None:
    rows = made("gating", paper="sparse").rows
    for _, some in rows[rows["quantity"] == "time"].groupby("phase"):
        by_mode = some.pivot_table("simulated", "density", "mode")
        assert by_mode.loc[1.0].nunique() == 1
        skipping, padded = by_mode[gating.SKIPPING], by_mode[gating.PADDED]
        assert skipping.is_monotonic_increasing
        assert (skipping / skipping[1.0] >= skipping.index.to_numpy() - 1e-9).all()
        # 1:8 and 2:8 run as 4:8, 6:8 runs dense
        assert padded[0.125] == padded[0.25] == padded[0.5] == skipping[0.5]
        assert padded[0.75] == padded[1.0]


def test_parts_make_all_of_the_energy(made: Maker) -> None:
    for name in ("gating", "tpu"):
        rows = made(name, paper="sparse").rows
        rows = rows[rows["mode"] != tpu.BOUND]
        case = ["phase", "density", "mode"]
        total = rows[rows["quantity"] == "energy"].set_index(case)["simulated"]
        parts = rows[rows["quantity"].str.startswith("energy of ")].groupby(case)["simulated"].sum()
        share = (parts / total).to_numpy()
        assert (share <= 1 + 1e-9).all()
        assert (share > 0.99).all()  # the rest is the lanes'


# A TPU with sparse arrays


def test_all_products_of_weights_but_the_last_are_pruned() -> None:
    plain = load_workload(tpu.PHASES["decode"])
    pruned = tpu.pruned_model(plain, accsim.NM(1, 4))
    assert len(plain) == len(pruned)
    names = {entry.name for entry in pruned.entries if getattr(entry.op, "sparsity", None)}
    assert names == {"qkv_proj", "o_proj", "gate_up_proj", "ffn_down"}
    projections = sum(e.repeat * e.op.macs for e in plain.entries if e.name in names)
    assert plain.macs_effectual - pruned.macs_effectual == projections * 3 // 4


def test_modes_change_nothing_without_a_pattern(made: Maker) -> None:
    shown = made("tpu", paper="sparse").value(phase="decode", pattern="dense", quantity="latency", mode="engine")
    assert shown == 1e3 * accsim.simulate(tpu.PHASES["decode"], tpu.MACHINE).latency_s


def test_a_model_gains_no_more_than_its_products(made: Maker) -> None:
    rows = made("tpu", paper="sparse").rows
    latency = rows[rows["quantity"] == "latency"].pivot_table("simulated", ["phase", "density"], "mode")
    assert (latency["engine"] >= latency[tpu.BOUND] * (1 - 1e-9)).all()
    for _, some in latency["engine"].groupby(level=0):
        assert some.is_monotonic_increasing
    products = rows[rows["quantity"].str.startswith("latency of ")].groupby(["phase", "density"])["simulated"].sum()
    rest = (latency["engine"] - products).unstack()
    assert rest.sub(rest[1.0], axis=0).abs().max().max() < 1e-6 * latency["engine"].max()
    # what bounds the whole: products at the density, the rest as it is
    share = products.unstack()[1.0] / latency["engine"].unstack()[1.0]
    amdahl = latency["engine"].unstack()[1.0] * (1 - share / 2)
    assert latency[tpu.BOUND].unstack()[0.5].to_dict() == pytest.approx(amdahl.to_dict(), rel=1e-9)

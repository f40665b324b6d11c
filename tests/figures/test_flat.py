"""The figures of FLAT against second sources: closed forms, published values, and what is expected of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import accsim
from accsim.figures.flat import family, softmax
from accsim.figures.flat.runs import BERT, attention, machine
from accsim.figures.make import make
from accsim.mapping import base
from tests.figures.conftest import Maker
from tests.reference import flat_corrected_naive as naive
from tests.validate.test_flat import row, write

ROWS = Path(__file__).resolve().parents[3] / "shared" / "reference"
"""Rows that are data of a public repository and no part of this one."""

# Share of Logit and Attend


def test_share_of_multiplications_is_the_closed_form(made: Maker) -> None:
    rows = made("share").select(mode="multiplications")
    assert rows["simulated"].tolist() == pytest.approx([n / (6 * 768 + n) for n in rows["seq_len"]], rel=1e-12)
    assert (rows["simulated"] - rows["published"]).abs().max() < 0.03


def test_share_grows_with_length_and_with_a_charged_softmax(made: Maker) -> None:
    here = made("share")
    for platform in ("edge", "cloud"):
        charged = here.select(mode=f"engine, {platform}")["simulated"]
        free = here.select(mode=f"engine, free softmax, {platform}")["simulated"]
        assert charged.is_monotonic_increasing
        assert (charged.to_numpy() > free.to_numpy()).all()


# Speedup

CORRECTED = {  # speedups reconstructed from FuseMax's rows of the corrected simulator, two digits
    ("cloud", "BERT"): {"512": 2.24, "2K": 1.90, "4K": 1.85, "8K": 1.82, "16K": 1.81, "64K": 1.84},
    ("cloud", "XLM"): {"512": 2.24, "4K": 1.59, "8K": 1.54, "64K": 1.68},
    ("edge", "BERT"): {"512": 1.00, "2K": 1.14, "4K": 1.13, "8K": 1.00, "16K": 1.00, "64K": 1.00},
    ("edge", "XLM"): {"512": 1.00, "4K": 1.00, "8K": 1.00, "64K": 1.00},
}


@pytest.mark.parametrize(("platform", "model"), CORRECTED)
def test_speedups_of_the_corrected_model(platform: str, model: str, made: Maker) -> None:
    rows = made("speedup").select(platform=platform, model=model, mode="flat-corrected", quantity="speedup")
    got = rows.set_index("seq_len")["simulated"]
    for length, wanted in CORRECTED[platform, model].items():
        assert got[length] == pytest.approx(wanted, abs=0.0051)


def test_headlines_that_do_and_do_not_reproduce(made: Maker) -> None:
    here = made("speedup")
    for mode in ("flat-corrected", "engine", "engine, free softmax"):
        edge = here.select(platform="edge", statement="body", seq_len="512-64K", quantity="speedup", mode=mode)
        assert edge["published"].item() == 1.75
        assert edge["relative_error"].item() < -0.2
    cloud = here.select(platform="cloud", statement="body", seq_len="512-64K", quantity="speedup")
    modes = cloud.set_index("mode")["relative_error"]
    assert modes[["flat-corrected", "engine"]].abs().max() < 0.15
    assert here.select(platform="cloud", seq_len="64K", statement="body")["relative_error"].max() < -0.25


def test_speedups_are_at_least_one_and_the_number_of_heads_cancels(made: Maker) -> None:
    here = made("speedup")
    assert here.select(quantity="speedup")["simulated"].min() >= 1.0
    wanted = here.select(platform="cloud", model="T5", seq_len="2K", quantity="speedup", mode="engine")["simulated"]
    op = accsim.Attention(batch=64, heads=8, q_len=2048, kv_len=2048, head_dim=64)
    runs = {name: accsim.simulate(op, machine("cloud"), dataflow=name).latency_s for name in ("flat", "unfused")}
    assert runs["unfused"] / runs["flat"] == pytest.approx(wanted.item(), rel=2e-3)


# Utilization against buffer size

BUFFERS = {"20 KiB": (0.37, 0.46, 0.37, 0.41), "200 KiB": (0.92, 1.00, 0.89, 0.89), "20 MiB": (1.0, 1.0, 1.0, 1.0)}
"""FLEX and FLAT at 512 and at 4K, edge, BERT, of a reconstruction of the corrected simulator; two digits."""


@pytest.mark.parametrize("buffer", BUFFERS)
def test_utilization_of_the_corrected_model(buffer: str, made: Maker) -> None:
    here = made("buffer")
    got = [
        here.value(buffer=buffer, seq_len=length, dataflow=name, level="L-A", mode="flat-corrected")
        for length in (512, 4096)
        for name in ("FLEX", "FLAT")
    ]
    assert got == pytest.approx(BUFFERS[buffer], abs=0.0051)


def test_order_of_the_dataflows_is_met_and_the_heights_are_not(made: Maker) -> None:
    here = made("buffer")
    simulated = here.rows.pivot(index=["mode", "level", "seq_len", "buffer"], columns="dataflow", values="simulated")
    known = simulated.dropna()
    assert len(known) == 8 + 8 * 3, "corrected: L-A alone; engine: all levels"
    assert (known["FLAT"] >= known["FLEX"]).all()
    assert (known["FLEX"] >= known["Naive"]).all()
    bars = here.rows.drop_duplicates(["level", "seq_len", "buffer", "dataflow"])
    assert bars["published"].notna().sum() == 72
    case = {"seq_len": 4096, "buffer": "200 KiB", "level": "L-A"}
    assert here.select(**case, dataflow="FLAT")["published"].iloc[0] >= 0.95
    assert here.select(**case, dataflow="FLAT")["relative_error"].max() < -0.1
    assert here.select(**case, dataflow="FLEX", mode="flat-corrected")["relative_error"].item() > 1


# Bandwidth


@pytest.mark.parametrize("length", [512, 4096])
@pytest.mark.parametrize("platform", ["edge", "cloud"])
def test_needed_bandwidth_is_the_least_for_the_twin_of_the_model(platform: str, length: int, made: Maker) -> None:
    here = made("bandwidth")
    side, capacity = {"edge": (32, 512 * 2**10), "cloud": (256, 32 * 2**20)}[platform]
    problem = naive.Problem(64, 12, length, 64)

    def seconds(rate: float, fused: bool) -> float:
        machine = naive.Machine(side, capacity, rate * 2**30, 940e6)
        choices = [choice for choice in naive.choices(problem, machine) if fused or not choice.scores]
        return min(naive.evaluate(problem, machine, choice).latency for choice in choices)

    enough = seconds(1e6, fused=False) / 0.95
    for name, fused in (("FLEX", False), ("FLAT", True)):
        rate = here.value(
            platform=platform, seq_len={512: "512", 4096: "4K"}[length], quantity=name, mode="flat-corrected"
        )
        assert seconds(rate, fused) <= enough < seconds(rate / 2**0.5, fused)


def test_savings_of_bandwidth_follow_from_the_bandwidths(made: Maker) -> None:
    here = made("bandwidth")
    for mode in ("flat-corrected", "engine"):
        for platform in ("edge", "cloud"):
            kept = 1.0
            for length in ("512", "4K", "16K"):
                case = {"platform": platform, "seq_len": length, "mode": mode}
                ratio = here.value(**case, quantity="FLAT") / here.value(**case, quantity="FLEX")
                assert here.value(**case, quantity="saving") == pytest.approx(1 - ratio, abs=1e-9)
                kept *= ratio
            saved = here.value(platform=platform, seq_len="all", mode=mode, quantity="saving")
            assert saved == pytest.approx(1 - kept ** (1 / 3), abs=1e-9)
    errors = here.select(seq_len="all").set_index(["platform", "mode"])["relative_error"]
    assert (errors["cloud"] > 0.1).all()
    assert (errors["edge"] < -0.1).all()


# All mappings


def test_space_has_every_mapping_once_and_the_best_is_what_a_search_finds(made: Maker) -> None:
    here = made("space")
    assert len(here.select(mode="flat-corrected")) == 3 * 2**7, "H, and rows of 256 and 512; seven choices of two"
    engine = here.select(mode="engine")
    op, acc = attention(BERT, 1024), machine("cloud")
    for name, dataflow in (("FLAT R", accsim.Flat(spill=0)), ("un-fused", "unfused")):
        report = accsim.simulate(op, acc, dataflow=dataflow)
        fits = engine[(engine["dataflow"] == name) & (engine["footprint_bytes"] <= 32 * 2**20)]
        assert fits["simulated"].max() == pytest.approx(report.overall_utilization, rel=1e-3)
    assert engine["simulated"].max() <= 64 / 512, "four vector operations a score on 256 lanes"
    room = engine.groupby("dataflow")["footprint_bytes"].min()
    scores = {"FLAT H": 2 * 1024**2, "FLAT B": 12 * 2 * 1024**2, "FLAT M": 64 * 12 * 2 * 1024**2}
    assert all(room[name] > least for name, least in scores.items())


# Footprints


def test_footprints_are_those_of_table_1_to_the_byte(made: Maker) -> None:
    batch, heads, length, width, rows = 64, 12, 4096, 64, 256
    model = heads * width
    words = {
        "M": 8 * batch * model * length + batch * heads * length**2,
        "B": 8 * model * length + heads * length**2,
        "H": 8 * length * width + length**2,
        "R": 4 * rows * width + 4 * length * width + rows * length,
    }
    for granularity, count in words.items():
        some = made("footprint").select(what=granularity, quantity="live footprint")
        assert (some["simulated"] == 2 * count).all()
        assert (some["simulated"] == some["published"]).all()


def test_tensor_sizes_are_those_of_slide_11(made: Maker) -> None:
    here = made("footprint")
    for length in (512, 2048, 14336):
        assert here.value(what="L", seq_len=length) == 2 * 16 * length**2
        assert here.value(what="Q, K, V", seq_len=length) == 3 * 2 * 1024 * length
        assert here.value(what="O", seq_len=length) == 2 * 1024 * length
    assert here.select(quantity="tensor size")["relative_error"].abs().max() < 0.05


# Operational intensity


def test_intensities_of_the_engine_are_the_closed_forms(made: Maker) -> None:
    here = made("intensity")
    for n in (512, 1024, 2048):
        wanted = {
            "Q, K, V, O": 1 / (2 / n + 4 / 1024), "other FC": 1 / (2 / n + 4 / 4096),
            "L or A": 1 / (4 / n + 2 / 64), "L, A fused": n / 4,
        }  # fmt: skip
        for op, value in wanted.items():
            for mode in ("engine", "closed form"):
                assert here.value(op=op, seq_len=n, mode=mode) == pytest.approx(value, rel=1e-9)


def test_bars_that_do_and_do_not_reproduce(made: Maker) -> None:
    rows = made("intensity").select(mode="closed form").set_index(["op", "seq_len"])
    assert rows.loc[["Q, K, V, O", "other FC", "FC, FC fused"], "relative_error"].abs().max() < 0.01
    assert (rows.loc[["L, A fused"], "relative_error"] < -0.24).all()
    assert rows.loc[("L or A", 512), "relative_error"] == pytest.approx(0, abs=1e-9)
    assert rows.loc[("L or A", 2048), "relative_error"] > 0.15
    alone = made("intensity").select(mode="not simulated")
    assert set(alone["op"]) == {"L or A, FC fused"}


# Sparse attention


def test_dense_ratios_are_met_and_sparse_ones_stand_alone(made: Maker) -> None:
    here = made("sparse")
    ratios = here.select(mode="flat-frame", quantity="compute to memory").set_index(["model", "dataflow"])
    assert ratios["published"].tolist() == [0.38, 1.90, 0.67, 2.01]
    assert ratios.loc["XLM", "relative_error"].abs().max() < 0.01
    assert ratios.loc["BERT", "relative_error"].abs().max() < 0.06
    assert len(here.rows) == 36
    assert set(here.select(mode="not simulated")["attention"]) == {"ELSA", "Sanger"}


# The family of dataflows


def test_family_on_short_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "LENGTHS", (512, 4096))
    rows = family.rows()
    assert len(rows) == 2 * 2 * 3 * len(family.there())
    values = rows.set_index(["platform", "seq_len", "quantity", "dataflow"])["simulated"]
    assert values["edge", 4096, "latency", "flash2"] < values["edge", 4096, "latency", "flat"]
    assert values["edge", 4096, "traffic", "flash2"] < values["edge", 4096, "traffic", "flat"]
    tile = int(str(rows[(rows["dataflow"] == "flash2") & (rows["seq_len"] == 4096)]["mapping"].iloc[0]).split()[2][:-1])
    tensor = 64 * 12 * 4096 * 64 * 2
    assert values["edge", 4096, "traffic", "flash2"] == tensor * (2 + 2 * 4096 / tile)
    for platform, side in (("edge", 32), ("cloud", 256)):
        bound = 2 * 64 * 12 * 4096**2 * 64 / side**2 / 940e6
        assert all(values[platform, 4096, "latency", name] >= bound for name in family.there())


def test_dataflows_of_the_family_appear_when_they_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_REGISTRY", {"flat": accsim.Flat, "flash2": accsim.Flash})
    assert family.there() == ["flat", "flash2"]
    monkeypatch.setattr(family, "LENGTHS", (512,))
    rows = family.rows()
    with pytest.raises(KeyError):
        family.notes(rows)
    base.register_dataflow("fusemax", accsim.Flash1)
    assert family.there() == ["flat", "flash2", "fusemax"]


@pytest.mark.slow
def test_flash_stays_ahead_of_flat_up_to_a_million_tokens(made: Maker) -> None:
    """FLAT divides every weight: four vector operations a score against three, and the vector unit binds both."""
    here = made("family")
    for length in (262144, 1048576):
        for platform in ("edge", "cloud"):
            case = {"platform": platform, "seq_len": length, "quantity": "latency"}
            assert here.value(**case, dataflow="flash2") < 0.75 * here.value(**case, dataflow="flat")


# Rows that are given


def softmax_rows(path: Path) -> Path:
    """Rows by the closed form: FLAT is bound by four vector operations a score on 256 lanes."""
    lines = [
        "# made by hand",
        "config,model,seq_len,platform,batch,heads,d_head,latency_s,energy_pJ,traffic_bytes,util_2d",
    ]
    for config in ("flat_softmax", "unfused", "fusemax"):
        for model, heads, width in (("BERT", 12, 64), ("XLM", 16, 128)):
            for length in (1024, 4096):
                seconds = 4 * 64 * heads * length**2 / 256 / 940e6
                numbers = (seconds, 1e12, 4 * 64 * heads * length * width * 2, width / 512)
                lines.append(f"{config},{model},{length},cloud,64,{heads},{width}," + ",".join(map(str, numbers)))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_flat_with_a_charged_softmax_is_bound_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmax, "list_dataflows", lambda: ("flat", "unfused"))
    here = make(softmax.FIGURE, softmax_rows(tmp_path / "rows.csv"))
    latency = here.rows[here.rows["quantity"] == "latency"].set_index(["config", "mode"])["relative_error"]
    assert latency["flat_softmax", "engine"].abs().max() < 0.01
    assert latency["flat_softmax", "flat-corrected"].abs().max() < 1e-3
    assert latency["unfused", "engine"].min() > 0.3, "un-fused attention is slower"
    assert latency["fusemax", "not simulated"].isna().all()
    assert any("no dataflow 'fusemax'" in note for note in here.notes)
    assert [path.stat().st_size > 10_000 for path in here.save(tmp_path / "out") if path.suffix == ".png"] == [True]


def test_rows_of_the_corrected_simulator(tmp_path: Path, made: Maker) -> None:
    cases = [("edge", "small", 64, 2, 4, 512), ("edge", "long", 2048, 8, 12, 64), ("cloud", "small", 4096, 4, 12, 64)]
    here = made("validation", write(tmp_path / "twin.csv", [row(*case) for case in cases]))
    corrected = here.select(mode="flat-corrected")
    assert len(corrected) == 3 * 3
    assert corrected["relative_error"].abs().max() < 1e-9
    engine = here.select(mode="engine, free softmax")
    assert len(engine) == 3
    assert (engine["relative_error"] > 0).all(), "the engine also fills and drains the array"
    assert np.isfinite(engine["simulated"]).all()


@pytest.mark.slow
@pytest.mark.skipif(not ROWS.exists(), reason="the published rows are not beside the checkout")
def test_published_rows(made: Maker) -> None:
    here = made("validation", ROWS / "flat_validation.csv")
    rows = here.select(mode="flat-corrected")
    assert len(rows) == 80 * 3
    assert rows["relative_error"].abs().max() < 1e-3
    engine = here.select(mode="engine, free softmax")
    assert engine["relative_error"].between(0.0, 1.3).all()
    charged = made("softmax", ROWS / "fusemax_attention.csv")
    latency = charged.select(quantity="latency", mode="engine")
    short = latency[latency["seq_len"] <= 16384].set_index("config")["relative_error"]
    assert short["flat_softmax"].abs().max() < 0.01
    assert short["unfused"].abs().max() < 0.03
    utilization = charged.select(config="flat_softmax", quantity="utilization", mode="flat-corrected")
    whole = utilization[utilization["seq_len"] <= 65536]
    assert (whole["simulated"] / (whole["d_head"] / 512)).between(0.999, 1.001).all()

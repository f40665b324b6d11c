"""The figures of FLAT against second sources: closed forms, published values, and what is expected of each."""

from __future__ import annotations

import pytest

import accsim
from accsim.figures.flat.runs import machine
from tests.figures.made import made

# Share of Logit and Attend


def test_share_of_multiplications_is_the_closed_form() -> None:
    rows = made("flat", "share").select(mode="multiplications")
    assert rows["simulated"].tolist() == pytest.approx([n / (6 * 768 + n) for n in rows["seq_len"]], rel=1e-12)
    assert (rows["simulated"] - rows["published"]).abs().max() < 0.03


def test_share_grows_with_length_and_with_a_charged_softmax() -> None:
    here = made("flat", "share")
    for platform in ("edge", "cloud"):
        charged = here.select(mode=f"engine, {platform}")["simulated"].dropna()
        free = here.select(mode=f"engine, free softmax, {platform}")["simulated"].dropna()
        assert charged.is_monotonic_increasing
        assert (charged.to_numpy() > free.to_numpy()).all()
    assert here.select(mode="engine, edge", seq_len=65536)["simulated"].isna().all()


# Speedup

CORRECTED = {  # speedups reconstructed from FuseMax's rows of the corrected simulator, two digits
    ("cloud", "BERT"): {"512": 2.24, "2K": 1.90, "4K": 1.85, "8K": 1.82, "16K": 1.81, "64K": 1.84},
    ("cloud", "XLM"): {"512": 2.24, "4K": 1.59, "8K": 1.54, "64K": 1.68},
    ("edge", "BERT"): {"512": 1.00, "2K": 1.14, "4K": 1.13, "8K": 1.00, "16K": 1.00, "64K": 1.00},
    ("edge", "XLM"): {"512": 1.00, "4K": 1.00, "8K": 1.00, "64K": 1.00},
}


@pytest.mark.parametrize(("platform", "model"), CORRECTED)
def test_speedups_of_the_corrected_model(platform: str, model: str) -> None:
    rows = made("flat", "speedup").select(platform=platform, model=model, mode="flat-corrected", quantity="speedup")
    got = rows.set_index("seq_len")["simulated"]
    for length, wanted in CORRECTED[platform, model].items():
        assert got[length] == pytest.approx(wanted, abs=0.0051)


def test_headlines_that_do_and_do_not_reproduce() -> None:
    here = made("flat", "speedup")
    for mode in ("flat-corrected", "engine", "engine, free softmax"):
        edge = here.select(platform="edge", statement="body", seq_len="512-64K", quantity="speedup", mode=mode)
        assert edge["published"].item() == 1.75
        assert edge["simulated"].item() < 1.3
        assert edge["relative_error"].item() < -0.25
    cloud = here.select(platform="cloud", statement="body", seq_len="512-64K", quantity="speedup")
    modes = cloud.set_index("mode")["relative_error"]
    assert modes[["flat-corrected", "engine"]].abs().max() < 0.15
    assert here.select(platform="cloud", seq_len="64K", statement="body")["relative_error"].max() < -0.25


def test_speedups_are_at_least_one_and_the_number_of_heads_cancels() -> None:
    here = made("flat", "speedup")
    assert here.select(quantity="speedup")["simulated"].min() >= 1.0
    wanted = here.select(platform="cloud", model="T5", seq_len="2K", quantity="speedup", mode="engine")["simulated"]
    op = accsim.Attention(batch=64, heads=8, q_len=2048, kv_len=2048, head_dim=64)
    runs = {name: accsim.simulate(op, machine("cloud"), dataflow=name).latency_s for name in ("flat", "unfused")}
    assert runs["unfused"] / runs["flat"] == pytest.approx(wanted.item(), rel=2e-3)

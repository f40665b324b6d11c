"""Share of Logit and Attend in the run time of a layer, by sequence length: why attention is worth a dataflow."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.flat.runs import BATCH, BERT, ENGINE, FREE_SOFTMAX, machine, run
from accsim.figures.paper_figure import PaperFigure, beside, read_published
from accsim.published.flat_frame import TPU_V3, attention, attention_share_of_macs, layer_products
from accsim.report.result import Report
from accsim.validate.flat import PLATFORMS

LENGTHS = (512, 4096, 16384, 65536)
D_MODEL = BERT.heads * BERT.head_dim
D_FF = 4 * D_MODEL
PRODUCTS = ("gemm", "attention")
"""Kinds of op that the paper counts as a layer's run time."""


def rows() -> pd.DataFrame:
    """The share by the count of multiplications, by FRAME's roofline, and by the engine on both platforms."""
    found = [(length, mode, share) for length in LENGTHS for mode, share in _shares(length).items()]
    table = pd.DataFrame(found, columns=["seq_len", "mode", "simulated"])
    return beside(table.assign(quantity="L-A share", unit="1"), read_published(__file__))


def _shares(length: int) -> dict[str, float]:
    shares = {"multiplications": attention_share_of_macs(length, D_MODEL, D_FF), "flat-frame": _frame(length)}
    for platform in PLATFORMS:
        for mode, free in ((ENGINE, False), (FREE_SOFTMAX, True)):
            report = run(f"bert_base?seq={length}&batch={BATCH}", machine(platform, free), "unfused")
            shares[f"{mode}, {platform}"] = float("nan") if report is None else _of_report(report)
    return shares


def _frame(length: int) -> float:
    """Share by the roofline that FLAT's authors used."""
    scores = sum(op.latency_s(TPU_V3) for op in attention(BATCH, BERT.heads, length, BERT.head_dim, flat=False))
    rest = sum(op.latency_s(TPU_V3) for op in layer_products(BATCH, length, D_MODEL, D_FF))
    return scores / (scores + rest)


def _of_report(report: Report) -> float:
    """Attention's share in the ticks of the layers' products and attention."""
    ticks = {kind: sum(row.ticks * row.count for row in report.ops if row.op.kind == kind) for kind in PRODUCTS}
    return ticks["attention"] / sum(ticks.values())


def plot(rows: pd.DataFrame) -> Figure:
    """Bars by length."""
    figure, (axes,) = draw.panels("FLAT: share of Logit and Attend in the run time of a layer", 9.0, 4.2)
    table = rows.pivot(index="seq_len", columns="mode", values="simulated").loc[list(LENGTHS)]
    published = rows.drop_duplicates("seq_len").set_index("seq_len")["published"].loc[list(LENGTHS)]
    series = {draw.PUBLISHED: published.tolist()} | {mode: table[mode].tolist() for mode in rows["mode"].unique()}
    draw.bars(axes, [draw.tokens(length) for length in LENGTHS], series)
    draw.label(axes, "", "sequence length (tokens)", "share of run time")
    draw.add_legend(figure, [axes], 4)
    return figure


def notes(rows: pd.DataFrame) -> list[str]:
    """What differs and why."""
    of_macs = rows[rows["mode"] == "multiplications"]
    most = 100 * (of_macs["simulated"] - of_macs["published"]).abs().max()
    return [
        f"The published shares are those of the multiplications, N / (6 D + N), within {most:.1f} points; the paper "
        "names neither platform nor model. All runs here: BERT-base, batch 64, un-fused.",
        "engine: attention takes more, since its scores go to main memory and back twice, its softmax is charged "
        "(unless free), and a head width of 64 fills a quarter of the cloud's array. Multiplications show none of it.",
        "flat-frame: attention takes less, since FRAME gives a product without a batch (all those with weights) one of "
        "its four arrays alone.",
    ]


FIGURE = PaperFigure(
    "flat", "share", "Share of Logit and Attend in run time by length", "section 7, slide 7", rows, plot, notes
)

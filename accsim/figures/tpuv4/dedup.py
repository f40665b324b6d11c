"""Distinct rows of a batch by its size, and the busiest of many tiles with and without dedup."""

from __future__ import annotations

from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from accsim.embedding import EmbeddingSet, Feature, Popularity, Table, Valency, expected_imbalance, expected_unique
from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, beside, read_published
from accsim.report.plot_style import LIGHT
from accsim.workload.catalogue import load_workload

META: Final = "Meta's trace of 2022"
MIXTURE: Final = ((2.83e6, Popularity(0.915, 1.4), 76_500), (0.74e6, Popularity(1.12, 3560), 346_000))
"""Lookups a table of a file of 131,072 samples, law and rows of two kinds of tables fitted to it (embeddings.md)."""
TRACE_SAMPLES: Final = 131_072
MODELS: Final = {"MLPerf DLRM-DCNv2": "dlrm_dcnv2", "DLRM0-like": "dlrm0_like"}
SAMPLES: Final = (512, 2048, 8192, 32768, 131072, 524288)
EXPONENTS: Final = (0.0, 0.6, 0.8, 1.0, 1.2)
SHARDS, CHIPS, BATCH = 8192, 128, 262_144
"""Tiles of 128 chips of TPU v4, and a batch of 2048 samples a chip."""
SCOPES: Final = {"none": "no dedup", "source": "at the chip that asks", "owner": "at the owner"}
UNIQUE, RATIO = "unique fraction", "busiest tile over mean"


def rows() -> pd.DataFrame:
    """Unique fractions by batch, and imbalance by exponent of the rows' popularity."""
    found: list[tuple[object, ...]] = [
        (META, None, UNIQUE, "part", "fitted mixture", _unique(_mixture(), TRACE_SAMPLES))
    ]
    for case, model in MODELS.items():
        tables = load_workload(model).embeddings
        assert tables is not None
        found += [(case, samples, UNIQUE, "part", "expected", _unique(tables, samples)) for samples in SAMPLES]
    found += [
        (f"{META}, mixture", samples, UNIQUE, "part", "expected", _unique(_mixture(), samples)) for samples in SAMPLES
    ]
    for exponent in EXPONENTS:
        law = Popularity(exponent, 10)
        one = EmbeddingSet((Table("t", 10_000_000, 64, popularity=law),), (Feature("f", "t", Valency(20, 20)),))
        for scope, mode in SCOPES.items():
            ratio = expected_imbalance(one, BATCH, shards=SHARDS, dedup=scope, chips=CHIPS).ratio
            found.append((f"exponent {exponent:g}", exponent, RATIO, "x", mode, ratio))
    table = pd.DataFrame(found, columns=["case", "x", "quantity", "unit", "mode", "simulated"])
    return beside(table, read_published(__file__))


def _mixture() -> EmbeddingSet:
    """A table and a feature of each kind."""
    tables, features = [], []
    for i, (lookups, law, size) in enumerate(MIXTURE):
        tables.append(Table(f"t{i}", size, 64, popularity=law))
        bag = round(lookups / TRACE_SAMPLES)
        features.append(Feature(f"f{i}", f"t{i}", Valency(bag, bag)))
    return EmbeddingSet(tuple(tables), tuple(features))


def _unique(tables: EmbeddingSet, samples: int) -> float:
    """Of all tables together."""
    found = [(table.count, expected_unique(tables, table, samples)) for table in tables.tables]
    return sum(n * one.unique for n, one in found) / sum(n * one.lookups for n, one in found)


def plot(rows: pd.DataFrame) -> Figure:
    """Both."""
    figure, axes = draw.panels("Distinct rows of a batch, and the busiest tile", 10.0, 3.8, 1, 2)
    here = rows[(rows["quantity"] == UNIQUE) & rows["x"].notna()]
    names = list(dict.fromkeys(here["case"]))
    colour = draw.style([*names, *SCOPES.values()])
    for name, dash in zip(names, ("-o", "--s", "-.^"), strict=True):
        line = here[here["case"] == name]
        axes[0].plot(line["x"], line["simulated"], dash, color=colour[name], markersize=4, label=name)
    published = rows[rows["case"] == META]["published"].iloc[0]
    axes[0].plot([TRACE_SAMPLES], [published], "kx", markersize=8, label=f"{META}, counted")
    draw.values_axis(axes[0], SAMPLES, lambda n: draw.tokens(int(n)))
    axes[0].set_ylim(0, 1)
    draw.label(axes[0], "distinct rows over lookups", "samples of the batch", "unique fraction")
    for mode, dash in zip(SCOPES.values(), ("-o", "--s", "-.^"), strict=True):
        line = rows[(rows["quantity"] == RATIO) & (rows["mode"] == mode)]
        axes[1].plot(line["x"], line["simulated"], dash, color=colour[mode], markersize=4, label=mode)
    draw.log_axis(axes[1])
    axes[1].grid(color=LIGHT, linewidth=0.6)
    draw.label(axes[1], f"busiest of {SHARDS:,} tiles, {BATCH:,} samples", "exponent of popularity", "over the mean")
    draw.add_legend(figure, axes, 4)
    return figure


def notes(rows: pd.DataFrame) -> list[str]:
    """What it shows."""
    value = rows[rows["case"] == META].iloc[0]
    worst = rows[(rows["quantity"] == RATIO) & (rows["x"] == 1.0)].set_index("mode")["simulated"]
    return [
        f"{META}: {value['simulated']:.4f} from two kinds of tables fitted to its histogram of reuse, counted "
        f"{value['published']} ({value['relative_error']:+.1%}); bags are rounded to whole sizes.",
        f"A table of 10^7 rows, 20 a bag, exponent 1: the busiest tile has {worst['no dedup']:.0f} times the mean "
        f"without dedup, {worst['at the chip that asks']:.2f} if chips ask once, {worst['at the owner']:.2f} if owners "
        "fetch once. A hot row cannot be divided, so only dedup helps.",
        "All from statistics; docs/embeddings.md holds them against traces.",
    ]


FIGURE = PaperFigure(
    "tpuv4", "dedup", "Distinct rows by batch, and the busiest tile with and without dedup",
    "facebookresearch/dlrm_datasets, 2022; else our own", rows, plot, notes,
)  # fmt: skip

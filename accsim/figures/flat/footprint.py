"""What FLAT keeps in the buffer at each granularity (Table 1), and the sizes of attention's tensors (slide 11)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from accsim.config.catalogue import load_accelerator
from accsim.figures import draw
from accsim.figures.flat.runs import BERT, CORRECTED, ENGINE, attention, machine, shape
from accsim.figures.paper_figure import PaperFigure, beside, read_published
from accsim.mapping.flat import Flat
from accsim.published.flat_corrected import FlatMapping, footprint_bytes, platform_of
from accsim.report.result import OpRow
from accsim.report.simulate import simulate
from accsim.workload.ops import Attention

TABLE, SLIDE = "live footprint", "tensor size"
LENGTH, TILE_ROWS = 4096, 256
GRANULARITIES = {"M": "batch_head", "B": "batch", "H": "head", "R": "row"}
SIZES = (512, 2048, 14336)
ROOM = {"memories.sg.capacity": "60 GiB", "memories.dram.capacity": "128 GiB"}
"""A cloud machine whose buffer holds even granularity M."""


def rows() -> pd.DataFrame:
    """Bytes that the engine reserves, and those it moves of each tensor."""
    found = [(LENGTH, what, TABLE, ENGINE, reserved_bytes(granularity)) for what, granularity in GRANULARITIES.items()]
    found += [
        (LENGTH, what, TABLE, CORRECTED, _corrected_bytes(tile)) for what, tile in (("H", LENGTH), ("R", TILE_ROWS))
    ]
    found += [(length, what, SLIDE, ENGINE, size) for length in SIZES for what, size in moved_bytes(length).items()]
    table = pd.DataFrame(found, columns=["seq_len", "what", "quantity", "mode", "simulated"])
    return beside(table.assign(unit="B"), read_published(__file__))


def reserved_bytes(granularity: str) -> float:
    """Slots times slot bytes of all buffers, everything staged, one key block a head, stages one after the other."""
    acc = load_accelerator("flat_cloud", set=ROOM)
    op = attention(BERT, LENGTH)
    mapping = Flat(
        granularity, TILE_ROWS if granularity == "row" else None, op.kv_len, "qkvo", False, "output_stationary", spill=0
    )
    (points,) = mapping.space(op, acc)
    block = mapping.lower(op, acc, points, actions=False).block
    return float((block.slots * block.slot_bytes).sum())


def _corrected_bytes(tile_rows: int) -> float:
    mapping = FlatMapping(tile_rows, False, False, True, True, True, True, True)
    return float(footprint_bytes(shape(BERT, LENGTH), platform_of(machine("cloud")), mapping))


def moved_bytes(length: int) -> dict[str, float]:
    """Bytes of L that un-fused Logit writes, and of Q, K, V and O that FLAT reads and writes, each once."""
    op = Attention(batch=1, heads=16, q_len=length, kv_len=length, head_dim=64)
    fused = simulate(op, machine("cloud"), dataflow=Flat(staged="qkvo", rows=TILE_ROWS, spill=0)).ops[0].actions
    return {"L": _written(simulate(op, machine("cloud"), dataflow="unfused").ops[0]), "Q, K, V": fused["read.dram"],
            "O": fused["write.dram"]}  # fmt: skip


def _written(row: OpRow) -> float:
    """Bytes that the first program of an op, Logit, writes to main memory."""
    logit = row.parts[0]
    return logit.counters.actions["write.dram"] * logit.copies


def plot(rows: pd.DataFrame) -> Figure:
    """Table 1 on the left, slide 11 on the right."""
    figure, axes = draw.panels("FLAT: what is kept on the chip, and how large the tensors are", 10, 4.2, 1, 2)
    for panel, quantity, scale, unit in ((axes[0], TABLE, 2**20, "MiB"), (axes[1], SLIDE, 1e6, "MB")):
        some = rows[rows["quantity"] == quantity]
        cases = some[["what", "seq_len"]].drop_duplicates()
        wide = some.pivot(index=["what", "seq_len"], columns="mode", values="simulated") / scale
        published = some.drop_duplicates(["what", "seq_len"])["published"] / scale
        modes = {mode: [wide[mode][tuple(case)] for case in cases.to_numpy()] for mode in some["mode"].unique()}
        groups = [what if quantity == TABLE else f"{what}\n{draw.tokens(length)}" for what, length in cases.to_numpy()]
        draw.bars(panel, groups, {draw.PUBLISHED: published.tolist(), **modes}, digits=1)
        draw.log_axis(panel)
        x = "granularity" if quantity == TABLE else "tensor, sequence length"
        draw.label(panel, f"{quantity} ({'Table 1' if quantity == TABLE else 'slide 11'})", x, unit)
    draw.add_legend(figure, axes)
    return figure


def notes(rows: pd.DataFrame) -> list[str]:
    """What differs and why."""
    table = rows[rows["quantity"] == TABLE]
    equal = np.array_equal(table["simulated"], table["published"])
    rounded = 100 * rows[rows["quantity"] == SLIDE]["relative_error"].abs().max()
    return [
        f"Table 1 is met {'to the byte' if equal else 'NOT exactly'}: two of each tile of Q, K, V and O, one of the "
        "scores. The engine reserves that with one key block a head and its stages one after the other; pipelined it "
        "holds two tiles of scores, and where Attend sums several key blocks, O in fp32.",
        f"Slide 11 is met within {rounded:.1f} %: it rounds, and gives Q, K, V and O in MiB up to 2K. L is what "
        "un-fused Logit writes, 2 H N² bytes; Q, K, V and O are what FLAT reads and writes, each once.",
    ]


FIGURE = PaperFigure(
    "flat", "footprint", "Live footprints at each granularity, and tensor sizes", "Table 1, slide 11", rows, plot, notes
)

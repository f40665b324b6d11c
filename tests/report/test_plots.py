"""The figures: what they show, and that they can be read."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from matplotlib.text import Annotation

import accsim
from accsim.report.excerpt import excerpt
from accsim.report.plot_buffers import bytes_in_use
from accsim.report.plot_energy import energy_by_kind
from accsim.report.plot_roofline import main_memory_rate, peaks, roofline_points
from accsim.report.plot_style import COLOURS, prefix_of
from tests.report.shipped import PAIRS, report
from tests.report.test_trace_events import by_hand

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("roofline", "energy", "utilization", "timeline", "buffers")
SHOWN = [("tpu_v4", "llama3_8b_prefill"), ("flat_cloud", "bert_base"), ("h100_sxm", "llama3_8b_decode")]
shown = pytest.mark.parametrize(("machine", "workload"), SHOWN)


def drawn(machine: str, workload: str, kind: str) -> Figure:
    figure: Figure = getattr(report(machine, workload), f"plot_{kind}")()
    figure.draw_without_rendering()
    return figure


@pytest.mark.parametrize("kind", KINDS)
@shown
def test_nothing_is_cut_off_and_no_text_covers_another(machine: str, workload: str, kind: str) -> None:
    figure = drawn(machine, workload, kind)
    axes = figure.axes[0]
    ticks = [
        label
        for labels, (low, high), way in (
            (axes.get_xticklabels(), axes.get_xlim(), 0),
            (axes.get_yticklabels(), sorted(axes.get_ylim()), 1),
        )
        for label in labels
        if low <= label.get_position()[way] <= high
    ]
    texts = [*axes.texts, *ticks, axes.xaxis.label, axes.yaxis.label, axes.title]
    boxes = {t: t.get_window_extent() for t in texts if t.get_text()}
    if kind == "roofline":  # its arrows, which belong to an annotation's extent, may cross
        boxes |= {t: super(Annotation, t).get_window_extent() for t in axes.texts}
    for text, box in boxes.items():
        assert figure.bbox.x0 <= box.x0, text
        assert box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0, text
        assert box.y1 <= figure.bbox.y1, text
    slope = {t for t in axes.texts if t.get_rotation()}  # the box around a slanted text is larger than the text
    titles = {axes.title}
    for one, other in combinations(boxes.keys() - slope - titles, 2):
        assert not boxes[one].padded(-1).overlaps(boxes[other].padded(-1)), (one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_axes_say_what_they_show(kind: str) -> None:
    axes = drawn("tpu_v4", "llama3_8b_prefill", kind).axes
    said = " ".join(ax.get_xlabel() + ax.get_ylabel() for ax in axes)
    for word in {
        "roofline": ("operations per byte", "operations per second"),
        "energy": ("J)",),
        "utilization": ("busy time", "share of time"),
        "timeline": ("s)",),
        "buffers": ("s)", "in use (", "iB)"),
    }[kind]:
        assert word in said
    assert "llama3_8b_prefill" in axes[0].texts[0].get_text()
    assert "tpu_v4" in axes[0].texts[0].get_text()


# Roofline


@pytest.mark.parametrize(
    ("machine", "workload"), [pair for pair in PAIRS if pair[1] in ("bert_base", "llama3_8b_decode")]
)
def test_no_op_lies_above_the_roof(machine: str, workload: str) -> None:
    rep = report(machine, workload)
    acc = rep.accelerator
    tops = peaks(acc, ["bf16"])
    for point in roofline_points(rep):
        top = tops["matrix bf16" if point.matrix else "vector"]
        assert point.rate <= min(top, point.intensity * main_memory_rate(acc)) * (1 + 1e-9), point.row.names


def test_ceilings_by_hand() -> None:
    # FLAT's edge platform: 32 x 32 array and 32 lanes at 940 MHz, DRAM 50 GiB/s for reads and writes together.
    acc = accsim.load_accelerator("flat_edge")
    assert peaks(acc, ["bf16"])["matrix bf16"] == pytest.approx(2 * 1024 * 940e6)
    assert peaks(acc, ["bf16"])["vector"] == pytest.approx(32 * 940e6)
    assert main_memory_rate(acc) == pytest.approx(50 * 2**30)
    apart = accsim.load_accelerator("flat_edge", set={"memories.dram.shared_bandwidth": False})
    assert main_memory_rate(apart) == pytest.approx(100 * 2**30)


def test_a_point_by_hand() -> None:
    rep = accsim.simulate(accsim.Gemm(m=256, n=256, k=256), "flat_edge")
    (point,) = roofline_points(rep)
    moved = rep.traffic_bytes["dram"]["read"] + rep.traffic_bytes["dram"]["write"]
    assert point.intensity == pytest.approx(2 * 256**3 / moved)
    assert point.rate == pytest.approx(2 * 256**3 / rep.latency_s)
    assert (point.share, point.matrix) == (1.0, True)


def test_ops_with_nothing_to_show_make_an_empty_roofline() -> None:
    copy = accsim.simulate("llama3_8b_prefill?seq=64", "tpu_v4")
    only = [row for row in copy.ops if row.op.flop == 0 and not any(row.op.vector_ops.values())]
    assert only, "an op that only moves data"
    rep = replace(copy, ops=tuple(only))
    assert roofline_points(rep) == []
    rep.plot_roofline().draw_without_rendering()


# The others


@shown
def test_energy_bars_add_up(machine: str, workload: str) -> None:
    rep = report(machine, workload)
    axes = rep.plot_energy().axes[0]
    scale, _ = prefix_of(max(sum(parts.values()) for parts in energy_by_kind(rep).values()))
    widths = sum(patch.get_width() for patch in axes.patches)
    assert widths * scale == pytest.approx(rep.energy_j)
    legend = axes.get_legend()
    assert legend is not None
    assert {t.get_text() for t in legend.get_texts()} == {p for p, joules in rep.energy_breakdown_j.items() if joules}


@shown
def test_utilization_shows_the_shares(machine: str, workload: str) -> None:
    rep = report(machine, workload)
    axes = rep.plot_utilization().axes[0]
    columns = [label.get_text() for label in axes.get_xticklabels()]
    cells = {(round(t.get_position()[1]), columns[round(t.get_position()[0])]): t.get_text() for t in axes.texts[1:]}
    assert set(columns) == {name for name, share in rep.utilization.items() if share}
    for name in columns:
        assert cells[0, name] == f"{100 * rep.utilization[name]:.0f} %"
    longest = max(rep.ops, key=lambda row: row.count * row.ticks)
    for name in columns:
        busy = sum(part.counters.busy.get(name, 0) for part in longest.parts)
        assert cells[1, name] == (f"{100 * busy / longest.ticks:.0f} %" if busy else "-")


def bars(figure: Figure) -> dict[str, list[tuple[float, float]]]:
    """Row of a timeline -> start and end of each bar."""
    axes = figure.axes[0]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    found: dict[str, list[tuple[float, float]]] = {row: [] for row in rows}
    for collection in axes.collections:
        assert isinstance(collection, PolyCollection)
        for path in collection.get_paths():
            box = path.get_extents()
            found[rows[round((box.y0 + box.y1) / 2)]].append((box.x0, box.x1))
    return {row: sorted(spans) for row, spans in found.items()}


def test_timeline_by_hand() -> None:
    found = bars(by_hand().plot_timeline())
    assert found["multiplier"] == [pytest.approx(span) for span in ((1, 3), (3, 5), (5, 7))]
    assert found["dma"] == [pytest.approx(span) for span in ((0, 1), (1, 2), (3, 4))]
    assert found["port"] == [pytest.approx(span) for span in ((0, 0.5), (1, 1.5), (3, 3.5))]


def test_a_timeline_ends_where_firings_are_missing() -> None:
    # After four firings the next one, multiplication 1, starts at 3.
    figure = by_hand().plot_timeline(most_firings=4)
    assert figure.axes[0].get_xlim() == pytest.approx((0, 3))
    assert "the first 3 of 6 firings" in figure.axes[0].get_title(loc="left")
    assert bars(figure)["multiplier"] == [pytest.approx((1, 3))]


def test_timeline_of_a_named_op() -> None:
    rep = report("flat_cloud", "bert_base")
    assert "ffn_up" in rep.plot_timeline("ffn_up").axes[0].get_title(loc="left")
    with pytest.raises(accsim.InputError, match="Did you mean 'ffn_up'"):
        rep.plot_timeline("ffn_upp")
    with pytest.raises(accsim.InputError, match="fidelity"):
        report("flat_edge", "bert_base", "analytic").plot_timeline()


def test_nothing_global_changes() -> None:
    code = (
        "import sys, accsim; r = accsim.simulate('gemm?m=64&n=64&k=64', 'flat_edge')\n"
        "for kind in ('roofline', 'energy', 'utilization', 'timeline', 'buffers'): getattr(r, 'plot_' + kind)()\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
    before = dict(rcParams)
    drawn("flat_edge", "attention_layer", "roofline")
    assert dict(rcParams) == before


def test_colours_are_those_of_okabe_and_ito() -> None:
    # Okabe and Ito, Color Universal Design, 2008, as RGB of 0 to 255.
    table = {
        (0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
        (204, 121, 167),
    }  # fmt: skip
    assert {tuple(bytes.fromhex(colour[1:])) for colour in COLOURS} == table


@pytest.mark.parametrize(("value", "expected"), [(0.0, (1.0, "")), (3.2e-3, (1e-3, "m")), (1e-15, (1e-12, "p"))])
def test_prefix(value: float, expected: tuple[float, str]) -> None:
    assert prefix_of(value) == expected


# Buffers, and the timeline by stage

SHORT = accsim.Attention(batch=1, heads=2, q_len=64, kv_len=64, head_dim=32)
FLOWS = {
    "unfused": accsim.Unfused(),
    "flat": accsim.Flat(rows=16, block_kv=16, staged="qkvo", pipelined=True),
    "spilled": accsim.Flat(rows=16, block_kv=16, staged="qo", pipelined=True, spill=2),
    "flash1": accsim.Flash1(block_q=16, block_kv=16),
    "flash2": accsim.Flash(block_q=16, block_kv=16, pipeline=True),
}
flows = pytest.mark.parametrize("flow", FLOWS)


@cache
def short(flow: str, machine: str = "flat_edge") -> accsim.Report:
    return accsim.simulate(SHORT, machine, dataflow=FLOWS[flow])


def areas(axes: Axes) -> dict[str, float]:
    """Buffer -> area of what is drawn for it, by Gauss's formula."""
    found = {}
    for collection in axes.collections:
        assert isinstance(collection, PolyCollection)
        (path,) = collection.get_paths()
        x, y = path.vertices.T
        found[str(collection.get_label())] = abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2
    return found


@flows
def test_the_area_of_a_buffer_is_what_the_engine_counted(flow: str) -> None:
    rep = short(flow)
    (axes,) = rep.plot_buffers(most_firings=1_000).axes
    counted: dict[str, float] = {}
    for step, part in zip(rep.ops[0].steps, rep.ops[0].parts, strict=True):
        for buffer in step.program.buffers:
            held = part.counters.occupancy[buffer.name].slot_ticks * buffer.slot_bytes
            counted[buffer.name] = counted.get(buffer.name, 0.0) + held
    seconds = {"(us)": 1e-6, "(ms)": 1e-3}[axes.get_xlabel().split()[-1]]
    unit = {"bytes)": 1, "(KiB)": 1024}[axes.get_ylabel().split()[-1]]
    per_tick = seconds * unit / (1 / accsim.TICKS_PER_CYCLE / rep.clock_hz)
    assert {name: area * per_tick for name, area in areas(axes).items()} == pytest.approx(counted)


@flows
def test_a_buffer_never_has_more_in_use_than_its_peak(flow: str) -> None:
    row = short(flow).ops[0]
    shown = excerpt(short(flow), None, 1_000)
    ticks, found = bytes_in_use(shown, "sg")
    assert (ticks[0], ticks[-1]) == (0, shown.end)
    for part, step, run in zip(shown.programs, row.steps, row.parts, strict=True):
        within = (ticks >= part.begin) & (ticks < part.begin + part.end)
        for buffer in step.program.buffers:
            peak = run.counters.occupancy[buffer.name].peak * buffer.slot_bytes
            assert 0 <= found[buffer.name][within].min() <= found[buffer.name][within].max() <= peak
            assert found[buffer.name].max() > 0


def test_lines_of_what_is_reserved_and_of_the_capacity() -> None:
    # q 2 x 1 KiB, k and v 2 x 4 x 1 KiB, scores 2 x 4 x 1/2 KiB, out in fp32 2 x 2 KiB.
    axes = short("flat").plot_buffers().axes[0]
    (reserved,) = (patch for patch in axes.patches if isinstance(patch, StepPatch))
    assert reserved.get_data().values.tolist() == [2 + 2 * 8 + 4 + 4]
    assert axes.get_ylabel() == "sg in use (KiB)"
    assert [line for line in axes.get_lines() if len(line.get_xdata())] == [], "512 KiB would press it flat"
    small = accsim.load_accelerator("flat_edge", set={"memories.sg.capacity": "32 KiB"})
    (line,) = accsim.simulate(SHORT, small, dataflow=FLOWS["flat"]).plot_buffers().axes[0].get_lines()
    assert line.get_ydata() == [32, 32]


def test_an_op_without_sized_buffers_has_an_empty_picture() -> None:
    axes = by_hand().plot_buffers().axes[0]
    assert [text.get_text() for text in axes.texts][1:] == ["no buffer of a size"]


def test_registers_have_axes_of_their_own() -> None:
    rep = accsim.simulate(
        "attention?batch=16&heads=16&q_len=2048&kv_len=2048&head_dim=128", "h100_sxm", dataflow="flash"
    )
    assert [axes.get_ylabel() for axes in rep.plot_buffers().axes] == ["registers in use (KiB)", "smem in use (KiB)"]


@flows
def test_a_short_op_is_shown_with_all_its_programs(flow: str) -> None:
    rep = short(flow)
    shown = excerpt(rep, None, 1_000)
    assert [part.program for part in shown.programs] == [step.program for step in rep.ops[0].steps]
    assert shown.end == rep.ops[0].ticks - rep.ops[0].parts[0].overhead_ticks
    axes = rep.plot_timeline(most_firings=1_000, by="stage", buffers=True).axes
    assert axes[0].get_xlim() == axes[1].get_xlim() == (0, pytest.approx(shown.end * shown.scale[0]))
    named = {"unfused": "", "spilled": ", flat qo pipelined spilled"}.get(flow, f", {shown.programs[0].program.name}")
    assert axes[0].get_title(loc="left").strip() == f"Timeline of attention{named}"


def test_timeline_by_stage_by_hand() -> None:
    figure = by_hand().plot_timeline(by="stage")
    found = bars(figure)
    assert found["multiply"] == [pytest.approx(span) for span in ((1, 3), (3, 5), (5, 7))]
    assert found["load"] == [pytest.approx(span) for span in ((0, 1), (1, 2), (3, 4))]
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written[1:] == ["dma", "multiplier", "tile: tile", *"012", *"012"]
    for collection in figure.axes[0].collections:
        assert len({tuple(colour) for colour in collection.get_facecolor()}) == 3


def test_tiles_are_numbered_by_the_levels_around_the_innermost() -> None:
    shown = excerpt(short("flash2"), None, 1_000)
    levels = [level.name for level in shown.programs[0].program.levels]
    assert [levels[depth] for depth in shown.programs[0].tile_levels] == ["head", "row"]


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("by", ["stage", "resource"])
def test_texts_of_a_timeline_with_buffers_are_apart(flow: str, by: str) -> None:
    figure = short(flow).plot_timeline(most_firings=1_000, by=by, buffers=True)
    figure.draw_without_rendering()
    texts = [text for axes in figure.axes for text in (*axes.texts, axes.xaxis.label, axes.yaxis.label)]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    legends = [axes.get_legend() for axes in figure.axes]
    boxes += [legend.get_window_extent() for legend in legends if legend is not None]
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    for one, other in combinations(boxes, 2):
        assert not one.padded(-1).overlaps(other.padded(-1))


def test_what_a_row_of_a_timeline_can_be() -> None:
    with pytest.raises(accsim.InputError, match="Did you mean 'stage'"):
        by_hand().plot_timeline(by="stages")


def test_launches_that_take_no_time_do_not_end_a_timeline() -> None:
    # Blocks of a GPU's grid are all launched at 0, those of the next wave after the first firings in issue order.
    work = "gemm?m=6&n=2816&k=2048&batch=64"
    rep = accsim.simulate(work, "h100_pcie", dataflow=accsim.ThreadBlocks(tile_m=8, tile_n=16, split_k=1))
    shown = excerpt(rep, None, 60)
    assert shown.end > 0
    assert sum(firing.end > firing.start for part in shown.programs for firing in part.firings) >= 20

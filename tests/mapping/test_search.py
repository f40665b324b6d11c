"""The search against running every mapping, with the rules of docs/search.md written out once more; its laws."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim.config.catalogue import load_accelerator
from accsim.config.machine import Accelerator
from accsim.engine.energy import energy_of, price_list
from accsim.engine.run import run_program
from accsim.mapping.base import Dataflow
from accsim.mapping.compiled import CompiledDataflow, Points, bounds, run_points
from accsim.mapping.goal import DIMENSIONS, OBJECTIVES, Constraint, Costs, Goal, preference, read_constraints, stack
from accsim.mapping.search import search, search_all
from accsim.workload.ops import Attention, Gemm, Op, Softmax

TICKS = 4096
HEADS = Attention(batch=1, heads=2, q_len=48, kv_len=96, head_dim=16)
CASES: dict[str, tuple[str, dict[str, str], CompiledDataflow, Op]] = {
    "gemm": ("flat_edge", {}, accsim.OutputStationary(), Gemm(100, 70, 96)),
    "gemm on two cores": ("tpu_v4", {}, accsim.WeightStationary(), Gemm(300, 200, 256)),
    "launches": ("h100_sxm", {}, accsim.ThreadBlocks(), Gemm(256, 192, 256)),
    "flash": ("flat_edge", {"memories.sg.capacity": "64 KiB"}, accsim.Flash(), HEADS),
    "flat": (
        "flat_edge",
        {"memories.sg.capacity": "40 KiB"},
        accsim.Flat(softmax=None, stationary="output_stationary"),
        HEADS,
    ),
    "softmax": ("systolic_128", {}, accsim.Streamed(), Softmax(100, 300)),
}


class Row(NamedTuple):
    """A mapping run on its own: its costs in the order and the units of ``Costs``."""

    mapping: Dataflow
    latency: float
    energy: float
    traffic: float
    footprint: float

    def of(self, quantity: str) -> float:
        """A quantity by name."""
        if quantity == "edp":
            return self.energy * self.latency
        return self.energy / self.latency if quantity == "power" else float(getattr(self, quantity))


def cost_of(mapping: Dataflow, op: Op, acc: Accelerator) -> Row:
    """What a complete mapping costs, from its programs."""
    latency = energy = traffic = footprint = 0.0
    launch = acc.overheads["op"].time_s if "op" in acc.overheads else 0.0
    for step in mapping.steps(op, acc):
        run = run_program(step.program, attribution=False)
        # An overhead is a whole number of ticks.
        latency += run.total_ticks / TICKS / acc.clock_hz + round(launch * acc.clock_hz * TICKS) / TICKS / acc.clock_hz
        counts = {action: count * step.copies for action, count in run.actions.items()}
        energy += energy_of(counts, price_list(acc, op.dtype), 0.0, 0.0).total_j
        main = acc.main_memory.name
        traffic += counts.get(f"read.{main}", 0.0) + counts.get(f"write.{main}", 0.0)
        local = [b.slots * b.slot_bytes for b in step.program.buffers if b.memory == acc.memories[0].name]
        footprint = max(footprint, sum(local))
    return Row(mapping, latency, energy + acc.power.idle_w * latency, float(round(traffic)), footprint)


@lru_cache
def every(case: str, fine: bool = False) -> tuple[Accelerator, tuple[Row, ...]]:
    """Every mapping of a case that fits, run on its own."""
    machine, changed, dataflow, op = CASES[case]
    acc = load_accelerator(machine, set=changed)
    rows = []
    for points in (dataflow.fine_space if fine else dataflow.space)(op, acc):
        fits = dataflow.lower(op, acc, points, actions=False).fits()
        for i in np.flatnonzero(fits):
            rows.append(cost_of(dataflow.complete(op, acc, points, int(i)), op, acc))
    return acc, tuple(rows)


def choose(rows: list[Row], objective: str) -> Row:
    """The best of some mappings by the rules of docs/search.md."""

    def tied(rows: list[Row], quantity: str) -> list[Row]:
        least = min(row.of(quantity) for row in rows)
        return [row for row in rows if row.of(quantity) <= least * (1 + 1e-5)]

    left = tied(rows, objective)
    if objective in ("traffic", "footprint"):
        left = tied(left, "latency")
    return min(left, key=lambda row: (row.traffic, row.footprint, row.energy))


def close(costs: Costs[float], row: Row) -> bool:
    """Whether costs are those of a row; of equal mappings either may be taken."""
    return tuple(costs) == pytest.approx(row[1:], rel=1e-9)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("case", CASES)
def test_search_is_running_everything(case: str, objective: str) -> None:
    acc, rows = every(case)
    _, _, dataflow, op = CASES[case]
    found = search(dataflow, op, acc, objective)
    assert found.feasible == len(rows)
    assert close(found.best.costs, choose(list(rows), objective))
    assert close(found.best.costs, cost_of(found.mapping, op, acc))
    others = [row for row in rows if row.mapping != found.mapping]
    (runner_up,) = found.runners_up
    assert runner_up.mapping != found.mapping
    assert close(runner_up.costs, cost_of(runner_up.mapping, op, acc))
    assert runner_up.costs.of(objective) <= min(row.of(objective) for row in others) * (1 + 1e-5) ** 2


@pytest.mark.parametrize("quantity", DIMENSIONS)
@pytest.mark.parametrize("case", ["gemm", "launches", "flash"])
def test_constraints_are_kept_and_cost_no_more_than_they_must(case: str, quantity: str) -> None:
    acc, rows = every(case)
    _, _, dataflow, op = CASES[case]
    values = sorted(row.of(quantity) for row in rows)
    for limit in {values[0] * (1 + 1e-9), values[len(values) // 2] * (1 + 1e-9)}:
        for objective in OBJECTIVES:
            found = search(dataflow, op, acc, Goal(objective, (Constraint(quantity, limit),)))
            assert found.best.costs.of(quantity) <= limit
            allowed = [row for row in rows if row.of(quantity) <= limit]
            assert close(found.best.costs, choose(allowed, objective))
    below = Constraint(quantity, values[0] * 0.99)
    with pytest.raises(accsim.MappingError, match=rf"keeps {quantity} <= .*\n.*: the least {quantity} is"):
        search(dataflow, op, acc, Goal("latency", (below,)))


def test_constraints_that_exclude_each_other_are_told() -> None:
    acc, rows = every("flash")
    _, _, dataflow, op = CASES["flash"]
    fastest = min(row.latency for row in rows) * 1.001
    smallest = min(row.footprint for row in rows)
    assert not any(row.latency <= fastest and row.footprint <= smallest for row in rows)
    limits = (Constraint("latency", fastest), Constraint("footprint", smallest))
    with pytest.raises(accsim.MappingError, match="each constraint is kept alone, not all at once: the least latency"):
        search(dataflow, op, acc, Goal("latency", limits))


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_no_listed_mapping_is_better(data: st.DataObject) -> None:
    draw = data.draw
    changed = {
        "memories.sg.capacity": f"{draw(st.integers(24, 200))} KiB",
        "memories.dram.read_bandwidth": f"{draw(st.integers(1, 200))} GB/s",
        "vector_unit.lanes": draw(st.sampled_from([4, 32, 256])),
    }
    acc = load_accelerator("flat_edge", set=changed)
    size = st.integers(1, 200)
    if draw(st.booleans()):
        op: Op = Gemm(draw(size), draw(size), draw(size), batch=draw(st.integers(1, 3)), weights=False)
        dataflow: CompiledDataflow = draw(st.sampled_from([accsim.OutputStationary(), accsim.InputStationary()]))
    else:
        causal = draw(st.booleans())
        q_len = draw(size)
        op = Attention(1, 2, q_len, q_len if causal else draw(size), draw(st.sampled_from([16, 64])), causal=causal)
        dataflow = draw(st.sampled_from([accsim.Flash(), accsim.Flat(softmax=None)]))
    goal = Goal(draw(st.sampled_from(OBJECTIVES)), (), draw(st.sampled_from(["standard", "exhaustive"])))
    try:
        found = search(dataflow, op, acc, goal)
    except accsim.MappingError:
        return
    for points in draw(st.lists(st.sampled_from(dataflow.space(op, acc)), min_size=1, max_size=4)):
        i = draw(st.integers(0, len(points.table) - 1))
        if dataflow.lower(op, acc, Points(points.variant, points.table[i : i + 1]), actions=False).fits()[0]:
            listed = cost_of(dataflow.complete(op, acc, points, i), op, acc)
            assert found.cost <= listed.of(goal.objective) * (1 + 1.1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("case", ["flash", "flat"])
def test_a_fine_search_is_exact_and_never_worse(case: str, objective: str) -> None:
    acc, rows = every(case, True)
    _, _, dataflow, op = CASES[case]
    assert {row.mapping for row in rows} > {row.mapping for row in every(case)[1]}
    found = search(dataflow, op, acc, Goal(objective, (), "exhaustive"))
    assert close(found.best.costs, choose(list(rows), objective))
    assert found.cost <= search(dataflow, op, acc, objective).cost * (1 + 1e-5)


BASE = (1.0, 5.0, 100.0, 10.0)
TIES: list[tuple[str, list[tuple[float, ...]], int]] = [
    # within 1e-5 of the least: traffic decides, whatever the others are
    ("latency", [BASE, (1.000009, 9.0, 99.0, 99.0)], 1),
    ("latency", [BASE, (1.000011, 1.0, 1.0, 1.0)], 0),
    # then the footprint, then the energy, then who is listed first
    ("latency", [BASE, (1.000009, 9.0, 100.0, 9.0)], 1),
    ("latency", [BASE, (1.000009, 4.0, 100.0, 10.0)], 1),
    ("latency", [BASE, BASE], 0),
    # a tie is with the least, not with a neighbour
    ("latency", [BASE, (1.000009, 5.0, 99.0, 10.0), (1.000018, 5.0, 1.0, 1.0)], 1),
    ("energy", [BASE, (9.0, 5.00004, 99.0, 99.0)], 1),
    ("edp", [BASE, (2.0, 2.5, 99.0, 99.0)], 1),
    # what does not depend on time: the fastest, within 1e-5 of that one what moves less, then what is smaller
    ("traffic", [BASE, (0.9, 9.0, 100.0005, 99.0)], 1),
    ("traffic", [BASE, (0.9, 9.0, 100.01, 1.0)], 0),
    ("traffic", [BASE, (1.000009, 5.0, 100.0, 9.0)], 1),
    ("footprint", [BASE, (0.9, 9.0, 999.0, 10.0)], 1),
    ("footprint", [BASE, (1.000009, 9.0, 99.0, 10.0)], 1),
]


@pytest.mark.parametrize(("objective", "costs", "best"), TIES)
def test_ties(objective: str, costs: list[tuple[float, ...]], best: int) -> None:
    stacked = stack([Costs(*one) for one in costs])
    assert preference(stacked, objective)[0] == best
    names = [Row(Gemm, *one) for one in costs]  # type: ignore[arg-type]
    assert choose(names, objective)[1:] == costs[best]


@pytest.mark.parametrize("objective", ["latency", "energy", "traffic", "footprint"])
def test_parts_that_follow_one_another_are_searched_exactly(objective: str) -> None:
    acc = load_accelerator("flat_edge", set={"memories.sg.capacity": "40 KiB"})
    op = Attention(1, 2, 40, 40, 16)
    found = search(accsim.Unfused(), op, acc, objective)
    assert close(found.best.costs, cost_of(found.mapping, op, acc))
    best = [
        search_all(part.options, part.op, acc, Goal(objective)) for part in accsim.Unfused().parts(op, acc).values()
    ]
    total = max if objective == "footprint" else sum
    assert found.cost <= total(one.cost for one in best) * (1 + 1e-5)
    assert found.runners_up[0].costs.of(objective) >= found.cost


def test_limits_of_the_whole_hold_for_parts_that_follow_one_another() -> None:
    acc = load_accelerator("flat_edge", set={"memories.sg.capacity": "64 KiB"})
    op = Attention(1, 2, 200, 200, 64)
    free = search(accsim.Unfused(), op, acc, "latency")
    least = search(accsim.Unfused(), op, acc, "traffic")
    assert least.cost < free.best.costs.traffic_bytes
    limit = (least.cost + free.best.costs.traffic_bytes) / 2
    found = search(accsim.Unfused(), op, acc, Goal("latency", (Constraint("traffic", limit),)))
    assert found.best.costs.traffic_bytes <= limit
    assert free.cost <= found.cost <= least.best.costs.latency_s
    with pytest.raises(accsim.MappingError, match=r"Unfused: traffic <= .*: the least traffic is"):
        search(accsim.Unfused(), op, acc, Goal("latency", (Constraint("traffic", least.cost - 1),)))


def test_what_is_given_in_a_part_is_kept() -> None:
    acc = load_accelerator("flat_edge")
    given = accsim.Unfused(logit=accsim.WeightStationary(tile_m=32))
    found = search(given, HEADS, acc).mapping
    assert isinstance(found, accsim.Unfused)
    assert isinstance(found.logit, accsim.WeightStationary)
    assert found.logit.tile_m == 32


MACHINES = [
    ("flat_edge", {}),
    ("flat_edge", {"memories.sg.capacity": "48 KiB"}),
    ("tpu_v4", {}),
    ("h100_sxm", {}),
    ("ipu_bow", {}),
]
OPS = [
    Attention(batch=2, heads=4, q_len=96, kv_len=160, head_dim=32),
    Attention(batch=1, heads=4, kv_heads=2, q_len=128, kv_len=128, head_dim=64, causal=True),
    Attention(batch=1, heads=2, q_len=200, kv_len=200, head_dim=64, causal=True, window=50),
    Attention(batch=1, heads=8, q_len=1, kv_len=1000, head_dim=64),
    Gemm(300, 70, 96),
    Softmax(100, 300),
]
FLOWS: list[CompiledDataflow] = [
    accsim.Flat(softmax=None),
    accsim.Flash(),
    accsim.Flash1(),
    accsim.WeightStationary(),
    accsim.ThreadBlocks(),
    accsim.Streamed(),
]


@pytest.mark.parametrize(("machine", "changed"), MACHINES)
def test_no_point_is_faster_than_its_bound(machine: str, changed: dict[str, Any]) -> None:
    acc = load_accelerator(machine, set=changed)
    compared = tighter = 0
    for dataflow in FLOWS:
        for op in OPS:
            if op.kind not in dataflow.kinds:
                continue
            try:
                space = dataflow.space(op, acc)
            except accsim.MappingError:
                continue
            for points in space:
                lowered = dataflow.lower(op, acc, Points(points.variant, points.table[::5]), actions=True)
                lowered = lowered.select(np.flatnonzero(lowered.fits()))
                deep, plain = bounds(lowered, deep=True).ticks, bounds(lowered).ticks
                assert (plain <= deep).all()
                assert (deep <= run_points(lowered)).all()
                compared += len(deep)
                tighter += int((plain < deep).sum())
    assert compared > 100
    assert tighter > compared / 4


def test_a_slot_is_held_for_its_whole_chain() -> None:
    # One buffer of scores: Logit, softmax and Attend of a block take turns, so the bound is their sum.
    acc = load_accelerator("flat_cloud")
    op = Attention(64, 12, 4096, 4096, 64)
    dataflow = accsim.Flash(512, 512, False, "output_stationary")
    (points,) = dataflow.space(op, acc)
    lowered = dataflow.lower(op, acc, points, actions=True)
    blocks = 64 * 12 * 8 * 8
    # 512 x 512 scores: the array streams 64 for each of 4 folds, the softmax takes 3 operations a score and one an
    # output on 256 lanes, Attend streams 512 for each of 2 folds (docs/attention.md)
    cycles = blocks * (4 * 64 + 3_200 + 2 * 512)
    assert bounds(lowered, deep=True)[0][0] == cycles * TICKS
    assert bounds(lowered)[0][0] < cycles * TICKS <= run_points(lowered)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latncy <= 1 ms", r"unknown quantity 'latncy', allowed are latency, .*power. Did you mean 'latency'\?"),
        ("latency < 1 ms", r"read 'latency < 1 ms', allowed is QUANTITY <= LIMIT"),
        ("footprint <= 1", r"footprint: read '1' without a unit"),
        ("footprint <= 1 mib", r"with the unit 'mib'.* Did you mean 'MiB'\?"),
        ("power <= 1 J", r"power: read '1 J' with the unit 'J'"),
        ("", "read '', allowed is QUANTITY <= LIMIT"),
    ],
)
def test_bad_constraints(text: str, message: str) -> None:
    with pytest.raises(accsim.InputError, match=message):
        Constraint.parse(text)


def test_constraints_as_text() -> None:
    texts = ["footprint <= 256 KiB", "traffic <= 1 GB", "latency <= 2 ms", "power <= 200 W", "edp <= 2 mJ*s"]
    found = read_constraints(texts)
    assert [str(one) for one in found] == texts
    assert [one.limit for one in found] == [262144, 10**9, 0.002, 200.0, 0.002]
    assert read_constraints([*found[:1], texts[1]]) == found[:2]
    with pytest.raises(accsim.InputError) as caught:
        read_constraints(["a <= 1 B", "traffic <= 1 GB", "b"])
    assert len(caught.value.problems) == 2


def test_every_op_of_a_workload_keeps_the_constraints() -> None:
    limits = ["footprint <= 200 KiB", "traffic <= 30 MB", "power <= 6 W"]
    report = accsim.simulate("bert_base?seq=128", "flat_edge", constraints=limits, objective="edp")
    for row in report.ops:
        assert max(step.program.reserved_bytes("sg") for step in row.steps) <= 200 * 1024
        assert row.actions["read.dram"] + row.actions.get("write.dram", 0) <= 30e6
        assert row.power_w <= 6
    free = accsim.simulate("bert_base?seq=128", "flat_edge", objective="edp")
    assert max(row.power_w for row in free.ops) > 6


def test_why_the_others_lost() -> None:
    op = Attention(64, 12, 4096, 4096, 64)
    report = accsim.simulate(op, "flat_cloud")
    others = report.runners_up["attention"]
    assert [type(other.mapping) for other in others] == [accsim.Flash, accsim.Flat, accsim.Unfused]
    for other in others:
        alone = accsim.simulate(op, "flat_cloud", dataflow=other.mapping)
        assert other.change["latency"] == pytest.approx(alone.latency_s / report.latency_s - 1, rel=1e-6)
        name, share = other.largest
        assert name == alone.bound_by
        assert share == pytest.approx(alone.critical_path[name] / alone.total_cycles)
        assert other.chosen_largest[0] == report.bound_by
        assert str(other).endswith("%)")
    assert [other.change["latency"] for other in others] == sorted(other.change["latency"] for other in others)
    plain = report.to_dict()["ops"][0]["runners_up"]
    assert [one["why"] for one in plain] == [str(other) for other in others]


def test_a_tie_is_told() -> None:
    # One row of scores: neither order of the loops, nor what stays, changes the time.
    report = accsim.simulate(Gemm(1, 1, 1), "flat_edge")
    assert "as good" in str(report.runners_up["gemm"][0])
    energy = accsim.simulate(Gemm(512, 512, 512), "flat_edge", objective="energy")
    assert "most energy in" in str(energy.runners_up["gemm"][0])

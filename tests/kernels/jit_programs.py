"""A few programs and mapped ops, run and printed as JSON: the same numbers are due from compiled and plain kernels."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import numpy as np

import accsim
from accsim.embedding import (
    SCOPES,
    count_step_work,
    count_unique,
    draw_batches,
    expected_imbalance,
    row_sharded,
)
from accsim.engine.program import Program
from accsim.engine.run import run_program
from accsim.kernels.engine import run_plain
from accsim.network import DimensionOrder, FatTree, Torus, is_deadlock_free, minimal_channels
from accsim.network.goodput import Machine
from accsim.network.slice_mix import mix_goodput
from accsim.sweep import pareto
from accsim.workload.embeddings import EmbeddingSet, Feature, Popularity, Table, Valency
from accsim.workload.ops import Attention, Conv2d, Elementwise, Gemm, Op
from tests.engine.test_hard_cases import accumulator, causal, copies, flat, one_queue, pipeline

PROGRAMS: dict[str, Program] = {
    "sibling loops": flat(12, 3, 5, 40, 7, behind=True),
    "one queue": one_queue(60, 2, (1, 2)),
    "accumulator": accumulator(15, 4, 10, 50, 2),
    "varying trips": causal([5, 4, 3, 9, 1], 6, 8, 5),
    "copies": copies(3, 20, 7, 30),
    "near balance": pipeline(400, 4, 20, 21),
}
LINEAR = accsim.load_accelerator("flat_edge", set={"memories.sg.layout": "linear"})
MAPPED: dict[str, tuple[str | accsim.Accelerator, accsim.Dataflow, Op]] = {
    "gemm": ("tpu_v4", accsim.WeightStationary(64, 128, 64, "mn", True, 1, 2), Gemm(150, 300, 200)),
    "thread blocks": ("h100_sxm", accsim.ThreadBlocks(64, 32, 3), Gemm(150, 300, 2000)),
    "flash": ("tpu_v4", accsim.Flash(32, 32, True), Attention(1, 4, 70, 90, 16, 2, causal=True)),
    "flash3": ("tpu_v4", accsim.Flash(32, 32, execution="ping_pong"), Attention(1, 4, 70, 90, 16, 2, causal=True)),
    "fusemax": ("tpu_v4", accsim.FuseMax(256, 1), Attention(1, 4, 700, 300, 16, 2)),
    "flash blocks": ("h100_sxm", accsim.Flash(32, 32, True), Attention(1, 4, 70, 90, 16, 2, causal=True)),
    "window": ("tpu_v4", accsim.Flash(32, 32, False), Attention(1, 4, 70, 90, 16, 2, causal=True, window=40)),
    "conv": ("h100_sxm", accsim.OutputStationary(40, 32, 27, "mn", False, 2, 1), Conv2d(6, 40, 14, 3, stride=2)),
    "flat": ("flat_edge", accsim.Flat("row", 32, 32, "qkvo", True, "weight_stationary"), Attention(1, 2, 70, 90, 16)),
    "banks": (LINEAR, accsim.Flat("row", 32, 32, "qo", False, "input_stationary"), Attention(1, 2, 70, 90, 16)),
    "streamed": ("systolic_128", accsim.Streamed(500), Elementwise(10_001, "gelu")),
}


NETWORKS = [Torus((2, 4), twisted=True), Torus((3, 3), wrap=False), FatTree((2, 3))]
RULES = {"minimal": "flows", "dimension_order": "flows", "valiant": "links"}

TABLES = EmbeddingSet(
    [
        Table("even", 1000, 8),
        Table("zipf", 70, 8, popularity=Popularity(1.0)),
        Table("two", 9, 8, popularity=Popularity(2, 3)),
    ],
    [Feature("f", "even", Valency(9)), Feature("g", "zipf", Valency(5, 5)), Feature("h", "two"), Feature("i", "zipf")],
)


def embedding_results() -> dict[str, object]:
    """Lookups of tables, what a step asks of chips, and loads expected; these to nine digits."""
    batch = next(draw_batches(TABLES, 40, seed=3))
    lookups = count_unique(batch, chips=3, shards=5)
    work = count_step_work(batch, TABLES, row_sharded(TABLES, 3), dedup="source", tiles=2)
    loads = [expected_imbalance(TABLES, 40, shards=9, dedup=dedup, chips=3).largest for dedup in SCOPES]
    return {
        "lookups": lookups.lookups.tolist(),
        "unique": lookups.unique.tolist(),
        "stacks": [asdict(stack) for stack in work.stacks],
        "pairs": np.asarray(work.exchange.ids).tolist(),
        "loads": [f"{load:.9g}" for load in loads],
    }


def network_results() -> dict[str, object]:
    """Link loads and times of uneven traffic, freedom from deadlock, and goodput."""
    found: dict[str, object] = {}
    for network in NETWORKS:
        demand = np.arange(network.chips**2, dtype=np.float64).reshape(network.chips, -1) % 7
        for rule, level in RULES.items():
            if network.graph.lattice is not None or rule != "dimension_order":
                carried = network.link_loads(demand, routing=rule, contention=level)
                found[f"{network}, {rule}"] = [carried.time_s, *carried.link_bytes.tolist()]
        found[f"{network}, channels"] = [
            minimal_channels(network.graph, name).per_link for name in ("hops", "negative_hops")
        ]
        found[f"{network}, broadcast"] = network.collective("broadcast", 1e6).time_s
        if network.graph.lattice is not None:
            found[f"{network}, deadlock"] = [is_deadlock_free(network.graph, DimensionOrder(), n) for n in (1, 2)]
    sampled = Machine(0.99, switch=0.999).sample((2, 2, 2), "offsets", samples=200)
    mixed = mix_goodput(Machine(0.99, switch=0.999), samples=20)
    return found | {"goodput": [asdict(one) for one in (*sampled, mixed.switched, mixed.fixed)]}


def front_results() -> dict[str, object]:
    """Fronts, layers and volumes of points, many of them equal in some objectives."""
    found: dict[str, object] = {}
    for objectives in (2, 3, 4, 5):
        points = np.random.default_rng(objectives).integers(0, 20, (150, objectives)).astype(np.float64)
        front, layers = pareto.front(points).tolist(), pareto.layers(points).tolist()
        found[f"{objectives} objectives"] = [front, layers, pareto.hypervolume(points[:20], np.full(objectives, 18.0))]
    return found


def results() -> dict[str, object]:
    """Counters of every program, jumped and played, the plain data of every mapped op, networks and embeddings."""
    found: dict[str, object] = {}
    for name, program in PROGRAMS.items():
        for jump in (False, True):
            found[f"{name}, jump {jump}"] = asdict(run_program(program, jump=jump))
        found[f"{name}, plain"] = run_program(program, attribution=False).total_ticks
    for name, (machine, dataflow, op) in MAPPED.items():
        rep = accsim.simulate(op, machine, dataflow=dataflow)
        bound = accsim.simulate(op, machine, dataflow=dataflow, fidelity="analytic")
        found[name] = rep.to_dict() | {"analytic": bound.total_cycles}
    return found | network_results() | front_results() | embedding_results()


if __name__ == "__main__":
    json.dump({"results": results(), "kernel": type(run_plain).__name__}, sys.stdout)

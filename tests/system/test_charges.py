"""What a step is charged beside its halves' time: sums over chips, ids, memory, energy and the power cap."""

from __future__ import annotations

from itertools import pairwise

import pytest

from accsim.embedding.placement import row_sharded
from accsim.embedding.step_work import step_work
from accsim.engine.energy import price_list
from accsim.errors import InputError
from accsim.system import SCHEDULES, Slice, StepReport, read_slice, train_step
from accsim.system.dense import dense_half
from accsim.system.ids import input_run
from accsim.system.legs import embedding_legs, links_of
from accsim.system.memory import step_bytes
from accsim.system.runs import dynamic_j, summed
from accsim.system.sums import sum_over_chips
from accsim.workload.catalogue import load_workload
from accsim.workload.embeddings import EmbeddingSet, Feature, Table

SLICE, CHIPS, SIZE = "tpu_v4:4x4x4", 64, 2.0**26
MODEL = "dlrm_v1?batch=65536"
LOOKED_UP = 1024 * 26
"""Of a chip, of the 1024 samples that it has."""


@pytest.fixture(scope="module")
def step() -> StepReport:
    return train_step(MODEL, SLICE, dedup="owner")


# Sums over chips


def test_a_sum_reads_and_writes_main_memory_and_adds_on_the_vector_unit() -> None:
    """A chip sends and receives 2 V (N - 1) / N bytes and adds half of those: 5 V (N - 1) / N of main memory."""
    on = read_slice(SLICE)
    leg, part = sum_over_chips("all_reduce", on, SIZE), SIZE * (CHIPS - 1) / CHIPS
    wanted = {"read.hbm": 3 * part, "write.hbm": 2 * part, "vector.add": part / 4}
    assert leg.actions == pytest.approx(wanted, rel=1e-3)
    assert leg.busy_s["hbm"] == pytest.approx(5 * part / (1200e9 * on.chip.main_memory.efficiency), rel=1e-3)
    assert leg.busy_s["vector"] == pytest.approx(part / 4 / (2 * 2048 * 1.05e9), rel=1e-3)
    assert leg.time_s == pytest.approx(2 * part / (6 * 45e9), rel=1e-3)
    assert leg.link_bytes == pytest.approx(2 * part, rel=1e-3)  # between neighbours, so that none passes through
    prices = price_list(on.chip)
    assert sum(dynamic_j(on.chip, leg.actions).values()) == pytest.approx(
        sum(count * prices[action].nominal * 1e-12 for action, count in wanted.items()), rel=1e-3
    )


def test_a_sum_waits_for_a_main_memory_that_is_slower_than_the_links() -> None:
    on = read_slice(SLICE, set={"memories.hbm.read_bandwidth": "100 GB/s"})
    leg, part = sum_over_chips("all_reduce", on, SIZE), SIZE * (CHIPS - 1) / CHIPS
    assert leg.time_s == pytest.approx(5 * part / (100e9 * on.chip.main_memory.efficiency), rel=1e-2)
    assert leg.alone.bound_by == "hbm/all_reduce"


@pytest.mark.parametrize(("slice_", "size"), [(SLICE, 0.0), ("tpu_v4:1x1x1", SIZE)])
def test_no_bytes_and_no_other_chips_cost_nothing(slice_: str, size: float) -> None:
    leg = sum_over_chips("all_reduce", read_slice(slice_), size)
    assert (leg.alone_s, leg.busy_s, leg.actions, leg.link_bytes) == (0.0, {}, {}, 0.0)


# Ids


@pytest.mark.parametrize("where", ["sparse_core", "tensor_core"])
def test_ids_come_over_pcie_with_sample_and_weight(where: str) -> None:
    found = train_step(MODEL, SLICE, dedup="owner", where=where)
    assert found.input.time_s == pytest.approx(LOOKED_UP * 12 / 16e9)
    assert found.utilization["pcie_down"] == pytest.approx(found.input.time_s / found.step_s)
    assert found.input.actions == pytest.approx({"write.hbm": LOOKED_UP * 12})


def test_ids_for_hosts_pass_the_chips_and_those_for_servers_do_not() -> None:
    host, servers = (train_step(MODEL, SLICE, dedup="owner", where=where) for where in ("host", "variable_server"))
    assert host.input.time_s == pytest.approx(LOOKED_UP * 4 / 16e9)
    names = [leg.name for leg in host.embedding.forward]
    assert names == ["ids", "ids to host", "lookup", "vectors"]
    asked = host.embedding.forward[1]
    assert asked.time_s >= LOOKED_UP * 4 / 16e9 * (1 - 1e-9)  # of the host that is asked for most
    assert asked.latency_s == 5e-6
    assert servers.input.time_s == 0
    ids = servers.embedding.forward[0]
    assert (ids.unit, ids.latency_s) == ("variable_server.network_up", 50e-6)
    assert ids.time_s == pytest.approx(LOOKED_UP * 4 / 6.25e9)


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_a_step_takes_at_least_as_long_as_the_ids_of_the_next(schedule: str) -> None:
    slow = read_slice(SLICE, set={"host.pcie": "50 MB/s"})
    found = train_step(MODEL, slow, dedup="owner", schedule=schedule)
    assert found.step_s == pytest.approx(LOOKED_UP * 12 / 50e6)
    assert found.bound_by == "pcie_down/input"
    assert sum(found.critical_path_s.values()) == pytest.approx(found.step_s)


def test_a_machine_file_without_a_host_has_its_ids_for_nothing() -> None:
    on = read_slice("tpu_v3:8x8")
    tables = load_workload("dlrm_v1").embeddings
    assert tables is not None
    work = step_work(tables, 8, row_sharded(tables, 64), dedup="owner", tiles=32)
    assert input_run(on, work, "sparse_core").time_s == 0


# Memory


def test_memory_of_a_small_network_by_hand() -> None:
    """dlrm_v1: 13-512-256-128 below, 479-1024-1024-512-256-1 on top, between them 27 vectors of 128; bf16."""
    samples = 10
    held = dense_half("dlrm_v1", {}, read_slice(SLICE).chip, samples).held_bytes
    below, top = (13, 512, 256, 128), (479, 1024, 1024, 512, 256, 1)
    weights = sum(k * n for layers in (below, top) for k, n in pairwise(layers))
    assert held["dense_weights"] == 2 * weights
    assert held["fp32_weights_and_gradients"] == 8 * weights
    # The input and the output of every layer; both operands of the dot products, less the vector just below them.
    kept = 2 * samples * (sum(below) + sum(top) + 2 * 27 * 128 - 128)
    largest = max(2 * (samples * (k + n) + k * n) for k, n in pairwise(top))
    assert held["activations"] == kept + largest


def test_vectors_and_ids_by_hand() -> None:
    """A row a sample of one table: as many vectors come as samples, and each has a gradient, here and at the owner."""
    tables = EmbeddingSet((Table("t", 10**8, 16),), (Feature("f", "t"),))
    work = step_work(tables, 512, row_sharded(tables, CHIPS), dedup="none", tiles=64)
    vector, served = 16 * 4, work.stacks[0].served.largest
    wanted = {
        "vectors": 512 * vector,
        "vector_gradients": (512 + work.stacks[0].sent.largest) * vector,
        "ids": 512 * 12 + served * 4,
    }
    assert step_bytes(work, "serial") == pytest.approx(wanted, abs=1)
    assert step_bytes(work, "pipelined") == pytest.approx({name: 2 * size for name, size in wanted.items()}, abs=2)


def test_memory_adds_up_and_tables_elsewhere_take_none(step: StepReport) -> None:
    assert step.memory["tables"] == step.placement.held_bytes(step.embeddings).max()  # SGD keeps no state
    assert step.memory["table_state"] == 0
    assert step.fits
    assert step.to_dict()["memory_bytes"] == step.memory
    assert "tables" not in train_step(MODEL, SLICE, dedup="owner", where="host").memory
    adagrad = train_step("dlrm_dcnv2?batch=65536", SLICE, dedup="owner").memory
    assert adagrad["table_state"] == adagrad["tables"]  # a sum of squares an element, fp32 as the rows


def test_tables_that_do_not_fit_beside_vectors_are_named_with_what_the_rest_takes() -> None:
    """Tables alone leave room for the dense half, but not for vectors of a large batch."""
    on = read_slice(SLICE, set={"memories.hbm.capacity": "1800 MiB"})
    assert train_step("dlrm_v1?batch=65536", on, dedup="owner").fits
    with pytest.raises(InputError, match="cat_19 ") as told:
        train_step("dlrm_v1?batch=393216", on, dedup="owner")
    rest = str(told.value)
    assert "of 1,887,436,800 B a chip, a step takes beside its tables: dense weights 4,730,368 B" in rest
    assert all(what in rest for what in ("activations", "vectors", "vector gradients", "ids"))


# Energy and power


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_energy_is_that_of_all_parts_and_the_idle_power(schedule: str) -> None:
    found = train_step(MODEL, SLICE, dedup="owner", schedule=schedule)
    runs = [*(leg.alone for leg in found.legs), *found.dense.segments.values(), found.all_reduce, found.input]
    parts = summed(dynamic_j(found.slice.chip, run.actions) for run in runs) | {"idle": 90 * found.step_s}
    assert found.energy_breakdown_j == pytest.approx(parts)
    assert found.dense.report.energy_j - 90 * found.dense.report.latency_s == pytest.approx(
        sum(sum(dynamic_j(found.slice.chip, run.actions).values()) for run in found.dense.segments.values())
    )


def test_share_of_the_embedding_units(step: StepReport) -> None:
    share = step.unit_share
    assert share is not None
    assert (share.area_fraction, share.published_power_fraction) == (0.05, 0.05)
    assert share.energy_j == pytest.approx(step.embedding_energy_j["spmem"] + step.embedding_energy_j["vector"])
    assert share.energy_fraction == pytest.approx(share.energy_j / step.energy_j)
    assert train_step(MODEL, SLICE, dedup="owner", where="host").unit_share is None


def test_links_have_no_price_and_are_told_in_bytes(step: StepReport) -> None:
    """Vectors there and gradients back, from an even placement: N d / 8 links an axis on a cube of d = 4."""
    vectors = next(leg for leg in step.legs if leg.name == "vectors")
    hops = 3 * 4 / 4  # mean distance on a closed axis of 4 is 1, of all ordered pairs, the chip itself among them
    carried = hops * LOOKED_UP * 512
    assert vectors.link_bytes == pytest.approx(carried, rel=0.05)
    assert step.to_dict()["unpriced"] == {"ici_bytes": step.link_bytes}


def capped(cap: str | None, **options: object) -> StepReport:
    on = read_slice("h100_sxm:8", set={} if cap is None else {"power.cap": cap})
    return train_step("dlrm_v1?batch=65536", on, dedup="source", where="gpu", **options)  # type: ignore[arg-type]


def test_a_power_cap_lowers_the_clock_until_it_is_met() -> None:
    free, held = capped(None), capped("180 W")
    assert free.cap is not None
    assert not free.cap.bound
    assert held.cap is not None
    assert held.cap.bound
    assert held.power_w <= 180 < free.power_w
    assert held.slice.chip.clock_hz in held.cap.machine.power.clocks_hz
    assert held.step_s > free.step_s
    spent = {part: joules for part, joules in free.energy_breakdown_j.items() if part != "idle"}
    assert {part: held.energy_breakdown_j[part] for part in spent} == pytest.approx(spent)
    assert held.to_dict()["power_cap"]["bound"]
    assert capped("180 W", power_cap=False).step_s == free.step_s


def test_a_machine_without_a_cap_runs_at_its_clock(step: StepReport) -> None:
    assert step.cap is None
    assert step.slice.chip.clock_hz == 1.05e9


# All together


def test_more_samples_never_take_less_time() -> None:
    times = [train_step(f"dlrm_v1?batch={64 * n}", SLICE, dedup="owner").step_s for n in (1, 8, 64, 512, 1024)]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            Table("t", 1000, 64, count=26),
            "t: read a width of 64, allowed are 26 features of width 128, which the inter",
        ),
        (Table("t", 1000, 128, count=13), "features: read 13, allowed are 26 features of width 128"),
    ],
)
def test_tables_that_the_interaction_does_not_take_are_refused(tables: Table, message: str) -> None:
    given = EmbeddingSet((tables,), (Feature("f", "t", count=tables.count),))
    with pytest.raises(InputError, match=message):
        train_step("dlrm_v1", SLICE, embeddings=given)


def test_exchanges_are_charged_to_main_memory_where_vectors_arrive() -> None:
    """What arrives is written, gradients are read, sent and written again at the owner: in the unit's passes."""
    on: Slice = read_slice(SLICE)
    tables = EmbeddingSet((Table("t", 10**8, 128, optimizer="sgd"),), (Feature("f", "t"),))
    work = step_work(tables, 1024, row_sharded(tables, CHIPS), dedup="none", tiles=64)
    legs = embedding_legs(on, work, "sparse_core", links_of(on, work))
    lookup, update = legs.forward[1], legs.backward[-1]
    vectors, ids = 1024 * 512, 1024
    assert lookup.actions["write.hbm"] == pytest.approx(vectors + 4 * ids, rel=1e-3)
    assert lookup.actions["read.hbm"] == pytest.approx(vectors + (12 + 4) * ids, rel=1e-3)
    # Gradients are read by the asker; the owner writes them, reads them again with their ids, and rewrites rows.
    assert update.actions["write.hbm"] == pytest.approx(2 * vectors, rel=1e-3)
    assert update.actions["read.hbm"] == pytest.approx(3 * vectors + 4 * ids, rel=1e-3)


def test_tables_elsewhere_lie_in_the_memory_of_hosts_and_servers() -> None:
    tables = EmbeddingSet((Table("t", 64_000, 128, optimizer="sgd", count=26),), (Feature("f", "t", count=26),))
    size = 26 * 1000 * 128 * 4  # of a chip of 64, rows of SGD
    for where, of, holder in (("host", 4, "a host of 4 chips"), ("variable_server", 2, "a server")):
        section = "host" if where == "host" else "data_center"
        step = train_step("dlrm_v1", "tpu_v4:4x4x4", where=where, embeddings=tables)
        assert step.outside == (holder, of * size, None)
        assert "tables" not in step.memory
        options = {"where": where, "embeddings": tables}
        enough = train_step("dlrm_v1", "tpu_v4:4x4x4", machine_set={f"{section}.capacity": f"{of * size} B"}, **options)
        assert enough.step_s == step.step_s
        with pytest.raises(InputError, match=f"{holder} would hold {of * size:,} B, allowed are {of * size - 1:,} B"):
            train_step("dlrm_v1", "tpu_v4:4x4x4", machine_set={f"{section}.capacity": f"{of * size - 1} B"}, **options)
    assert train_step("dlrm_v1", "tpu_v4:4x4x4", embeddings=tables).outside is None

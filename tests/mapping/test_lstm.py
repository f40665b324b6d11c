"""A step of an LSTM: the sum of its two parts, and a layer as repeats that share weights."""

from __future__ import annotations

import pytest

import accsim
from accsim.mapping.search import search
from accsim.workload.ops import Elementwise, Gemm, LstmCell
from accsim.workload.trace import Entry, Workload

CELL = LstmCell(batch=20, input_size=300, hidden_size=500)
PRODUCT, GATES = Gemm(20, 2000, 800), Elementwise(20 * 500, "lstm_gates")


@pytest.mark.parametrize("machine", accsim.list_accelerators())
def test_a_step_is_its_product_and_its_gates(machine: str) -> None:
    whole, product, gates = (accsim.simulate(op, machine) for op in (CELL, PRODUCT, GATES))
    assert whole.total_cycles == product.total_cycles + gates.total_cycles
    assert whole.energy_j == pytest.approx(product.energy_j + gates.energy_j)
    assert whole.actions["mac.bf16"] == pytest.approx(CELL.macs)
    split = product.actions.get("vector.add", 0.0)  # sums of split thread blocks
    done = {name: whole.actions[f"vector.{name}"] - (split if name == "add" else 0) for name in CELL.vector_ops}
    assert done == pytest.approx(dict(CELL.vector_ops))


def test_given_parts_are_kept() -> None:
    given = accsim.Lstm(accsim.WeightStationary(tile_m=20), accsim.Streamed(500))
    found = search(given, CELL, accsim.load_accelerator("systolic_128")).mapping
    assert isinstance(found, accsim.Lstm)
    assert found.gates == accsim.Streamed(500)
    assert found.product is not None
    assert (type(found.product), found.product.tile_m) == (accsim.WeightStationary, 20)
    whole = accsim.simulate(CELL, "systolic_128", dataflow="lstm").ops[0].mapping
    assert whole == search(accsim.Lstm(), CELL, accsim.load_accelerator("systolic_128")).mapping


def test_a_layer_takes_one_step_after_the_other_and_holds_its_weights_once() -> None:
    layer = Workload("layer", (Entry(CELL, 35, weight_sets=1),))
    step, whole = accsim.simulate(CELL, "tpu_v4"), accsim.simulate(layer, "tpu_v4")
    assert whole.total_cycles == 35 * step.total_cycles
    assert whole.memory["weights"] == step.memory["weights"] == 2 * 4 * 500 * 800

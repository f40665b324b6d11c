"""The backward pass of a chain, held against one that NumPy carries out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from accsim.errors import InputError
from accsim.workload.backward import backward, kept_bytes, update
from accsim.workload.catalogue import load_workload
from accsim.workload.ops import Elementwise, Gemm, Softmax
from accsim.workload.trace import Entry

BATCH, WIDTHS = 5, (3, 7, 4, 2)


def perceptron() -> list[Entry]:
    layers = []
    for i, (k, n) in enumerate(pairwise(WIDTHS)):
        layers += [Entry(Gemm(BATCH, n, k, name=f"linear{i}")), Entry(Elementwise(BATCH * n, "relu", name=f"act{i}"))]
    return layers


def gemms(op: Gemm) -> list[Gemm]:
    return [entry.op for entry in backward([Entry(op)])]


def test_shapes_are_those_of_gradients_that_numpy_forms() -> None:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=shape) for shape in pairwise(WIDTHS)]
    values = [rng.normal(size=(BATCH, WIDTHS[0]))]
    for weight in weights:
        values.append(np.maximum(values[-1] @ weight, 0))
    wanted, products = np.ones_like(values[-1]), []

    def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        products.append((a.shape[0], b.shape[1], a.shape[1]))
        return a @ b

    gradients = []
    for layer in reversed(range(len(weights))):
        wanted = wanted * (values[layer + 1] > 0)
        gradients.append(product(values[layer].T, wanted))
        if layer:
            wanted = product(wanted, weights[layer].T)
    # The reference is right: a nudge of a weight changes the sum of the outputs by its gradient.
    nudged = [weight.copy() for weight in weights]
    nudged[0][1, 2] += 1e-6
    out = values[0]
    for weight in nudged:
        out = np.maximum(out @ weight, 0)
    assert (out.sum() - values[-1].sum()) / 1e-6 == pytest.approx(gradients[-1][1, 2], rel=1e-4)

    ops = [entry.op for entry in backward(perceptron(), first="linear0")]
    assert [(op.m, op.n, op.k) for op in ops if isinstance(op, Gemm)] == products
    assert [op.elements for op in ops if isinstance(op, Elementwise)] == [BATCH * n for n in WIDTHS[:0:-1]]


def test_what_is_kept_are_the_values_that_the_pass_above_reads() -> None:
    # Every value of NumPy's forward pass once: as the input of a layer, or as what ReLU's derivative is of, or both.
    assert kept_bytes(perceptron()) == 2 * BATCH * sum(WIDTHS)
    # Without functions in between there is no last output to keep; of a product of two values there are both.
    linear = [entry for entry in perceptron() if isinstance(entry.op, Gemm)]
    assert kept_bytes(linear) == 2 * BATCH * sum(WIDTHS[:-1])
    assert kept_bytes([Entry(Gemm(3, 4, 5, batch=2, weights=False), repeat=6)]) == 6 * 2 * 2 * (3 * 5 + 5 * 4)


@pytest.mark.parametrize("name", ["dlrm_v1", "dlrm_dcnv2", "dlrm_fig8_like"])
def test_a_training_step_has_three_forward_passes_of_work_without_one_input(name: str) -> None:
    forward = load_workload(f"{name}?part=dense&batch=512")
    training = load_workload(f"{name}?part=dense&batch=512&phase=training")
    first = next(op for op, _ in forward if isinstance(op, Gemm))
    assert training.macs == 3 * forward.macs - first.macs
    assert training.weight_bytes == forward.weight_bytes


def test_batch_elements_with_a_shared_parameter_add_their_gradients_in_one_product() -> None:
    shared, own = (Gemm(8, 4, 16, batch=3, weights=weights, name="g") for weights in (True, False))
    assert [(op.m, op.n, op.k, op.batch) for op in gemms(shared)] == [(16, 4, 24, 1), (24, 16, 4, 1)]
    assert [(op.m, op.n, op.k, op.batch) for op in gemms(own)] == [(16, 4, 8, 3), (8, 16, 4, 3)]


def test_an_update_is_one_pass_over_weights_and_gradients() -> None:
    (entry,) = update(perceptron())
    weights = 3 * 7 + 7 * 4 + 4 * 2
    # w and g are read and w is written, each once in fp32; NumPy's w -= eta * g has a product and a sum for each.
    assert (entry.op.input_bytes, entry.op.output_bytes) == (8 * weights, 4 * weights)
    assert entry.op.vector_ops == {"multiply": weights, "add": weights}


def test_an_op_without_a_known_gradient_is_refused() -> None:
    with pytest.raises(InputError, match=r"backward.softmax: the gradient of softmax is not known, allowed are"):
        backward([Entry(Softmax(4, 4))])

"""Fidelity ``cycle``: the emulated array inside the tile program equals the closed form the tile program uses."""

from __future__ import annotations

import itertools

import pytest

import accsim
from accsim.errors import InputError, MappingError
from accsim.kernels import systolic_pe

SMALL = {"matrix_unit.rows": 6, "matrix_unit.cols": 5}
FORMS = ("weight_stationary", "output_stationary", "input_stationary")


@pytest.mark.parametrize(("form", "overlap"), list(itertools.product(FORMS, ("none", "weights", "full"))))
def test_cycle_equals_tile(form: str, overlap: str) -> None:
    machine = accsim.load_accelerator("systolic_128", set=SMALL | {"matrix_unit.fold_overlap": overlap})
    for m, n, k in ((7, 11, 13), (30, 4, 9), (1, 1, 1), (12, 10, 25)):
        op = accsim.Gemm(m=m, n=n, k=k)
        tile = accsim.simulate(op, machine, dataflow=form)
        cycle = accsim.simulate(op, machine, dataflow=form, fidelity="cycle")
        assert cycle.fidelity == "cycle"
        assert cycle.total_cycles == tile.total_cycles
        assert cycle.compute_cycles == tile.compute_cycles


def test_ragged_tiles_are_emulated_each() -> None:
    machine = accsim.load_accelerator("systolic_128", set=SMALL)
    mapping = accsim.OutputStationary(tile_m=8, tile_n=7, tile_k=20, order="nm", resident=False, split_m=1, split_n=1)
    op = accsim.Gemm(m=19, n=17, k=33)
    both = [accsim.simulate(op, machine, dataflow=mapping, fidelity=f).compute_cycles for f in ("tile", "cycle")]
    folds = sum(
        -(-m // 6) * -(-n // 5) * (2 * 6 + 5 + k - 2) for m in (8, 8, 3) for n in (7, 7, 3) for k in (20, 13)
    )  # SCALE-Sim's cycles a fold, tile by tile
    assert both == [folds, folds]


@pytest.mark.parametrize(
    ("op", "machine", "reason"),
    [
        (accsim.Softmax(rows=4, cols=4), "systolic_128", "emulates GEMMs, not the softmax"),
        (accsim.Gemm(m=4, n=4, k=4), "tpu_v4", "one systolic array, which tpu_v4 does not have"),
        (accsim.Gemm(m=4, n=4, k=4), "h100_sxm", "one systolic array, which h100_sxm does not have"),
        (accsim.Gemm(m=4096, n=4096, k=4096), "systolic_128", "use smaller sizes, or tile"),
    ],
)
def test_what_cannot_be_emulated_is_refused(op: accsim.Gemm, machine: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        accsim.simulate(op, machine, fidelity="cycle")


@pytest.mark.parametrize("wrong", [{"faults": 2}, {"lost_results": 3}])
def test_an_emulation_that_fails_its_checks_gives_no_numbers(
    wrong: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "accsim.mapping.cycle.emulate_gemm", lambda *shape: systolic_pe.emulate_gemm(*shape)._replace(**wrong)
    )
    machine = accsim.load_accelerator("systolic_128", set=SMALL)
    with pytest.raises(MappingError, match=r"(mixes 2 operands|loses 3 results) .* of 'gemm'"):
        accsim.simulate(accsim.Gemm(m=4, n=4, k=4), machine, fidelity="cycle")

"""The model of Sparseloop's tensor cores against a walk of its loops, exact chances, and published numbers."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, comb, prod

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from accsim.errors import InputError
from accsim.published.sparseloop_nest import LEVELS, TENSORS, Loop, Nest, read_nest
from accsim.published.sparseloop_stc import (
    DENSE_OPERAND,
    ENERGY_TABLES,
    Bandwidths,
    Operand,
    Run,
    evaluate,
    stored,
    vector_use,
)
from tests.reference import loop_nest_naive as naive

DENSE_NEST = "DRAM: N16 | SMEM: M2 M4sy | RF: K72 M16sy K16sx | LRF: N64"
HALF_NEST = "DRAM: N8 | SMEM: M2 M4sy | RF: K36 M16sy K32sx | LRF: N128"
EIGHTH_NEST = "DRAM: N8 | SMEM: M2 M4sy | RF: K18 M16sy K64sx | LRF: N128"
OUTER_NEST = "DRAM: M2 N8 | SMEM: K1 M2sy N2sy | RF: K1152 | LRF: M2 N4 M16sy N16sx"
SPEEDS = Bandwidths(42, 32, 32)
ACTIVATIONS = stored("bitmask", 0, 0.44)

loops = st.builds(Loop, st.sampled_from("MNK"), st.integers(1, 3), st.booleans())
nests = st.tuples(*(st.lists(loops, max_size=3).map(tuple) for _ in LEVELS)).map(Nest)


def run(nest: str, a: Operand, b: Operand = DENSE_OPERAND, *, dual: bool = False, table: str = "stc_45nm") -> Run:
    return Run(read_nest(nest), a, b, dual, SPEEDS, ENERGY_TABLES[table])


@given(nests, st.sampled_from(sorted(TENSORS)), st.sampled_from([*LEVELS, "MAC"]))
def test_words_are_those_of_a_walk(nest: Nest, tensor: str, memory: str) -> None:
    depth = len(LEVELS) if memory == "MAC" else LEVELS.index(memory)
    above = [tuple(loop) for level in nest.levels[:depth] for loop in level]
    below = [tuple(loop) for level in nest.levels[depth:] for loop in level]
    assume(prod(loop[1] for loop in above) <= 3000)
    assert nest.words(tensor, memory) == naive.words(above, below, TENSORS[tensor], memory != "MAC")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("places", "width", "density"), [(64, 16, Fraction(1, 4)), (32, 16, Fraction(1, 2)), (7, 3, Fraction(1, 3))]
)
def test_vectors_of_nonzeros_by_exact_chances(places: int, width: int, density: Fraction) -> None:
    chance = [comb(places, n) * density**n * (1 - density) ** (places - n) for n in range(places + 1)]
    issued = sum(p * ceil(n / width) for n, p in enumerate(chance))
    full = sum(p * Fraction(n, width * ceil(n / width)) for n, p in enumerate(chance) if n) / (1 - chance[0])
    found = vector_use(places, width, float(density))
    assert found.slots == pytest.approx(float(issued * width / places), rel=1e-12)
    assert found.full == pytest.approx(float(full), rel=1e-12)


PUBLISHED = [
    ("TC", run(DENSE_NEST, DENSE_OPERAND, table="tc_65nm"), 147456, 276.58),
    ("STC, dense weights", run(DENSE_NEST, DENSE_OPERAND), 147456, 248.15),
    ("STC 2:4", run(HALF_NEST, stored("CP", 2, 0.5)), 73728, 173.42),
    ("flexible 2:8", run(EIGHTH_NEST, stored("CP", 3, 0.25)), 66707, 137.79),
    ("both compressed 2:8", run(EIGHTH_NEST, stored("RLE", 3, 0.25), ACTIVATIONS), 42271, 87.66),
    ("dual side", run(OUTER_NEST, DENSE_OPERAND, ACTIVATIONS, dual=True, table="dstc_45nm"), 78059, 364.68),
]  # fmt: skip


@pytest.mark.parametrize(
    ("case", "cycles", "energy"), [case[1:] for case in PUBLISHED], ids=[case[0] for case in PUBLISHED]
)
def test_published_cycles_and_energy(case: Run, cycles: int, energy: float) -> None:
    """128 x 1152 x 1024 with 44 % of the activations. Source: Sparseloop's artefact."""
    found = evaluate(case)
    assert max(found.cycles) == pytest.approx(cycles, rel=1e-3)
    assert sum(found.energies) * 1e-6 == pytest.approx(energy, rel=1e-3)


def test_two_of_four_is_the_balance_of_the_shared_memory() -> None:
    """(64 + 16) words of A, metadata included, and 256 of B in 8 cycles are 42 words a cycle: exactly the port."""
    cycles = evaluate(run(HALF_NEST, stored("CP", 2, 0.5))).cycles
    assert cycles.smem == cycles.mac == 73728
    assert evaluate(run(EIGHTH_NEST, stored("CP", 3, 0.25))).cycles.slowest == "smem"


def test_indices_are_packed_in_powers_of_two() -> None:
    assert [stored("CP", bits, 1.0).bits_per_word for bits in (1, 2, 3, 4)] == [1, 2, 4, 4]


BAD = [
    ("DRAM: N8 | SMEM: M2", "allowed are the levels DRAM: loops | SMEM: loops | RF: loops | LRF: loops"),
    ("DRAM: X8 | SMEM: M2 | RF: | LRF:", "read 'X8' at DRAM, allowed are loops such as M2, K16sx, N4sy"),
    ("DRAM: N0 | SMEM: M2 | RF: | LRF:", "read 'N0' at DRAM"),
]


@pytest.mark.parametrize(("mapping", "message"), BAD)
def test_bad_mappings(mapping: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        read_nest(mapping)
    assert message in str(error.value)

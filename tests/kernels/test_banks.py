"""Bank conflicts: the closed form against words counted one by one, and the laws of more banks."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

import accsim
from accsim.kernels.banks import busiest_bank, conflict_factor, waiting_bytes
from accsim.kernels.matrix import Machine, Tile, tile_work
from accsim.mapping.machine_numbers import STATIONARY, machine_numbers
from tests.reference import banks_naive as naive

EDGE = machine_numbers(accsim.load_accelerator("flat_edge"), "bf16")

extent = st.integers(1, 40)
side = st.integers(1, 16)
banks_of = st.integers(1, 40)


def machine(banks: int, width: float = 4.0, port_words: float | None = None, **more: int) -> Machine:
    words = float(banks) if port_words is None else port_words
    numbers = {"local_banks": banks, "local_bank_bytes": width, "local_read_words": words, "local_write_words": words}
    return EDGE._replace(**numbers, **more)


@given(words=st.integers(1, 300), stride=st.integers(1, 300), banks=st.integers(1, 130))
@example(32, 32, 32)
@settings(deadline=None)
def test_the_closed_form_counts_the_words_of_the_busiest_bank(words: int, stride: int, banks: int) -> None:
    assert busiest_bank(words, stride, banks) == naive.busiest_bank(words, stride, banks)


@given(
    m=extent,
    n=extent,
    k=extent,
    rows=side,
    cols=side,
    form=st.sampled_from(sorted(STATIONARY)),
    along_k=st.booleans(),
    banks=banks_of,
    width=st.sampled_from([4.0, 16.0, 66.5]),
    port=st.sampled_from([0.25, 0.5, 1.0]),
    revisited=st.booleans(),
    result=st.sampled_from([2, 4]),
)
@settings(max_examples=300, deadline=None)
def test_every_operand_waits_as_long_as_its_words_meet(
    m: int, n: int, k: int, rows: int, cols: int, form: str, along_k: bool, banks: int, width: float, port: float,
    revisited: bool, result: int,
) -> None:  # fmt: skip
    numbers = machine(banks, width, port * banks, rows=rows, cols=cols)
    tile = Tile(m, n, k, int(along_k), 0)
    work = tile_work(tile, STATIONARY[form], numbers)
    read, write = 4.0 * m * n * revisited, float(result * m * n)

    parts = naive.taken_together(form, m, n, k, rows, cols)
    b = ([(col, row) for row, col in together] for together in parts["b"]) if along_k else parts["b"]
    c = list(parts["c"])
    of_a, of_b, of_sums, of_results = (
        naive.conflict_factor(vectors, row, size, width, banks, port * banks) - 1
        for vectors, row, size in (
            (parts["a"], 2 * k, 2),
            (b, 2 * (k if along_k else n), 2),
            (c, 4 * n, 4),
            (c, result * n, result),
        )
    )
    assert waiting_bytes(tile, work, STATIONARY[form], read, write, numbers) == (
        2 * work.reads_a * of_a + 2 * work.reads_b * of_b + (read + 4 * work.sum_reads) * of_sums,
        4 * work.sum_writes * of_sums + write * of_results,
    )


@given(rows=st.integers(1, 300), row_bytes=st.integers(1, 2000), banks=banks_of, times=st.integers(1, 6))
@settings(deadline=None)
def test_more_banks_of_the_same_width_never_take_longer_where_the_old_number_divides_the_new(
    rows: int, row_bytes: int, banks: int, times: int
) -> None:
    more = banks * times
    few = conflict_factor(rows, row_bytes, float(banks), machine(banks))
    # Behind the same port, and with a port that is as much wider.
    assert conflict_factor(rows, row_bytes, float(banks), machine(more)) <= few
    assert conflict_factor(rows, row_bytes, float(more), machine(more)) / times <= few * (1 + 1e-12)


def test_other_banks_can_take_longer() -> None:
    # Rows 32 words apart: 33 banks see all of them, 64 only two.
    assert conflict_factor(33, 128, 33.0, machine(33)) == 1
    assert conflict_factor(33, 128, 33.0, machine(64)) == 17
    # Twice as many banks of half the width: a row is twice as many words long, and still only one bank works.
    assert conflict_factor(32, 128, 16.0, machine(16, 8.0)) == 16
    assert conflict_factor(32, 128, 32.0, machine(32, 4.0)) == 32


@given(rows=st.integers(1, 300), words=st.integers(0, 100).map(lambda half: 2 * half + 1), power=st.integers(0, 7))
@settings(deadline=None)
def test_an_odd_number_of_words_never_conflicts_in_a_power_of_two_of_banks(rows: int, words: int, power: int) -> None:
    assert conflict_factor(rows, 4 * words, 2.0**power, machine(2**power)) == 1

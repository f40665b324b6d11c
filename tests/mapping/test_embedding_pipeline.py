"""Chains of links over chunks of stacks: cuts, what is left out, and the pipeline's time in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from accsim.engine.run import run_program
from accsim.errors import MappingError
from accsim.mapping.embedding_pipeline import Link, chain_program


def amounts(*stacks: float) -> np.ndarray:
    return np.array(stacks, np.float64)


def chain(first: float, second: float, handed: float, capacity: int, rows: float = 1000.0, stacks: int = 1) -> object:
    same = [amounts(*[ticks] * stacks) for ticks in (first, second, handed)]
    links = [
        Link("load", "dma", same[0], handed_bytes=same[2], actions={"bytes": same[2]}),
        Link("add", "vector", same[1]),
    ]
    return run_program(chain_program("two", links, "spmem", capacity, [(f"t{i}", rows) for i in range(stacks)]))


@pytest.mark.parametrize("stacks", [1, 3])
@pytest.mark.parametrize(("first", "second"), [(1200.0, 600.0), (600.0, 1200.0)])
def test_links_overlap_but_for_the_first_and_last_chunk(first: float, second: float, stacks: int) -> None:
    """900 bytes in three places of 100: nine chunks; the shorter link shows only once."""
    found = chain(first, second, 900.0, 300, stacks=stacks)
    slow, quick = max(first, second), min(first, second)
    each = np.ceil(np.array([slow, quick]) / 9)
    assert found.fires == {"load": 9 * stacks, "add": 9 * stacks}
    assert found.total_ticks == 9 * stacks * each[0] + each[1]
    assert found.actions["bytes"] == pytest.approx(900.0 * stacks)


def test_memory_is_dealt_by_the_largest_share() -> None:
    """Stack a asks for the first buffer alone, b for both alike: shares 1 and 1/2 of 1 1/2."""
    links = [
        Link("load", "dma", amounts(8, 8), handed_bytes=amounts(400, 200)),
        Link("add", "vector", amounts(8, 8), handed_bytes=amounts(0, 200)),
        Link("store", "dma", amounts(8, 8)),
    ]
    program = chain_program("three", links, "spmem", 900, [("a", 100.0), ("b", 100.0)])
    assert [buffer.slot_bytes for buffer in program.buffers] == [200, 100]
    assert program.reserved_bytes("spmem") == 900
    assert run_program(program).fires["add"] == 400 / 200 + 200 / 100


def test_links_without_work_are_left_out() -> None:
    links = [
        Link("load", "dma", amounts(8), handed_bytes=amounts(8)),
        Link("merge", "vector", amounts(0), handed_bytes=amounts(0)),
        Link("store", "dma", amounts(8)),
    ]
    program = chain_program("three", links, "spmem", 900, [("a", 1.0)])
    assert [stage.name for stage in program.stages] == ["load", "store"]
    assert [resource.name for resource in program.resources] == ["dma"]
    alone = chain_program("one", links[:1], "spmem", 900, [("a", 1.0)])
    assert run_program(alone).total_ticks == 8


def test_stacks_of_one_name_are_two() -> None:
    links = [Link("load", "dma", amounts(8, 16), handed_bytes=amounts(1, 1)), Link("add", "vector", amounts(1, 1))]
    assert run_program(chain_program("two", links, "spmem", 90, [("a", 9.0), ("a", 9.0)])).total_ticks == 8 + 16 + 1


def test_a_chunk_has_a_row_at_least() -> None:
    with pytest.raises(MappingError, match="30 bytes of spmem do not hold 3 chunks of a row") as caught:
        chain(8, 8, 640.0, 30, rows=10.0)
    assert caught.value.rejected == ("rows of stack 't0' are too wide",)

"""Where tables lie: bytes of chips by hand, and every placement that cannot be."""

from __future__ import annotations

import pickle

import pytest

from accsim.embedding import EmbeddingSet, Feature, Placement, Sharding, Table, row_sharded
from accsim.errors import InputError


def model(width: int = 12, dtype: str = "fp32", optimizer: str = "adagrad") -> EmbeddingSet:
    """A table of ten rows, and two alike of six."""
    tables = (
        Table("a", 10, width, dtype=dtype, optimizer=optimizer), Table("b", 6, 8, optimizer="sgd", count=2),
    )  # fmt: skip
    return EmbeddingSet(tables, (Feature("f", "a"), Feature("g", "b", count=2)))


ON_CHIP_0 = Sharding("table")


def bytes_of_a(sharding: Sharding, **table: object) -> list[int]:
    """Bytes of the ten rows on four chips."""
    embeddings = model(**table)  # type: ignore[arg-type]
    both = Placement(4, {"a": sharding, "b": ON_CHIP_0}).held_bytes(embeddings)
    both[0] -= 2 * 6 * 32
    return both.tolist()


def test_bytes_of_each_sharding() -> None:
    # 12 numbers of fp32 are 48 B, padded to 64; Adagrad keeps as many.
    assert bytes_of_a(Sharding("replicated")) == [1280] * 4
    assert bytes_of_a(Sharding("table", firsts=(2,))) == [0, 0, 1280, 0]
    assert bytes_of_a(Sharding("row", 4)) == [3 * 128] * 4  # ten rows over four chips are padded to twelve
    assert bytes_of_a(Sharding("row", 2, firsts=(2,))) == [0, 0, 640, 640]
    assert bytes_of_a(Sharding("column", 3, firsts=(1,))) == [0] + [10 * 64] * 3  # pieces of 16 B, padded to 32


def test_bytes_of_the_state() -> None:
    due = {"sgd": 64, "rowwise_adagrad": 64 + 4, "adagrad": 128, "adam": 192}
    for optimizer, row in due.items():
        assert bytes_of_a(ON_CHIP_0, optimizer=optimizer) == [10 * row, 0, 0, 0]
    assert bytes_of_a(ON_CHIP_0, dtype="bf16", optimizer="adagrad") == [10 * (32 + 64), 0, 0, 0]


def test_tables_alike_lie_where_each_of_them_is_put() -> None:
    placement = Placement(4, {"a": ON_CHIP_0, "b": Sharding("table", firsts=(1, 3))})
    assert placement.held_bytes(model()).tolist() == [1280, 192, 0, 192]
    assert [share.offset for share in placement.shares(model())] == [0, 10, 16]


def test_tables_that_do_not_fit_are_named_with_their_bytes() -> None:
    placement = Placement(4, {"a": ON_CHIP_0, "b": ON_CHIP_0})
    placement.check_memory(model(), 1280 + 384)
    with pytest.raises(InputError) as error:
        placement.check_memory(model(), 1000)
    assert str(error.value) == "placement: chip 0 would hold 1,664 B, allowed are 1,000 B: a 1,280 B, b 384 B"


def test_a_table_larger_than_the_slice() -> None:
    tables = EmbeddingSet((Table("huge", 2**40 - 1, 128),), (Feature("f", "huge"),))
    with pytest.raises(InputError, match=r"chip 0 would hold 8,796,093,022,208 B, .*: huge 8,796,093,022,208 B"):
        row_sharded(tables, 128).check_memory(tables, 32 * 2**30)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rows",), "kind: read 'rows', allowed are column, replicated, row, table.* Did you mean 'row'?"),
        (("row", 0), "chips: read 0"),
        (("table", 2), "chips: read 2, allowed is 1: the kind 'table' does not cut a table"),
        (("row", 2, ()), r"firsts: read \(\), allowed are chips from 0 on, at least one"),
        (("row", 2, (-2,)), "firsts: read .-2,., allowed are chips from 0 on"),
        (("row", 2, "01"), "firsts: read '01', allowed is a tuple of whole numbers"),
    ],
)
def test_shardings_that_cannot_be(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sharding(*arguments)  # type: ignore[arg-type]


def test_all_that_is_wrong_with_a_placement_is_said_at_once() -> None:
    with pytest.raises(InputError) as error:
        Placement(
            4,
            {
                "too far": Sharding("table", firsts=(4,)),
                "too many": Sharding("row", 8),
                "no group": Sharding("row", 3),
                "between": Sharding("row", 2, firsts=(1,)),
                "what": "row",  # type: ignore[dict-item]
                "good": Sharding("column", 3, firsts=(1,)),
            },
        )
    found = [str(problem) for problem in error.value.problems]
    assert [text.split("'")[1] for text in found] == ["too far", "too many", "no group", "between", "what"]
    assert "read 1 chips from chip 4 on, allowed are the 4 chips of the slice" in found[0]
    assert "allowed are groups of a divisor of 4 chips that begin at multiples of it" in found[2]


def test_a_placement_of_other_tables_is_refused() -> None:
    with pytest.raises(InputError) as error:
        Placement(4, {"a": Sharding("column", 4), "bb": Sharding("row", 4)}).shares(model(width=6))
    assert [problem.path for problem in error.value.problems] == ["bb", "a", "b"]
    assert error.value.problems[0].suggestion == "b"
    assert "4 pieces of a width of 6, allowed are divisors of it" in str(error.value)
    with pytest.raises(
        InputError, match="read 3 first chips, allowed are one for each of the 2 tables, or one for all"
    ):
        Placement(4, {"a": ON_CHIP_0, "b": Sharding("table", firsts=(0, 1, 2))}).shares(model())


def test_a_placement_is_a_value() -> None:
    placement = row_sharded(model(), 4)
    assert pickle.loads(pickle.dumps(placement)) == placement == row_sharded(model(), 4)
    assert hash(placement) == hash(row_sharded(model(), 4))

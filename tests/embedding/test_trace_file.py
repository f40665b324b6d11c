"""Index traces in files: what is written is read, and what does not fit is told with its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from accsim.embedding.trace import draw_batches
from accsim.embedding.trace_file import read_batch, read_batches, write_batch
from accsim.errors import InputError
from accsim.workload.embeddings import EmbeddingSet, Feature, Popularity, Table, Valency

TABLES = EmbeddingSet(
    (Table("a", 30, 4, popularity=Popularity(1)), Table("b", 1000, 4)),
    (Feature("x", "a", Valency(3, 0)), Feature("y", "b", Valency(2, 2))),
)
ROWS = [30, 1000]


def arrays(**changed: object) -> dict[str, np.ndarray]:
    """Two features of three samples, with some arrays replaced."""
    plain: dict[str, object] = {
        "indices": [4, 0, 2, 9, 9, 1, 7], "lengths": [[1, 1, 1], [2, 1, 1]], "offsets": [0, 1, 2, 3, 5, 6, 7],
    }  # fmt: skip
    return {name: np.array(value) for name, value in (plain | changed).items() if value is not None}


def test_batches_come_back(tmp_path: Path) -> None:
    drawn = list(draw_batches(TABLES, 20, seed=1, batches=3))
    paths = [tmp_path / f"{i}.npz" for i in range(3)]
    for batch, path in zip(drawn, paths, strict=True):
        write_batch(batch, path)
    for batch, back in zip(drawn, read_batches(paths, rows=ROWS, empty_bags=True), strict=True):
        assert np.array_equal(batch.indices, back.indices)
        assert np.array_equal(batch.offsets, back.offsets)
        assert (back.samples, back.rows.tolist(), back.tables.tolist()) == (20, ROWS, [0, 1])


def test_parquet_is_the_same_batch(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", **arrays())
    bags = {"feature": [0, 0, 0, 1, 1, 1], "sample": [0, 1, 2] * 2, "indices": [[4], [0], [2], [9, 9], [1], [7]]}
    pq.write_table(pa.table(bags), tmp_path / "t.parquet")
    one, other = (read_batch(tmp_path / f"t.{kind}") for kind in ("npz", "parquet"))
    assert np.array_equal(one.indices, other.indices)
    assert np.array_equal(one.offsets, other.offsets)
    assert one.rows.tolist() == other.rows.tolist() == [5, 10]


def test_offsets_may_be_left_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", **arrays(offsets=None))
    assert read_batch(tmp_path / "t.npz").offsets.tolist() == arrays()["offsets"].tolist()


BAD = [
    (
        {"indices": [4, 0, 2, 9, 9, 10, 7]},
        "feature_1 of table 1, sample 1, position 0: read 10, allowed are ids of the table from 0 to 9",
    ),
    ({"indices": [4, 0, 2, 9, -1, 1, 7]}, "feature_1 of table 1, sample 0, position 1: read -1"),
    ({"lengths": [[1, 0, 1], [3, 1, 1]], "offsets": None}, "feature_0 of table 0, sample 1: the bag is empty"),
    ({"lengths": [[1, 1, -1], [4, 1, 1]], "offsets": None}, "lengths: read -1 of feature 0, sample 2"),
    ({"indices": [4, 0, 2, 9, 9, 1]}, "indices: read 6, the lengths add up to 7: the trace is cut off"),
    ({"indices": [4, 0, 2, 9, 9, 1]}, "it ends in feature 1, sample 2, position 0"),
    ({"offsets": [0, 1, 2, 3, 4, 6, 7]}, "offsets: feature 1, sample 1: read 4, allowed is 5, the sum of the lengths"),
    ({"offsets": [0, 1, 2, 3, 5, 6, 8]}, "offsets: the end: read 8, allowed is 7"),
    ({"offsets": [0, 1, 2, 3, 5, 6]}, "offsets: read 6, allowed is one for each bag of 2 features of 3 samples"),
    ({"offsets": [[0, 1, 2, 3, 5, 6, 7]]}, "offsets: read the shape (1, 7), allowed is one axis"),
    (
        {"indices": np.array([4, 0, 2, 9, 2**64 - 3, 1, 7], np.uint64)},
        "feature_1 of table 1, sample 0, position 1: read 18446744073709551613, allowed are ids below 10",
    ),
    (
        {"lengths": np.array([[1, 1, 2**63 + 1], [2, 1, 1]], np.uint64)},
        "lengths: read 9223372036854775809 of feature 0, sample 2, allowed are 0 to 2^40 - 1",
    ),
    ({"lengths": None}, "needed are indices, lengths"),
    ({"lengths": [1, 1, 1, 2, 1, 1]}, "lengths: read the shape (6,), allowed is features x samples"),
    ({"indices": [4.5, 0, 2, 9, 9, 1, 7]}, "indices are of the type float64, allowed are whole numbers"),
    ({"lengths": np.zeros((2, 0), int), "offsets": None}, "read 2 features of 0 samples"),
]


@pytest.mark.parametrize(("changed", "message"), BAD)
def test_bad_arrays(changed: dict[str, object], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", **arrays(**changed))
    with pytest.raises(InputError) as error:
        read_batch(tmp_path / "t.npz", rows=[5, 10])
    assert message in str(error.value)
    assert "t.npz" in str(error.value)


def test_bad_tables(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", **arrays())
    with pytest.raises(InputError, match=r"rows\[1\]: read 0, allowed is at least one row"):
        read_batch(tmp_path / "t.npz", rows=[5, 0])
    with pytest.raises(InputError, match="it has 2 features, the rows of 1 tables are given"):
        read_batch(tmp_path / "t.npz", rows=[5])


@pytest.mark.parametrize("rows", [None, [5, 2**40]])
def test_an_id_or_a_table_that_cannot_be_counted_is_told(rows: list[int] | None, tmp_path: Path) -> None:
    # One bit a row: 2^40 rows are 128 GiB.
    np.savez(tmp_path / "t.npz", **arrays(indices=[4, 0, 2, 9, 9, 2**40, 7]))
    place = "feature_1 of table 1, sample 1, position 0: read 1099511627776, allowed are ids below 2\\^35"
    with pytest.raises(
        InputError, match=place if rows is None else r"rows: read 1099511627776 of table 1, allowed are"
    ):
        read_batch(tmp_path / "t.npz", rows=rows)


def test_many_problems_are_counted(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", indices=np.full(100, 7), lengths=np.ones((1, 100), int))
    with pytest.raises(InputError, match="and 80 more problems"):
        read_batch(tmp_path / "t.npz", rows=[5])


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_files_that_are_cut_off(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"t.{kind}"
    np.savez(tmp_path / "t.npz", **arrays())
    bags = {"feature": [0] * 50, "sample": list(range(50)), "indices": [[4]] * 50}
    pq.write_table(pa.table(bags), tmp_path / "t.parquet")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="cannot read the file"):
        read_batch(path)
    with pytest.raises(InputError, match="cannot read the file"):
        read_batch(tmp_path / f"none.{kind}")
    with pytest.raises(InputError, match=r"allowed are \.npz, \.parquet, \.pt, \.pt\.gz"):
        read_batch(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("bags", "message"),
    [
        (
            {"feature": [0, 0], "sample": [0, 2], "indices": [[1], [1]]},
            "bags are missing.*row 1: read feature 0, sample 2, allowed is feature 0, sample 1",
        ),
        (
            {"feature": [0, 0, 1], "sample": [0, 1, 0], "indices": [[1]] * 3},
            "row 3: read no more, allowed is feature 1",
        ),
        (
            {"feature": [0, 0], "sample": [0, 2**40], "indices": [[1], [1]]},
            "row 1: read feature 0, sample 1099511627776",
        ),
        ({"feature": [0, 0], "sample": [1, 0], "indices": [[1], [1]]}, "not sorted"),
        ({"feature": [0], "sample": [0], "indices": [[1.5]]}, "allowed are lists of whole numbers"),
        ({"feature": [0], "sample": [0]}, "indices"),
    ],
)
def test_bad_parquet(bags: dict[str, list[object]], message: str, tmp_path: Path) -> None:
    pq.write_table(pa.table(bags), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=message):
        read_batch(tmp_path / "t.parquet")

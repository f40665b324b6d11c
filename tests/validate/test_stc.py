"""`accsim validate stc` on a few published rows, on altered ones, and on all where the file is beside the checkout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from accsim.cli import app

Row = dict[str, Any]
ALL_ROWS = Path(__file__).resolve().parents[3] / "shared" / "reference" / "sparseloop_stc.csv"

SHAPE: Row = {"layer": "L", "M": 128, "K": 1152, "N": 1024, "K_padded": 1152, "activation_density": 0.44}
SPEEDS: Row = {
    "n_mac": 1024, "smem_bw_words_per_cycle": 42,
    "dram_read_bw_words_per_cycle": 32, "dram_write_bw_words_per_cycle": 32,
}  # fmt: skip
DENSE = "DRAM: N16 | SMEM: M2 M4sy | RF: K72 M16sy K16sx | LRF: N64"
HALF = "DRAM: N8 | SMEM: M2 M4sy | RF: K36 M16sy K32sx | LRF: N128"
OUTER = "DRAM: N8 | SMEM: N2 M2sy N2sy | RF: K1152 | LRF: M4 N2 M16sy N16sx"


def row(
    design: str, pattern: str, formats: tuple[str, int, str], ert: str, mapping: str, cycles: float, energy: float
) -> Row:
    density = {"dense": 1.0}.get(pattern, 0.5)
    stored = dict(zip(("A_format", "A_metadata_bits", "B_format"), formats, strict=True))
    what = {"weight_density": density, "design": design, "weight_pattern_executed": pattern}
    return SHAPE | what | stored | SPEEDS | {"ert": ert, "mapping": mapping, "cycles": cycles, "energy_uJ": energy}


ROWS = [
    row("TC", "dense", ("none", 0, "none"), "tc_65nm", DENSE, 147456, 276.58),
    row("STC", "2:4", ("CP", 2, "none"), "stc_45nm", HALF, 73728, 173.42),
    row("DSTC", "unstructured 0.5", ("bitmask", 1, "bitmask"), "dstc_45nm", OUTER, 51197, 191.65),
]


def told(path: Path, *options: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["validate", "stc", "--data", str(path), *options])
    return result.exit_code, result.stdout, result.stderr


def write(path: Path, rows: list[Row]) -> Path:
    path.write_text("\n".join([",".join(rows[0]), *(",".join(map(str, one.values())) for one in rows)]) + "\n")
    return path


def test_published_rows_are_within_tolerance(tmp_path: Path) -> None:
    code, shown, errors = told(write(tmp_path / "rows.csv", ROWS))
    assert (code, errors) == (0, "")
    assert "0.1 %, 7.0 %" in shown
    assert "multipliers always busy" in shown


@pytest.mark.parametrize(
    ("at", "column", "factor", "code"),
    [
        (0, "cycles", 1.01, 4), (1, "cycles", 0.99, 4), (1, "energy_uJ", 1.01, 4),
        (2, "cycles", 1.01, 0), (2, "cycles", 1.09, 4), (2, "cycles", 0.92, 4),
    ],
)  # fmt: skip
def test_an_altered_row_is_found_at_its_own_tolerance(
    at: int, column: str, factor: float, code: int, tmp_path: Path
) -> None:
    rows = [dict(one) for one in ROWS]
    rows[at][column] *= factor
    path = write(tmp_path / "rows.csv", rows)
    assert told(path)[0] == code
    missed = json.loads(told(path, "--json")[1])["beyond_tolerance"]
    assert [(one["line"], one["quantity"], bool(one["reason"])) for one in missed] == (
        [(at + 2, column, at == 2)] if code else []
    )
    assert ("lines 4: a mean over random places" in told(path)[1]) == (code == 4 and at == 2)


def test_rows_of_one_design(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", ROWS)
    found = json.loads(told(path, "--machine", "dstc", "--json")[1])
    assert (found["count"], found["skipped"]) == (1, 2)
    assert found["quantities"]["cycles"]["tolerances"] == [0.07]
    assert told(path, "--machine", "STCC")[::2] == (
        2,
        "accsim: read machine 'STCC', allowed are TC, STC, STC_flexible, STC_flexible_RLE, "
        "STC_flexible_RLE_dualCompress, DSTC. Did you mean 'STC'?\n",
    )


BAD = [
    ({"mapping": "DRAM: N16"}, "2:18: mapping: read 'DRAM: N16': allowed are the levels DRAM"),
    ({"M": 256}, "2:2: M: read 256, allowed is at most that of the loops over M in the mapping"),
    ({"K_padded": 1156}, ": K_padded: read 1156, allowed is at most that of the loops over K in the mapping"),
    ({"weight_pattern_executed": "2:x"}, ": weight_pattern_executed: read '2:x'"),
    ({"weight_pattern_executed": "channel 0.5"}, "allowed are dense, N:M, or unstructured with a density above 0"),
    ({"activation_density": 0}, ": activation_density: read 0.0, allowed is above 0"),
    ({"n_mac": 1000}, ": n_mac: read 1000, allowed is at least the multiplications of a step of the mapping"),
    ({"design": "STC_flex"}, "Did you mean 'STC_flexible'?"),
    ({"A_metadata_bits": -1}, ": A_metadata_bits: read '-1', allowed is a whole number from 0"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_files(change: Row, message: str, tmp_path: Path) -> None:
    code, shown, errors = told(write(tmp_path / "rows.csv", [ROWS[0] | change]))
    assert (code, shown) == (2, "")
    assert message in errors
    assert "Traceback" not in errors


def test_all_published_rows_and_one_altered(tmp_path: Path) -> None:
    """The rows of Sparseloop's artefact, where they are beside the checkout: they do not ship."""
    if not ALL_ROWS.exists():
        pytest.skip("sparseloop_stc.csv, data of a public repository, is not beside the checkout")
    assert told(ALL_ROWS)[0] == 0
    found = json.loads(told(ALL_ROWS, "--json")[1])
    assert found["max"] < 6e-3
    assert found["quantities"]["energy_uJ"]["max"] < 1e-3
    lines = ALL_ROWS.read_text(encoding="utf-8").splitlines()
    altered = tmp_path / "altered.csv"
    altered.write_text("\n".join(lines).replace(",66707,0.55,", ",67707,0.55,", 1) + "\n", encoding="utf-8")
    assert told(altered)[0] == 4

"""What each unit makes of each pattern, written from the published rules and not from the code.

* Sparse tensor cores (Mishra et al., arXiv 2104.08378): at most 2 nonzeros in every aligned 4 along the contracted
  axis, of TF32 at most 1 in 2. A mask of 2:6 or 4:8 can have 4 in one aligned 4, one of 2:8 or 1:4 never more than 2.
* VEGETA (HPCA 2023): 1:4, 2:4, or all, for a tile, or for each of its rows over 64 places.
* Sparseloop's flexible tensor core (MICRO 2022): 2:4, 2:6 and 2:8.
* VENOM (SC 2023): 2:4, and of V:N:M with V a multiple of 16 the 4 columns that each M keeps are gathered.
* S2TA (HPCA 2022): at most n in each aligned 8, for any n.
* Outer products (ISCA 2021) and lanes (Cambricon-X, MICRO 2016) skip zeros wherever they are.
* Blocks: whole ones of 16 along the contracted axis by 8 are skipped.

A product C = A B contracts k, dgrad dA = dC Bᵀ contracts n, wgrad dB = Aᵀ dC contracts m.
"""

from __future__ import annotations

from fractions import Fraction
from math import comb

from accsim.sparsity.legality import Verdict
from accsim.sparsity.nm import NM, VNM
from accsim.sparsity.patterns import Block, Channel, Unstructured, WeightPattern

UNITS = (
    "dense", "sparse_tensor_core", "sparse_tensor_core_tf32", "vegeta", "flexible_tensor_core", "venom",
    "density_bound_blocks", "vegeta_row_wise", "outer_product", "lane_skipping", "block_skipping",
)  # fmt: skip
LETTERS = {
    "R": Verdict.RUNS, "P": Verdict.PADDED, "X": Verdict.RE_PRUNE, "W": Verdict.WRONG_AXIS, "S": Verdict.NO_STRUCTURE,
    "N": Verdict.NOT_AN_OPERAND, "U": Verdict.NO_UNIT,
}  # fmt: skip


def _at_most(n: int, places: int, density: Fraction) -> Fraction:
    """Chance that so many places hold at most n nonzeros."""
    return sum((comb(places, x) * density**x * (1 - density) ** (places - x) for x in range(n + 1)), start=Fraction(0))


def _rows(density: Fraction) -> Fraction:
    """Mean n of 4 over rows of 64 independent places: 16 runs of 4, of which the fullest decides."""
    one, two = (_at_most(n, 4, density) ** 16 for n in (1, 2))
    return one / 4 + (two - one) / 2 + (1 - two)


QUARTER = Fraction(1, 4)
ALONG = f"""
                dense  2:4    1:2    veg    flex   venom  n:8    rows   outer  lanes  blocks
2:4             U      R1/2   X      R1/2   R1/2   R1/2   R1/2   R1/2   R1/2   R1/2   U
1:2             U      R1/2   R1/2   R1/2   R1/2   R1/2   R1/2   R1/2   R1/2   R1/2   U
1:4             U      P1/2   P1/2   R1/4   R1/4   P1/2   R1/4   R1/4   R1/4   R1/4   U
2:8             U      P1/2   X      P1/2   R1/4   P1/2   R1/4   P1/2   R1/4   R1/4   U
2:6             U      X      X      X      R1/3   X      P1/2   X      R1/3   R1/3   U
4:8             U      X      X      X      X      X      R1/2   X      R1/2   R1/2   U
1:8             U      P1/2   P1/2   P1/4   P1/4   P1/2   R1/8   P1/4   R1/8   R1/8   U
3:4             U      X      X      X      X      X      R3/4   X      R3/4   R3/4   U
64:2:8          U      P1/2   X      P1/2   R1/4   R1/4   R1/4   P1/2   R1/4   R1/4   U
64:2:10         U      X      X      X      X      R1/5   P1/2   X      R1/5   R1/5   U
8:2:8           U      P1/2   X      P1/2   R1/4   P1/2   R1/4   P1/2   R1/4   R1/4   U
2:4,10          U      P3/5   X      P3/5   P3/5   P3/5   P4/5   P3/5   R3/5   R3/5   U
1:4,10          U      P3/5   P1/2   P3/10  P2/5   P3/5   P2/5   P3/10  R3/10  R3/10  U
b32x32          U      U      U      U      U      U      U      P{1 - (1 - QUARTER) ** 3}  R1/4  R1/4  R1/4
b16x8           U      U      U      U      U      U      U      P{1 - (1 - QUARTER) ** 5}  R1/4  R1/4  R1/4
b8x16           U      U      U      U      U      U      U      P{1 - (1 - QUARTER) ** 9}  R1/4  R1/4  X
b4x4            U      U      U      U      U      U      U      P{1 - (1 - QUARTER) ** 17}  R1/4  R1/4  X
any             U      S      S      S      S      S      S      P{_rows(QUARTER)}  R1/4  R1/4  S
"""
"""Rows along the axis that a product contracts: a letter for the verdict, and the density that is executed, else 1.

``2:4,10`` is 2:4 over 10 places, filled up to whole runs of the mode that a unit takes. Of blocks the first side lies
along the contracted axis; ``any`` are single zeros of density 1/4. Rows of 64 places meet 64 / side blocks: with
probability (3/4)^(64 / side) all are empty and 1:4 is enough, else a run of 4 is full.
"""
_LINES = [line.split() for line in ALONG.strip().splitlines()[1:]]
CELLS = {(line[0], unit): cell for line in _LINES for unit, cell in zip(UNITS, line[1:], strict=True)}

ZEROS = ("outer_product", "lane_skipping")
OPERANDS = {"A": "mk", "B": "kn", "C": "mn"}
CONTRACTS = {"forward": "k", "dgrad": "n", "wgrad": "m"}


def by_hand(
    pattern: WeightPattern, unit: str, operand: str, product: str, length: int | None = None
) -> tuple[Verdict, Fraction]:
    """Verdict, and executed density to a millionth, of a pattern on a unit of `UNITS`."""
    contracted, axes = CONTRACTS[product], OPERANDS[operand]
    if isinstance(pattern, Channel):
        return Verdict.RUNS, pattern.density  # every product has all three axes, one of which is shorter
    if contracted not in axes:
        return Verdict.NOT_AN_OPERAND, Fraction(1)
    row = _row(pattern, axes.index(contracted)) + (f",{length}" if length else "")
    if isinstance(pattern, (NM, VNM)) and pattern.axis != contracted and not getattr(pattern, "transposable", False):
        across = {"dense": "U", "block_skipping": "U"} | dict.fromkeys(ZEROS, CELLS[row, "outer_product"])
        return _read(across.get(unit, "W"))
    return _read(CELLS[row, unit])


def _row(pattern: WeightPattern, contracted: int) -> str:
    if isinstance(pattern, NM):
        return f"{pattern.n}:{pattern.m}"
    if isinstance(pattern, VNM):
        return f"{pattern.v}:{pattern.n}:{pattern.m}"
    if isinstance(pattern, Block):
        along, across = (pattern.rows, pattern.cols)[:: 1 if contracted == 0 else -1]
        return f"b{along}x{across}"
    assert isinstance(pattern, Unstructured)
    return "any"


def _read(cell: str) -> tuple[Verdict, Fraction]:
    return LETTERS[cell[0]], Fraction(cell[1:] or 1).limit_denominator(10**6)

"""Ops that take longer than the engine can count, in the words of who asked for them."""

from __future__ import annotations

from accsim.config.machine import Accelerator
from accsim.engine.program import MAX_STAGE_TICKS, TICKS_PER_CYCLE
from accsim.errors import TooLongError
from accsim.mapping.format_run import matrix_dtype
from accsim.units import format_quantity
from accsim.workload.ops import Op

DAY_S = 86400.0
YEAR_S = 365.25 * DAY_S
REMEDY = "check its sizes and the machine's clock and rates, or split it into smaller ops"


def least_seconds(op: Op, acc: Accelerator) -> float:
    """What no mapping can beat: the op's MACs at the machine's peak, its inputs and outputs at main memory's rates.

    Of a product with a pattern, those of the values that are kept.
    """
    main = acc.main_memory
    kept = op.macs_effectual / op.macs if op.macs else 1.0
    read_s = kept * (op.input_bytes + op.weight_bytes) / main.usable_read_bytes_per_s
    write_s = op.output_bytes / main.usable_write_bytes_per_s
    compute_s = op.macs_effectual / acc.peak_macs_per_s(matrix_dtype(op, acc)) if op.macs_effectual else 0.0
    return max(compute_s, read_s + write_s if main.shared_bandwidth else max(read_s, write_s))


def too_long(op: Op, acc: Accelerator, least_ticks: float, most_ticks: int) -> TooLongError:
    """The error of an op that takes at least ``least_ticks`` in every mapping, with ``most_ticks`` allowed."""
    allowed_s = most_ticks / TICKS_PER_CYCLE / acc.clock_hz
    least_s = max(least_seconds(op, acc), least_ticks / TICKS_PER_CYCLE / acc.clock_hz)
    takes = f"at least {duration(least_s)}" if least_s > allowed_s else f"more than {duration(allowed_s)}"
    allowed = f"2^{most_ticks.bit_length() - 1}" if most_ticks & (most_ticks - 1) == 0 else f"{most_ticks:.4g}"
    clock = format_quantity(acc.clock_hz, "frequency")
    whole = " for a tile" if most_ticks == MAX_STAGE_TICKS else ""
    return TooLongError(
        f"'{op.name}' would take {takes} on {acc.name}; allowed are {allowed} ticks{whole}, {TICKS_PER_CYCLE} a cycle, "
        f"which at {clock} are {duration(allowed_s)}: {REMEDY}",
        least_ticks,
        most_ticks,
    )


def duration(seconds: float) -> str:
    """A long time in the unit that suits it.

    Examples
    --------
    >>> duration(90.0), duration(1.2e6), duration(1e18)
    ('90 s', '13.9 days', '3.17e+10 years')
    """
    size, unit = next(
        ((size, unit) for size, unit in ((YEAR_S, "years"), (DAY_S, "days")) if seconds >= size), (1.0, "s")
    )
    return f"{seconds / size:,.3g} {unit}"

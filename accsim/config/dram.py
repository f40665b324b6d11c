"""DRAM standards: the organization and the timing rules of one channel (of HBM, one pseudo-channel)."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from accsim.config.data_files import find_file, shipped_names
from accsim.config.energy import MainKind
from accsim.config.fields import Bandwidth, Capacity, Frequency, Name, Notes, Text, content_hash
from accsim.config.frozen import FrozenDict
from accsim.config.model_walk import fields_by_key
from accsim.config.reader import FileModel, PlacedError, Wrong, read_yaml, validate
from accsim.errors import nearest

_FOLDER = "hw_configs/dram"

Clocks = Annotated[int, Field(ge=1, le=1_000_000)]
Count = Annotated[int, Field(ge=1, le=4096)]


class DramTiming(FileModel):
    """Timing rules in clocks, under their JEDEC names."""

    cl: Clocks = Field(alias="tCL")
    """From a read command to its first data."""
    cwl: Clocks = Field(alias="tCWL")
    """From a write command to its first data."""
    rcd_rd: Clocks = Field(alias="tRCDRD")
    """From activating a row to reading from it."""
    rcd_wr: Clocks = Field(alias="tRCDWR")
    """From activating a row to writing to it."""
    rp: Clocks = Field(alias="tRP")
    """From precharging a bank to activating it."""
    ras: Clocks = Field(alias="tRAS")
    """From activating a bank to precharging it."""
    rc: Clocks = Field(alias="tRC")
    """From activating a bank to activating it again."""
    ccd_s: Clocks = Field(alias="tCCD_S")
    """Between two reads, or two writes, of different bank groups."""
    ccd_l: Clocks = Field(alias="tCCD_L")
    """Between two reads, or two writes, of one bank group."""
    rrd_s: Clocks = Field(alias="tRRD_S")
    """Between activating two banks of different groups."""
    rrd_l: Clocks = Field(alias="tRRD_L")
    """Between activating two banks of one group."""
    faw: Clocks = Field(alias="tFAW")
    """Window in which at most four rows are activated."""
    wtr_s: Clocks = Field(alias="tWTR_S")
    """From the end of written data to a read in another bank group."""
    wtr_l: Clocks = Field(alias="tWTR_L")
    """From the end of written data to a read in the same bank group."""
    rtw: Clocks = Field(alias="tRTW")
    """From a read command to a write command."""
    wr: Clocks = Field(alias="tWR")
    """From the end of written data to precharging their bank."""
    rtp: Clocks = Field(alias="tRTP")
    """From a read command to precharging its bank."""
    refi: Clocks = Field(alias="tREFI")
    """Between two refreshes."""
    rfc: Clocks = Field(alias="tRFC")
    """How long a refresh of all banks takes."""


class DramStandard(FileModel):
    """One channel of a standard at one speed; of HBM, one pseudo-channel."""

    name: Name
    """Name of the standard; of a shipped one, its file's."""
    kind: MainKind
    """Technology, as in machine files."""
    clock_hz: Frequency = Field(alias="clock")
    """Clock of the commands, in which the timing is counted."""
    pin_bytes_per_s: Bandwidth = Field(alias="data_rate")
    """Rate of one data pin."""
    width_bits: Annotated[int, Field(ge=8, le=1024)] = Field(alias="width")
    """Data pins of the channel."""
    burst_length: Count
    """Transfers of one read or write on each pin."""
    bank_groups: Count
    """Bank groups; 1 for a standard without them."""
    banks_per_group: Count
    """Banks in a group."""
    rows: Annotated[int, Field(ge=1, le=2**24)]
    """Rows of a bank."""
    row_bytes: Capacity = Field(alias="row_size")
    """Bytes of an open row, over all chips of the channel (the page)."""
    command_bus: Literal["shared", "split"]
    """One bus for all commands, or one each for row and column commands."""
    timing: DramTiming
    """Timing rules in clocks."""
    source: Text
    """Where the numbers come from."""
    sources: Notes = Field(default_factory=FrozenDict)
    """Dotted path to the source of that value, where it differs from `source`."""
    estimated: Notes = Field(default_factory=FrozenDict)
    """Dotted path to the reason why that value is not a published one."""

    @model_validator(mode="after")
    def _consistent(self) -> DramStandard:
        wrong = [*_organization(self), *_timing_order(self), *_notes(self)]
        if wrong:
            raise PlacedError(wrong)
        return self

    @property
    def burst_bytes(self) -> int:
        """Bytes of one burst."""
        return self.width_bits * self.burst_length // 8

    @property
    def burst_clocks(self) -> int:
        """Clocks for which a burst holds the data bus."""
        return int(_burst_clocks(self))

    @property
    def columns(self) -> int:
        """Bursts of a row."""
        return self.row_bytes // self.burst_bytes

    @property
    def peak_bytes_per_s(self) -> float:
        """Bytes a second on the data pins of one channel."""
        return self.pin_bytes_per_s * self.width_bits

    @property
    def capacity_bytes(self) -> int:
        """Bytes of one channel."""
        return self.rows * self.row_bytes * self.bank_groups * self.banks_per_group

    @property
    def stream_efficiency(self) -> float:
        """Share of the peak that an endless read of consecutive addresses reaches.

        Notes
        -----
        (1 - lost / tREFI) · burst / max(burst, tCCD). A refresh costs the time from the last read before it to the
        first one after, less the distance of two reads: lost = tRTP + tRP + tRFC + tRCDRD - max(burst, tCCD). tCCD is
        tCCD_S, or tCCD_L if there is one bank group only.

        Source: the definitions of the timing parameters; the channel model in ``accsim.kernels.dram`` agrees within
        0.005 (with a hash of the banks 0.01), as the tests show.
        """
        t = self.timing
        apart = max(self.burst_clocks, t.ccd_s if self.bank_groups > 1 else t.ccd_l)
        lost = t.rtp + t.rp + t.rfc + t.rcd_rd - apart
        return (1 - lost / t.refi) * self.burst_clocks / apart

    @property
    def hash(self) -> str:
        """First 12 hex digits of the sha256 of the content."""
        return content_hash(self)


def _burst_clocks(standard: DramStandard) -> Fraction:
    return Fraction(standard.burst_length) * Fraction(standard.clock_hz) / Fraction(standard.pin_bytes_per_s * 8)


def _organization(standard: DramStandard) -> Iterator[Wrong]:
    for key in ("bank_groups", "banks_per_group"):
        value = getattr(standard, key)
        if value & (value - 1):
            yield Wrong((key,), f"read {value}, allowed is a power of two")
    if standard.width_bits * standard.burst_length % 8:
        yield Wrong(("burst_length",), "allowed is a burst of whole bytes: width times burst_length a multiple of 8")
        return
    clocks = _burst_clocks(standard)
    if clocks.denominator != 1 or clocks < 1:
        message = (
            f"a burst takes {float(clocks):g} clocks (burst_length x clock / data_rate), allowed is a whole number"
        )
        yield Wrong(("data_rate",), message)
    columns = Fraction(standard.row_bytes, standard.burst_bytes)
    if columns.denominator != 1 or int(columns) & (int(columns) - 1):
        message = f"a row has {float(columns):g} bursts of {standard.burst_bytes} bytes, allowed is a power of two"
        yield Wrong(("row_size",), message)


def _timing_order(standard: DramStandard) -> Iterator[Wrong]:
    t = standard.timing
    if t.rc < t.ras + t.rp:
        yield Wrong(("timing", "tRC"), f"read {t.rc}, allowed is at least tRAS + tRP = {t.ras + t.rp}")
    for key, value in (("tRCDRD", t.rcd_rd), ("tRCDWR", t.rcd_wr)):
        if value > t.rc:
            yield Wrong(("timing", key), f"read {value}, allowed is at most tRC = {t.rc}")
    for short, long in (("ccd", "tCCD_L"), ("rrd", "tRRD_L"), ("wtr", "tWTR_L")):
        least, value = getattr(t, f"{short}_s"), getattr(t, f"{short}_l")
        if value < least:
            yield Wrong(("timing", long), f"read {value}, allowed is at least {long[:-1]}S = {least}")
    least = 2 * (t.rfc + t.rc + t.cwl + t.wr + t.wtr_l + t.rtw + int(_burst_clocks(standard)) + 1)
    if t.refi < least:
        message = f"read {t.refi}, allowed is at least {least}: two refreshes with a row opened, written and closed"
        yield Wrong(("timing", "tREFI"), message)


def _notes(standard: DramStandard) -> Iterator[Wrong]:
    """Notes on keys that the file does not have."""
    keys = [key for key in fields_by_key(DramStandard) if key not in ("source", "sources", "estimated")]
    keys += [f"timing.{key}" for key in fields_by_key(DramTiming)]
    for section, notes in (("sources", standard.sources), ("estimated", standard.estimated)):
        for key in notes:
            if key not in keys:
                yield Wrong(
                    (section, key), f"no field '{key}', allowed are {', '.join(keys)}", nearest(key, keys), True
                )


def list_dram_standards() -> tuple[str, ...]:
    """Names of the shipped standards, in alphabetical order."""
    return shipped_names(_FOLDER)


def load_dram_standard(name_or_path: str | Path, *, base: Path | None = None) -> DramStandard:
    """DRAM standard of a shipped name or of a file.

    Parameters
    ----------
    name_or_path
        ``"hbm3"`` (any case and separators) or a path.
    base
        Folder that a relative path starts from.

    Raises
    ------
    InputError
        If there is no such standard or its file has problems.

    Examples
    --------
    >>> hbm3 = load_dram_standard("hbm3")
    >>> hbm3.burst_bytes, hbm3.peak_bytes_per_s
    (32, 20800000000.0)
    """
    return validate(DramStandard, read_yaml(find_file(_FOLDER, "DRAM standard", name_or_path, base=base)))

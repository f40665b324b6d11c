"""A DRAM channel in plain Python, clock by clock: every command is checked against the list of all that came before.

Written from the definitions of the timing parameters: a rule is a pair of commands, the part of the channel they share,
and the least distance between them. No earliest time is ever computed; the scheduler asks in each clock what may go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Timings = Mapping[str, int]


@dataclass(frozen=True)
class Request:
    """One burst: bank over all groups, row, and whether it is written."""

    bank: int
    row: int
    write: bool = False


@dataclass(frozen=True)
class Command:
    """``RD``, ``WR``, ``ACT``, ``PRE``, ``PREA`` or ``REF``, and when and where."""

    at: int
    name: str
    bank: int = 0
    row: int = 0


def rules(t: Timings) -> list[tuple[str, str, str, int]]:
    """(command before, command after, what they share, least distance in clocks)."""
    written = t["cwl"] + t["burst"]
    found = [
        ("ACT", "RD", "bank", t["rcd_rd"]),
        ("ACT", "WR", "bank", t["rcd_wr"]),
        ("ACT", "PRE", "bank", t["ras"]),
        ("ACT", "PREA", "channel", t["ras"]),
        ("ACT", "ACT", "bank", t["rc"]),
        ("ACT", "ACT", "group", t["rrd_l"]),
        ("ACT", "ACT", "channel", t["rrd_s"]),
        ("RD", "WR", "channel", t["rtw"]),
        ("WR", "RD", "channel", written + t["wtr_s"]),
        ("WR", "RD", "group", written + t["wtr_l"]),
        ("RD", "PRE", "bank", t["rtp"]),
        ("RD", "PREA", "channel", t["rtp"]),
        ("WR", "PRE", "bank", written + t["wr"]),
        ("WR", "PREA", "channel", written + t["wr"]),
        ("PRE", "ACT", "bank", t["rp"]),
        ("PRE", "REF", "channel", t["rp"]),
        ("PREA", "REF", "channel", t["rp"]),
        ("PREA", "ACT", "channel", t["rp"]),
        ("REF", "ACT", "channel", t["rfc"]),
    ]
    for column in ("RD", "WR"):
        found += [
            (column, column, "channel", t["burst"]),
            (column, column, "channel", t["ccd_s"]),
            (column, column, "group", t["ccd_l"]),
        ]
    return found


def together(a: Command, b: Command, shared: str, banks_per_group: int) -> bool:
    """Whether two commands go to the same bank, group or channel."""
    if shared == "bank":
        return a.bank == b.bank
    return shared == "channel" or a.bank // banks_per_group == b.bank // banks_per_group


def allowed(before: Sequence[Command], new: Command, t: Timings, banks_per_group: int) -> bool:
    """Whether no rule forbids the new command at its clock."""
    for first, second, shared, distance in rules(t):
        if second != new.name:
            continue
        for old in before:
            if old.name == first and together(old, new, shared, banks_per_group) and new.at - old.at < distance:
                return False
    if new.name == "ACT":
        recent = [old for old in before if old.name == "ACT" and new.at - old.at < t["faw"]]
        return len(recent) < 4
    return True


@dataclass
class Channel:
    """A channel at work; ``run`` returns when the last data have passed."""

    t: Timings
    banks_per_group: int
    window: int
    closed_page: bool
    shared_bus: bool
    pending: list[tuple[int, Request]]
    log: list[Command] = field(default_factory=list)
    hidden: list[Command] = field(default_factory=list)  # auto-precharges: on no bus, at a clock that may be to come
    open_rows: dict[int, int] = field(default_factory=dict)
    causes: dict[int, str] = field(default_factory=dict)
    served: list[str] = field(default_factory=list)
    data_end: int = 0

    def look(self) -> list[tuple[int, Request]]:
        """Return the window: the oldest request and those that arrived right behind it, if not yet served."""
        return [(i, r) for i, r in self.pending if i < self.pending[0][0] + self.window]

    def may(self, command: Command) -> bool:
        return allowed([*self.log[-60:], *self.hidden[-60:]], command, self.t, self.banks_per_group)

    def column(self, clock: int) -> bool:
        """Issue the oldest read or write that may go now."""
        for entry in self.look():
            i, r = entry
            command = Command(clock, "WR" if r.write else "RD", r.bank, r.row)
            if self.open_rows.get(r.bank) == r.row and self.may(command):
                self.log.append(command)
                self.pending.remove(entry)
                self.served.append(self.causes.get(i, "hit"))
                delay = self.t["cwl"] if r.write else self.t["cl"]
                self.data_end = max(self.data_end, clock + delay + self.t["burst"])
                wanted = any((o.bank, o.row) == (r.bank, r.row) for _, o in self.look()) if self.pending else False
                if self.closed_page and not wanted:
                    self.close_by_itself(r.bank, clock)
                return True
        return False

    def close_by_itself(self, bank: int, clock: int) -> None:
        """Precharge a bank at the first clock at which a precharge command could."""
        del self.open_rows[bank]
        while not self.may(Command(clock, "PRE", bank)):
            clock += 1
        self.hidden.append(Command(clock, "PRE", bank))

    def row(self, clock: int) -> bool:
        """Issue the row command of the oldest request that needs one and may have it now."""
        asked: set[int] = set()
        for i, r in self.look():
            wanted = {o.row for _, o in self.look() if o.bank == r.bank}
            if r.bank in asked or self.open_rows.get(r.bank) in wanted:
                continue
            asked.add(r.bank)
            if r.bank not in self.open_rows:
                command = Command(clock, "ACT", r.bank, r.row)
                if self.may(command):
                    self.log.append(command)
                    self.open_rows[r.bank] = r.row
                    self.causes.setdefault(i, "miss")
                    return True
            else:
                command = Command(clock, "PRE", r.bank, self.open_rows[r.bank])
                if self.may(command):
                    self.log.append(command)
                    del self.open_rows[r.bank]
                    self.causes[i] = "conflict"
                    return True
        return False

    def refresh(self, clock: int) -> bool:
        """Work on the refresh that is due: precharge all open banks, then refresh. True once it is issued."""
        if self.open_rows:
            if self.may_precharge_all(clock):
                self.log.append(Command(clock, "PREA"))
                self.open_rows.clear()
            return False
        if any(c.at > clock for c in self.hidden) or not self.may(Command(clock, "REF")):
            return False
        self.log.append(Command(clock, "REF"))
        return True

    def may_precharge_all(self, clock: int) -> bool:
        """Whether every open bank may be precharged now."""
        return all(self.may(Command(clock, "PRE", bank)) for bank in self.open_rows)

    def run(self) -> int:
        clock, due = 0, self.t["refi"]
        while self.pending:
            if clock >= due:
                if self.refresh(clock):
                    due += self.t["refi"]
            else:
                used = self.column(clock)
                if self.pending and not (used and self.shared_bus):
                    self.row(clock)
            clock += 1
        return self.data_end

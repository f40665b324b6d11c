"""Errors a user can meet: each names the place, what was read, what is allowed and the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_SHOWN_REJECTED = 12
_ENOUGH_LETTERS = 3
"""Of the start of a name that stands for it."""


class AccsimError(Exception):
    """Base of every error meant for the user; `exit_code` is what the command line returns."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the input.

    Attributes
    ----------
    where
        ``"file.yaml:3:5"``, ``"argument"``, ``"set:matrix_unit.rows"`` or ``""``.
    path
        Dotted key, ``"matrix_unit.rows"``; empty for the whole file.
    message
        What was read and what is allowed.
    suggestion
        The nearest valid spelling, or None.
    """

    where: str
    path: str
    message: str
    suggestion: str | None = None

    def __str__(self) -> str:
        head = "".join(f"{part}: " for part in (self.where, self.path) if part)
        tail = "" if self.suggestion is None else f" Did you mean '{self.suggestion}'?"
        body = self.message
        if tail and not body.endswith((".", "?", "!")):
            body += "."
        return head + body + tail


class InputError(AccsimError):
    """A file, name or argument that cannot be used; lists every problem at once.

    Parameters
    ----------
    problems
        One problem, several, or a bare message.
    """

    exit_code = 2

    def __init__(self, problems: Sequence[Problem] | Problem | str) -> None:
        if isinstance(problems, str):
            problems = Problem("", "", problems)
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class TooLongError(InputError):
    """An op or a program that takes more time than can be counted.

    Parameters
    ----------
    message
        What is too long, the time it takes at least, and what is allowed.
    least_ticks, most_ticks
        The same in ticks.
    """

    def __init__(self, message: str, least_ticks: float, most_ticks: int) -> None:
        super().__init__(message)
        self.least_ticks = least_ticks
        self.most_ticks = most_ticks


class MappingError(AccsimError):
    """No feasible mapping; lists the rejected ones with their reasons.

    Parameters
    ----------
    message
        What could not be mapped and what would be needed.
    rejected
        One line for each rejected mapping; at most twelve are shown.
    """

    exit_code = 3

    def __init__(self, message: str, rejected: Sequence[str] = ()) -> None:
        self.message = message
        self.rejected: tuple[str, ...] = tuple(rejected)
        super().__init__(message, self.rejected)

    def __str__(self) -> str:
        lines = [self.message, *(f"  {line}" for line in self.rejected[:_SHOWN_REJECTED])]
        hidden = len(self.rejected) - _SHOWN_REJECTED
        if hidden > 0:
            lines.append(f"  ... and {hidden} more")
        return "\n".join(lines)


class ToleranceError(AccsimError):
    """Results that are further from the data than is tolerated."""

    exit_code = 4


def check_choice(what: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a name that is not among those allowed.

    Raises
    ------
    InputError
        With what it is a name of, the allowed ones and the nearest.
    """
    if value not in allowed:
        message = f"unknown {what} '{value}', allowed are {', '.join(allowed)}"
        raise InputError(Problem("", "", message, nearest(str(value), allowed)))


def read_all(*reads: Callable[[], Any]) -> tuple[Any, ...]:
    """What several inputs are, once all have been read.

    Raises
    ------
    InputError
        With the problems of all of them.
    """
    problems: list[Problem] = []
    found: list[Any] = []
    for read in reads:
        try:
            found.append(read())
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return tuple(found)


def plain_name(name: str) -> str:
    """Name in lower case without the separators ``_``, ``-`` and blank, for comparing spellings.

    Examples
    --------
    >>> plain_name("H100 SXM") == plain_name("h100-sxm") == plain_name("h100_sxm")
    True
    """
    return "".join(c for c in name.casefold() if c not in "_- ")


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name most like `name`, ignoring case and separators; None when nothing is close.

    The shortest that begins with all of `name` comes before those that differ from it.

    Examples
    --------
    >>> nearest("Matrix-Unt", ["matrix_unit", "vector_unit"])
    'matrix_unit'
    >>> nearest("LPDDR4", ["lpddr5_6400", "lpddr4_3200"])
    'lpddr4_3200'
    >>> nearest("qqq", ["matrix_unit"]) is None
    True
    """
    by_plain: dict[str, str] = {}
    for candidate in allowed:
        by_plain.setdefault(plain_name(candidate), candidate)
    plain = plain_name(name)[:200]
    longer = [known for known in by_plain if len(plain) >= _ENOUGH_LETTERS and known.startswith(plain)]
    if longer:
        return by_plain[min(longer, key=len)]
    match = difflib.get_close_matches(plain, list(by_plain), n=1, cutoff=0.6)
    return by_plain[match[0]] if match else None

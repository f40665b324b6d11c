"""Checks of constructor arguments that find every problem before they complain."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from accsim.config.frozen import FrozenDict
from accsim.errors import InputError, Problem, nearest
from accsim.units import UnitError, canonical_dtype

MAX_SIZE = 2**40 - 1
"""Largest extent, repeat or element count of one op."""

MAX_NUMBER = 1e30
"""Largest number that is no count."""

MAX_LIST = 2**16
"""Most numbers in a list."""

COUNT_TEXT = "a whole number from 1 to 2^40 - 1"
"""What such a number may be, for messages."""

MAX_NAME = 200
"""Most characters in a name."""


def shown(value: object) -> str:
    """Short text of a value for messages.

    Examples
    --------
    >>> shown("x"), shown(10**9), shown(None)
    ("'x'", '1000000000', 'nothing')
    """
    if value is None:
        return "nothing"
    if isinstance(value, int) and value.bit_length() > 200:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class ArgumentChecks:
    """Checks and normalizes the fields of a frozen dataclass from inside its ``__post_init__``.

    Each check writes the normalized value back or notes a problem; `finish` raises them all.

    Parameters
    ----------
    owner
        The instance under construction.
    """

    def __init__(self, owner: object) -> None:
        self._owner = owner
        self._problems: list[Problem] = []

    def fail(self, field: str, message: str, suggestion: str | None = None) -> None:
        """Note a problem with a field."""
        path = f"{type(self._owner).__name__}.{field}"
        self._problems.append(Problem("argument", path, message, suggestion))

    def count(self, *fields: str, least: int = 1, most: int = MAX_SIZE) -> bool:
        """Whole numbers from `least` to `most`, kept as int; True if all of them are."""
        good = True
        for field in fields:
            value = getattr(self._owner, field)
            number = _whole(value)
            if number is None or not least <= number <= most:
                last = "2^40 - 1" if most == MAX_SIZE else most
                allowed = f"a whole number from {least} to {last}"
                self.fail(field, f"read {shown(value)}, allowed is {allowed}")
                good = False
            else:
                object.__setattr__(self._owner, field, number)
        return good

    def counts(self, field: str, most: int = MAX_LIST) -> bool:
        """A list of at least one and at most `most` whole numbers from 1 on, kept as a tuple; True if it is."""
        value = getattr(self._owner, field)
        items = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
        numbers = [number for number in map(_whole, items[: most + 1]) if number is not None]
        if 0 < len(items) == len(numbers) <= most and all(1 <= number <= MAX_SIZE for number in numbers):
            object.__setattr__(self._owner, field, tuple(numbers))
            return True
        allowed = f"a list of 1 to {most} whole numbers from 1 to 2^40 - 1"
        self.fail(field, f"read {shown(value)}, allowed is {allowed}")
        object.__setattr__(self._owner, field, None)
        return False

    def fill(self, field: str, value: object) -> bool:
        """Give a field that was left out its value; True if it was."""
        if getattr(self._owner, field) is not None:
            return False
        object.__setattr__(self._owner, field, value)
        return True

    def share(self, field: str) -> bool:
        """A number above 0 and at most 1, kept as the exact fraction that was written; True if it is one."""
        value = getattr(self._owner, field)
        try:
            exact = Fraction(str(value)) if isinstance(value, (int, float, str, Fraction)) else None
        except (ValueError, ZeroDivisionError):
            exact = None
        if exact is None or not 0 < exact <= 1:
            self.fail(field, f"read {shown(value)}, allowed is a number above 0 and at most 1, such as 0.25 or 1/3")
            return False
        object.__setattr__(self._owner, field, exact)
        return True

    def number(self, *fields: str, positive: bool = False, most: float = MAX_NUMBER) -> bool:
        """Numbers of at least 0 (above 0 if `positive`) and at most `most`, kept as float; True if all of them are."""
        good = True
        for field in fields:
            value = getattr(self._owner, field)
            real = isinstance(value, (int, float)) and not isinstance(value, bool)
            if real and 0 <= value <= most and not (positive and value == 0):
                object.__setattr__(self._owner, field, float(value))
                continue
            least = "above 0" if positive else "of at least 0"
            self.fail(field, f"read {shown(value)}, allowed is a number {least} and at most {most:g}")
            good = False
        return good

    def flag(self, *fields: str) -> None:
        """True or False."""
        for field in fields:
            value = getattr(self._owner, field)
            if not isinstance(value, bool):
                self.fail(field, f"read {shown(value)}, allowed are True and False")

    def choice(self, field: str, allowed: Iterable[str]) -> bool:
        """One of the allowed texts; True if it is."""
        value, known = getattr(self._owner, field), sorted(allowed)
        if isinstance(value, str) and value in known:
            return True
        near = nearest(value, known) if isinstance(value, str) else None
        self.fail(field, f"read {shown(value)}, allowed are {', '.join(known)}", near)
        return False

    def dtype(self, field: str = "dtype") -> None:
        """A data type in any spelling, kept under its canonical name."""
        try:
            object.__setattr__(self._owner, field, canonical_dtype(getattr(self._owner, field)))
        except UnitError as error:
            self.fail(field, error.message, error.suggestion)

    def name(self, field: str = "name") -> None:
        """A text that is not empty, has at most `MAX_NAME` characters and only printable ones."""
        value = getattr(self._owner, field)
        if not (isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable()):
            self.fail(field, f"read {shown(value)}, allowed is a text of 1 to {MAX_NAME} printable characters")

    def instance(self, field: str, kind: type) -> None:
        """A value of a class."""
        value = getattr(self._owner, field)
        if not isinstance(value, kind):
            self.fail(field, f"read {shown(value)}, allowed is {kind.__name__}(...)")

    def sequence(self, field: str, kind: type, what: str) -> bool:
        """A list or tuple of one kind of value, kept as a tuple; True if it is."""
        value = getattr(self._owner, field)
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, kind) for item in value):
            self.fail(field, f"read {shown(value)}, allowed is a tuple of {what}")
            object.__setattr__(self._owner, field, ())
            return False
        object.__setattr__(self._owner, field, tuple(value))
        return True

    def mapping(self, field: str) -> None:
        """A mapping from text to values that can be hashed, kept read-only."""
        value = getattr(self._owner, field)
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            self.fail(field, f"read {shown(value)}, allowed is a mapping of names to values")
        else:
            object.__setattr__(self._owner, field, FrozenDict(value))

    def finish(self) -> None:
        """Raise `InputError` with every problem noted, if there is one."""
        if self._problems:
            raise InputError(self._problems)


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None

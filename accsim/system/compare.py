"""Steps that are set side by side: they differ in the values of one choice, or in the shapes of the slice."""

from __future__ import annotations

from typing import cast

from accsim.errors import InputError, Problem, nearest
from accsim.system.choices import CHOICES, StepOptions
from accsim.system.slices import is_shape

OPTION = "--compare"


def read_compared(text: str, slice_name: str, given: StepOptions) -> dict[str, tuple[str, StepOptions]]:
    """Name of a case -> its slice and its options.

    Parameters
    ----------
    text
        Values of one choice (``rows,best``), or shapes that are set beside the slice's own (``4x4x8,twisted:4x4x8``).
    given
        Options of all cases.

    Raises
    ------
    InputError
        For a value given twice, values that are of no choice or of several, and a choice that is given too.

    Examples
    --------
    >>> read_compared("none,owner", "tpu_v4:4x4x4", {})["owner"]
    ('tpu_v4:4x4x4', {'dedup': 'owner'})
    >>> list(read_compared("4x4x8,twisted:4x4x8", "tpu_v4:4x4x4", {}))
    ['4x4x4', '4x4x8', 'twisted:4x4x8']
    """
    values = [value.strip() for value in text.split(",")]
    twice = [value for i, value in enumerate(values) if value in values[:i]]
    if twice:
        raise InputError(Problem(OPTION, "", f"'{twice[0]}' is given twice"))
    if all(is_shape(value) for value in values):
        chip, _, own = slice_name.partition(":")
        shapes = dict.fromkeys([own, *values])
        return {shape: (f"{chip}:{shape}", given) for shape in shapes}
    choice = next((name for name, allowed in CHOICES.items() if set(values) <= set(allowed)), None)
    if choice is None:
        known = [value for allowed in CHOICES.values() for value in allowed]
        near = next((nearest(value, known) for value in values if value not in known), None)
        groups = "; ".join(f"{name}: {', '.join(allowed)}" for name, allowed in CHOICES.items())
        message = f"read '{text[:60]}', allowed are values of one choice, joined by commas ({groups}), or slice shapes"
        raise InputError(Problem(OPTION, "", message, near))
    if choice in given:
        raise InputError(f"--{choice} and {OPTION} {text} exclude each other, allowed is one of them")
    return {value: (slice_name, cast(StepOptions, {**given, choice: value})) for value in values}

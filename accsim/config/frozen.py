"""A mapping that cannot be changed, can be hashed and pickled, and is a dict to everything that reads one."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class FrozenDict(dict[K, V]):
    """Read-only dict; hashable when its values are.

    Examples
    --------
    >>> rates = FrozenDict({"bf16": 1.0})
    >>> rates["bf16"] = 2.0
    Traceback (most recent call last):
    TypeError: this mapping is read-only
    """

    def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise TypeError("this mapping is read-only")

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = setdefault = pop = popitem = clear = _refuse

    _hash: int

    def __hash__(self) -> int:  # type: ignore[override]
        if not hasattr(self, "_hash"):
            self._hash = hash(frozenset(self.items()))
        return self._hash

    def __reduce__(self) -> tuple[type[FrozenDict[K, V]], tuple[dict[K, V]]]:
        return type(self), (dict(self),)

"""The kinds of validation by name."""

from __future__ import annotations

from accsim.validate.flat import FlatRows
from accsim.validate.kind import Kind
from accsim.validate.stc import StcRows

KINDS: dict[str, Kind] = {kind.name: kind for kind in (FlatRows(), StcRows())}

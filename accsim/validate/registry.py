"""The kinds of validation by name."""

from __future__ import annotations

from accsim.validate.flat import FlatRows
from accsim.validate.kind import Kind

KINDS: dict[str, Kind] = {kind.name: kind for kind in (FlatRows(),)}

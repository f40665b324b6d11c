"""The kinds of validation by name, and those whose rows constants are fitted to."""

from __future__ import annotations

from accsim.validate.calibrate import Fit
from accsim.validate.collective import CollectiveRows
from accsim.validate.fit_collective import fit_collective
from accsim.validate.flat import FlatRows
from accsim.validate.kind import Kind
from accsim.validate.runs import RunRows
from accsim.validate.stc import StcRows

KINDS: dict[str, Kind] = {kind.name: kind for kind in (RunRows(), FlatRows(), StcRows(), CollectiveRows())}

FITS: dict[str, Fit] = {"collective": fit_collective}

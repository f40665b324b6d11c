"""Field types of workload files."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from accsim.config.checks import COUNT_TEXT, MAX_SIZE
from accsim.config.fields import DtypeName, Wording
from accsim.units import canonical_dtype

Count = Annotated[int, Field(ge=1, le=MAX_SIZE), Wording(COUNT_TEXT)]
"""A size, or how many."""
Dtype = Annotated[DtypeName, AfterValidator(canonical_dtype)]
"""A data type in any spelling, kept under its canonical name."""

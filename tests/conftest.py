"""Settings shared by all tests."""

from __future__ import annotations

from hypothesis import settings

# The first call of a kernel compiles it, so no example has a deadline. The gate draws the same examples every time, on
# every machine; `make test-all` draws new ones.
settings.register_profile("gate", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("new", deadline=None, print_blob=True)
settings.load_profile("gate")

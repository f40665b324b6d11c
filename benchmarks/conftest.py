"""Figures that a benchmark prints beside its times: one line each, after the table of pytest-benchmark."""

from __future__ import annotations

from collections.abc import Callable

import pytest

_LINES: list[str] = []


@pytest.fixture
def figure() -> Callable[[str], None]:
    """Call it with a line to print at the end of the session."""
    return _LINES.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures."""
    terminalreporter.section("figures")
    for line in _LINES:
        terminalreporter.write_line(line)

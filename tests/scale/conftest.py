"""The tier at AWS's pace. It prints each measurement with its load."""

from __future__ import annotations

import pytest

from tests.scale.report import Report

_REPORT = pytest.StashKey[Report]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_REPORT] = Report()


@pytest.fixture
def report(pytestconfig: pytest.Config) -> Report:
    return pytestconfig.stash[_REPORT]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for line in config.stash[_REPORT].lines():
        terminalreporter.write_line(line)

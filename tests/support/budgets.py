"""The time that each tier of tests takes, beside its budget, printed at the end of a run."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

# Seconds of tests, added up over the processes of `make test`, which runs the tiers side by side on
# two cores: alone, a tier takes about half of that. People skip a tier that takes longer than its
# budget, so make it faster before it grows further.
BUDGETS = {
    "unit": 260,
    "contract": 210,
    "integration": 830,
    "infra": 300,
    "scale": 140,
    "e2e": 1000,
    "chaos": 120,
}

_spent: defaultdict[str, float] = defaultdict(float)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add a phase of a test to its tier's time."""
    parts = Path(report.fspath).parts
    if len(parts) > 1 and parts[0] == "tests":
        _spent[parts[1]] += report.duration


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print a line for each tier that ran."""
    if config.getoption("--long"):
        return
    for tier, budget in BUDGETS.items():
        if seconds := _spent[tier]:
            note = "OVER BUDGET" if seconds > budget else "budget"
            terminalreporter.write_line(f"{tier:12} {seconds:6.0f} s  ({note} {budget} s)")

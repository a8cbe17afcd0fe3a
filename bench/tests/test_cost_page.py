"""The sums on docs/cost.md are right, and it meets its goals."""

from __future__ import annotations

import re

import pytest

from infra.choices import CHOICES
from localcloud.state import ROOT

PAGE = (ROOT / "docs" / "cost.md").read_text()


def test_the_page_keeps_its_goals() -> None:
    assert re.search(r"The control plane of 1M jobs: \$[\d.]+, within the goal", PAGE)
    assert re.search(r"a cap of active jobs adds: \$[\d.]+, within the goal", PAGE)
    assert re.search(r"an idle month: \$[\d.]+, within the goal", PAGE)


def test_the_settings_of_the_promises_exist() -> None:
    (part,) = re.findall(r"^\| promise \|.*?\n\n", PAGE, re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"`(\w+\.\w+)`", part))
    assert len(named) >= 6
    assert named <= set(CHOICES)


def test_each_table_of_the_page_adds_up() -> None:
    parts = [part for part in PAGE.split("\n## ") if "| **all** |" in part]
    assert len(parts) == 3
    for part in parts:
        rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line[:1] == "|"]
        amounts = [float(cells[-1]) for cells in rows[2:-1]]
        assert amounts
        (total,) = re.findall(r"\*\*([\d.]+)\*\* \|", part)
        assert sum(amounts) == pytest.approx(float(total), abs=0.005 * len(amounts))


def test_the_steps_of_the_page_come_to_its_write_units() -> None:
    (part,) = re.findall(r"^\| step \|.*?\n\n", PAGE, re.DOTALL | re.MULTILINE)
    rows = [line.strip("| ").split(" | ")[1:] for line in part.splitlines()[2:-1]]
    (units,) = re.findall(r"\| DynamoDB \| write units \| ([\d.]+) \|", PAGE.split("\n## ")[1])
    assert sum(float(cell) for row in rows for cell in row) == pytest.approx(float(units), abs=0.1)

"""Each statement of docs/workflows.md names the case or the test that holds it."""

from __future__ import annotations

import re

from tests.integration.workflows.what_comes_back import EXPECTED
from tests.support.documents import ROOT

PAGE = (ROOT / "docs" / "workflows.md").read_text()


def held_by() -> list[list[str]]:
    """For each comment at the end of a line, the names in it."""
    return [names.split() for names in re.findall(r"<!-- ([a-z0-9_ ]+) -->$", PAGE, re.MULTILINE)]


def test_every_row_and_every_point_is_held_by_something() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    statements = [row for row in rows if not row.startswith(("| ---", "| you ", "| a node |"))]
    loose = [row for row in statements if not row.startswith("| a loader |") and "<!--" not in row]
    assert loose == []
    points = re.findall(r"^- (?:.+\n)+?(?=- |\n|$)", PAGE, re.MULTILINE)
    assert points
    assert [point for point in points if not point.rstrip().endswith("-->")] == []


def test_what_holds_a_statement_exists() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    known = set(EXPECTED) | set(re.findall(r"def (test_\w+)", tests))
    assert [name for names in held_by() for name in names if name not in known] == []


def test_every_case_is_on_the_page() -> None:
    named = {name for names in held_by() for name in names}
    assert set(EXPECTED) - named == set()
